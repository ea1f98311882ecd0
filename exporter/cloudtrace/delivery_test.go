package cloudtrace

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/otel"
	"google.golang.org/grpc/codes"

	"tailweir/exporter/gcp"
	"tailweir/exporter/googletest"
)

// TestMain runs everything with ears at the places where the package would be heard.
func TestMain(m *testing.M) {
	var said syncBuffer
	log.SetOutput(&said)
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { fmt.Fprintln(&said, err) }))
	code := m.Run()
	if text := said.String(); text != "" {
		fmt.Fprintf(os.Stderr, "the package was heard: %s\n", text)
		code = 1
	}
	os.Exit(code)
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// spans is a payload of n ordinary spans, the first with the given number.
func spans(first, n int, change ...func(i int, s ptrace.Span)) ptrace.Traces {
	td, ss, _ := scoped()
	for i := range n {
		s := addSpan(ss, first+i)
		for _, f := range change {
			f(i, s)
		}
	}
	return td
}

// holds checks that the fake has exactly these spans, once each, and nothing that it had otherwise before.
func holds(t *testing.T, fake *googletest.Server, want ...int) {
	t.Helper()
	var got []int
	for _, s := range fake.Spans() {
		got = append(got, int(s.ID[6])<<8|int(s.ID[7]))
	}
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("spans (-want +got):\n%s", diff)
	}
	if c := fake.Conflicts(); len(c) > 0 {
		t.Errorf("%d conflicts: %+v", len(c), c[0])
	}
}

func TestAnswersAreSeenOnce(t *testing.T) {
	fake, e := start(t, googletest.Config{})
	fake.Inject(
		googletest.Fault{Count: 2, Code: codes.Unavailable},
		googletest.Fault{Count: 1, Code: codes.DeadlineExceeded},
		googletest.Fault{Count: 1, Code: codes.Aborted},
	)
	if err := export(t, e, batch(t, spans(1, 3))); err != nil {
		t.Fatal(err)
	}
	holds(t, fake, 1, 2, 3)
	got := e.Stats()
	if diff := cmp.Diff(map[string]int64{"UNAVAILABLE": 2, "DEADLINE_EXCEEDED": 1, "ABORTED": 1}, got.Failures); diff != "" || got.Attempts != 5 {
		t.Errorf("%d attempts, want 5; failures (-want +got):\n%s", got.Attempts, diff)
	}
	if n := fake.Stats().Requests[googletest.CloudTrace]; n != 5 {
		t.Errorf("the fake saw %d requests, want 5", n)
	}
}

func TestLostAnswersAreRepeatedAlike(t *testing.T) {
	fake, e := start(t, googletest.Config{})
	fake.Inject(googletest.Fault{Count: 3, After: true, Code: codes.Unavailable})
	td := spans(1, 40, func(i int, s ptrace.Span) { allValues(s.Attributes()); s.TraceState().FromRaw("ot=th:8") })
	if err := export(t, e, batch(t, td)); err != nil {
		t.Fatal(err)
	}
	holds(t, fake, slices.Collect(numbers(1, 40))...)
	if got := fake.Stats().Repeats; got != 120 {
		t.Errorf("%d repeats, want 120", got)
	}
}

// A batch may come again in other company, from another worker: nothing of it may be otherwise then.
func TestTheSameInAnyCompany(t *testing.T) {
	fake, e := start(t, googletest.Config{})
	rnd := rand.New(rand.NewPCG(3, 3))
	var all []ptrace.Traces
	for i := range 20 {
		td, n := randomTraces(rnd), 0
		for _, rs := range td.ResourceSpans().All() {
			for _, ss := range rs.ScopeSpans().All() {
				for _, s := range ss.Spans().All() {
					s.SetSpanID(pcommon.SpanID{0: 0xbb, 6: byte(i), 7: byte(n)})
					n++
				}
			}
		}
		all = append(all, td)
	}
	td, ss, _ := scoped()
	atLimits(ss, 1)
	all = append(all, td)
	if err := export(t, e, batch(t, all...)); err != nil {
		t.Fatal(err)
	}
	_, another := start(t, googletest.Config{}, func(c *Config) { c.Dial.Endpoint = fake.Addr() })
	slices.Reverse(all)
	for _, td := range all {
		if err := export(t, another, batch(t, td)); err != nil {
			t.Fatal(err)
		}
	}
	if c := fake.Conflicts(); len(c) > 0 || fake.Stats().Repeats != len(fake.Spans()) {
		t.Errorf("%d conflicts, %d of %d repeated: %+v", len(c), fake.Stats().Repeats, len(fake.Spans()), c[:min(1, len(c))])
	}
}

