package googletest

import (
	"context"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/logging/apiv2/loggingpb"
	"cloud.google.com/go/trace/apiv2/tracepb"
	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tailweir/otlp"
)

func retryAfter(err error) time.Duration {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.RetryInfo); ok {
			return info.RetryDelay.AsDuration()
		}
	}
	return 0
}

// A write that is repeated is one span; the same id with other content is a conflict, also by the other API.
func TestSpansAreStoredByID(t *testing.T) {
	f := start(t, Config{})
	other := newSpan()
	other.DisplayName = text("another")
	for _, sp := range []*tracepb.Span{newSpan(), newSpan(), other} {
		if err := f.writeSpans(t, sp); err != nil {
			t.Fatal(err)
		}
	}
	td := newTraces(1)
	for range 2 {
		if _, _, err := f.exportTraces(t, td); err != nil {
			t.Fatal(err)
		}
	}
	td.ResourceSpans().At(0).Resource().Attributes().PutStr("service.name", "x")
	if _, _, err := f.exportTraces(t, td); err != nil {
		t.Fatal(err)
	}
	spans := f.Spans()
	if len(spans) != 2 || spans[0].Writes != 3 || spans[1].Writes != 3 {
		t.Fatalf("spans: %+v", spans)
	}
	if spans[0].Project != "shop" || spans[0].Trace.String() != traceHex || spans[0].ID.String() != spanHex || spans[1].ID != (otlp.SpanID{1}) {
		t.Errorf("ids: %+v", spans)
	}
	var ids []string
	for _, c := range f.Conflicts() {
		ids = append(ids, c.ID)
		if c.Was == "" || c.Was == c.Is {
			t.Errorf("conflict of %q and %q", c.Was, c.Is)
		}
	}
	want := []string{"projects/shop/traces/" + traceHex + "/spans/" + spanHex, "projects/shop/traces/01000000000000000000000000000000/spans/0100000000000000"}
	if diff := cmp.Diff(want, ids); diff != "" {
		t.Errorf("conflicts (-want +got):\n%s", diff)
	}
	if st := f.Stats(); st.Spans != 6 || st.Repeats != 4 || st.Conflicts != 2 || st.Requests[CloudTrace] != 3 || st.Requests[Telemetry] != 3 || st.Answers[codes.OK] != 6 {
		t.Errorf("stats: %+v", st)
	}
}

// Project, timestamp and insert id are an entry's identity in a query, not the log.
func TestEntriesAreStoredByID(t *testing.T) {
	f := start(t, Config{})
	for _, tt := range []struct {
		name             string
		set              func(*loggingpb.LogEntry)
		entries, discord int // afterwards
	}{
		{"first", func(*loggingpb.LogEntry) {}, 1, 0},
		{"repeat", func(*loggingpb.LogEntry) {}, 1, 0},
		{"other insert id", func(e *loggingpb.LogEntry) { e.InsertId = "two" }, 2, 0},
		{"other time", func(e *loggingpb.LogEntry) { e.Timestamp = timestamppb.New(today.Add(1)) }, 3, 0},
		{"other project", func(e *loggingpb.LogEntry) { e.LogName = "projects/other/logs/app" }, 4, 0},
		{"other severity", func(e *loggingpb.LogEntry) { e.Severity = 500 }, 4, 1},
		{"other log", func(e *loggingpb.LogEntry) { e.LogName = "projects/shop/logs/other" }, 4, 2},
		{"no insert id", func(e *loggingpb.LogEntry) { e.InsertId = "" }, 5, 2},
		{"no insert id again", func(e *loggingpb.LogEntry) { e.InsertId = "" }, 6, 2},
		{"no time", func(e *loggingpb.LogEntry) { e.Timestamp = nil }, 6, 2}, // the time of arrival, which is that of the tests
	} {
		e := newEntry()
		tt.set(e)
		if err := f.writeEntries(t, entries(e)); err != nil {
			t.Fatal(err)
		}
		if all, discord := f.Entries(), f.Conflicts(); len(all) != tt.entries || len(discord) != tt.discord {
			t.Errorf("%s: %d entries, %d conflicts, want %d and %d", tt.name, len(all), len(discord), tt.entries, tt.discord)
		}
	}
	if first := f.Entries()[0]; first.Writes != 5 {
		t.Errorf("the first entry was written %d times", first.Writes)
	}
}

