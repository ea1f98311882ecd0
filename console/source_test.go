package console_test

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"tailweir/console"
	"tailweir/otlp"
)

var epoch = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// memory is a Source over fixed values.
type memory struct {
	stats   console.Stats
	pending []console.Pending
	latest  []console.Summary
	traces  map[otlp.TraceID]console.Trace
}

func (m *memory) Stats() console.Stats { return m.stats }
func (m *memory) Pending(limit int) []console.Pending {
	return m.pending[:min(limit, len(m.pending))]
}
func (m *memory) Latest(limit int) []console.Summary { return m.latest[:min(limit, len(m.latest))] }
func (m *memory) Trace(id otlp.TraceID) (console.Trace, bool) {
	t, ok := m.traces[id]
	return t, ok
}

func counts(n int64) console.Counts { return console.Counts{Spans: n * 10, Traces: n, Logs: n * 2} }

// example has two kept traces, the second with hostile text, and one of each outcome.
func example(t testing.TB) *memory {
	checkout, hostile := otlp.TraceID{1}, otlp.TraceID{2}
	return &memory{
		stats: console.Stats{
			Received: counts(1000), Kept: counts(130), Dropped: counts(800), DeadLettered: counts(1),
			Returned: counts(4), Duplicate: counts(5), InFlight: counts(60),
			ByPolicy: map[string]console.PolicyCounts{
				"errors":              {Kept: counts(30)},
				"rest":                {Kept: counts(100), Dropped: counts(2)},
				"(no policy matched)": {Dropped: counts(798)},
			},
			Window:    console.Window{Traces: 60, Bytes: 1 << 20, MaxTraces: 100, MaxBytes: 8 << 20, WatermarkLagMS: 740},
			Held:      console.Held{Messages: 12, Bytes: 3 << 20, MaxBytes: 64 << 20, Redelivered: 7},
			Fleet:     console.Fleet{Mode: "off"},
			Exporters: []console.Exporter{{Name: "otlp", Attempts: 8, Running: 1, Limit: 8, Most: 8, RoundTripMS: 41}},
			Exporting: 2, UptimeMS: 61_000, Ready: true,
		},
		pending: []console.Pending{
			{TraceID: otlp.TraceID{0xaa}, Spans: 3, Bytes: 1700, Age: 4 * time.Second, Left: -time.Second},
			{TraceID: otlp.TraceID{0xbb}, Spans: 12, Logs: 2, Bytes: 6300, Root: true, Age: 2 * time.Second, Left: 4 * time.Second},
		},
		latest: []console.Summary{
			{TraceID: hostile, Root: "<script>alert(1)</script>", Service: `"><img src=x>`, Spans: 1, Start: epoch, Duration: 1234567 * time.Nanosecond, Policy: "rest", Reason: "idle"},
			{TraceID: checkout, Root: "GET /checkout", Service: "shop", Spans: 3, Logs: 1, Start: epoch, Duration: 250 * time.Millisecond, Error: true, Policy: "errors", Reason: "settled"},
		},
		traces: map[otlp.TraceID]console.Trace{
			checkout: {
				Spans: traceOf(t, checkout,
					spanSpec{id: 1, name: "GET /checkout", service: "shop", kind: ptrace.SpanKindServer, from: 0, to: 250},
					spanSpec{id: 2, parent: 1, name: "charge", service: "payment", from: 20, to: 200, failed: true},
					spanSpec{id: 3, parent: 2, name: "SELECT", service: "payment", from: 30, to: 40}),
				Logs:   logsOf(t, checkout, logSpec{span: 2, at: 110, body: "card refused", severity: plog.SeverityNumberError}),
				Policy: "errors", Reason: "settled",
			},
			hostile: {
				Spans: traceOf(t, hostile, spanSpec{id: 1, name: "<script>alert(1)</script>", service: `"><img src=x onerror=alert(2)>`, from: 0, to: 1}),
				Logs:  logsOf(t, hostile, logSpec{span: 1, at: 0, body: "</summary><script>alert(3)</script>", severity: plog.SeverityNumberInfo}),
			},
		},
	}
}

// spanSpec is a span whose times are ms since epoch.
type spanSpec struct {
	id, parent uint64
	name       string
	service    string
	kind       ptrace.SpanKind
	from, to   int
	failed     bool
}

type logSpec struct {
	span     uint64
	at       int
	body     string
	severity plog.SeverityNumber
}

func spanID(n uint64) (id [8]byte) {
	binary.BigEndian.PutUint64(id[:], n)
	return id
}

func at(ms int) pcommon.Timestamp {
	return pcommon.NewTimestampFromTime(epoch.Add(time.Duration(ms) * time.Millisecond))
}

func traceOf(t testing.TB, id otlp.TraceID, specs ...spanSpec) []byte {
	t.Helper()
	traces := ptrace.NewTraces()
	byService := map[string]ptrace.SpanSlice{}
	for _, spec := range specs {
		spans, ok := byService[spec.service]
		if !ok {
			resource := traces.ResourceSpans().AppendEmpty()
			resource.Resource().Attributes().PutStr("service.name", spec.service)
			spans = resource.ScopeSpans().AppendEmpty().Spans()
			byService[spec.service] = spans
		}
		s := spans.AppendEmpty()
		s.SetTraceID(pcommon.TraceID(id))
		s.SetSpanID(spanID(spec.id))
		s.SetParentSpanID(spanID(spec.parent))
		s.SetName(spec.name)
		s.SetKind(spec.kind)
		s.SetStartTimestamp(at(spec.from))
		s.SetEndTimestamp(at(spec.to))
		s.Attributes().PutStr("who", fmt.Sprintf("<b>span %d</b>", spec.id))
		if spec.failed {
			s.Status().SetCode(ptrace.StatusCodeError)
			e := s.Events().AppendEmpty()
			e.SetName("exception")
			e.SetTimestamp(at(spec.to))
			e.Attributes().PutStr("exception.message", "card <refused>")
		}
	}
	b, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(traces)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func logsOf(t testing.TB, id otlp.TraceID, specs ...logSpec) []byte {
	t.Helper()
	logs := plog.NewLogs()
	resource := logs.ResourceLogs().AppendEmpty()
	resource.Resource().Attributes().PutStr("service.name", "payment")
	records := resource.ScopeLogs().AppendEmpty().LogRecords()
	for _, spec := range specs {
		r := records.AppendEmpty()
		r.SetTraceID(pcommon.TraceID(id))
		r.SetSpanID(spanID(spec.span))
		r.SetTimestamp(at(spec.at))
		r.SetSeverityNumber(spec.severity)
		r.Body().SetStr(spec.body)
	}
	b, err := (&plog.ProtoMarshaler{}).MarshalLogs(logs)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
