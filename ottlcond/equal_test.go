package ottlcond

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/ottl"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/ottl/contexts/ottlspan"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/ottl/contexts/ottlspanevent"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"tailweir/otlp"
)

// pool are conditions that are true, false or fail on the payloads of randomTraces; those with %s go for both lists.
var pool = []string{
	`attributes["a"] == 1`, `attributes["b"] == "x"`, `attributes["c"] != nil`, `attributes["a"] > attributes["b"]`,
	`resource.attributes["a"] == "x"`, `scope.name == "s1"`, `scope.attributes["b"] == true`, `name == "n1"`,
	`ParseJSON(attributes["a"])["k"] == 1`, `Int(attributes["b"]) == 1`, `IsMatch(attributes["c"], "^x")`,
	`IsMatch(name, attributes["b"])`, `Len(attributes["c"]) > 1`, `span.status.code == 2 and span.kind == 3`,
	`not (attributes["a"] == nil or span.trace_state["k"] == "v")`, `attributes["c"]["k"][0] == "x"`,
	`ContainsValue(attributes["c"], "x")`, `String(attributes["a"]) == "1"`, `attributes["b"] / attributes["a"] == 1`,
}

func randomTraces(r *rand.Rand) ptrace.Traces {
	td := ptrace.NewTraces()
	for range r.IntN(4) {
		rs := td.ResourceSpans().AppendEmpty()
		randomAttributes(r, rs.Resource().Attributes())
		for range r.IntN(4) {
			ss := rs.ScopeSpans().AppendEmpty()
			ss.Scope().SetName(fmt.Sprint("s", r.IntN(3)))
			randomAttributes(r, ss.Scope().Attributes())
			for range r.IntN(5) {
				randomSpan(r, ss.Spans().AppendEmpty())
			}
		}
	}
	return td
}

func randomSpan(r *rand.Rand, s ptrace.Span) {
	s.SetTraceID(pcommon.TraceID{byte(1 + r.IntN(3))})
	s.SetSpanID(pcommon.SpanID{byte(1 + r.IntN(200))})
	s.SetName(fmt.Sprint("n", r.IntN(3)))
	s.SetKind(ptrace.SpanKind(r.IntN(6)))
	s.Status().SetCode(ptrace.StatusCode(r.IntN(3)))
	s.TraceState().FromRaw([]string{"", "k=v", "k=w"}[r.IntN(3)])
	randomAttributes(r, s.Attributes())
	for range r.IntN(3) {
		e := s.Events().AppendEmpty()
		e.SetName(fmt.Sprint("n", r.IntN(3)))
		randomAttributes(r, e.Attributes())
	}
}

func randomAttributes(r *rand.Rand, m pcommon.Map) {
	for _, key := range []string{"a", "b", "c"} {
		if r.IntN(4) > 0 {
			randomValue(r, m.PutEmpty(key), 2)
		}
	}
}

func randomValue(r *rand.Rand, v pcommon.Value, depth int) {
	switch n := r.IntN(9); {
	case n < 3:
		v.SetStr([]string{"x", "1", `{"k":1}`, "(", ""}[r.IntN(5)])
	case n < 5:
		v.SetInt(int64(r.IntN(3)))
	case n == 5:
		v.SetDouble(float64(r.IntN(3)))
	case n == 6:
		v.SetBool(r.IntN(2) == 0)
	case n == 7 && depth > 0:
		for s := v.SetEmptySlice(); s.Len() < 2; {
			randomValue(r, s.AppendEmpty(), depth-1)
		}
	case n == 8 && depth > 0:
		randomValue(r, v.SetEmptyMap().PutEmpty("k"), depth-1)
	}
}

// reference evaluates as the collector does: over pdata, with OTTL's own sequences.
type reference struct {
	spans  *ottl.ConditionSequence[*ottlspan.TransformContext]
	events *ottl.ConditionSequence[*ottlspanevent.TransformContext]
	logged *observer.ObservedLogs
}

func newReference(t testing.TB, spans, events []string, mode ottl.ErrorMode) reference {
	core, logged := observer.New(zapcore.WarnLevel)
	set := component.TelemetrySettings{Logger: zap.New(core)}
	return reference{sequence(t, Spans, spans, mode, set, spanParser), sequence(t, Events, events, mode, set, eventParser), logged}
}

