package otlp

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// attributeValues are 12 attributes of an HTTP server span with about 450 B together.
var attributeValues = [][2]string{
	{"http.request.method", "GET"}, {"url.scheme", "https"}, {"url.path", "/api/v1/orders/7f3a9c/items"},
	{"http.route", "/api/v1/orders/{id}/items"}, {"server.address", "orders.internal.example"},
	{"network.protocol.version", "1.1"}, {"user_agent.original", "checkout/4.2 (linux; go1.26)"},
	{"client.address", "10.12.148.7"}, {"enduser.id", "u-5512093"}, {"deployment.ring", "canary"},
}

// sampleTraces makes a traces payload: spans in traces of perTrace spans, in resources of 50 spans.
func sampleTraces(spans, perTrace int) []byte { return sampleTracesWith(spans, perTrace, "") }

// sampleTracesWith is sampleTraces with the trace_state in each span.
func sampleTracesWith(spans, perTrace int, state string) []byte {
	rnd := rand.New(rand.NewPCG(1, 2))
	td := ptrace.NewTraces()
	var ss ptrace.ScopeSpans
	var trace pcommon.TraceID
	for i := range spans {
		if i%50 == 0 {
			rs := td.ResourceSpans().AppendEmpty()
			rs.Resource().Attributes().PutStr("service.name", fmt.Sprintf("service-%d", i/50))
			rs.Resource().Attributes().PutStr("cloud.region", "europe-west1")
			rs.SetSchemaUrl("https://opentelemetry.io/schemas/1.37.0")
			ss = rs.ScopeSpans().AppendEmpty()
			ss.Scope().SetName("net/http")
		}
		if i%perTrace == 0 {
			trace = pcommon.TraceID(randomBytes[[16]byte](rnd))
		}
		s := ss.Spans().AppendEmpty()
		s.SetTraceID(trace)
		s.TraceState().FromRaw(state)
		fillSpan(s, rnd, i)
	}
	b, _ := (&ptrace.ProtoMarshaler{}).MarshalTraces(td)
	return b
}

func randomBytes[T [8]byte | [16]byte](rnd *rand.Rand) T {
	var id T
	for i := range len(id) {
		id[i] = byte(1 + rnd.IntN(255))
	}
	return id
}

func fillSpan(s ptrace.Span, rnd *rand.Rand, i int) {
	s.SetSpanID(pcommon.SpanID(randomBytes[[8]byte](rnd)))
	s.SetParentSpanID(pcommon.SpanID(randomBytes[[8]byte](rnd)))
	s.SetName("GET /api/v1/orders/{id}/items")
	s.SetKind(ptrace.SpanKindServer)
	s.SetStartTimestamp(pcommon.Timestamp(1_760_000_000_000_000_000 + i))
	s.SetEndTimestamp(pcommon.Timestamp(1_760_000_000_050_000_000 + i))
	s.SetFlags(0x101)
	for _, kv := range attributeValues {
		s.Attributes().PutStr(kv[0], kv[1])
	}
	s.Attributes().PutInt("http.response.status_code", 200)
	s.Attributes().PutInt("server.port", 8443)
	s.Status().SetCode(ptrace.StatusCodeOk)
}

// oddTraces is a small payload with all that sampleTraces lacks.
func oddTraces() []byte {
	td := ptrace.NewTraces()
	td.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty()
	rs := td.ResourceSpans().AppendEmpty()
	fillAttributes(rs.Resource().Attributes())
	ref := rs.ScopeSpans().AppendEmpty()
	ref.Scope().SetName("a")
	ref.Scope().Attributes().PutStr("k", "v")
	ref.Spans().AppendEmpty()
	s := ref.Spans().AppendEmpty()
	s.SetTraceID(pcommon.TraceID{1})
	s.SetSpanID(pcommon.SpanID{2})
	s.TraceState().FromRaw("ot=th:8;rv:0123456789abcd")
	s.Status().SetCode(ptrace.StatusCodeError)
	s.Status().SetMessage("deadline exceeded")
	fillAttributes(s.Attributes())
	e := s.Events().AppendEmpty()
	e.SetName("exception")
	e.SetTimestamp(77)
	fillAttributes(e.Attributes())
	l := s.Links().AppendEmpty()
	l.SetTraceID(pcommon.TraceID{3})
	l.SetSpanID(pcommon.SpanID{4})
	l.TraceState().FromRaw("x=y")
	fillAttributes(l.Attributes())
	rs.ScopeSpans().AppendEmpty().Spans().AppendEmpty().SetTraceID(pcommon.TraceID{1})
	b, _ := (&ptrace.ProtoMarshaler{}).MarshalTraces(td)
	return b
}

