package googletest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"cloud.google.com/go/logging/apiv2/loggingpb"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/api/monitoredres"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
)

func entries(all ...*loggingpb.LogEntry) *loggingpb.WriteLogEntriesRequest {
	return &loggingpb.WriteLogEntriesRequest{Entries: all}
}

func labels(n, key, value int) map[string]string {
	m := map[string]string{}
	for i := range n {
		m[fmt.Sprintf("%0*d", key, i)] = long(value)
	}
	return m
}

// Each limit is just met, and just exceeded.
func TestCloudLoggingLimits(t *testing.T) {
	f := start(t, Config{})
	for _, tt := range []struct {
		name  string
		limit int
		set   func(e *loggingpb.LogEntry, n int)
	}{
		{"size", 256_000, func(e *loggingpb.LogEntry, n int) {
			grow(e, func(s string) { e.Payload = &loggingpb.LogEntry_TextPayload{TextPayload: s} })(n)
		}},
		{"labels", 64, func(e *loggingpb.LogEntry, n int) { e.Labels = labels(n, 3, 1) }},
		{"label key", 512, func(e *loggingpb.LogEntry, n int) { e.Labels = labels(1, n, 1) }},
		{"label value", 64_000, func(e *loggingpb.LogEntry, n int) { e.Labels = labels(1, 1, n) }},
		{"log id", 511, func(e *loggingpb.LogEntry, n int) { e.LogName = "projects/shop/logs/" + long(n) }},
		{"insert id", 512, func(e *loggingpb.LogEntry, n int) { e.InsertId = long(n) }},
		{"past", int(30 * 24 * time.Hour), func(e *loggingpb.LogEntry, n int) { e.Timestamp = timestamppb.New(today.Add(-time.Duration(n))) }},
		{"future", int(24 * time.Hour), func(e *loggingpb.LogEntry, n int) { e.Timestamp = timestamppb.New(today.Add(time.Duration(n))) }},
	} {
		met, exceeded := newEntry(), newEntry()
		tt.set(met, tt.limit)
		tt.set(exceeded, tt.limit+1)
		wantCode(t, tt.name+" met", f.writeEntries(t, entries(met)), codes.OK)
		written := f.Stats().Entries
		wantCode(t, tt.name+" exceeded", f.writeEntries(t, entries(newEntry(), exceeded)), codes.InvalidArgument)
		if n := f.Stats().Entries; n != written {
			t.Errorf("%s: %d entries of a refused request were written", tt.name, n-written)
		}
	}
}

func TestCloudLoggingFormats(t *testing.T) {
	f := start(t, Config{})
	const trace = "projects/shop/traces/" + traceHex
	for _, tt := range []struct {
		name string
		set  func(*loggingpb.LogEntry)
		code codes.Code
	}{
		{"as it should be", func(*loggingpb.LogEntry) {}, codes.OK},
		{"encoded log id", func(e *loggingpb.LogEntry) { e.LogName = "organizations/12/logs/run.googleapis.com%2Fstdout" }, codes.OK},
		{"log id with a slash", func(e *loggingpb.LogEntry) { e.LogName = "projects/shop/logs/run/stdout" }, codes.InvalidArgument},
		{"log id with a space", func(e *loggingpb.LogEntry) { e.LogName = "projects/shop/logs/a%20b" }, codes.InvalidArgument},
		{"log id not encoded", func(e *loggingpb.LogEntry) { e.LogName = "projects/shop/logs/a%2" }, codes.InvalidArgument},
		{"no log id", func(e *loggingpb.LogEntry) { e.LogName = "projects/shop/logs/" }, codes.InvalidArgument},
		{"no project", func(e *loggingpb.LogEntry) { e.LogName = "projects//logs/app" }, codes.InvalidArgument},
		{"no log name", func(e *loggingpb.LogEntry) { e.LogName = "" }, codes.InvalidArgument},
		{"no resource", func(e *loggingpb.LogEntry) { e.Resource = nil }, codes.InvalidArgument},
		{"no resource type", func(e *loggingpb.LogEntry) { e.Resource.Type = "" }, codes.InvalidArgument},
		{"no time, no insert id", func(e *loggingpb.LogEntry) { e.Timestamp, e.InsertId = nil, "" }, codes.OK},
		{"not a time", func(e *loggingpb.LogEntry) { e.Timestamp.Nanos = -1 }, codes.InvalidArgument},
		{"insert id", func(e *loggingpb.LogEntry) { e.InsertId = "aZ09-_." }, codes.OK},
		{"insert id with a slash", func(e *loggingpb.LogEntry) { e.InsertId = "a/b" }, codes.InvalidArgument},
		{"empty label key", func(e *loggingpb.LogEntry) { e.Labels = map[string]string{"": "x"} }, codes.InvalidArgument},
		{"severity", func(e *loggingpb.LogEntry) { e.Severity = 500 }, codes.OK},
		{"unknown severity", func(e *loggingpb.LogEntry) { e.Severity = 17 }, codes.InvalidArgument},
		{"trace", func(e *loggingpb.LogEntry) { e.Trace, e.SpanId = trace, spanHex }, codes.OK},
		{"bare trace id", func(e *loggingpb.LogEntry) { e.Trace = traceHex }, codes.InvalidArgument},
		{"short span id", func(e *loggingpb.LogEntry) { e.SpanId = "aa" }, codes.InvalidArgument},
	} {
		e := newEntry()
		tt.set(e)
		wantCode(t, tt.name, f.writeEntries(t, entries(e)), tt.code)
	}
}

