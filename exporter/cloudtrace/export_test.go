package cloudtrace

import (
	"bytes"
	"context"
	"errors"
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
	"google.golang.org/protobuf/proto"

	"tailweir/exporter"
	"tailweir/exporter/gcp"
	"tailweir/exporter/googletest"
	"tailweir/otlp"
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

// refusals are the refusals in a form to compare.
type refusal struct {
	Part   int
	Items  []int
	Reason string
}

func refusals(t *testing.T, err error) (all []refusal) {
	t.Helper()
	if err == nil {
		return nil
	}
	p, ok := errors.AsType[*exporter.PermanentError](err)
	if !ok || p.Refused == nil {
		t.Fatalf("error %v, want one that names what was refused", err)
	}
	for _, r := range p.Refused {
		all = append(all, refusal{r.Part, r.Items, r.Reason})
	}
	return all
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

func TestAges(t *testing.T) {
	fake, e := start(t, googletest.Config{})
	at := func(d time.Duration) func(int, ptrace.Span) {
		return func(i int, s ptrace.Span) {
			if i == 1 {
				s.SetStartTimestamp(pcommon.NewTimestampFromTime(today.Add(d)))
			}
		}
	}
	err := export(t, e, batch(t, spans(1, 2, at(-14*24*time.Hour)), spans(3, 1),
		spans(4, 3, at(3*24*time.Hour)), spans(7, 2, at(-13*24*time.Hour)), spans(9, 2, func(i int, s ptrace.Span) { s.SetStartTimestamp(0) })))
	want := []refusal{{0, []int{1}, exporter.ReasonAge}, {2, []int{1}, exporter.ReasonAge}, {4, nil, exporter.ReasonAge}}
	if diff := cmp.Diff(want, refusals(t, err)); diff != "" {
		t.Errorf("refusals (-want +got):\n%s", diff)
	}
	holds(t, fake, 1, 3, 4, 6, 7, 8)
	if got := e.Stats().Refused[exporter.ReasonAge]; got != 4 {
		t.Errorf("%d counted, want 4", got)
	}
}

func TestSpansWithoutIDs(t *testing.T) {
	fake, e := start(t, googletest.Config{})
	err := export(t, e, batch(t, spans(1, 3, func(i int, s ptrace.Span) {
		switch i {
		case 0:
			s.SetTraceID(pcommon.TraceID{})
		case 2:
			s.SetSpanID(pcommon.SpanID{})
		}
	})))
	if diff := cmp.Diff([]refusal{{0, []int{0, 2}, exporter.ReasonRejected}}, refusals(t, err)); diff != "" {
		t.Errorf("refusals (-want +got):\n%s", diff)
	}
	holds(t, fake, 2)
}

// What only the API finds wrong: the clocks differ, and some spans are too old by its own.
func TestSpansAtFaultStandAlone(t *testing.T) {
	fake, e := start(t, googletest.Config{})
	e.now = func() time.Time { return today.Add(-10 * 24 * time.Hour) }
	old := func(which ...int) func(i int, s ptrace.Span) {
		return func(i int, s ptrace.Span) {
			if slices.Contains(which, i) {
				s.SetStartTimestamp(pcommon.NewTimestampFromTime(today.Add(-20 * 24 * time.Hour)))
			} else {
				s.SetStartTimestamp(pcommon.NewTimestampFromTime(today.Add(-12 * 24 * time.Hour)))
			}
		}
	}
	err := export(t, e, batch(t, spans(1, 10, old()), spans(11, 10, old(0, 7, 9)), spans(21, 1, old(0))))
	want := []refusal{{1, []int{0, 7, 9}, exporter.ReasonRejected}, {2, nil, exporter.ReasonRejected}}
	if diff := cmp.Diff(want, refusals(t, err)); diff != "" {
		t.Errorf("refusals (-want +got):\n%s", diff)
	}
	holds(t, fake, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 14, 15, 16, 17, 19)
	if !strings.Contains(err.Error(), "start_time") {
		t.Errorf("error %q, want what the API said", err)
	}
}

func TestRequestsAreBounded(t *testing.T) {
	fake, e := start(t, googletest.Config{Record: true})
	text := strings.Repeat("x", 60000)
	many := spans(0, maxRequestSpans+1)
	large := spans(6000, 100, func(i int, s ptrace.Span) { s.Attributes().PutStr("v", text) })
	huge := spans(7000, 2, func(i int, s ptrace.Span) {
		for n := range 160 * i {
			s.Attributes().PutStr(fmt.Sprint("v", n), text)
		}
	})
	common := spans(8000, 100)
	common.ResourceSpans().At(0).Resource().Attributes().PutStr("v", text)
	err := export(t, e, batch(t, many, large, huge, common))
	if diff := cmp.Diff([]refusal{{2, []int{1}, exporter.ReasonLimit}}, refusals(t, err)); diff != "" {
		t.Errorf("refusals (-want +got):\n%s", diff)
	}
	var counts []int
	for _, r := range requests(fake) {
		if size := proto.Size(r); len(r.Spans) > maxRequestSpans || size > maxRequestBytes {
			t.Errorf("request of %d spans, %d bytes", len(r.Spans), size)
		}
		counts = append(counts, len(r.Spans))
	}
	if len(counts) < 4 || len(fake.Spans()) != maxRequestSpans+1+100+1+100 {
		t.Errorf("requests of %v spans, %d in all", counts, len(fake.Spans()))
	}
}

func TestProjectsThatAppsName(t *testing.T) {
	fake, e := start(t, googletest.Config{})
	fake.Inject(googletest.Fault{Code: codes.PermissionDenied})
	td, ss, r := scoped()
	r.Attributes().PutStr("gcp.project_id", "not-ours")
	addSpan(ss, 1)
	if diff := cmp.Diff([]refusal{{0, nil, exporter.ReasonRejected}}, refusals(t, export(t, e, batch(t, td)))); diff != "" {
		t.Errorf("refusals (-want +got):\n%s", diff)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	err := e.Export(ctx, batch(t, spans(1, 1)))
	if _, permanent := errors.AsType[*exporter.PermanentError](err); err == nil || permanent {
		t.Errorf("error %v, want one that holds the data", err)
	}
}

func TestMoreProjectsThanAreRemembered(t *testing.T) {
	fake, e := start(t, googletest.Config{Discard: true})
	td := ptrace.NewTraces()
	for i := range maxProjects + 10 {
		rs := td.ResourceSpans().AppendEmpty()
		rs.Resource().Attributes().PutStr("gcp.project_id", fmt.Sprintf("team-%04d", i))
		addSpan(rs.ScopeSpans().AppendEmpty(), i)
	}
	if err := export(t, e, batch(t, td)); err != nil {
		t.Fatal(err)
	}
	if got := fake.Stats().Spans; got != maxProjects+10 || len(e.projects.known) > maxProjects {
		t.Errorf("%d spans, %d exporters", got, len(e.projects.known))
	}
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

func TestOtherPayloads(t *testing.T) {
	_, e := start(t, googletest.Config{})
	for name, b := range map[string]*exporter.Batch{
		"logs":      {Signal: otlp.Logs},
		"malformed": {Signal: otlp.Traces, Payload: []byte{1}, Items: 1},
	} {
		if p, ok := errors.AsType[*exporter.PermanentError](export(t, e, b)); !ok || p.Refused != nil {
			t.Errorf("%s: not refused as one", name)
		}
	}
}
