package receiver

import (
	"encoding/hex"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"

	"tailweir/otlp"
)

// What Google's front ends begin: trace ids that may be UUIDs of version 4, or end in zeros, and parents that are small numbers,
// which X-Cloud-Trace-Context has in decimal. The worker is given them as they came, by whatever way.
func TestTracesOfGooglesFrontEnds(t *testing.T) {
	ids := []string{"3d23d071b5bf4d64b171efce907685cb", "105445aa7843bc8bf206b12000100000"}
	request := ptraceotlp.NewExportRequest()
	spans := request.Traces().ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans()
	for i, id := range ids {
		raw, err := hex.DecodeString(id)
		if err != nil {
			t.Fatal(err)
		}
		s := spans.AppendEmpty()
		s.SetTraceID(pcommon.TraceID(raw))
		s.SetSpanID(pcommon.SpanID{7: byte(i + 2)})
		s.SetParentSpanID(pcommon.SpanID{7: 1})
		s.SetKind(ptrace.SpanKindServer)
	}
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			pub := new(shelf)
			r, addr := open(t, pub, Config{})
			body := encoded(t, request)
			if w.encoding == JSON {
				body = asJSON(t, request)
			}
			w.send(t, addr, otlp.Traces, body)
			data := pub.all()[0].Data
			if pub.all()[0].Attrs[otlp.AttrContentEncoding] != "" {
				data = unzip(t, data)
			}
			var p otlp.Payload
			if err := p.Scan(otlp.Traces, data); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, g := range p.Groups() {
				if s := p.Span(g.First); s.LocalRoot() && s.ParentSpanID() == (otlp.SpanID{7: 1}) {
					got = append(got, g.Trace.String())
				}
			}
			if diff := cmp.Diff(ids, got); diff != "" {
				t.Errorf("local roots (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(ItemCount{Accepted: 2}, r.Stats().Spans); diff != "" {
				t.Error(diff)
			}
		})
	}
}
