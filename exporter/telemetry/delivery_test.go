package telemetry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace"
	"google.golang.org/grpc/codes"

	"tailweir/exporter"
	"tailweir/exporter/exportertest"
	"tailweir/exporter/googletest"
	"tailweir/otlp"
)

// storm exports batches of one span each from several goroutines, and gives up after a minute.
func storm(t *testing.T, x *Telemetry, from, batches int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	work := make(chan int)
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() {
			for i := range work {
				if err := x.Export(ctx, batch(t, otlp.Traces, spans(i, 1, nil))); err != nil {
					t.Errorf("batch %d: %v", i, err)
				}
			}
		})
	}
	for i := range batches {
		work <- from + i
	}
	close(work)
	group.Wait()
}

// checkSpans holds what the fake has to the batches of storm: each span is there once, with the bytes it came in.
func checkSpans(t *testing.T, fake *googletest.Server, from, batches int) {
	t.Helper()
	want := map[string]bool{}
	for i := range batches {
		want[string(bodies(spans(from+i, 1, nil))[0])] = true
	}
	for _, s := range fake.Spans() {
		body := string(bodies(s.OTLP)[0])
		if !want[body] {
			t.Errorf("span %s is there twice, or was not sent", s.ID)
		}
		delete(want, body)
	}
	if len(want) > 0 {
		t.Errorf("%d of %d spans are missing", len(want), batches)
	}
	if c := fake.Conflicts(); len(c) > 0 {
		t.Errorf("%d conflicts: %v", len(c), c[0])
	}
}

func TestFaultsLoseAndChangeNothing(t *testing.T) {
	const tel = googletest.Telemetry
	for name, faults := range map[string][]googletest.Fault{
		"unavailable":  {{API: tel, Skip: 5, Count: 30, Code: codes.Unavailable}},
		"internal":     {{API: tel, Skip: 5, Count: 5, Code: codes.Internal}}, // the sixth time it is the data,
		"hang":         {{API: tel, Skip: 5, Count: 10, Hang: true}},
		"lost answers": {{API: tel, Skip: 5, Count: 10, Hang: true, After: true}, {API: tel, Count: 10, Code: codes.Unavailable, After: true}},
		"access":       {{API: tel, Skip: 5, Count: 30, Code: codes.PermissionDenied}},
		"slow":         {{API: tel, Delay: 5 * time.Millisecond}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fake := startFake(t, googletest.Config{})
			fake.Inject(faults...)
			x := start(t, fake.Addr(), func(c *Config) { c.Timeout = 300 * time.Millisecond })
			storm(t, x, 0, 100)
			checkSpans(t, fake, 0, 100)
		})
	}
}

func TestOutageAndRestart(t *testing.T) {
	fake := startFake(t, googletest.Config{})
	fake.Inject(googletest.Fault{Delay: 2 * time.Millisecond})
	x := start(t, fake.Addr(), nil)
	var group sync.WaitGroup
	group.Go(func() { storm(t, x, 0, 300) })
	time.Sleep(20 * time.Millisecond)
	fake.SetOutage(true)
	time.Sleep(100 * time.Millisecond)
	fake.SetOutage(false)
	for range 3 {
		time.Sleep(30 * time.Millisecond)
		if err := fake.Restart(); err != nil {
			t.Fatal(err)
		}
	}
	group.Wait()
	checkSpans(t, fake, 0, 300)
}

func TestQuotaSlowsTheSender(t *testing.T) {
	fake := startFake(t, googletest.Config{Now: time.Now})
	x := start(t, fake.Addr(), func(c *Config) { c.InitialBackoff, c.MaxBackoff = 50*time.Millisecond, time.Second })
	x.now = time.Now
	fake.SetQuota(googletest.Telemetry, googletest.Quota{PerSecond: 40, Burst: 20, RetryInfo: 200 * time.Millisecond})
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	var group sync.WaitGroup
	for g := range 16 {
		group.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				b := batch(t, otlp.Traces, spans(g*1000+i, 1, func(_ int, _ ptrace.ResourceSpans, s ptrace.Span) {
					s.SetStartTimestamp(s.StartTimestamp() - 1) // any time, near enough
				}))
				_ = x.Export(ctx, b) // the last is cut off
			}
		})
	}
	group.Wait()
	s := fake.Stats()
	taken, refused := s.Answers[codes.OK], s.Answers[codes.ResourceExhausted]
	t.Logf("%d requests taken, %d refused", taken, refused)
	if taken < 60 {
		t.Errorf("%d requests were taken in 4 s, the quota is 40/s", taken)
	}
	if refused > taken {
		t.Errorf("%d requests beyond the quota for %d within: the sender hammers", refused, taken)
	}
}

