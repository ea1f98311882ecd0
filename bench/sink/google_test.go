package sink

import (
	"encoding/binary"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/logging/apiv2/loggingpb"
	"cloud.google.com/go/trace/apiv2/tracepb"
	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/genproto/googleapis/api/monitoredres"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tailweir/bench/ledger"
	"tailweir/exporter/googletest"
)

var seven = ledger.Identity{Run: 1, Number: 7, Spans: 40, Error: true}

func spanOf(identity ledger.Identity, i int, name string, attributes ...string) *tracepb.Span {
	id := fmt.Sprintf("%016x", ledger.SpanID(identity.High(), i))
	a := map[string]*tracepb.AttributeValue{}
	for _, k := range attributes {
		a[k] = &tracepb.AttributeValue{Value: &tracepb.AttributeValue_StringValue{StringValue: &tracepb.TruncatableString{Value: "ot=th:e666"}}}
	}
	return &tracepb.Span{
		Name: fmt.Sprintf("projects/bench/traces/%x/spans/%s", identity.TraceID(), id), SpanId: id,
		DisplayName: &tracepb.TruncatableString{Value: name}, StartTime: timestamppb.Now(), EndTime: timestamppb.Now(), Attributes: &tracepb.Span_Attributes{AttributeMap: a},
	}
}

// entryOf is of the n-th span that has a record.
func entryOf(identity ledger.Identity, n int, insertID string, sampled bool) *loggingpb.LogEntry {
	i := 0
	for left := n; left > 0 || !ledger.HasRecord(identity.High(), i); i++ {
		if ledger.HasRecord(identity.High(), i) {
			left--
		}
	}
	return &loggingpb.LogEntry{
		LogName: "projects/bench/logs/app", Resource: &monitoredres.MonitoredResource{Type: "global"}, Timestamp: timestamppb.New(start), InsertId: insertID,
		Trace: fmt.Sprintf("projects/bench/traces/%x", identity.TraceID()), SpanId: fmt.Sprintf("%016x", ledger.SpanID(identity.High(), i)), TraceSampled: sampled,
	}
}

var start = time.Now()

// clients are of a sink's fakes.
func clients(t *testing.T, s *Sink) (tracepb.TraceServiceClient, loggingpb.LoggingServiceV2Client, *grpc.ClientConn) {
	t.Helper()
	if err := s.ServeGoogle("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient(s.Google.Addr(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(); s.Google.Close() })
	return tracepb.NewTraceServiceClient(conn), loggingpb.NewLoggingServiceV2Client(conn), conn
}

// What came by any of Google's APIs is known, and is still known after the death of the process.
func TestGoogleIsNotedAndSurvives(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	var s Sink
	if err := s.OpenJournal(path); err != nil {
		t.Fatal(err)
	}
	traces, logs, conn := clients(t, &s)
	spans := func(all ...*tracepb.Span) {
		t.Helper()
		if _, err := traces.BatchWriteSpans(t.Context(), &tracepb.BatchWriteSpansRequest{Name: "projects/bench", Spans: all}); err != nil {
			t.Fatal(err)
		}
	}
	entries := func(all ...*loggingpb.LogEntry) {
		t.Helper()
		if _, err := logs.WriteLogEntries(t.Context(), &loggingpb.WriteLogEntriesRequest{Entries: all}); err != nil {
			t.Fatal(err)
		}
	}
	first, second := spanOf(seven, 0, "first", "a", "b", "c", "d", "e"), spanOf(seven, 1, "second")
	spans(first, second)
	spans(first)                       // a repeat
	spans(spanOf(seven, 1, "renamed")) // a conflict
	entries(entryOf(seven, 0, "a", true), entryOf(seven, 1, "b", true))
	entries(entryOf(seven, 0, "a", true)) // a repeat
	entries(entryOf(seven, 1, "c", true)) // one record, two entries
	entries(entryOf(seven, 2, "a", true)) // two records, one entry
	if _, err := ptraceotlp.NewGRPCClient(conn).Export(t.Context(), ptraceotlp.NewExportRequestFromTraces(tracesOf(seven, 2))); err != nil {
		t.Fatal(err)
	}
	if _, err := plogotlp.NewGRPCClient(conn).Export(t.Context(), plogotlp.NewExportRequestFromLogs(logsOf(entryOf(seven, 3, "", false)))); err != nil {
		t.Fatal(err)
	}

	want := ledger.Counts{Traces: 1, Spans: 3, DuplicateSpans: 2, Records: 4, DuplicateRecords: 2, Altered: 3, Split: 1}
	if diff := cmp.Diff(want, s.Seen.Counts()); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	var again Sink
	if err := again.OpenJournal(path); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, again.Seen.Counts()); diff != "" {
		t.Errorf("counts after a death (-want +got):\n%s", diff)
	}
}

