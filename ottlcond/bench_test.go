package ottlcond

import (
	"fmt"
	"testing"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"tailweir/otlp"
)

// batch is what an SDK sends: 200 spans of 10 attributes, every fifth with an event, in 4 scopes of a resource with 8.
func batch(b *testing.B) *otlp.Payload {
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	attributes(rs.Resource().Attributes(), 8)
	for i := range 200 {
		if i%50 == 0 {
			rs.ScopeSpans().AppendEmpty().Scope().SetName("instrumentation/http")
		}
		s := rs.ScopeSpans().At(i / 50).Spans().AppendEmpty()
		s.SetTraceID(pcommon.TraceID{1, byte(i)})
		s.SetSpanID(pcommon.SpanID{1, byte(i)})
		s.SetName("GET /cart/{id}")
		attributes(s.Attributes(), 9)
		s.Attributes().PutInt("http.response.status_code", 200)
		if i%5 == 0 {
			e := s.Events().AppendEmpty()
			e.SetName("retry")
			attributes(e.Attributes(), 2)
		}
	}
	return scan(b, td)
}

func attributes(m pcommon.Map, n int) {
	for i := range n {
		m.PutStr(fmt.Sprint("some.attribute.", i), "a value of some length")
	}
}

func perSpan(b *testing.B, p *otlp.Payload) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(p.Len()), "ns/span")
}

func BenchmarkEval(b *testing.B) {
	p := batch(b)
	for _, bb := range []struct {
		name          string
		spans, events []string
	}{
		{"attribute", []string{`attributes["http.response.status_code"] >= 500`}, nil},
		{"resource", []string{`resource.attributes["service.name"] == "x"`}, nil},
		{"match", []string{`IsMatch(name, "^POST ")`}, nil},
		{"event", nil, []string{`name == "exception"`}},
		{"five", []string{`attributes["http.response.status_code"] >= 500`, `status.code == 2`, `kind == 5`, `attributes["x"] != nil`, `name == "x"`}, nil},
		{"failing", []string{`ParseJSON(name)["x"] == 1`}, nil},
	} {
		c := mustCompile(b, bb.spans, bb.events, Ignore)
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			var d Decoder
			for b.Loop() {
				d.Reset(p)
				for i := range int32(p.Len()) {
					if ok, err := c.Eval(&d, i); ok || err != nil {
						b.Fatal(ok, err)
					}
				}
			}
			perSpan(b, p)
		})
	}
}

// BenchmarkDecode is the part of Eval that does not depend on the condition, beside decoding the whole payload at once.
func BenchmarkDecode(b *testing.B) {
	p := batch(b)
	c := mustCompile(b, []string{`Len(attributes) > 0 and Len(events) > 0 and Len(links) > 0`}, nil, Silent)
	b.Run("spans", func(b *testing.B) {
		b.ReportAllocs()
		var d Decoder
		for b.Loop() {
			d.Reset(p)
			for i := range int32(p.Len()) {
				if _, err := d.span(c, i); err != nil {
					b.Fatal(err)
				}
			}
		}
		perSpan(b, p)
	})
	b.Run("whole", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var u ptrace.ProtoUnmarshaler
			if _, err := u.UnmarshalTraces(p.Bytes()); err != nil {
				b.Fatal(err)
			}
		}
		perSpan(b, p)
	})
	b.Run("view", func(b *testing.B) { // what a policy on the wire views costs for the same question
		b.ReportAllocs()
		for b.Loop() {
			for i := range int32(p.Len()) {
				if v, _ := p.Span(i).Attribute("http.response.status_code"); v.Kind() != otlp.Int {
					b.Fatal(v.Kind())
				}
			}
		}
		perSpan(b, p)
	})
}
