package sampler

import (
	"fmt"
	"math"
	"testing"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"tailweir/otlp"
)

// sample is a span for tests, with the attributes of its resource.
type sample struct {
	trace      otlp.TraceID
	parent     byte // 0: a root
	start, end uint64
	status     ptrace.StatusCode
	state      string
	flags      uint32
	attributes map[string]any // string, int, bool, float64
	resource   map[string]any
}

// encode is the samples as an export request, one resource each.
func encode(t testing.TB, samples []sample) []byte {
	t.Helper()
	td := ptrace.NewTraces()
	for i, s := range samples {
		rs := td.ResourceSpans().AppendEmpty()
		if err := rs.Resource().Attributes().FromRaw(s.resource); err != nil {
			t.Fatal(err)
		}
		span := rs.ScopeSpans().AppendEmpty().Spans().AppendEmpty()
		span.SetTraceID(pcommon.TraceID(s.trace))
		span.SetSpanID(pcommon.SpanID{1, byte(i)})
		if s.parent != 0 {
			span.SetParentSpanID(pcommon.SpanID{s.parent})
		}
		span.SetStartTimestamp(pcommon.Timestamp(s.start))
		span.SetEndTimestamp(pcommon.Timestamp(s.end))
		span.Status().SetCode(s.status)
		span.TraceState().FromRaw(s.state)
		span.SetFlags(s.flags)
		if err := span.Attributes().FromRaw(s.attributes); err != nil {
			t.Fatal(err)
		}
	}
	b, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(td)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// observe is the facts of each trace in the payload b.
func observe(t testing.TB, o *Observer, signal otlp.Signal, b []byte) map[otlp.TraceID]Facts {
	t.Helper()
	var pl otlp.Payload
	if err := pl.Scan(signal, b); err != nil {
		t.Fatal(err)
	}
	o.Reset(&pl)
	facts := map[otlp.TraceID]Facts{}
	for _, g := range pl.Groups() {
		facts[g.Trace] = o.Fold(g)
	}
	return facts
}

var traceA = otlp.TraceID{15: 0xa}

func decideOn(t testing.TB, p *Policies, samples ...sample) Decision {
	t.Helper()
	for i := range samples {
		samples[i].trace = traceA
	}
	f := observe(t, p.NewObserver(), otlp.Traces, encode(t, samples))[traceA]
	return decideAlone(p, traceA, &f)
}

func TestSpanPolicies(t *testing.T) {
	onSpan := func(v any) sample { return sample{attributes: map[string]any{"other": "x", "k": v}} }
	onResource := func(v any) sample { return sample{resource: map[string]any{"k": v}} }
	bare := sample{attributes: map[string]any{"other": "x"}}
	status := func(c ptrace.StatusCode) sample { return sample{status: c} }
	const (
		text    = "type: string_attribute, string_attribute: {key: k, values: [a, bb]"
		quoted  = "type: string_attribute, string_attribute: {key: k, enabled_regex_matching: true, values: ['\\Qa(b', 'yz$', '\\Q(?:']}"
		regex   = "type: string_attribute, string_attribute: {key: k, enabled_regex_matching: true, values: ['^/he', '(?i)READY$']"
		number  = "type: numeric_attribute, numeric_attribute: {key: k, "
		boolean = "type: boolean_attribute, boolean_attribute: {key: k, value: "
		codes   = "type: status_code, status_code: {status_codes: "
	)
	tests := []struct {
		policy string
		spans  []sample
		keep   bool
	}{
		{codes + "[ERROR]}", []sample{status(0), status(2)}, true},
		{codes + "[ERROR]}", []sample{status(0), status(1)}, false},
		{codes + "[OK, UNSET]}", []sample{status(2), status(0)}, true},
		{codes + "[OK, UNSET]}", []sample{status(2)}, false},
		{codes + "[OK, UNSET, ERROR]}", []sample{status(7)}, false},
		{codes + "[OK, UNSET, ERROR]}", []sample{status(-1)}, false},

		{text + "}", []sample{bare, onSpan("bb")}, true},
		{text + "}", []sample{onResource("a"), bare}, true},
		{text + "}", []sample{onSpan("b"), onResource("c")}, false},
		{text + "}", []sample{onSpan("A")}, false},
		{text + "}", []sample{onSpan(int64(1))}, false},
		{text + ", invert_match: true}", []sample{bare}, true},
		{text + ", invert_match: true}", []sample{onSpan("c"), bare, onResource("d")}, true},
		{text + ", invert_match: true}", []sample{bare, onSpan("a")}, false},
		{text + ", invert_match: true}", []sample{bare, onResource("a")}, false},

		{regex + "}", []sample{onSpan("/health")}, true},
		{regex + "}", []sample{onSpan("/a"), onSpan("/a"), onSpan("is-ready")}, true},
		{regex + "}", []sample{onSpan("x/health"), onSpan("ready?")}, false},
		{regex + "}", []sample{onSpan("")}, false},
		{"type: string_attribute, string_attribute: {key: k, enabled_regex_matching: true, values: ['.*']}", []sample{onSpan("")}, false},
		{quoted, []sample{onSpan("a(bc")}, true},
		{quoted, []sample{onSpan("yz")}, true},
		{quoted, []sample{onSpan("x)")}, false},
		{regex + ", invert_match: true}", []sample{onSpan("x"), onResource("/health")}, false},
		{regex + ", invert_match: true}", []sample{onSpan("x"), bare}, true},

		{number + "min_value: 0}", []sample{onSpan(int64(0))}, true},
		{number + "min_value: 0}", []sample{onSpan(int64(-1))}, false},
		{number + "max_value: 0}", []sample{onSpan(int64(1))}, false},
		{number + "max_value: 0}", []sample{onSpan(int64(math.MinInt64))}, true},
		{number + "min_value: 400, max_value: 499}", []sample{onSpan(int64(499))}, true},
		{number + "min_value: 400, max_value: 499}", []sample{onSpan(int64(500)), onSpan(int64(399))}, false},
		{number + "min_value: 400, max_value: 499}", []sample{onSpan("450")}, false},
		{number + "min_value: 400, max_value: 499}", []sample{onSpan(450.0)}, false},
		{number + "min_value: 400, max_value: 499}", []sample{onResource(int64(400))}, true},
		{number + "min_value: 1, invert_match: true}", []sample{bare}, true},
		{number + "min_value: 1, invert_match: true}", []sample{onSpan(int64(0)), bare, onSpan(int64(1))}, false},
		{number + "min_value: 1, invert_match: true}", []sample{bare, onResource(int64(1))}, false},

		{boolean + "true}", []sample{onSpan(false), onSpan(true)}, true},
		{boolean + "true}", []sample{onSpan(false)}, false},
		{boolean + "false}", []sample{onResource(false)}, true},
		{boolean + "false}", []sample{onSpan("false"), bare}, false},
		{boolean + "false, invert_match: true}", []sample{onSpan(true), bare}, true},
		{boolean + "false, invert_match: true}", []sample{onSpan(true), onResource(false)}, false},

		{"type: latency, latency: {threshold_ms: 10}", []sample{{start: 100 * ms, end: 105 * ms}, {start: 95 * ms, end: 101 * ms}}, false},
		{"type: latency, latency: {threshold_ms: 10}", []sample{{start: 100 * ms, end: 105*ms + 1}, {start: 95 * ms, end: 101 * ms}}, true},
		{"type: latency, latency: {threshold_ms: 10}", []sample{{start: 111 * ms, end: 5 * ms}, {start: 100 * ms, end: 101 * ms}}, true},
		{"type: latency, latency: {threshold_ms: 10}", []sample{{end: 500 * ms}, {start: 495 * ms, end: 496 * ms}}, false},
		{"type: span_count, span_count: {min_spans: 3}", []sample{bare, bare, bare}, true},
		{"type: span_count, span_count: {min_spans: 3}", []sample{bare, bare}, false},
		{"type: probabilistic, probabilistic: {sampling_percentage: 50}", []sample{bare, {state: "ot=rv:80000000000000"}}, true},
		{"type: probabilistic, probabilistic: {sampling_percentage: 50}", []sample{bare, {state: "ot=rv:7fffffffffffff"}}, false},
	}
	for _, tt := range tests {
		p := mustParse(t, one(tt.policy))
		if got := decideOn(t, p, tt.spans...).Keep; got != tt.keep {
			t.Errorf("%s\non %+v: keep %v, want %v", tt.policy, tt.spans, got, tt.keep)
		}
	}
}

// and needs its parts on the trace, not on one span; the parts of drop likewise.
func TestPartsMayMatchDifferentSpans(t *testing.T) {
	const parts = `[{type: string_attribute, string_attribute: {key: k, values: [a]}}, {type: status_code, status_code: {status_codes: [ERROR]}}]`
	a, failed := sample{attributes: map[string]any{"k": "a"}}, sample{status: ptrace.StatusCodeError}
	and := mustParse(t, one("type: and, and: {and_sub_policy: "+parts+"}"))
	if got := decideOn(t, and, a, failed); got != (Decision{Keep: true, Policy: "p"}) {
		t.Errorf("and: %+v, want keep", got)
	}
	if got := decideOn(t, and, a, a); got.Keep {
		t.Errorf("and with one part: %+v, want a drop", got)
	}
	drop := mustParse(t, "policies: [{name: all, type: always_sample}, {name: d, type: drop, drop: {drop_sub_policy: "+parts+"}}]")
	if got := decideOn(t, drop, a, failed); got != (Decision{Policy: "d"}) {
		t.Errorf("drop: %+v, want a drop by d", got)
	}
	if got := decideOn(t, drop, failed); got != (Decision{Keep: true, Policy: "all"}) {
		t.Errorf("drop with one part: %+v, want keep by all", got)
	}
}

func TestFoldOfSpans(t *testing.T) {
	b := encode(t, []sample{
		{trace: traceA, parent: 1, start: 30, end: 50},
		{trace: otlp.TraceID{1}, start: 5, end: 6, status: 2},
		{trace: traceA, start: 20, end: 10, status: 2, state: "ot=rv:00000000000005"},
		{trace: traceA, parent: 1, start: 40, end: 45, state: "x=y,ot=rv:00000000000007"},
	})
	got := observe(t, Default().NewObserver(), otlp.Traces, b)
	a := got[traceA]
	if a.Bytes == 0 || a.Bytes >= uint64(len(b)) {
		t.Errorf("%d bytes of %d, want those of three spans", a.Bytes, len(b))
	}
	a.Bytes = 0
	if want := (Facts{Spans: 3, Start: 20, End: 50, Random: 7, HasRandom: true, Root: true, Bits: [2]uint64{1, 0}}); a != want {
		t.Errorf("got %+v, want %+v", a, want)
	}
	if other := got[otlp.TraceID{1}]; other.Spans != 1 || !other.Root || other.Start != 5 {
		t.Errorf("the other trace is %+v", other)
	}
}

func TestFoldOfLogsCountsThem(t *testing.T) {
	ld := plog.NewLogs()
	records := ld.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords()
	for range 3 {
		r := records.AppendEmpty()
		r.SetTraceID(pcommon.TraceID(traceA))
		r.Attributes().PutStr("k", "a")
	}
	b, err := (&plog.ProtoMarshaler{}).MarshalLogs(ld)
	if err != nil {
		t.Fatal(err)
	}
	p := mustParse(t, one("type: string_attribute, string_attribute: {key: k, values: [a]}"))
	if got, want := observe(t, p.NewObserver(), otlp.Logs, b)[traceA], (Facts{Logs: 3}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// An observer carries nothing of one payload into the next.
func TestResetForgetsResources(t *testing.T) {
	p := mustParse(t, one("type: string_attribute, string_attribute: {key: k, values: [a]}"))
	o := p.NewObserver()
	for i, want := range []uint64{1, 0, 1} {
		value := map[uint64]string{1: "a", 0: "b"}[want]
		f := observe(t, o, otlp.Traces, encode(t, []sample{{trace: traceA, resource: map[string]any{"k": value}}}))[traceA]
		if f.Bits[0] != want {
			t.Errorf("payload %d: bits %b, want %b", i, f.Bits[0], want)
		}
	}
}

// More distinct values than a pattern remembers must not change what it says.
func TestPatternMemoryIsBounded(t *testing.T) {
	p := mustParse(t, one("type: string_attribute, string_attribute: {key: k, values: ['[13579]$'], enabled_regex_matching: true, cache_max_size: 7}"))
	o := p.NewObserver()
	for i := range 500 {
		v := i * 7919 % 40
		f := observe(t, o, otlp.Traces, encode(t, []sample{{trace: traceA, attributes: map[string]any{"k": fmt.Sprint(v)}}}))[traceA]
		if got, want := f.Bits[0] == 1, v%2 == 1; got != want {
			t.Fatalf("%d: matched %v, want %v", v, got, want)
		}
		if n := len(o.remember[0]); n > 7 {
			t.Fatalf("%d values remembered, want at most 7", n)
		}
	}
}
