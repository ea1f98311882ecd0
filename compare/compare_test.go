package compare

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"tailweir/strictyaml"
)

// pair is a configuration and the traces that it decides.
type pair struct {
	config   configuration
	payloads []ptrace.Traces
}

func pairOf(seed uint64) pair {
	g := newGenerator(seed)
	payloads := g.traces()
	return pair{g.configuration(measure(payloads)), payloads}
}

// TestStrict wants the collector's answer for each trace, by the same policy.
func TestStrict(t *testing.T) {
	eachPair(t, func(r *report, seed uint64, p pair) {
		found, err := differences(p, strict, r)
		if err != nil {
			r.failed("seed %d: %v\n%s", seed, err, p.config.yaml())
			return
		}
		if len(found) > 0 {
			r.failed("seed %d: strict is not as the collector\n%s", seed, shrink(p, found[0]))
		}
	})
}

// TestMended wants each difference of the default mode to be a row of docs/policies.md.
func TestMended(t *testing.T) {
	eachPair(t, func(r *report, seed uint64, p pair) {
		found, err := differences(p, mended, r)
		if err != nil {
			r.failed("seed %d: %v\n%s", seed, err, p.config.yaml())
			return
		}
		if len(found) == 0 {
			return
		}
		why, err := explain(p)
		if err != nil {
			r.failed("seed %d: %v\n%s", seed, err, p.config.yaml())
			return
		}
		for _, d := range found {
			row := why.row(d.id)
			if row == "" {
				r.failed("seed %d: no row of docs/policies.md says why\n%s", seed, shrink(p, d))
				return
			}
			r.count("differs: " + row)
		}
	})
}

// report gathers what the pairs of a test say.
type report struct {
	*testing.T
	mu     sync.Mutex
	counts map[string]int
	bad    int
}

func (r *report) count(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts[what]++
}

// failed shows the first few: the rest are mostly the same.
func (r *report) failed(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.bad++; r.bad <= 5 {
		r.Errorf(format, args...)
	} else {
		r.Fail()
	}
}

// eachPair runs test on TAILWEIR_COMPARE_PAIRS pairs, in two bubbles side by side, and logs the counts.
func eachPair(t *testing.T, test func(*report, uint64, pair)) {
	pairs, first := environment(t, "TAILWEIR_COMPARE_PAIRS", 2000), environment(t, "TAILWEIR_COMPARE_SEED", 1)
	r := &report{T: t, counts: map[string]int{}}
	t.Run("pairs", func(t *testing.T) {
		const lanes = 2
		for lane := range uint64(lanes) {
			t.Run(strconv.Itoa(int(lane)), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					for seed := first + lane; seed < first+pairs; seed += lanes {
						p, why, err := judged(pairOf(seed))
						if err != nil {
							r.failed("seed %d: %v\n%s", seed, err, p.config.yaml())
							continue
						}
						for _, reason := range why {
							r.count("not compared: " + reason)
						}
						r.count("pairs")
						test(r, seed, p)
					}
				})
			})
		}
	})
	for _, what := range slices.Sorted(maps.Keys(r.counts)) {
		t.Logf("%7d %s", r.counts[what], what)
	}
	if r.bad > 0 {
		t.Errorf("%d pairs are bad", r.bad)
	}
}

func environment(t *testing.T, name string, otherwise uint64) uint64 {
	v := os.Getenv(name)
	if v == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(v, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// difference is a trace with two answers.
type difference struct {
	mode       mode
	id         pcommon.TraceID
	want, ours answer
}

// differences asks both about a pair that is judged. What the default mode does not take is counted.
func differences(p pair, m mode, r *report) ([]difference, error) {
	order := firstSeen(p.payloads)
	got, err := askOurs(m, p.config.yaml(), p.payloads, order)
	if faults := (strictyaml.Faults)(nil); m == mended && errors.As(err, &faults) {
		r.count("refused: " + reason(faults))
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	want, err := askCollector(p.config.yaml(), p.payloads, order)
	if err != nil {
		return nil, err
	}
	var found []difference
	for _, id := range order {
		r.count("traces")
		if want[id] != got[id] {
			found = append(found, difference{m, id, want[id], got[id]})
		}
	}
	return found, nil
}

// reason is a fault without its place and the values in it, for counting.
func reason(faults strictyaml.Faults) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return '#'
		}
		return r
	}, faults[0].Msg)
}

// shrink takes away policies, parts and other traces as long as the difference stays, and prints what is left.
func shrink(p pair, d difference) string {
	quiet := &report{counts: map[string]int{}}
	still := func(q pair) bool {
		q, _, err := judged(q)
		if err != nil {
			return false
		}
		found, err := differences(q, d.mode, quiet)
		i := slices.IndexFunc(found, func(f difference) bool { return f.id == d.id })
		if err != nil || i < 0 {
			return false
		}
		d = found[i]
		return true
	}
	for again := true; again; {
		again = false
		for _, q := range smaller(p, d.id) {
			if still(q) {
				p, again = q, true
				break
			}
		}
	}
	return describe(p, d)
}

// smaller are p without one of its policies, or one of the other traces, or a span of the trace.
func smaller(p pair, id pcommon.TraceID) []pair {
	var out []pair
	for i := range p.config.policies {
		q := p
		if len(p.config.policies) > 1 {
			q.config.policies = slices.Delete(slices.Clone(p.config.policies), i, i+1)
			out = append(out, q)
		}
		for j := range p.config.policies[i].parts {
			if parts := p.config.policies[i].parts; len(parts) > 1 {
				q.config.policies = slices.Clone(p.config.policies)
				q.config.policies[i].parts = slices.Delete(slices.Clone(parts), j, j+1)
				out = append(out, q)
			}
		}
	}
	for _, other := range firstSeen(p.payloads) {
		if other != id {
			out = append(out, pair{p.config, without(p.payloads, func(s ptrace.Span) bool { return s.TraceID() == other })})
		}
	}
	for _, s := range byTrace(p.payloads)[id] {
		if span := s.span.SpanID(); len(byTrace(p.payloads)[id]) > 1 {
			out = append(out, pair{p.config, without(p.payloads, func(s ptrace.Span) bool { return s.SpanID() == span })})
		}
	}
	return out
}

func without(payloads []ptrace.Traces, remove func(ptrace.Span) bool) []ptrace.Traces {
	var out []ptrace.Traces
	for _, pl := range payloads {
		rest := ptrace.NewTraces()
		pl.CopyTo(rest)
		rest.ResourceSpans().RemoveIf(func(rs ptrace.ResourceSpans) bool {
			rs.ScopeSpans().RemoveIf(func(ss ptrace.ScopeSpans) bool {
				ss.Spans().RemoveIf(remove)
				return ss.Spans().Len() == 0
			})
			return rs.ScopeSpans().Len() == 0
		})
		if rest.ResourceSpans().Len() > 0 {
			out = append(out, rest)
		}
	}
	return out
}

func describe(p pair, d difference) string {
	var b strings.Builder
	fmt.Fprintf(&b, "trace %s\n  collector: %v\n  ours:      %v\n%s", d.id, d.want, d.ours, p.config.yaml())
	for _, pl := range without(p.payloads, func(ptrace.Span) bool { return false }) {
		text, err := (&ptrace.JSONMarshaler{}).MarshalTraces(pl)
		if err != nil {
			panic(err)
		}
		fmt.Fprintf(&b, "%s\n", text)
	}
	return b.String()
}