func TestCloudLoggingRequests(t *testing.T) {
	f := start(t, Config{Discard: true})
	r := new(loggingpb.WriteLogEntriesRequest)
	wantCode(t, "no entries", f.writeEntries(t, r), codes.InvalidArgument)
	for range 1000 {
		r.Entries = append(r.Entries, newEntry())
	}
	wantCode(t, "1000 entries", f.writeEntries(t, r), codes.OK)
	large := entries(r.Entries[:100]...)
	for _, e := range large.Entries {
		e.Payload = &loggingpb.LogEntry_TextPayload{TextPayload: long(99_500)}
	}
	size := grow(large, func(s string) { large.Entries[0].Payload = &loggingpb.LogEntry_TextPayload{TextPayload: s} })
	size(10_000_000)
	wantCode(t, "10 MB", f.writeEntries(t, large), codes.OK)
	size(10_000_001)
	wantCode(t, "10 MB and 1 B", f.writeEntries(t, large), codes.InvalidArgument)
	wantCode(t, "1001 entries", f.writeEntries(t, entries(append(r.Entries[100:], make101()...)...)), codes.InvalidArgument)
}

func make101() (all []*loggingpb.LogEntry) {
	for range 101 {
		all = append(all, newEntry())
	}
	return all
}

// numbered are entries whose ids are their indexes; those named exceed a limit.
func numbered(n int, bad ...int) *loggingpb.WriteLogEntriesRequest {
	r := new(loggingpb.WriteLogEntriesRequest)
	for i := range n {
		e := newEntry()
		e.InsertId = fmt.Sprint(i)
		r.Entries = append(r.Entries, e)
	}
	for _, i := range bad {
		r.Entries[i].Resource = nil
	}
	return r
}

// The semantics are those of logging.proto.
func TestPartialSuccess(t *testing.T) {
	for _, tt := range []struct {
		name    string
		request *loggingpb.WriteLogEntriesRequest
		partial bool
		fault   Fault
		code    codes.Code
		written []string
		details map[int32]codes.Code
	}{
		{name: "all good", request: numbered(3), partial: true, written: []string{"0", "1", "2"}},
		{name: "one bad", request: numbered(3, 1), partial: true, code: codes.InvalidArgument, written: []string{"0", "2"},
			details: map[int32]codes.Code{1: codes.InvalidArgument}},
		{name: "one bad, no partial success", request: numbered(3, 1), code: codes.InvalidArgument},
		{name: "all bad", request: numbered(2, 0, 1), partial: true, code: codes.InvalidArgument},
		{name: "chosen entries", request: numbered(4, 3), partial: true, fault: Fault{Entries: []int{0, 9}, Code: codes.PermissionDenied},
			code: codes.PermissionDenied, written: []string{"1", "2"}, details: map[int32]codes.Code{0: codes.PermissionDenied, 3: codes.InvalidArgument}},
		{name: "chosen entries that there are not", request: numbered(2), partial: true, fault: Fault{Entries: []int{2}, Code: codes.PermissionDenied},
			written: []string{"0", "1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := start(t, Config{})
			f.Inject(tt.fault)
			tt.request.PartialSuccess = tt.partial
			err := f.writeEntries(t, tt.request)
			wantCode(t, "answer", err, tt.code)
			var written []string
			for _, e := range f.Entries() {
				written = append(written, e.Message.InsertId)
			}
			if diff := cmp.Diff(tt.written, written); diff != "" {
				t.Errorf("written (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.details, details(err)); diff != "" {
				t.Errorf("details (-want +got):\n%s", diff)
			}
		})
	}
}

func details(err error) (byIndex map[int32]codes.Code) {
	for _, d := range status.Convert(err).Details() {
		if partial, ok := d.(*loggingpb.WriteLogEntriesPartialErrors); ok {
			byIndex = map[int32]codes.Code{}
			for i, st := range partial.LogEntryErrors {
				byIndex[i] = codes.Code(st.Code)
			}
		}
	}
	return byIndex
}

func TestRequestDefaultsAndDryRun(t *testing.T) {
	var heard []string
	f := start(t, Config{OnEntries: func(all []*loggingpb.LogEntry) error {
		for _, e := range all {
			heard = append(heard, e.LogName+" "+e.Resource.Type+" "+e.Labels["a"]+e.Labels["b"])
		}
		return nil
	}})
	own, bare := newEntry(), newEntry()
	own.Labels = map[string]string{"a": "own"}
	bare.LogName, bare.Resource, bare.InsertId = "", nil, "two"
	r := entries(own, bare)
	r.LogName, r.Resource, r.Labels = "projects/shop/logs/default", &monitoredres.MonitoredResource{Type: "global"}, map[string]string{"a": "1", "b": "2"}
	r.DryRun = true
	wantCode(t, "dry run", f.writeEntries(t, r), codes.OK)
	if len(heard)+len(f.Entries()) != 0 {
		t.Errorf("a dry run wrote %v", heard)
	}
	r.DryRun = false
	wantCode(t, "write", f.writeEntries(t, r), codes.OK)
	own.LogName, r.Labels = "", nil
	wantCode(t, "no default labels", f.writeEntries(t, r), codes.OK)
	if diff := cmp.Diff([]string{"projects/shop/logs/app generic_task own2", "projects/shop/logs/default global 12",
		"projects/shop/logs/default generic_task own", "projects/shop/logs/default global "}, heard); diff != "" {
		t.Errorf("heard (-want +got):\n%s", diff)
	}
}

func TestHookCanRefuse(t *testing.T) {
	f := start(t, Config{OnEntries: func([]*loggingpb.LogEntry) error { return errors.New("disk full") }})
	wantCode(t, "write", f.writeEntries(t, entries(newEntry())), codes.Unavailable)
	if n := len(f.Entries()); n != 0 {
		t.Errorf("%d entries stored", n)
	}
}