func sequence[K any](t testing.TB, list string, texts []string, mode ottl.ErrorMode, set component.TelemetrySettings, newParser func() (ottl.Parser[K], error)) *ottl.ConditionSequence[K] {
	t.Helper()
	parser, err := newParser()
	if err != nil {
		t.Fatal(err)
	}
	convert := func(_ *ottl.ParserCollection[*ottl.ConditionSequence[K]], _ ottl.ConditionsGetter, parsed []*ottl.Condition[K]) (*ottl.ConditionSequence[K], error) {
		s := ottl.NewConditionSequence(parsed, set, ottl.WithConditionSequenceErrorMode[K](mode))
		return &s, nil
	}
	pc, err := ottl.NewParserCollection(set, ottl.WithParserCollectionContext(list, &parser, ottl.WithConditionConverter(convert)))
	if err != nil {
		t.Fatal(err)
	}
	s, err := pc.ParseConditionsWithContext(list, ottl.NewConditionsGetter(texts), true)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (ref reference) eval(rs ptrace.ResourceSpans, ss ptrace.ScopeSpans, s ptrace.Span) (bool, error) {
	st := ottlspan.NewTransformContext(rs, ss, s)
	defer st.Close()
	if ok, err := ref.spans.Eval(context.Background(), st); ok || err != nil {
		return ok, err
	}
	for _, e := range s.Events().All() {
		et := ottlspanevent.NewTransformContext(rs, ss, s, e)
		ok, err := ref.events.Eval(context.Background(), et)
		et.Close()
		if ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

// TestEqualsOTTL compares each span of random payloads, and which errors are told, with OTTL on decoded payloads.
func TestEqualsOTTL(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var seen struct{ yes, no, failed, ignored int }
	for range 1000 {
		spans, events := some(r), some(r)
		mode := Mode(r.IntN(3))
		c, ref := mustCompile(t, spans, events, mode), newReference(t, spans, events, ottlMode(mode))
		td := randomTraces(r)
		ignored := 0
		d := Decoder{Ignored: func(*EvalError) { ignored++ }}
		d.Reset(scan(t, td))
		i := int32(0)
		for _, rs := range td.ResourceSpans().All() {
			for _, ss := range rs.ScopeSpans().All() {
				for _, s := range ss.Spans().All() {
					got, err := c.Eval(&d, i)
					want, wantErr := ref.eval(rs, ss, s)
					if got != want || (err == nil) != (wantErr == nil) {
						t.Fatalf("%s: %v, %v, want %v, %v", c, got, err, want, wantErr)
					}
					seen.yes += one(got)
					seen.failed += one(err != nil)
					seen.no += one(!got && err == nil)
					i++
				}
			}
		}
		if want := ref.logged.Len(); ignored != want {
			t.Fatalf("%s: %d errors ignored, OTTL logged %d", c, ignored, want)
		}
		seen.ignored += ignored
	}
	t.Logf("%+v", seen)
	if min(seen.yes, seen.no, seen.failed, seen.ignored) < 500 {
		t.Errorf("not enough of each: %+v", seen)
	}
}

func ottlMode(m Mode) ottl.ErrorMode {
	if m == Silent {
		return "" // as the collector's configuration is without error_mode
	}
	return ottl.ErrorMode(m.String())
}

func some(r *rand.Rand) []string {
	return slices.Collect(func(yield func(string) bool) {
		for range 1 + r.IntN(2) {
			if !yield(pool[r.IntN(len(pool))]) {
				return
			}
		}
	})
}

func one(b bool) int {
	if b {
		return 1
	}
	return 0
}

// TestDeprecatedScopes has spans in field 1000, which pdata drops, between ordinary ones.
func TestDeprecatedScopes(t *testing.T) {
	field := func(number int, body ...byte) []byte {
		b := binary.AppendUvarint(nil, uint64(number)<<3|2)
		return append(binary.AppendUvarint(b, uint64(len(body))), body...)
	}
	group := func(scope string, spans ...string) (b []byte) {
		b = field(1, field(1, []byte(scope)...)...)
		for _, s := range spans {
			b = append(b, field(2, field(5, []byte(s)...)...)...)
		}
		return b
	}
	rs := slices.Concat(field(2, group("new", "a", "b")...), field(1000, group("old", "c", "d")...), field(2, group("newer", "e")...))
	var d Decoder
	d.Reset(scanBytes(t, field(1, rs...)))
	for i, want := range []string{"new a", "new b", "old c", "old d", "newer e"} {
		c := mustCompile(t, []string{fmt.Sprintf(`Concat([scope.name, name], " ") == %q`, want)}, nil, Propagate)
		if ok, err := c.Eval(&d, int32(i)); !ok || err != nil {
			t.Errorf("span %d is not %q: %v", i, want, err)
		}
	}
}

func TestDecodesOnceAndOnlyWhatIsAsked(t *testing.T) {
	td := ptrace.NewTraces()
	for range 2 {
		sample().ResourceSpans().MoveAndAppendTo(td.ResourceSpans())
	}
	sample().ResourceSpans().At(0).ScopeSpans().MoveAndAppendTo(td.ResourceSpans().At(1).ScopeSpans())
	p := scan(t, td) // resources 0, 1; scopes 0, 1, 2; one span each
	a, b := mustCompile(t, []string{`name == "x"`}, nil, Silent), mustCompile(t, []string{"false"}, []string{"false"}, Silent)
	var d Decoder
	if n := testing.AllocsPerRun(100, func() { d.Reset(p) }); n != 0 || d.decodes != 0 {
		t.Errorf("Reset alone: %v allocations, %d decodes", n, d.decodes)
	}
	for _, tt := range []struct {
		span int32
		want int
	}{{1, 4}, {1, 4}, {2, 6}, {1, 7}, {0, 10}} {
		for _, c := range []*Condition{a, b} {
			if _, err := c.Eval(&d, tt.span); err != nil {
				t.Fatal(err)
			}
		}
		if d.decodes != tt.want {
			t.Errorf("after span %d: %d decodes, want %d", tt.span, d.decodes, tt.want)
		}
	}
}

func TestNeeds(t *testing.T) {
	all := otlp.Part{AllAttributes: true}
	for _, tt := range []struct {
		list, condition string
		want            otlp.Part
	}{
		{Spans, `name == "attributes" and dropped_attributes_count == 0`, otlp.Part{}},
		{Spans, `attributes["a"] == attributes [ "b" ] or span.attributes["a"]["x"] == 1`, otlp.Part{Attributes: []string{"a", "b"}}},
		{Spans, `attributes["a\"b"] != nil`, otlp.Part{Attributes: []string{`a"b`}}},
		{Spans, `resource.attributes["a"] == scope.attributes["b"] or instrumentation_scope.attributes["b"] == nil`, otlp.Part{}},
		{Spans, `attributes[name] == 1`, all},
		{Spans, `attributes[Concat(["a", "b"], "")] == 1`, all},
		{Spans, `Len(attributes) == 1`, all},
		{Spans, `Len([attributes, "x"]) == 1`, all},
		{Spans, `"resource." == name and attributes != nil`, all},
		{Spans, `Len(events) == Len(span.links)`, otlp.Part{Events: true, Links: true}},
		{Events, `attributes["a"] == 1 and spanevent.attributes["b"] == 1`, otlp.Part{Events: true}},
		{Events, `span.attributes["a"] == 1`, otlp.Part{Events: true, Attributes: []string{"a"}}},
	} {
		texts := map[string][]string{tt.list: {tt.condition}}
		c := mustCompile(t, texts[Spans], texts[Events], Silent)
		if diff := cmp.Diff(tt.want, c.needs); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.condition, diff)
		}
	}
}

// TestReset goes from a payload to others of all sizes: nothing of the one before may remain.
func TestReset(t *testing.T) {
	var d Decoder
	is := map[string]*Condition{}
	for _, name := range []string{"a", "b", "c", "d"} {
		is[name] = mustCompile(t, []string{fmt.Sprintf(`Concat([resource.attributes["r"], scope.name, name], "") == %q`, name+name+name)}, nil, Propagate)
	}
	for round, names := range [][]string{{"a"}, {"b"}, {"c", "d", "a"}, {"d"}, {"a", "b", "c", "d"}, {"b"}} {
		td := ptrace.NewTraces()
		for _, name := range names {
			rs := td.ResourceSpans().AppendEmpty()
			rs.Resource().Attributes().PutStr("r", name)
			ss := rs.ScopeSpans().AppendEmpty()
			ss.Scope().SetName(name)
			ss.Spans().AppendEmpty().SetName(name)
		}
		d.Reset(scan(t, td))
		for i, name := range names {
			for other, c := range is {
				if ok, err := c.Eval(&d, int32(i)); ok != (name == other) || err != nil {
					t.Errorf("round %d, span %d is %s: %s: %v, %v", round, i, name, other, ok, err)
				}
			}
		}
	}
}

// TestConcurrent shares conditions between goroutines, each with a decoder, on one payload; it is for the race detector.
func TestConcurrent(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	p := scan(t, randomTraces(r))
	for p.Len() < 20 {
		p = scan(t, randomTraces(r))
	}
	c := mustCompile(t, everyConverter(), pool, Ignore)
	results := make([][]bool, 4)
	var wg sync.WaitGroup
	for g := range results {
		wg.Go(func() { results[g] = evalAll(c, p) })
	}
	wg.Wait()
	for g := range results {
		if !slices.Equal(results[g], results[0]) {
			t.Errorf("goroutine %d: %v, goroutine 0: %v", g, results[g], results[0])
		}
	}
}

func evalAll(c *Condition, p *otlp.Payload) (out []bool) {
	var d Decoder
	d.Reset(p)
	for i := range int32(p.Len()) {
		ok, _ := c.Eval(&d, i)
		out = append(out, ok)
	}
	return out
}
