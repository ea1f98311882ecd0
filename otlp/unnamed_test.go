package otlp

import (
	"testing"

	"go.opentelemetry.io/collector/pdata/ptrace"
)

func TestUnnamed(t *testing.T) {
	td := ptrace.NewTraces()
	for _, name := range []string{"shop", "", "unknown_service:node", "cart", "-"} {
		rs := td.ResourceSpans().AppendEmpty()
		if name != "-" {
			rs.Resource().Attributes().PutStr("service.name", name)
		}
		for range 2 {
			rs.ScopeSpans().AppendEmpty().Spans().AppendEmpty()
		}
	}
	b, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(td)
	if err != nil {
		t.Fatal(err)
	}
	if n := scanned(t, Traces, b).Unnamed(); n != 6 {
		t.Errorf("%d unnamed spans, want 6", n)
	}
	if n := scanned(t, Traces, smallTraces()).Unnamed(); n != 1 { // its second resource has no attributes
		t.Errorf("%d unnamed spans, want 1", n)
	}
}