// tracesOf has one span, with the project and the start that the API asks for.
func tracesOf(id ledger.Identity, i int) ptrace.Traces {
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr(googletest.AttrProject, "bench")
	sp := rs.ScopeSpans().AppendEmpty().Spans().AppendEmpty()
	sp.SetTraceID(id.TraceID())
	sp.SetSpanID([8]byte(binary.BigEndian.AppendUint64(nil, ledger.SpanID(id.High(), i))))
	sp.SetStartTimestamp(pcommon.NewTimestampFromTime(start))
	return td
}

// logsOf has one record.
func logsOf(e *loggingpb.LogEntry) plog.Logs {
	ld := plog.NewLogs()
	rl := ld.ResourceLogs().AppendEmpty()
	rl.Resource().Attributes().PutStr(googletest.AttrProject, "bench")
	r := rl.ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
	r.SetTraceID([16]byte(unhex(e.Trace[len(e.Trace)-32:])))
	r.SetSpanID([8]byte(unhex(e.SpanId)))
	return ld
}

// A record says of its trace what its entry's flag says, and a span's state is read where the exporter puts it.
func TestGoogleSaysWhatBecameOfTraces(t *testing.T) {
	run, n := ledger.Run{ID: 1, Seed: 1}, uint32(0)
	for id := run.Plan(n); id.Error || id.Slow || id.Verdict(10) != ledger.Keep || id.Records() == 0; id = run.Plan(n) {
		n++
	}
	id := run.Plan(n).Identity
	for _, tt := range []struct {
		name, state string
		sampled     bool
		want        ledger.Proof // of these counters
	}{
		{"all well", attrState, true, ledger.Proof{}},
		{"no state", "another", true, ledger.Proof{Uncounted: 1}},
		{"not sampled, it says", attrState, false, ledger.Proof{Contradicted: 1}},
	} {
		var s Sink
		var spans []*tracepb.Span
		for i := range id.Spans {
			spans = append(spans, spanOf(id, i, "x", tt.state))
		}
		if err := addAll(&s, kindSpans, spansField, spans); err != nil {
			t.Fatal(err)
		}
		if err := addAll(&s, kindEntries, entriesField, []*loggingpb.LogEntry{entryOf(id, 0, "a", tt.sampled)}); err != nil {
			t.Fatal(err)
		}
		p := s.Seen.Prove(ledger.Sent{Run: run, Traces: n + 1}, ledger.Expect{Percent: 10})
		if got := (ledger.Proof{Uncounted: p.Uncounted, Contradicted: p.Contradicted}); !cmp.Equal(tt.want, got) {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

func TestGoogleIsControlled(t *testing.T) {
	var s Sink
	traces, _, _ := clients(t, &s)
	h := s.Handler()
	post := func(path, body string) int {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, path, strings.NewReader(body)))
		return w.Code
	}
	write := func() codes.Code {
		_, err := traces.BatchWriteSpans(t.Context(), &tracepb.BatchWriteSpansRequest{Name: "projects/bench"})
		return status.Code(err)
	}
	for _, step := range []struct {
		path, body string
		status     int
		want       codes.Code
	}{
		{"/google/fault", `{"API": "cloudtrace", "Code": 13}`, 200, codes.Internal},
		{"/google/heal", ``, 200, codes.OK},
		{"/google/quota", `{"API": "cloudtrace", "Quota": {"PerSecond": 0.001, "Burst": 1}}`, 200, codes.OK},
		{"/google/fault", `{`, 400, codes.ResourceExhausted},
		{"/google/quota", `{"API": "cloudtrace"}`, 200, codes.OK},
	} {
		if got := post(step.path, step.body); got != step.status {
			t.Errorf("%s %s: status %d", step.path, step.body, got)
		}
		if got := write(); got != step.want {
			t.Errorf("after %s %s: %v, want %v", step.path, step.body, got, step.want)
		}
	}
	if s.Google.Stats().Requests["cloudtrace"] != 5 {
		t.Errorf("%+v", s.Google.Stats())
	}
	w := httptest.NewRecorder()
	new(Sink).Handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/google/heal", nil))
	if w.Code != http.StatusNotFound {
		t.Errorf("a sink without the fakes answers %d", w.Code)
	}
}
