package otlp

import (
	"math/rand/v2"
	"testing"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// collectedSize is what SizeCollected is, by pdata: what a collector holds of a trace of the request.
func collectedSize(t *testing.T, b []byte, trace TraceID) (size, bare int) {
	t.Helper()
	td, err := (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(b)
	if err != nil {
		t.Fatal(err)
	}
	held := ptrace.NewTraces()
	for _, rs := range td.ResourceSpans().All() {
		group := ptrace.NewResourceSpans()
		rs.Resource().CopyTo(group.Resource())
		for _, ss := range rs.ScopeSpans().All() {
			of := ptrace.NewScopeSpans()
			ss.Scope().CopyTo(of.Scope())
			for _, s := range ss.Spans().All() {
				if TraceID(s.TraceID()) == trace {
					s.CopyTo(of.Spans().AppendEmpty())
				}
			}
			if of.Spans().Len() > 0 {
				of.MoveTo(group.ScopeSpans().AppendEmpty())
			}
		}
		if group.ScopeSpans().Len() > 0 {
			group.MoveTo(held.ResourceSpans().AppendEmpty())
		}
	}
	for _, rs := range held.ResourceSpans().All() {
		bare += (&ptrace.ProtoMarshaler{}).ResourceSpansSize(rs)
	}
	return (&ptrace.ProtoMarshaler{}).TracesSize(held), bare
}

func checkCollected(t *testing.T, b []byte) {
	t.Helper()
	p := scanned(t, Traces, b)
	for _, g := range p.Groups() {
		size, bare := collectedSize(t, b, g.Trace)
		if got := p.SizeCollected(g, false); got != size {
			t.Fatalf("trace %s of %x: %d bytes, want %d", g.Trace, b, got, size)
		}
		if got := p.SizeCollected(g, true); got != bare {
			t.Fatalf("trace %s of %x: %d bytes bare, want %d", g.Trace, b, got, bare)
		}
	}
}

func TestSizeCollected(t *testing.T) {
	for _, b := range append(traceSeeds(), sampleTraces(300, 9), oddTraces(), []byte{1<<3 | wireLen, 4, 2<<3 | wireLen, 2, 2<<3 | wireLen, 0}) {
		checkCollected(t, b)
		checkCollected(t, keyFirst(Traces, b))
	}
}

// TestSizeCollectedOfRandom asks for random requests as pdata writes them and as SDKs do, without what is empty.
func TestSizeCollectedOfRandom(t *testing.T) {
	rnd := rand.New(rand.NewPCG(9, 5))
	for range 1000 {
		b, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(randomTraces(rnd))
		if err != nil {
			t.Fatal(err)
		}
		checkCollected(t, b)
		checkCollected(t, keyFirst(Traces, b))
		checkCollected(t, withoutEmpty(b, scalar))
	}
}

func randomTraces(rnd *rand.Rand) ptrace.Traces {
	td := ptrace.NewTraces()
	for range rnd.IntN(4) {
		rs := td.ResourceSpans().AppendEmpty()
		rs.SetSchemaUrl(randomText(rnd))
		randomAttributes(rnd, rs.Resource().Attributes(), 0)
		rs.Resource().SetDroppedAttributesCount(sparse(rnd))
		for range rnd.IntN(3) {
			ss := rs.ScopeSpans().AppendEmpty()
			ss.SetSchemaUrl(randomText(rnd))
			ss.Scope().SetName(randomText(rnd))
			ss.Scope().SetVersion(randomText(rnd))
			ss.Scope().SetDroppedAttributesCount(sparse(rnd))
			randomAttributes(rnd, ss.Scope().Attributes(), 0)
			for range rnd.IntN(5) {
				randomSpan(rnd, ss.Spans().AppendEmpty())
			}
		}
	}
	return td
}

func randomSpan(rnd *rand.Rand, s ptrace.Span) {
	s.SetTraceID(pcommon.TraceID{byte(rnd.IntN(3))})
	s.SetSpanID(pcommon.SpanID{byte(rnd.IntN(2))})
	s.SetParentSpanID(pcommon.SpanID{byte(rnd.IntN(2))})
	s.TraceState().FromRaw(randomText(rnd))
	s.SetName(randomText(rnd))
	s.SetKind(ptrace.SpanKind(int32(sparse(rnd))))
	s.SetFlags(sparse(rnd))
	s.SetStartTimestamp(pcommon.Timestamp(sparse(rnd)))
	s.SetEndTimestamp(pcommon.Timestamp(sparse(rnd)))
	s.SetDroppedAttributesCount(sparse(rnd))
	s.SetDroppedEventsCount(sparse(rnd))
	s.SetDroppedLinksCount(sparse(rnd))
	s.Status().SetCode(ptrace.StatusCode(int32(sparse(rnd))))
	s.Status().SetMessage(randomText(rnd))
	randomAttributes(rnd, s.Attributes(), 0)
	for range rnd.IntN(3) {
		e := s.Events().AppendEmpty()
		e.SetTimestamp(pcommon.Timestamp(sparse(rnd)))
		e.SetName(randomText(rnd))
		e.SetDroppedAttributesCount(sparse(rnd))
		randomAttributes(rnd, e.Attributes(), 0)
	}
	for range rnd.IntN(3) {
		l := s.Links().AppendEmpty()
		l.SetTraceID(pcommon.TraceID{byte(rnd.IntN(2))})
		l.SetSpanID(pcommon.SpanID{byte(rnd.IntN(2))})
		l.TraceState().FromRaw(randomText(rnd))
		l.SetFlags(sparse(rnd))
		l.SetDroppedAttributesCount(sparse(rnd))
		randomAttributes(rnd, l.Attributes(), 0)
	}
}

// sparse is 0, small, or of any size, a negative int32 too.
func sparse(rnd *rand.Rand) uint32 {
	return []uint32{0, 0, uint32(rnd.IntN(300)), rnd.Uint32()}[rnd.IntN(4)]
}

func randomText(rnd *rand.Rand) string {
	return string(make([]byte, []int{0, 0, rnd.IntN(30), rnd.IntN(300)}[rnd.IntN(4)]))
}

func randomAttributes(rnd *rand.Rand, m pcommon.Map, depth int) {
	for range rnd.IntN(4) {
		randomValue(rnd, m.PutEmpty(randomText(rnd)), depth)
	}
}

func randomValue(rnd *rand.Rand, v pcommon.Value, depth int) {
	switch rnd.IntN(8 - depth) {
	case 0:
		v.SetStr(randomText(rnd))
	case 1:
		v.SetInt(int64(int32(sparse(rnd))))
	case 2:
		v.SetBool(rnd.IntN(2) == 0)
	case 3:
		v.SetDouble(float64(sparse(rnd)))
	case 4:
		v.SetEmptyBytes().FromRaw([]byte(randomText(rnd)))
	case 6:
		list := v.SetEmptySlice()
		for range rnd.IntN(3) {
			randomValue(rnd, list.AppendEmpty(), depth+1)
		}
	case 7:
		randomAttributes(rnd, v.SetEmptyMap(), depth+1)
	}
}

// withoutEmpty rewrites a valid request without the fields that are empty and that an SDK need not write.
func withoutEmpty(b []byte, m message) (out []byte) {
	f := fields{b: b}
	for at := 0; at < len(b); at = f.pos {
		tag, _, body, _ := f.next()
		child := childOf(m, tag>>3)
		if tag&7 != wireLen || child == scalar && len(body) > 0 {
			out = append(out, b[at:f.pos]...)
			continue
		}
		body = withoutEmpty(body, child)
		if listed := child == itemsOfResource || child == itemsOfScope || child == span || child == keyValue || child == event || child == link ||
			m == anyValue || m == arrayValue || m == keyValueList; listed || len(body) > 0 {
			out = append(append(out, appendField(nil, byte(tag), len(body))...), body...)
		}
	}
	return out
}

func childOf(m message, field uint64) message {
	switch {
	case m == scalar && field == 1:
		return itemsOfResource
	case m == itemsOfResource && field == 2:
		return itemsOfScope
	case m == itemsOfScope && field == 2:
		return span
	case m == scalar || field >= 17:
		return scalar
	}
	return schemas[m].rules[field].sub
}

func BenchmarkSizeCollected(b *testing.B) {
	bothOrders(b, func(b *testing.B, payload []byte) {
		p := scanned(b, Traces, payload)
		b.ReportAllocs()
		for b.Loop() {
			for _, g := range p.Groups() {
				p.SizeCollected(g, false)
			}
		}
		perSpan(b, payload)
	})
}