func TestOneTooLargeItemIsRefusedAlone(t *testing.T) {
	backend := exportertest.NewGRPC(t, nil)
	backend.Limit(50_000)
	x := start(t, strings.TrimPrefix(backend.URL, "grpc://"), nil)
	b := batch(t, otlp.Traces, spans(1, 40, nil), spans(2, 40, func(i int, _ ptrace.ResourceSpans, s ptrace.Span) {
		if i == 17 || i == 18 {
			s.Attributes().PutStr("large", strings.Repeat("x", 60_000))
		}
	}), spans(3, 40, nil))
	err := x.Export(t.Context(), b)
	all := refusals(err)
	if len(all) != 1 || all[0].Part != 1 || !slices.Equal(all[0].Items, []int{17, 18}) || all[0].Reason != exporter.ReasonRejected {
		t.Fatalf("refused %+v, %v; want items 17 and 18 of part 1", all, err)
	}
	if got := x.Stats().Refused[exporter.ReasonRejected]; got != 2 {
		t.Errorf("%d refused items are counted, want 2", got)
	}
	requests := backend.Requests()
	if len(requests) > 40 {
		t.Errorf("%d requests to find two spans of 120", len(requests))
	}
	seen := map[string]int{}
	for _, r := range requests {
		if len(r.Payload) > 50_000 {
			continue
		}
		for _, body := range bodies(r.Payload) {
			seen[string(body)]++
		}
	}
	if len(seen) != 118 {
		t.Errorf("%d spans were confirmed, want 118", len(seen))
	}
	for _, n := range seen {
		if n != 1 {
			t.Errorf("a span was confirmed %d times", n)
		}
	}
}

func TestPartialSuccess(t *testing.T) {
	backend := exportertest.NewGRPC(t, nil)
	x := start(t, strings.TrimPrefix(backend.URL, "grpc://"), nil)
	backend.Script(exportertest.Answer{Rejected: 2, PartialMessage: "two of them"})
	err := x.Export(t.Context(), batch(t, otlp.Traces, spans(1, 5, nil)))
	if p, ok := errors.AsType[*exporter.PartialError](err); !ok || p.Rejected != 2 || p.Msg != "two of them" {
		t.Errorf("error %v, want two rejected items", err)
	}
	backend.Script(exportertest.Answer{Rejected: 5, PartialMessage: "all of them"})
	err = x.Export(t.Context(), batch(t, otlp.Traces, spans(2, 5, nil)))
	if all := refusals(err); len(all) != 1 || all[0].Items != nil {
		t.Errorf("error %v, want a refused part", err)
	}
	backend.Script(exportertest.Answer{PartialMessage: "a warning"})
	if err = x.Export(t.Context(), batch(t, otlp.Traces, spans(3, 5, nil))); err != nil {
		t.Error(err)
	}
	if n := len(backend.Requests()); n != 3 {
		t.Errorf("%d requests, want 3: what was rejected must not be sent again", n)
	}
}

func TestProjectThatAnAppNamedHoldsNothingUp(t *testing.T) {
	named := spans(1, 2, func(_ int, rs ptrace.ResourceSpans, _ ptrace.Span) {
		rs.Resource().Attributes().PutStr("gcp.project_id", "named-by-app")
	})
	for _, code := range []codes.Code{codes.PermissionDenied, codes.NotFound, codes.FailedPrecondition} {
		backend := exportertest.NewGRPC(t, nil)
		backend.Script(exportertest.Answer{Code: code, Message: "no"})
		x := start(t, strings.TrimPrefix(backend.URL, "grpc://"), nil)
		if all := refusals(x.Export(t.Context(), batch(t, otlp.Traces, named))); len(all) != 1 || all[0].Reason != exporter.ReasonRejected {
			t.Errorf("%s: refused %+v, want the part", code, all)
		}
		backend.Script(exportertest.Answer{Code: code, Message: "no"})
		if err := x.Export(t.Context(), batch(t, otlp.Traces, spans(1, 2, nil))); err != nil {
			t.Errorf("%s of the exporter's own project: %v, want another try", code, err)
		}
	}
}

