package compare

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/open-telemetry/opentelemetry-collector-contrib/processor/tailsamplingprocessor/pkg/samplingpolicy"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// One tick of the processor, given whole payloads, answers as askCollector does with the order in which it took the
// traces, and the judge's word holds: what it does not exclude is the same when payloads and spans come the other way round.
func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for seed := range uint64(300) {
			p, _, err := judged(pairOf(1_000_000 + seed))
			if err != nil {
				t.Fatal(err)
			}
			c := p.config
			atOnce, order := askInOneTick(t, c, p.payloads)
			got, err := askCollector(c.yaml(), p.payloads, order)
			if err != nil {
				t.Fatalf("seed %d: %v\n%s", seed, err, c.yaml())
			}
			if diff := cmp.Diff(atOnce, got); diff != "" {
				t.Errorf("seed %d: one tick -, each alone +\n%s\n%s", seed, diff, c.yaml())
			}
			back, err := askCollector(c.yaml(), backwards(p.payloads), order)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(got, back); diff != "" {
				t.Errorf("seed %d: forwards -, backwards +, but the judge did not see that\n%s\n%s", seed, diff, c.yaml())
			}
		}
	})
}

// askInOneTick also returns the order in which the processor took the traces.
func askInOneTick(t *testing.T, c configuration, payloads []ptrace.Traces) (answers, []pcommon.TraceID) {
	w := &witness{}
	c.policies = slices.Insert(slices.Clone(c.policies), 0,
		policy{name: "witness", kind: "drop", parts: []policy{{name: "w", kind: "witness"}}})
	p, err := startCollector(c.yaml(), 2*time.Second, w)
	if err != nil {
		t.Fatalf("%v\n%s", err, c.yaml())
	}
	for _, pl := range payloads {
		if err := p.ConsumeTraces(context.Background(), pl); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Wait()
	time.Sleep(5 * time.Second)
	got, err := p.stop(len(firstSeen(payloads)))
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range firstSeen(payloads) { // what was above maximum_trace_size_bytes is not asked about
		if !slices.Contains(w.saw, id) {
			w.saw = append(w.saw, id)
		}
	}
	return got, w.saw
}

// witness is a host with a policy that sees all traces and samples none. As a drop policy it is asked first.
type witness struct{ saw []pcommon.TraceID }

func (w *witness) GetExtensions() map[component.ID]component.Component {
	return map[component.ID]component.Component{component.MustNewID("witness"): w}
}

func (*witness) Start(context.Context, component.Host) error { return nil }
func (*witness) Shutdown(context.Context) error              { return nil }

func (w *witness) NewEvaluator(string, map[string]any) (samplingpolicy.Evaluator, error) {
	return w, nil
}

func (w *witness) Evaluate(_ context.Context, id pcommon.TraceID, _ *samplingpolicy.TraceData) (samplingpolicy.Decision, error) {
	w.saw = append(w.saw, id)
	return samplingpolicy.NotSampled, nil
}

func (*witness) IsStateful() bool { return false }

// backwards turns round the order of payloads, resources, scopes and spans.
func backwards(payloads []ptrace.Traces) []ptrace.Traces {
	out := make([]ptrace.Traces, 0, len(payloads))
	for _, pl := range slices.Backward(payloads) {
		back := ptrace.NewTraces()
		for i := range pl.ResourceSpans().Len() {
			rs := pl.ResourceSpans().At(pl.ResourceSpans().Len() - 1 - i)
			to := back.ResourceSpans().AppendEmpty()
			rs.Resource().CopyTo(to.Resource())
			for j := range rs.ScopeSpans().Len() {
				ss := rs.ScopeSpans().At(rs.ScopeSpans().Len() - 1 - j)
				scope := to.ScopeSpans().AppendEmpty()
				ss.Scope().CopyTo(scope.Scope())
				for k := range ss.Spans().Len() {
					ss.Spans().At(ss.Spans().Len() - 1 - k).CopyTo(scope.Spans().AppendEmpty())
				}
			}
		}
		out = append(out, back)
	}
	return out
}