func TestDiscardKeepsNothing(t *testing.T) {
	heard := 0
	f := start(t, Config{Discard: true, OnSpans: func(s []*tracepb.Span) error { heard += len(s); return nil }})
	if err := f.writeSpans(t, newSpan(), newSpan()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := f.exportTraces(t, newTraces(1)); err != nil {
		t.Fatal(err)
	}
	if st := f.Stats(); heard != 2 || st.Spans != 3 || len(f.Spans()) != 0 || len(f.Requests()) != 0 {
		t.Errorf("heard of %d, stats %+v, %d spans kept", heard, st, len(f.Spans()))
	}
}

// Unread requests are counted, whatever they exceed.
func TestUnread(t *testing.T) {
	f := start(t, Config{Unread: true, Quotas: map[API]Quota{CloudLogging: {PerSecond: 1, Burst: 5, Items: true}}})
	bad := newSpan()
	bad.Name = ""
	wantCode(t, "spans", f.writeSpans(t, newSpan(), bad), codes.OK)
	wantCode(t, "entries", f.writeEntries(t, numbered(7, 3)), codes.OK)
	wantCode(t, "entries over quota", f.writeEntries(t, numbered(1)), codes.ResourceExhausted)
	td := newTraces(2)
	newTraces(3).ResourceSpans().MoveAndAppendTo(td.ResourceSpans())
	_, _, err := f.exportTraces(t, td)
	wantCode(t, "OTLP spans", err, codes.OK)
	request, _ := plogotlp.NewExportRequestFromLogs(newLogs(4)).MarshalProto()
	_, err = f.export(t, exportLogs, request)
	wantCode(t, "OTLP records", err, codes.OK)
	for _, malformed := range [][]byte{{1<<3 | 2, 9}, {1<<3 | 2, 1, 0xff}, {0xff}} {
		_, err = f.export(t, exportLogs, malformed)
		wantCode(t, "malformed", err, codes.InvalidArgument)
	}
	if st := f.Stats(); st.Spans != 7 || st.Entries != 7 || st.Records != 4 || len(f.Spans())+len(f.Entries())+len(f.Records()) != 0 {
		t.Errorf("stats %+v", st)
	}
}

func TestQuota(t *testing.T) {
	var mu sync.Mutex
	now := today
	pass := func(d time.Duration) { mu.Lock(); defer mu.Unlock(); now = now.Add(d) }
	f := start(t, Config{
		Now:    func() time.Time { mu.Lock(); defer mu.Unlock(); return now },
		Quotas: map[API]Quota{CloudTrace: {PerSecond: 2, RetryInfo: 3 * time.Second}, CloudLogging: {PerSecond: 10, Burst: 5, Items: true}},
	})
	for i, want := range []codes.Code{codes.OK, codes.OK, codes.ResourceExhausted, codes.ResourceExhausted} {
		err := f.writeSpans(t, newSpan())
		wantCode(t, "write of spans", err, want)
		if i == 3 && retryAfter(err) != 3*time.Second {
			t.Errorf("retry info %v", retryAfter(err))
		}
	}
	pass(500 * time.Millisecond)
	wantCode(t, "half a second later", f.writeSpans(t, newSpan()), codes.OK)
	wantCode(t, "again", f.writeSpans(t, newSpan()), codes.ResourceExhausted)
	if n := len(f.Spans()); n != 1 || f.Spans()[0].Writes != 3 {
		t.Errorf("spans: %+v", f.Spans())
	}

	f.Inject(Fault{API: CloudTrace, Count: 1, Code: codes.Internal})
	wantCode(t, "a fault, but no quota", f.writeSpans(t, newSpan()), codes.ResourceExhausted)

	wantCode(t, "25 entries", f.writeEntries(t, numbered(25)), codes.OK) // a debt of 20
	pass(2 * time.Second)
	err := f.writeEntries(t, numbered(1))
	wantCode(t, "in debt", err, codes.ResourceExhausted)
	if retryAfter(err) != 0 {
		t.Errorf("retry info %v", retryAfter(err))
	}
	pass(99 * time.Millisecond)
	wantCode(t, "too early", f.writeEntries(t, numbered(1)), codes.ResourceExhausted)
	pass(time.Millisecond)
	wantCode(t, "debt paid", f.writeEntries(t, numbered(1)), codes.OK)
	f.SetQuota(CloudTrace, Quota{})
	wantCode(t, "the fault", f.writeSpans(t, newSpan()), codes.Internal)
	wantCode(t, "no quota", f.writeSpans(t, newSpan()), codes.OK)
}

func TestFaults(t *testing.T) {
	for _, tt := range []struct {
		name    string
		fault   Fault
		answers []codes.Code // to requests with a deadline
		written []int        // by then
	}{
		{"count", Fault{Count: 2, Code: codes.Unavailable}, []codes.Code{codes.Unavailable, codes.Unavailable, codes.OK}, []int{0, 0, 1}},
		{"skip", Fault{Skip: 1, Count: 1, Code: codes.Internal}, []codes.Code{codes.OK, codes.Internal, codes.OK}, []int{1, 1, 2}},
		{"done, then an error", Fault{Count: 1, Code: codes.Internal, After: true}, []codes.Code{codes.Internal, codes.OK}, []int{1, 2}},
		{"hang", Fault{Count: 1, Hang: true}, []codes.Code{codes.DeadlineExceeded, codes.OK}, []int{0, 1}},
		{"done, then silence", Fault{Count: 1, Hang: true, After: true}, []codes.Code{codes.DeadlineExceeded}, []int{1}},
		{"slow", Fault{Count: 1, Delay: time.Millisecond}, []codes.Code{codes.OK}, []int{1}},
		{"slower than the client waits", Fault{Count: 1, Delay: time.Hour}, []codes.Code{codes.DeadlineExceeded}, []int{0}},
		{"of another API", Fault{API: CloudLogging, Code: codes.Internal}, []codes.Code{codes.OK}, []int{1}},
		{"for ever", Fault{API: CloudTrace, Code: codes.Internal}, []codes.Code{codes.Internal, codes.Internal, codes.Internal}, []int{0, 0, 0}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := start(t, Config{})
			f.Inject(tt.fault)
			client := tracepb.NewTraceServiceClient(f.conn)
			for i, want := range tt.answers {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				if !tt.fault.Hang && tt.fault.Delay < time.Hour {
					ctx = t.Context()
				}
				_, err := client.BatchWriteSpans(ctx, &tracepb.BatchWriteSpansRequest{Name: "projects/shop", Spans: []*tracepb.Span{newSpan()}})
				cancel()
				wantCode(t, "answer", err, want)
				if n := f.Stats().Spans; n != tt.written[i] {
					t.Errorf("after request %d: %d spans written, want %d", i, n, tt.written[i])
				}
			}
			f.Heal()
			wantCode(t, "healed", f.writeSpans(t, newSpan()), codes.OK)
		})
	}
}