// TestRequestsAreBounded sends 9 MB of spans in requests of 4 MB at most, compressed or not.
func TestRequestsAreBounded(t *testing.T) {
	for _, compression := range []string{exporter.CompressionNone, exporter.CompressionGzip} {
		fake := startFake(t, googletest.Config{Record: true})
		x := start(t, fake.Addr(), func(c *Config) { c.Compression = compression })
		b := batch(t, otlp.Traces, spans(1, 300, func(_ int, _ ptrace.ResourceSpans, s ptrace.Span) {
			s.Attributes().PutStr("k", strings.Repeat("x", 30_000))
		}))
		if err := x.Export(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		requests := fake.Requests()
		var sent [][]byte
		for _, r := range requests {
			if len(r.OTLP) > maxRequest+1000 {
				t.Errorf("request of %d bytes", len(r.OTLP))
			}
			if (r.Encoding == "gzip") != (compression == exporter.CompressionGzip) {
				t.Errorf("encoding %q with compression %s", r.Encoding, compression)
			}
			sent = append(sent, r.OTLP)
		}
		if len(requests) != 3 {
			t.Errorf("%d requests, want 3", len(requests))
		}
		if !slices.EqualFunc(bodies(sent...), bodies(b.Payload), bytes.Equal) {
			t.Error("the spans are not the same bytes in the same order")
		}
	}
}

// TestAttributesOfAResource sends 20,000 attributes in all of one resource, of which the API takes 8192 at once.
func TestAttributesOfAResource(t *testing.T) {
	fake := startFake(t, googletest.Config{Record: true})
	x := start(t, fake.Addr(), nil)
	b := batch(t, otlp.Traces, spans(1, 200, func(i int, _ ptrace.ResourceSpans, s ptrace.Span) {
		for k := range 100 {
			s.Attributes().PutInt(fmt.Sprint("k", k), int64(i))
		}
	}))
	if err := x.Export(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if n := len(fake.Requests()); n != 1 || len(fake.Spans()) != 200 {
		t.Errorf("%d requests with %d spans, want 1 with 200", n, len(fake.Spans()))
	}
	if p := scanned(t, otlp.Traces, fake.Requests()[0].OTLP); p.Resources() != 3 {
		t.Errorf("%d resources, want 3", p.Resources())
	}
}

func TestCutOffExportCanBeRepeated(t *testing.T) {
	fake := startFake(t, googletest.Config{})
	fake.Inject(googletest.Fault{Count: 1, Hang: true})
	x := start(t, fake.Addr(), nil)
	b := batch(t, otlp.Traces, spans(1, 10, nil))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := x.Export(ctx, b)
	if _, permanent := errors.AsType[*exporter.PermanentError](err); err == nil || permanent {
		t.Fatalf("error %v, want one that may pass", err)
	}
	if err := x.Export(t.Context(), b); err != nil || len(fake.Spans()) != 10 {
		t.Errorf("%d spans, %v", len(fake.Spans()), err)
	}
}

func TestEmptyAndMalformedBatches(t *testing.T) {
	fake := startFake(t, googletest.Config{})
	x := start(t, fake.Addr(), nil)
	if err := x.Export(t.Context(), &exporter.Batch{Signal: otlp.Traces}); err != nil {
		t.Error(err)
	}
	for _, b := range []*exporter.Batch{
		{Signal: otlp.Traces, Payload: []byte{1}, Items: 1}, {Signal: otlp.Metrics, Payload: spans(1, 1, nil), Items: 1},
	} {
		if _, ok := errors.AsType[*exporter.PermanentError](x.Export(t.Context(), b)); !ok {
			t.Errorf("%s %x is not refused", b.Signal, b.Payload)
		}
	}
	old := &exporter.Batch{Signal: otlp.Traces, Items: 2, Payload: spans(1, 2, func(i int, _ ptrace.ResourceSpans, s ptrace.Span) {
		if i == 0 {
			s.SetStartTimestamp(1)
		}
	})}
	if p, ok := errors.AsType[*exporter.PermanentError](x.Export(t.Context(), old)); !ok || p.Refused != nil {
		t.Errorf("a batch without parts: refused %+v, want all", p)
	}
	if n := fake.Stats().Requests[googletest.Telemetry]; n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
}

func TestValidateNamesAllFaults(t *testing.T) {
	c := Config{Compression: "zip", Timeout: -1, Concurrency: 5000, InitialBackoff: 2 * time.Minute}
	c.Endpoint, c.Insecure, c.Routes.Routes = "localhost", true, nil
	err := c.Validate()
	for _, want := range []string{"endpoint", "project", "compression", "timeout", "concurrency", "backoff"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
	if err := (Config{}).Validate(); err != nil {
		t.Error(err)
	}
}
