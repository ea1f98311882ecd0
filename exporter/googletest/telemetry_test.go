package googletest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc/codes"

	"tailweir/otlp"
)

const (
	exportTraces = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
	exportLogs   = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
)

// newTraces has one resource with n spans, numbered from 1.
func newTraces(n int) ptrace.Traces {
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr("gcp.project_id", "shop")
	spans := rs.ScopeSpans().AppendEmpty().Spans()
	for i := range n {
		sp := spans.AppendEmpty()
		sp.SetTraceID(pcommon.TraceID{1})
		sp.SetSpanID(pcommon.SpanID{byte(i + 1)})
		sp.SetName("GET /orders")
		sp.SetStartTimestamp(pcommon.NewTimestampFromTime(today))
	}
	return td
}

func spanOf(td ptrace.Traces, i int) ptrace.Span {
	return td.ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(i)
}

func (f *fake) exportTraces(t *testing.T, td ptrace.Traces) (rejected int64, message string, err error) {
	request, err := ptraceotlp.NewExportRequestFromTraces(td).MarshalProto()
	if err != nil {
		t.Fatal(err)
	}
	response, err := f.export(t, exportTraces, request)
	res := ptraceotlp.NewExportResponse()
	if err := res.UnmarshalProto(response); err != nil {
		t.Fatal(err)
	}
	return res.PartialSuccess().RejectedSpans(), res.PartialSuccess().ErrorMessage(), err
}

func put(m pcommon.Map, n, key, value int) {
	for i := range n {
		m.PutStr(fmt.Sprintf("%0*d", key, i), long(value))
	}
}

// Each limit is just met by one of two spans, and just exceeded.
func TestTelemetryLimits(t *testing.T) {
	f := start(t, Config{})
	for _, tt := range []struct {
		name  string
		limit int
		set   func(sp ptrace.Span, n int)
	}{
		{"name", 1024, func(sp ptrace.Span, n int) { sp.SetName(long(n)) }},
		{"attributes", 1024, func(sp ptrace.Span, n int) { put(sp.Attributes(), n, 5, 1) }},
		{"attribute key", 512, func(sp ptrace.Span, n int) { put(sp.Attributes(), 1, n, 1) }},
		{"attribute value", 65_536, func(sp ptrace.Span, n int) { put(sp.Attributes(), 1, 1, n) }},
		{"attribute value of bytes", 65_536, func(sp ptrace.Span, n int) { sp.Attributes().PutEmptyBytes("b").FromRaw(make([]byte, n)) }},
		{"attribute value of strings", 65_536, func(sp ptrace.Span, n int) { // as JSON
			sp.Attributes().PutEmptySlice("s").AppendEmpty().SetStr(long(n - len(`[""]`)))
		}},
		{"events", 256, func(sp ptrace.Span, n int) {
			for range n {
				sp.Events().AppendEmpty()
			}
		}},
		{"event attributes", 1024, func(sp ptrace.Span, n int) { put(sp.Events().AppendEmpty().Attributes(), n, 5, 1) }},
		{"links", 128, func(sp ptrace.Span, n int) {
			for range n {
				sp.Links().AppendEmpty()
			}
		}},
		{"link attributes", 1024, func(sp ptrace.Span, n int) { put(sp.Links().AppendEmpty().Attributes(), n, 5, 1) }},
		{"past", int(14 * 24 * time.Hour), func(sp ptrace.Span, n int) {
			sp.SetStartTimestamp(pcommon.NewTimestampFromTime(today.Add(-time.Duration(n))))
		}},
		{"future", int(3 * 24 * time.Hour), func(sp ptrace.Span, n int) {
			sp.SetStartTimestamp(pcommon.NewTimestampFromTime(today.Add(time.Duration(n))))
		}},
	} {
		for over := range 2 {
			td := newTraces(2)
			tt.set(spanOf(td, 1), tt.limit+over)
			before := f.Stats().Spans
			rejected, message, err := f.exportTraces(t, td)
			wantCode(t, tt.name, err, codes.OK)
			if rejected != int64(over) || (message != "") != (over == 1) || f.Stats().Spans-before != 2-over {
				t.Errorf("%s %d: %d spans rejected, %q, %d written", tt.name, tt.limit+over, rejected, message, f.Stats().Spans-before)
			}
		}
	}
}

// What exceeds a limit together is refused together.
func TestTelemetryResourceLimits(t *testing.T) {
	f := start(t, Config{})
	resource := func(n int) func(ptrace.Traces) {
		return func(td ptrace.Traces) { put(td.ResourceSpans().At(0).Resource().Attributes(), n, 5, 1) }
	}
	for _, tt := range []struct {
		name     string
		set      func(ptrace.Traces)
		rejected int64
	}{
		{"1024 resource attributes", resource(1023), 0}, // and the project
		{"1025 resource attributes", resource(1024), 9},
		{"8192 in all", func(td ptrace.Traces) {
			resource(255)(td)
			for i := range 8 {
				put(spanOf(td, i).Attributes(), 992, 5, 1)
			}
		}, 0},
		{"8193 in all", func(td ptrace.Traces) {
			resource(256)(td)
			for i := range 8 {
				put(spanOf(td, i).Attributes(), 992, 5, 1)
			}
		}, 9},
		{"one span without id", func(td ptrace.Traces) { spanOf(td, 4).SetSpanID(pcommon.SpanID{}) }, 1},
		{"empty key", func(td ptrace.Traces) { spanOf(td, 4).Attributes().PutBool("", true) }, 1},
		{"not UTF-8", func(td ptrace.Traces) { spanOf(td, 4).SetName("\xff") }, 1},
	} {
		td := newTraces(9)
		tt.set(td)
		if rejected, message, err := f.exportTraces(t, td); err != nil || rejected != tt.rejected {
			t.Errorf("%s: %d spans rejected (%s), %v, want %d", tt.name, rejected, message, err, tt.rejected)
		}
	}
	td := newTraces(1)
	newTraces(1).ResourceSpans().MoveAndAppendTo(td.ResourceSpans())
	td.ResourceSpans().At(1).Resource().Attributes().Clear()
	_, _, err := f.exportTraces(t, td)
	wantCode(t, "a resource without project", err, codes.InvalidArgument)
}

