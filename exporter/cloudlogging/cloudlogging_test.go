package cloudlogging

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"google.golang.org/grpc/codes"

	"tailweir/exporter"
	"tailweir/exporter/gcp"
	"tailweir/exporter/googletest"
	"tailweir/otlp"
)

var start = time.Now()

// serve starts a fake and an exporter to it that retries fast.
func serve(t testing.TB, c googletest.Config, change ...func(*Config)) (*googletest.Server, *CloudLogging) {
	t.Helper()
	s, err := googletest.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	config := Config{
		Dial:           gcp.Dial{Endpoint: s.Addr(), Insecure: true},
		Routes:         gcp.Routes{Project: "shop-logs"},
		InitialBackoff: time.Millisecond, MaxBackoff: 20 * time.Millisecond, Timeout: 10 * time.Second,
		Logger: slog.New(slog.DiscardHandler),
	}
	for _, f := range change {
		f(&config)
	}
	x, err := New(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.Close() })
	return s, x
}

// traces is a batch with a part for each number: that many records, "P/I" in its body, all of a message of their own.
func traces(t testing.TB, message uint64, sizes ...int) *exporter.Batch {
	t.Helper()
	b := &exporter.Batch{Signal: otlp.Logs}
	for p, n := range sizes {
		var set []func(plog.LogRecord)
		for i := range n {
			set = append(set, func(r plog.LogRecord) {
				r.SetTimestamp(pcommon.NewTimestampFromTime(start))
				r.SetTraceID(pcommon.TraceID{1, byte(p)})
				r.Body().SetStr(fmt.Sprintf("%d/%d/%d", message, p, i))
			})
		}
		payload := record(t, set...)
		b.Parts = append(b.Parts, exporter.Part{
			Trace: otlp.TraceID{1, byte(p)}, Kept: p%2 == 0, Decided: true, Items: n, Off: len(b.Payload), Len: len(payload),
			Sources: []exporter.Source{{Message: message, Items: n}},
		})
		b.Payload = append(b.Payload, payload...)
		b.Items += n
	}
	return b
}

