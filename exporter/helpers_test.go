package exporter

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"tailweir/otlp"
)

var silent = slog.New(slog.DiscardHandler)

func traceID(n int) otlp.TraceID {
	id := otlp.TraceID{15: 1}
	id[0], id[1] = byte(n>>8), byte(n)
	return id
}

// base is when the test traces start.
var base = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// spans encodes n spans of trace t: the first is the root "root-T", the others its children, each 10 ms
// longer than the one before; service "shop".
func spans(t testing.TB, trace, n int) []byte {
	t.Helper()
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr("service.name", "shop")
	ss := rs.ScopeSpans().AppendEmpty()
	for i := range n {
		s := ss.Spans().AppendEmpty()
		s.SetTraceID(pcommon.TraceID(traceID(trace)))
		s.SetSpanID(pcommon.SpanID{7: byte(i + 1)})
		s.SetName(fmt.Sprintf("root-%d", trace))
		if i > 0 {
			s.SetName(fmt.Sprintf("child-%d", i))
			s.SetParentSpanID(pcommon.SpanID{7: 1})
		}
		s.SetStartTimestamp(pcommon.NewTimestampFromTime(base))
		s.SetEndTimestamp(pcommon.NewTimestampFromTime(base.Add(time.Duration(i+1) * 10 * time.Millisecond)))
	}
	b, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(td)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// child encodes one span with a parent elsewhere.
func child(t *testing.T, trace int, name string, start time.Time, failed bool) []byte {
	t.Helper()
	td := ptrace.NewTraces()
	s := td.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans().AppendEmpty()
	s.SetTraceID(pcommon.TraceID(traceID(trace)))
	s.SetSpanID(pcommon.SpanID{6: 1})
	s.SetParentSpanID(pcommon.SpanID{7: 1})
	s.SetName(name)
	s.SetStartTimestamp(pcommon.NewTimestampFromTime(start))
	s.SetEndTimestamp(pcommon.NewTimestampFromTime(start.Add(5 * time.Millisecond)))
	if failed {
		s.Status().SetCode(ptrace.StatusCodeError)
	}
	b, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(td)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// records encodes log records with the bodies; trace 0 means without a trace id.
func records(t *testing.T, trace int, bodies ...string) []byte {
	t.Helper()
	ld := plog.NewLogs()
	sl := ld.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty()
	for _, body := range bodies {
		r := sl.LogRecords().AppendEmpty()
		r.Body().SetStr(body)
		r.SetTimestamp(pcommon.NewTimestampFromTime(base))
		if trace != 0 {
			r.SetTraceID(pcommon.TraceID(traceID(trace)))
		}
	}
	b, err := (&plog.ProtoMarshaler{}).MarshalLogs(ld)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// fill is a part before it is placed in a batch.
type fill struct {
	trace   int
	dropped bool
	open    bool // nobody decided
	payload []byte
	items   int
}

func batch(signal otlp.Signal, fills ...fill) *Batch {
	b := &Batch{Signal: signal}
	for _, f := range fills {
		p := Part{Kept: !f.dropped, Decided: f.trace != 0 && !f.open, Policy: "errors", Reason: "settled", Items: f.items, Off: len(b.Payload), Len: len(f.payload)}
		if f.trace != 0 {
			p.Trace = traceID(f.trace)
		}
		b.Parts = append(b.Parts, p)
		b.Payload = append(b.Payload, f.payload...)
		b.Items += f.items
	}
	return b
}

// traceBatch has one part of n spans for each trace.
func traceBatch(t testing.TB, n int, traces ...int) *Batch {
	t.Helper()
	var fills []fill
	for _, tr := range traces {
		fills = append(fills, fill{trace: tr, payload: spans(t, tr, n), items: n})
	}
	return batch(otlp.Traces, fills...)
}

func logBatch(t *testing.T, trace int, bodies ...string) *Batch {
	t.Helper()
	return batch(otlp.Logs, fill{trace: trace, payload: records(t, trace, bodies...), items: len(bodies)})
}

// metricBatch has one part of n points for each name.
func metricBatch(t *testing.T, n int, names ...string) *Batch {
	t.Helper()
	var fills []fill
	for _, name := range names {
		md := pmetric.NewMetrics()
		m := md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
		m.SetName(name)
		points := m.SetEmptyGauge().DataPoints()
		for i := range n {
			points.AppendEmpty().SetIntValue(int64(i))
		}
		b, err := (&pmetric.ProtoMarshaler{}).MarshalMetrics(md)
		if err != nil {
			t.Fatal(err)
		}
		fills = append(fills, fill{payload: b, items: n})
	}
	return batch(otlp.Metrics, fills...)
}