func fillAttributes(m pcommon.Map) {
	m.PutStr("s", "text")
	m.PutStr("long", fmt.Sprintf("%200d", 1))
	m.PutBool("b", true)
	m.PutInt("i", -1)
	m.PutDouble("d", 2.5)
	m.PutEmpty("e")
	m.PutEmptyBytes("bytes").FromRaw([]byte{0, 1, 255})
	m.PutEmptySlice("list").AppendEmpty().SetEmptyMap().PutStr("k", "v")
	m.PutEmptyMap("map").PutEmptySlice("l").AppendEmpty().SetInt(300)
}

// sampleLogs makes a logs payload; every fifth record has no trace id.
func sampleLogs(records int) []byte {
	rnd := rand.New(rand.NewPCG(3, 4))
	ld := plog.NewLogs()
	var sl plog.ScopeLogs
	for i := range records {
		if i%20 == 0 {
			rl := ld.ResourceLogs().AppendEmpty()
			fillAttributes(rl.Resource().Attributes())
			rl.SetSchemaUrl("https://opentelemetry.io/schemas/1.37.0")
			sl = rl.ScopeLogs().AppendEmpty()
			sl.Scope().SetName("log/slog")
		}
		r := sl.LogRecords().AppendEmpty()
		r.SetTimestamp(pcommon.Timestamp(1_760_000_000_000_000_000 + i))
		r.SetObservedTimestamp(pcommon.Timestamp(1_760_000_000_000_000_100 + i))
		r.SetSeverityNumber(plog.SeverityNumberWarn)
		r.SetSeverityText("WARN")
		r.Body().SetStr("payment gateway answered slowly")
		r.SetEventName("gateway.slow")
		if i%5 != 0 {
			r.SetTraceID(pcommon.TraceID{byte(i % 7), 1})
			r.SetSpanID(pcommon.SpanID(randomBytes[[8]byte](rnd)))
			r.SetFlags(1)
		} else {
			r.Body().SetEmptyMap().PutInt("attempt", int64(i))
		}
		fillAttributes(r.Attributes())
	}
	b, _ := (&plog.ProtoMarshaler{}).MarshalLogs(ld)
	return b
}

func scanned(t testing.TB, signal Signal, b []byte) *Payload {
	t.Helper()
	p := new(Payload)
	if err := p.Scan(signal, b); err != nil {
		t.Fatal(err)
	}
	return p
}

// keyFirst rewrites a valid payload with the fields of every message in ascending order, as SDKs write them:
// pdata writes them in descending order.
func keyFirst(signal Signal, b []byte) []byte {
	items := span
	switch signal {
	case Logs:
		items = record
	case Metrics:
		items = metric
	}
	return ascending(b, func(field uint64, of message) message {
		switch {
		case of == scalar && field == 1:
			return itemsOfResource
		case of == itemsOfResource && field == 2:
			return itemsOfScope
		case of == itemsOfScope && field == 2:
			return items
		case of != scalar && field < 17 && schemas[of].rules[field].sub < packed64:
			return schemas[of].rules[field].sub
		}
		return scalar
	}, scalar)
}

func ascending(b []byte, child func(field uint64, of message) message, m message) (out []byte) {
	var byField [17][]byte
	for f := (fields{b: b}); f.pos < len(b); {
		at := f.pos
		tag, _, body, _ := f.next()
		raw := b[at:f.pos]
		if c := child(tag>>3, m); c != scalar {
			body = ascending(body, child, c)
			raw = append(appendField(nil, byte(tag), len(body)), body...)
		}
		byField[tag>>3] = append(byField[tag>>3], raw...)
	}
	for _, raw := range byField {
		out = append(out, raw...)
	}
	return out
}
