package service

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"tailweir/exporter/exportertest"
	"tailweir/otlp"
)

// sendBehindProxy sends traces of which the first span has a parent that nobody sends, in two payloads each.
func (p *process) sendBehindProxy(from, to byte) {
	p.t.Helper()
	for n := from; n <= to; n++ {
		td, err := (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(spanPayload(n, 1, false, false))
		if err != nil {
			p.t.Fatal(err)
		}
		s := td.ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0)
		s.SetParentSpanID(pcommon.SpanID{6: n, 7: 99})
		s.SetKind(ptrace.SpanKindServer)
		s.SetStartTimestamp(999_999)
		b, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(td)
		if err != nil {
			p.t.Fatal(err)
		}
		p.post("/v1/traces", b)
		p.post("/v1/traces", spanPayload(n, 2, false, true))
	}
}

// checkBehindProxy compares the parents in what the backends got of such traces: that of the first span is cleared or not.
func (p *process) checkBehindProxy(from, to byte, cleared bool, backends []*exportertest.Backend) {
	p.t.Helper()
	got, want := map[string]byte{}, map[string]byte{}
	for n := from; n <= to; n++ {
		want[fmt.Sprintf("%d/1", n)], want[fmt.Sprintf("%d/2", n)] = 99, 1
		if cleared {
			want[fmt.Sprintf("%d/1", n)] = 0
		}
	}
	for _, b := range backends {
		for _, r := range b.Requests() {
			var scanned otlp.Payload
			if r.Signal != otlp.Traces {
				continue
			}
			if err := scanned.Scan(otlp.Traces, r.Payload); err != nil {
				p.t.Fatal(err)
			}
			for i := range int32(scanned.Len()) {
				if s := scanned.Span(i); s.TraceID()[15] >= from && s.TraceID()[15] <= to {
					got[fmt.Sprintf("%d/%d", s.TraceID()[15], s.SpanID()[7])] = s.ParentSpanID()[7]
				}
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		p.t.Errorf("parents (-want +got):\n%s", diff)
	}
}

// A worker alone clears parents that were never seen when it is told to, and only then.
func TestClearUnseenParent(t *testing.T) {
	for _, on := range []bool{false, true} {
		t.Run(fmt.Sprint(on), func(t *testing.T) {
			t.Parallel()
			p := newProcess(t)
			backend := exportertest.NewHTTP(t, nil)
			w := p.worker(backend, func(cfg *Config) { cfg.Traces.ClearUnseenParent = on })
			p.sendBehindProxy(1, 3)
			poll(t, "spans are not exported", func() bool { return w.totals().Kept.Spans == 6 })
			p.checkBehindProxy(1, 3, on, []*exportertest.Backend{backend})
		})
	}
}