func TestDecide(t *testing.T) {
	f := start(t, Config{Decide: func(c Call) *Fault {
		if c.API == CloudTrace && c.N == 2 && c.Items == 1 && c.Bytes > 50 {
			return &Fault{Code: codes.Unavailable, Message: "not now", RetryInfo: time.Second}
		}
		return nil
	}})
	wantCode(t, "first", f.writeSpans(t, newSpan()), codes.OK)
	err := f.writeSpans(t, newSpan())
	wantCode(t, "second", err, codes.Unavailable)
	if retryAfter(err) != time.Second || status.Convert(err).Message() != "not now" {
		t.Errorf("second: %v", err)
	}
	wantCode(t, "third", f.writeSpans(t, newSpan()), codes.OK)
	wantCode(t, "entries", f.writeEntries(t, entries(newEntry())), codes.OK)
}

func TestOutageAndRestart(t *testing.T) {
	f := start(t, Config{})
	f.SetOutage(true)
	wantCode(t, "outage", f.writeSpans(t, newSpan()), codes.Unavailable)
	f.SetOutage(false)
	wantCode(t, "after it", f.writeSpans(t, newSpan()), codes.OK)

	f.Inject(Fault{Count: 1, Hang: true, After: true})
	cut := make(chan error)
	go func() { cut <- f.writeSpans(t, newSpan()) }()
	for f.Stats().Spans < 2 {
		time.Sleep(time.Millisecond)
	}
	addr := f.Addr()
	if err := f.Restart(); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "request under way", <-cut, codes.Unavailable)
	_, err := tracepb.NewTraceServiceClient(f.conn).BatchWriteSpans(t.Context(), &tracepb.BatchWriteSpansRequest{Name: "projects/shop", Spans: []*tracepb.Span{newSpan()}}, grpc.WaitForReady(true))
	wantCode(t, "after it", err, codes.OK)
	if f.Addr() != addr || len(f.Spans()) != 1 || f.Spans()[0].Writes != 3 {
		t.Errorf("at %s, before at %s: %+v", f.Addr(), addr, f.Spans())
	}
}

func TestQuotaProjectAndRequests(t *testing.T) {
	f := start(t, Config{QuotaProject: "payer", Record: true})
	wantCode(t, "no header", f.writeSpans(t, newSpan()), codes.PermissionDenied)
	client := tracepb.NewTraceServiceClient(f.conn)
	for project, code := range map[string]codes.Code{"other": codes.PermissionDenied, "payer": codes.OK} {
		ctx := metadata.AppendToOutgoingContext(t.Context(), "x-goog-user-project", project)
		_, err := client.BatchWriteSpans(ctx, &tracepb.BatchWriteSpansRequest{Name: "projects/shop", Spans: []*tracepb.Span{newSpan()}}, grpc.UseCompressor(gzip.Name))
		wantCode(t, project, err, code)
	}
	for _, r := range f.Requests()[1:] {
		want := codes.PermissionDenied
		if r.Header["x-goog-user-project"][0] == "payer" {
			want = codes.OK
		}
		if m, ok := r.Message.(*tracepb.BatchWriteSpansRequest); !ok || len(m.Spans) != 1 || r.Encoding != "gzip" || !r.Answered || r.Code != want {
			t.Errorf("request %+v, want code %v", r, want)
		}
	}
}