func newLogs(n int) plog.Logs {
	ld := plog.NewLogs()
	rl := ld.ResourceLogs().AppendEmpty()
	rl.Resource().Attributes().PutStr("gcp.project_id", "shop")
	records := rl.ScopeLogs().AppendEmpty().LogRecords()
	for i := range n {
		r := records.AppendEmpty()
		r.SetTimestamp(pcommon.NewTimestampFromTime(today))
		r.Body().SetStr(fmt.Sprint("record ", i))
	}
	return ld
}

func TestTelemetryRecords(t *testing.T) {
	f := start(t, Config{})
	for _, tt := range []struct {
		name  string
		limit int
		set   func(r plog.LogRecord, n int)
	}{
		{"size", 256_000, func(r plog.LogRecord, n int) {
			r.Body().SetStr(long(n - 1000))
			r.Body().SetStr(long(n - 1000 + n - recordSize(r)))
		}},
		{"attribute key", 512, func(r plog.LogRecord, n int) { put(r.Attributes(), 1, n, 1) }},
		{"past", int(30 * 24 * time.Hour), func(r plog.LogRecord, n int) {
			r.SetTimestamp(0)
			r.SetObservedTimestamp(pcommon.NewTimestampFromTime(today.Add(-time.Duration(n))))
		}},
		{"future", int(24 * time.Hour), func(r plog.LogRecord, n int) {
			r.SetTimestamp(pcommon.NewTimestampFromTime(today.Add(time.Duration(n))))
		}},
	} {
		for over := range 2 {
			ld := newLogs(2)
			tt.set(ld.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0), tt.limit+over)
			request, _ := plogotlp.NewExportRequestFromLogs(ld).MarshalProto()
			before := f.Stats().Records
			response, err := f.export(t, exportLogs, request)
			wantCode(t, tt.name, err, codes.OK)
			res := plogotlp.NewExportResponse()
			if err := res.UnmarshalProto(response); err != nil {
				t.Fatal(err)
			}
			if n := res.PartialSuccess().RejectedLogRecords(); n != int64(over) || f.Stats().Records-before != 2-over {
				t.Errorf("%s %d: %d rejected, %d written", tt.name, tt.limit+over, n, f.Stats().Records-before)
			}
		}
	}
}

// Records have no ids: the same bytes twice are one, written twice.
func TestTelemetryRecordsAreStoredByContent(t *testing.T) {
	f := start(t, Config{})
	for _, n := range []int{1, 2} {
		request, _ := plogotlp.NewExportRequestFromLogs(newLogs(n)).MarshalProto()
		if _, err := f.export(t, exportLogs, request); err != nil {
			t.Fatal(err)
		}
	}
	var writes []int
	for _, r := range f.Records() {
		writes = append(writes, r.Writes)
	}
	if diff := cmp.Diff([]int{2, 1}, writes); diff != "" || f.Stats().Repeats != 1 {
		t.Errorf("writes (-want +got):\n%s\n%+v", diff, f.Stats())
	}
}

func recordSize(r plog.LogRecord) int {
	ld := newLogs(1)
	r.CopyTo(ld.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0))
	request, _ := plogotlp.NewExportRequestFromLogs(ld).MarshalProto()
	var p otlp.Payload
	if err := p.Scan(otlp.Logs, request); err != nil {
		panic(err) // pdata wrote it
	}
	return p.Record(0).Size()
}

func TestTelemetryRefusesWhatItCannotRead(t *testing.T) {
	f := start(t, Config{})
	_, err := f.export(t, exportTraces, []byte{1<<3 | 2, 200})
	wantCode(t, "cut off", err, codes.InvalidArgument)
	_, err = f.export(t, strings.Replace(exportTraces, "trace", "metrics", 1), nil)
	wantCode(t, "metrics", err, codes.Unimplemented)
}

// Hooks and records have the bytes as they came, without what was refused.
func TestTelemetryKeepsBytes(t *testing.T) {
	var heard []byte
	f := start(t, Config{Record: true, OnExport: func(_ otlp.Signal, b []byte) error { heard = b; return nil }})
	td := newTraces(2)
	whole, _ := ptraceotlp.NewExportRequestFromTraces(td).MarshalProto()
	whole = append(whole, 99<<3&0x7f|0x80, 6, 1) // a field that nobody knows: 99, a varint
	if _, err := f.export(t, exportTraces, whole); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([][]byte{whole, whole}, [][]byte{heard, f.Requests()[0].OTLP}); diff != "" {
		t.Errorf("bytes (-want +got):\n%s", diff)
	}
	spanOf(td, 0).SetName(long(2000))
	if _, _, err := f.exportTraces(t, td); err != nil {
		t.Fatal(err)
	}
	var p otlp.Payload
	if err := p.Scan(otlp.Traces, heard); err != nil || p.Len() != 1 || p.Span(0).SpanID() != (otlp.SpanID{2}) {
		t.Errorf("after a refusal %d spans were heard of, %v", p.Len(), err)
	}
	heard = nil
	spanOf(td, 1).SetName(long(2000))
	if _, _, err := f.exportTraces(t, td); err != nil || heard != nil {
		t.Errorf("of a request without an acceptable span %d B were heard of, %v", len(heard), err)
	}
}