// wantTexts fails unless the entries are those, each there once and never with two contents.
func wantTexts(t *testing.T, s *googletest.Server, want map[string]bool) {
	t.Helper()
	got := map[string]bool{}
	for _, e := range s.Entries() {
		if text := e.Message.GetTextPayload(); got[text] {
			t.Errorf("%s is there twice", text)
		} else {
			got[text] = true
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
	if c := s.Conflicts(); len(c) > 0 {
		t.Errorf("%d conflicts, first %+v", len(c), c[0])
	}
}

// texts are those of batches made by traces, without some.
func texts(message uint64, sizes []int, without ...string) map[string]bool {
	all := map[string]bool{}
	for p, n := range sizes {
		for i := range n {
			all[fmt.Sprintf("%d/%d/%d", message, p, i)] = true
		}
	}
	for _, w := range without {
		delete(all, w)
	}
	return all
}

// refusals are the places and reasons of those in err.
func refusals(t *testing.T, err error) (all []string) {
	t.Helper()
	if err == nil {
		return nil
	}
	var p *exporter.PermanentError
	if !errors.As(err, &p) {
		t.Fatalf("export: %v", err)
	}
	for _, r := range p.Refused {
		all = append(all, fmt.Sprintf("%d%v %s", r.Part, r.Items, r.Reason))
	}
	return all
}

// TestFaults: whatever befalls requests, each record is there once, or refused.
func TestFaults(t *testing.T) {
	sizes := []int{2, 1, 3}
	for _, test := range []struct {
		name     string
		faults   []googletest.Fault
		requests int
		refused  []string
		without  []string
		lost     bool // answers, so that entries are written again
	}{
		{name: "none", requests: 1},
		{name: "unavailable", faults: []googletest.Fault{{Code: codes.Unavailable, Count: 3}}, requests: 4},
		{name: "answers are lost", faults: []googletest.Fault{{Code: codes.Unavailable, Count: 2, After: true}}, requests: 3, lost: true},
		{name: "no answer", faults: []googletest.Fault{{Hang: true, Count: 1}}, requests: 2},
		{name: "quota", faults: []googletest.Fault{{Code: codes.ResourceExhausted, RetryInfo: 10 * time.Millisecond, Count: 3}}, requests: 4},
		{name: "internal", faults: []googletest.Fault{{Code: codes.Internal, Count: 3}}, requests: 4},
		{name: "refused as one, and pieces pass", faults: []googletest.Fault{{Code: codes.InvalidArgument, Count: 1}}, requests: 3},
		{name: "one record stands alone", faults: []googletest.Fault{{Code: codes.InvalidArgument, Count: 3}}, requests: 5,
			refused: []string{"0[0] rejected"}, without: []string{"7/0/0"}},
		{name: "some refused", faults: []googletest.Fault{{Code: codes.InvalidArgument, Entries: []int{1, 2, 4}, Count: 1}}, requests: 1,
			refused: []string{"0[1] rejected", "1[] rejected", "2[1] rejected"}, without: []string{"7/0/1", "7/1/0", "7/2/1"}},
		{name: "some unavailable", faults: []googletest.Fault{{Code: codes.Unavailable, Entries: []int{0, 5}, Count: 1}}, requests: 2},
		{name: "some unavailable, then one of these refused", faults: []googletest.Fault{{Code: codes.Unavailable, Entries: []int{0, 3, 5}, Count: 1},
			{Code: codes.InvalidArgument, Entries: []int{1}, Count: 1}}, requests: 2, refused: []string{"2[0] rejected"}, without: []string{"7/2/0"}},
		{name: "some unavailable, then these refused as one", faults: []googletest.Fault{{Code: codes.Unavailable, Entries: []int{0, 3, 5}, Count: 1},
			{Code: codes.InvalidArgument, Count: 3}}, requests: 5, refused: []string{"0[0] rejected"}, without: []string{"7/0/0"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, x := serve(t, googletest.Config{}, func(c *Config) { c.Timeout = 300 * time.Millisecond })
			s.Inject(test.faults...)
			got := refusals(t, x.Export(t.Context(), traces(t, 7, sizes...)))
			if diff := cmp.Diff(test.refused, got); diff != "" {
				t.Errorf("refusals (-want +got):\n%s", diff)
			}
			wantTexts(t, s, texts(7, sizes, test.without...))
			n := s.Stats().Requests[googletest.CloudLogging]
			if n != test.requests || x.Stats().Attempts != int64(n) {
				t.Errorf("%d requests in %d attempts, want %d", n, x.Stats().Attempts, test.requests)
			}
			if n := s.Stats().Repeats; n > 0 && !test.lost {
				t.Errorf("%d entries were written again", n)
			}
			if got := x.Stats().Refused[exporter.ReasonRejected]; got != int64(len(test.without)) {
				t.Errorf("%d records counted as refused", got)
			}
		})
	}
}

// TestRepeats: a batch exported again, in the company of others, is the same entries.
func TestRepeats(t *testing.T) {
	s, x := serve(t, googletest.Config{})
	for _, b := range []*exporter.Batch{traces(t, 7, 2, 3), traces(t, 7, 2, 3), traces(t, 8, 2, 3)} {
		if err := x.Export(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	want := texts(7, []int{2, 3})
	for k := range texts(8, []int{2, 3}) {
		want[k] = true
	}
	wantTexts(t, s, want)
	if n := s.Stats().Repeats; n != 5 {
		t.Errorf("%d repeats, want 5", n)
	}
	for _, e := range s.Entries() {
		if want := strings.Contains(e.Message.GetTextPayload(), "/0/"); e.Message.TraceSampled != want || e.Message.Trace == "" {
			t.Errorf("%s: sampled %t", e.Message.GetTextPayload(), e.Message.TraceSampled)
		}
	}
}

// TestOldAndLarge: what Logging would refuse is not sent, and what is too large for it is made to fit.
func TestOldAndLarge(t *testing.T) {
	s, x := serve(t, googletest.Config{Record: true}, func(c *Config) { c.Compression = "gzip" })
	now := func(r plog.LogRecord) { r.SetTimestamp(pcommon.NewTimestampFromTime(start)) }
	b := batchOf(t, record(t,
		func(r plog.LogRecord) { r.SetTimestamp(pcommon.NewTimestampFromTime(start.Add(-31 * 24 * time.Hour))) },
		func(r plog.LogRecord) { now(r); r.Body().SetStr(strings.Repeat("long ", 300_000)) },
		func(r plog.LogRecord) { now(r); r.Body().SetEmptyMap().PutStr("k", strings.Repeat("é", 400_000)) },
		func(r plog.LogRecord) {
			now(r)
			r.Body().SetStr("labels")
			for i := range 100 {
				r.Attributes().PutStr(strings.Repeat("k", i*10), strings.Repeat("v", 70_000))
			}
		},
		func(r plog.LogRecord) { r.SetTimestamp(pcommon.NewTimestampFromTime(start.Add(25 * time.Hour))) },
	))
	if got := refusals(t, x.Export(t.Context(), b)); !cmp.Equal(got, []string{"0[0 4] age"}) {
		t.Errorf("refusals %v", got)
	}
	if st := s.Stats(); st.Entries != 9 || len(s.Conflicts()) > 0 {
		t.Errorf("%d entries, %d conflicts", st.Entries, len(s.Conflicts()))
	}
	if st := x.Stats(); st.Shortened != 2 || st.Refused[exporter.ReasonAge] != 2 {
		t.Errorf("stats %+v", st)
	}
	if r := s.Requests()[0]; r.Encoding != "gzip" {
		t.Errorf("encoding %q", r.Encoding)
	}
}

// TestAccess: without access the data is held, unless an app named the project.
func TestAccess(t *testing.T) {
	denied := googletest.Config{Decide: func(googletest.Call) *googletest.Fault { return &googletest.Fault{Code: codes.PermissionDenied} }}
	_, x := serve(t, denied)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	var refused *exporter.PermanentError
	if err := x.Export(ctx, traces(t, 7, 2)); err == nil || errors.As(err, &refused) || !strings.Contains(err.Error(), "PERMISSION_DENIED") {
		t.Errorf("export: %v", err)
	}
	ld := plog.NewLogs()
	rl := ld.ResourceLogs().AppendEmpty()
	rl.Resource().Attributes().PutStr("gcp.project_id", "no-such-project")
	rl.ScopeLogs().AppendEmpty().LogRecords().AppendEmpty().SetTimestamp(pcommon.NewTimestampFromTime(start))
	if got := refusals(t, x.Export(t.Context(), batchOf(t, encodeLogs(t, ld)))); !cmp.Equal(got, []string{"0[] rejected"}) {
		t.Errorf("refusals %v", got)
	}
}

func TestOtherSignals(t *testing.T) {
	_, x := serve(t, googletest.Config{})
	for _, b := range []*exporter.Batch{{Signal: otlp.Traces, Payload: []byte{10, 0}, Items: 1}, {Signal: otlp.Logs, Payload: []byte{10}, Items: 1}} {
		var p *exporter.PermanentError
		if err := x.Export(t.Context(), b); !errors.As(err, &p) || p.Refused != nil {
			t.Errorf("export: %v", err)
		}
	}
	if err := x.Export(t.Context(), &exporter.Batch{Signal: otlp.Logs}); err != nil {
		t.Error(err)
	}
}

// TestStorm exports many batches, some twice, through quotas, lost answers, hangs, partial failures and restarts.
func TestStorm(t *testing.T) {
	var mu sync.Mutex
	rng := rand.New(rand.NewPCG(1, 2))
	s, x := serve(t, googletest.Config{
		Quotas: map[googletest.API]googletest.Quota{googletest.CloudLogging: {PerSecond: 200, Burst: 20, RetryInfo: 5 * time.Millisecond}},
		Decide: func(c googletest.Call) *googletest.Fault {
			mu.Lock()
			defer mu.Unlock()
			return anyFault(rng, c)
		},
	}, func(c *Config) { c.Timeout = 200 * time.Millisecond })
	want := map[string]bool{}
	var wg sync.WaitGroup
	for m := range uint64(40) {
		sizes := []int{1 + int(m%5), 3, 20}
		for k := range texts(m, sizes) {
			want[k] = true
		}
		for range 1 + m%2 {
			b := traces(t, m, sizes...)
			wg.Go(func() {
				if err := x.Export(t.Context(), b); err != nil {
					t.Errorf("export: %v", err)
				}
			})
		}
	}
	time.Sleep(50 * time.Millisecond)
	if err := s.Restart(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	wantTexts(t, s, want)
	if st := s.Stats(); st.Repeats == 0 || st.Answers[codes.ResourceExhausted] == 0 {
		t.Errorf("nothing befell them: %+v", st)
	}
}

func anyFault(rng *rand.Rand, c googletest.Call) *googletest.Fault {
	switch rng.IntN(12) {
	case 0:
		return &googletest.Fault{Code: codes.Unavailable}
	case 1:
		return &googletest.Fault{Code: codes.Unavailable, After: true}
	case 2:
		return &googletest.Fault{Hang: true, After: rng.IntN(2) == 0}
	case 3:
		return &googletest.Fault{Code: codes.ResourceExhausted, RetryInfo: time.Millisecond}
	case 4:
		return &googletest.Fault{Code: codes.Unavailable, Entries: []int{rng.IntN(c.Items), rng.IntN(c.Items)}}
	case 5:
		if c.Items > 1 { // one alone would rightly be refused
			return &googletest.Fault{Code: codes.InvalidArgument}
		}
	case 6:
		return &googletest.Fault{Code: codes.Internal}
	}
	return nil
}

func TestConfigFaults(t *testing.T) {
	c := Config{
		Dial: gcp.Dial{Endpoint: "nowhere", Connections: -1}, Routes: gcp.Routes{Project: "X"}, LogName: "a b", TraceProject: "Y", Compression: "zip",
		Concurrency: -1, Timeout: -1, InitialBackoff: -1, MaxBackoff: -1,
	}
	_, err := New(t.Context(), c)
	for _, want := range []string{"endpoint", "connections", `project "X"`, "log_name", `trace_project "Y"`, "compression", "concurrency", "timeout", "initial_backoff", "max_backoff"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("fault of %s is not in: %v", want, err)
		}
	}
	if err := (&Config{}).Validate(); err != nil {
		t.Error(err)
	}
}