func numbers(first, n int) func(func(int) bool) {
	return func(yield func(int) bool) {
		for i := range n {
			if !yield(first + i) {
				return
			}
		}
	}
}

func TestHangingRequestsAreGivenUp(t *testing.T) {
	fake, e := start(t, googletest.Config{}, func(c *Config) { c.Courier.Timeout = 100 * time.Millisecond })
	fake.Inject(googletest.Fault{Count: 1, Hang: true}, googletest.Fault{Count: 1, Hang: true, After: true})
	if err := export(t, e, batch(t, spans(1, 2))); err != nil {
		t.Fatal(err)
	}
	holds(t, fake, 1, 2)
	if got := e.Stats().Failures; got["DEADLINE_EXCEEDED"] < 2 { // more on a machine that is slow
		t.Errorf("failures %v, want 2 for the time", got)
	}
}

func TestQuota(t *testing.T) {
	fake, e := start(t, googletest.Config{Now: time.Now, Quotas: map[googletest.API]googletest.Quota{
		googletest.CloudTrace: {PerSecond: 20, Burst: 1, RetryInfo: 40 * time.Millisecond},
	}})
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			td := spans(10*i, 10, func(_ int, s ptrace.Span) {
				s.SetStartTimestamp(pcommon.NewTimestampFromTime(time.Now()))
			})
			if err := export(t, e, batch(t, td)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	holds(t, fake, slices.Collect(numbers(0, 200))...)
	got := e.Stats()
	if n := got.Failures["RESOURCE_EXHAUSTED"]; n == 0 || n > 200 { // without a pause it would be thousands
		t.Errorf("stats %+v: want some rejections, and a sender that slowed down", got)
	}
}

func TestRestartAndOutage(t *testing.T) {
	fake, e := start(t, googletest.Config{})
	fake.Inject(googletest.Fault{Count: 6, Delay: 50 * time.Millisecond, After: true})
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			if err := export(t, e, batch(t, spans(10*i, 10))); err != nil {
				t.Error(err)
			}
		})
	}
	for len(fake.Spans()) == 0 {
		time.Sleep(time.Millisecond)
	}
	fake.SetOutage(true)
	if err := fake.Restart(); err != nil {
		t.Fatal(err)
	}
	for fake.Stats().Answers[codes.Unavailable] == 0 {
		time.Sleep(time.Millisecond)
	}
	fake.SetOutage(false)
	wg.Wait()
	holds(t, fake, slices.Collect(numbers(0, 60))...)
}

func TestSetup(t *testing.T) {
	var said syncBuffer
	fake, e := start(t, googletest.Config{QuotaProject: "pays-for-all", Record: true}, func(c *Config) {
		c.Dial.QuotaProject, c.Dial.Connections = "pays-for-all", 3
		c.Courier.Logger = slog.New(slog.NewTextHandler(&said, nil))
	})
	for i := range 6 {
		if err := export(t, e, batch(t, spans(i, 1))); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(e.projects.known); got != 3 {
		t.Errorf("%d of 3 connections used", got)
	}
	if got := fake.Requests()[0].Header["x-goog-request-params"]; !slices.Equal(got, []string{"name=projects%2Fmy-project"}) {
		t.Errorf("x-goog-request-params %q", got)
	}
	if text := said.String(); e.Name() != "cloudtrace" || strings.Count(text, "level=WARN") != 1 || !strings.Contains(text, "deprecated") {
		t.Errorf("%s said %q", e.Name(), text)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if err := e.Export(ctx, batch(t, spans(9, 1))); err == nil {
		t.Error("an export after Close succeeded")
	}
}

func TestFaultsOfTheConfiguration(t *testing.T) {
	err := Config{Dial: gcp.Dial{Endpoint: "here"}, Routes: gcp.Routes{Project: "No"}}.Validate()
	if err == nil || !strings.Contains(err.Error(), "endpoint") || !strings.Contains(err.Error(), "project") {
		t.Errorf("Validate: %v", err)
	}
	if _, err := New(context.Background(), Config{Dial: gcp.Dial{Endpoint: "here"}}); err == nil {
		t.Error("New took it")
	}
}
