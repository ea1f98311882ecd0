package compare

import (
	"bytes"
	"iter"
	"math/rand/v2"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// placed is a span with what it stands in.
type placed struct {
	resource ptrace.ResourceSpans
	scope    ptrace.ScopeSpans
	span     ptrace.Span
}

func spansOf(pl ptrace.Traces) iter.Seq[placed] {
	return func(yield func(placed) bool) {
		for _, rs := range pl.ResourceSpans().All() {
			for _, ss := range rs.ScopeSpans().All() {
				for _, s := range ss.Spans().All() {
					if !yield(placed{rs, ss, s}) {
						return
					}
				}
			}
		}
	}
}

// byTrace are the spans of each trace in order of arrival.
func byTrace(payloads []ptrace.Traces) map[pcommon.TraceID][]placed {
	m := map[pcommon.TraceID][]placed{}
	for _, pl := range payloads {
		for s := range spansOf(pl) {
			m[s.span.TraceID()] = append(m[s.span.TraceID()], s)
		}
	}
	return m
}

// generator makes pairs from a seed. What it makes of a seed stays the same until the generator is changed.
type generator struct{ *rand.Rand }

func newGenerator(seed uint64) generator { return generator{rand.New(rand.NewPCG(seed, 0x7a11))} }

func (g generator) chance(percent int) bool { return g.IntN(100) < percent }

func pick[T any](g generator, of ...T) T { return of[g.IntN(len(of))] }

// The vocabulary of policies and traces is one and small, so that they meet.
var (
	keys = []string{"tenant", "http.status", "retried", "text", "nowhere"}
	// States are valid and broken W3C tracestates.
	states = []string{
		"", "", "vendor=a", "vendor=b,other=1", "ot=rv:0123456789abcd", "ot=th:8;rv:ffffffffffffff,vendor=a", "ot=th:c",
		"vendor=a,vendor=b", "vendor=a,=x", "vendor=a,,other=1", "Vendor=a", " vendor=a ", "vendor =a", "vendor= a", "vendor=a,bad",
		"t1@vendor=a", "1t@v=a", "vendor=a=b", "vendor=", "ot=rv:xyz", "vendor=é", ",", "vendor=a, ", "9vendor=a,other=1", "vendor=a\t,other=2",
	}
)

// start is a time at which a trace of the generator begins, in ns since 1970.
const start = 1_700_000_000_000_000_000

const ms = 1_000_000

// traces makes a set of 1 to 40 traces of few spans, in payloads that mix them.
func (g generator) traces() []ptrace.Traces {
	return g.set(pick(g, 1, 2, 3, 5, 8, 12, 20, 40), 1+g.IntN(4), g.spansOfTrace)
}

// fewTraces makes a set that a reader can take in.
func (g generator) fewTraces() []ptrace.Traces {
	return g.set(1+g.IntN(4), 1+g.IntN(2), func() int { return pick(g, 0, 0, 0, 1, 2) })
}

func (g generator) set(traces, payloads int, more func() int) []ptrace.Traces {
	set := make([]ptrace.Traces, payloads)
	for i := range set {
		set[i] = g.frame()
	}
	low := g.Uint64()
	for range traces {
		id := g.traceID(low)
		for range 1 + more() {
			g.span(pickScope(g, set[g.IntN(payloads)]), id)
		}
	}
	return seal(set)
}

func (g generator) spansOfTrace() int {
	if g.chance(5) {
		return g.IntN(30)
	}
	return pick(g, 0, 0, 1, 2, 3, 5)
}

// traceID is random; some share their low half, which OTEP-235 reads, and some their high half.
func (g generator) traceID(low uint64) pcommon.TraceID {
	var id pcommon.TraceID
	put := func(at int, v uint64) {
		for i := range 8 {
			id[at+i] = byte(v >> (8 * i))
		}
	}
	put(0, g.Uint64())
	put(8, g.Uint64())
	switch g.IntN(4) {
	case 0:
		put(8, low)
	case 1:
		put(0, low)
	}
	return id
}

// frame is a payload without spans: resources and scopes.
func (g generator) frame() ptrace.Traces {
	pl := ptrace.NewTraces()
	for range 1 + g.IntN(3) {
		rs := pl.ResourceSpans().AppendEmpty()
		g.attributes(rs.Resource().Attributes(), 40)
		rs.SetSchemaUrl(pick(g, "", "", "https://opentelemetry.io/schemas/1.26.0"))
		for range 1 + g.IntN(2) {
			ss := rs.ScopeSpans().AppendEmpty()
			ss.Scope().SetName(pick(g, "", "lib", "other"))
			ss.Scope().SetVersion(pick(g, "", "1.2"))
			ss.SetSchemaUrl(pick(g, "", "", "https://opentelemetry.io/schemas/1.20.0"))
			if g.chance(20) {
				g.attributes(ss.Scope().Attributes(), 60)
			}
		}
	}
	return pl
}

func pickScope(g generator, pl ptrace.Traces) ptrace.ScopeSpans {
	rs := pl.ResourceSpans().At(g.IntN(pl.ResourceSpans().Len()))
	return rs.ScopeSpans().At(g.IntN(rs.ScopeSpans().Len()))
}

func (g generator) span(ss ptrace.ScopeSpans, id pcommon.TraceID) {
	s := ss.Spans().AppendEmpty()
	s.SetTraceID(id)
	s.SetSpanID(g.spanID())
	if g.chance(60) {
		s.SetParentSpanID(g.spanID())
	}
	s.SetName(pick(g, "op1", "op2", "GET /", ""))
	s.SetKind(pick(g, ptrace.SpanKindUnspecified, ptrace.SpanKindServer, ptrace.SpanKindClient))
	from, to := g.times()
	s.SetStartTimestamp(from)
	s.SetEndTimestamp(to)
	s.SetFlags(pick(g, uint32(0), 0, 1, 2, 0x100, 0x101, 0x300, 255, 0xfffffffe))
	s.Status().SetCode(pick(g, ptrace.StatusCodeUnset, ptrace.StatusCodeUnset, ptrace.StatusCodeOk, ptrace.StatusCodeError, ptrace.StatusCode(3), ptrace.StatusCode(7)))
	s.Status().SetMessage(pick(g, "", "", "it broke"))
	s.TraceState().FromRaw(pick(g, states...))
	g.attributes(s.Attributes(), 50)
	for range g.IntN(3) {
		e := s.Events().AppendEmpty()
		e.SetName(pick(g, "exception", "log", ""))
		e.SetTimestamp(from + pcommon.Timestamp(g.IntN(5)*ms))
		g.attributes(e.Attributes(), 30)
	}
	if g.chance(10) {
		l := s.Links().AppendEmpty()
		l.SetSpanID(g.spanID())
		l.SetFlags(pick(g, uint32(0), 1))
	}
}

func (g generator) spanID() pcommon.SpanID {
	return pcommon.SpanID{1, byte(g.Uint32()), byte(g.Uint32()), byte(g.Uint32()), byte(g.Uint32()), byte(g.Uint32())}
}

// times are mostly near the edges of whole milliseconds; a few are unset, reversed or far away.
func (g generator) times() (from, to pcommon.Timestamp) {
	edge := func() int64 {
		return pick(g, int64(0), 1, 5, 10, 100, 250)*ms + pick(g, int64(0), 0, 1, -1, 500_000, 999_999)
	}
	f := int64(start) + edge()
	t := f + edge()
	switch g.IntN(60) {
	case 0:
		f = 0
	case 1:
		t = 0
	case 2:
		f, t = 0, 0
	case 3:
		f, t = t, f
	case 4:
		t = f - 2_500_000
	case 5:
		t = f + 40_000*ms
	}
	return pcommon.Timestamp(f), pcommon.Timestamp(t)
}

func (g generator) attributes(m pcommon.Map, percent int) {
	for _, k := range keys[:4] {
		if g.chance(percent) {
			g.value(k, m.PutEmpty(k))
		}
	}
	if g.chance(8) {
		k := pick(g, keys[:4]...)
		g.value(k, m.PutEmpty(second(k)))
	}
}

// second is how a repeated key k is written until seal: pcommon.Map can hold each key once only, the wire can not.
func second(k string) string { return k[:len(k)-1] + "\x01" }

// seal gives the repeated keys their names. Both have the same length, so that the bytes can be exchanged.
func seal(payloads []ptrace.Traces) []ptrace.Traces {
	out := make([]ptrace.Traces, 0, len(payloads))
	for _, pl := range payloads {
		raw, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(pl)
		if err != nil {
			panic(err)
		}
		for _, k := range keys[:4] {
			raw = bytes.ReplaceAll(raw, []byte(second(k)), []byte(k))
		}
		again, err := (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(raw)
		if err != nil {
			panic(err)
		}
		out = append(out, again)
	}
	return out
}

var texts = map[string][]string{
	"tenant":      {"a", "b", "acme", ""},
	"text":        {"hello", "hello world", "", "x", `{"a":1}`, "12"},
	"http.status": {"200", ""},
	"retried":     {"true", ""},
}

// value is most often of the type that the policies on k expect.
func (g generator) value(k string, v pcommon.Value) {
	if g.chance(80) {
		switch k {
		case "tenant", "text":
			v.SetStr(pick(g, texts[k]...))
		case "http.status":
			v.SetInt(pick(g, int64(-6), -5, -1, 0, 1, 199, 200, 399, 400, 404, 499, 500, 1<<40))
		case "retried":
			v.SetBool(g.chance(50))
		}
		return
	}
	switch g.IntN(7) {
	case 0:
		v.SetStr(pick(g, texts[k]...))
	case 1:
		v.SetInt(pick(g, int64(0), 1, 200))
	case 2:
		v.SetBool(g.chance(50))
	case 3:
		v.SetDouble(pick(g, 0.0, 200, 404.5))
	case 4:
		v.SetEmptyBytes().FromRaw([]byte("a"))
	case 5:
		v.SetEmptySlice().AppendEmpty().SetStr("a")
	}
}
