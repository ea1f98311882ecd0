package service

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"tailweir/exporter/exportertest"
	"tailweir/otlp"
	"tailweir/pipeline"
	"tailweir/queue"
	"tailweir/queue/broker"
)

// patience bounds every wait for something that has to come.
const patience = 15 * time.Second

// process is a broker, its client and an ingest over real sockets.
type process struct {
	t      *testing.T
	broker *broker.Server
	client *queue.Client
	cfg    Config
	otlp   string // the ingest's URL
}

func newProcess(t *testing.T) *process {
	t.Helper()
	return newProcessWith(t, nil)
}

func newProcessWith(t *testing.T, change func(*Config)) *process {
	t.Helper()
	p := &process{t: t, broker: broker.New(broker.Config{}), cfg: testConfig(t)}
	if change != nil {
		change(&p.cfg)
	}
	l := listen(t)
	p.cfg.Emulator = l.Addr().String()
	background(t, func(ctx context.Context) error { return p.broker.Serve(ctx, l) })
	client, err := queue.Open(t.Context(), queue.Config{Project: p.cfg.Project, Endpoint: p.cfg.Emulator})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	p.client = client
	if err := Create(t.Context(), p.cfg, client); err != nil {
		t.Fatal(err)
	}
	in, err := NewIngest(p.cfg, client, quiet)
	if err != nil {
		t.Fatal(err)
	}
	door := listen(t)
	p.otlp = "http://" + door.Addr().String()
	background(t, func(ctx context.Context) error { return in.Run(ctx, nil, door) })
	return p
}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// testConfig decides alone, in about a second, and keeps traces with an error.
func testConfig(t *testing.T) Config {
	t.Helper()
	cfg := Default()
	src := `project: test
fleet: off
window: {settle: 400ms, idle: 800ms, max_age: 3s, slack: 100ms, start_delay: 0s}
shutdown: 2s
policies:
- {name: errors, type: status_code, status_code: {status_codes: [ERROR]}}
`
	if err := cfg.Parse("test.yaml", []byte(src)); err != nil {
		t.Fatal(err)
	}
	return cfg
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// background runs a component until the test ends and fails the test when it fails.
func background(t *testing.T, run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("component: %v", err)
			}
		case <-time.After(patience):
			t.Error("a component did not end")
		}
	})
}

// running is a worker that runs.
type running struct {
	t       *testing.T
	w       *Worker
	cancel  context.CancelFunc
	done    chan struct{}
	summary Summary
	err     error
}

func (p *process) worker(backend *exportertest.Backend, change func(*Config)) *running {
	p.t.Helper()
	cfg := p.cfg
	cfg.Exporters = []ExporterConfig{{Type: "otlp", Endpoint: backend.URL}}
	if change != nil {
		change(&cfg)
	}
	w, err := NewWorker(cfg, WorkerOptions{Client: p.client, Log: quiet, Console: []net.Listener{listen(p.t)}})
	if err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(p.t.Context()))
	r := &running{t: p.t, w: w, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		r.summary, r.err = w.Run(ctx)
	}()
	p.t.Cleanup(func() { r.stop() })
	return r
}

// stop ends the worker as SIGTERM does.
func (r *running) stop() Summary {
	r.t.Helper()
	r.cancel()
	r.wait()
	if r.err != nil {
		r.t.Errorf("worker: %v", r.err)
	}
	return r.summary
}

func (r *running) wait() {
	r.t.Helper()
	select {
	case <-r.done:
	case <-time.After(patience):
		r.t.Fatal("the worker did not end")
	}
}

// poll waits until ok says that it is so.
func poll(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after %v: %s", patience, what)
		}
	}
}

func (p *process) post(path string, body []byte) {
	p.t.Helper()
	resp, err := http.Post(p.otlp+path, "application/x-protobuf", bytes.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(resp.Body)
		p.t.Fatalf("%s: %s: %q", path, resp.Status, text)
	}
}

// sendTrace sends trace n as two payloads: a root span, then a child, which failed if bad.
func (p *process) sendTrace(n byte, bad bool) {
	p.t.Helper()
	p.post("/v1/traces", spanPayload(n, 1, true, false))
	p.post("/v1/traces", spanPayload(n, 2, false, bad))
}

func spanPayload(n, span byte, root, bad bool) []byte {
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr("service.name", "shop")
	s := rs.ScopeSpans().AppendEmpty().Spans().AppendEmpty()
	s.SetTraceID(pcommon.TraceID{0: 1, 15: n})
	s.SetSpanID(pcommon.SpanID{6: n, 7: span})
	if !root {
		s.SetParentSpanID(pcommon.SpanID{6: n, 7: 1})
	}
	s.SetName("GET /cart")
	s.SetStartTimestamp(1_000_000)
	s.SetEndTimestamp(2_000_000)
	if bad {
		s.Status().SetCode(ptrace.StatusCodeError)
	}
	b, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(td)
	if err != nil {
		panic(err)
	}
	return b
}

func (p *process) sendLog(n byte, text string) { p.sendLogOf(n, plog.SeverityNumberUnspecified, text) }

func (p *process) sendLogOf(n byte, severity plog.SeverityNumber, text string) {
	p.t.Helper()
	ld := plog.NewLogs()
	r := ld.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
	if n > 0 {
		r.SetTraceID(pcommon.TraceID{0: 1, 15: n})
	}
	r.SetSeverityNumber(severity)
	r.Body().SetStr(text)
	b, err := (&plog.ProtoMarshaler{}).MarshalLogs(ld)
	if err != nil {
		p.t.Fatal(err)
	}
	p.post("/v1/logs", b)
}

// spansAt counts what a backend got, as "trace/span", in the requests from the given one on.
func spansAt(t *testing.T, b *exportertest.Backend, from int) map[string]int {
	t.Helper()
	got := map[string]int{}
	for _, r := range b.Requests()[from:] {
		if r.Signal != otlp.Traces {
			continue
		}
		td, err := (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(r.Payload)
		if err != nil {
			t.Fatal(err)
		}
		for _, rs := range td.ResourceSpans().All() {
			for _, ss := range rs.ScopeSpans().All() {
				for _, s := range ss.Spans().All() {
					got[fmt.Sprintf("%d/%d", s.TraceID()[15], s.SpanID()[7])]++
				}
			}
		}
	}
	return got
}

func recordsAt(t *testing.T, b *exportertest.Backend) map[string]int {
	t.Helper()
	got := map[string]int{}
	for _, r := range b.Requests() {
		if r.Signal != otlp.Logs {
			continue
		}
		ld, err := (&plog.ProtoUnmarshaler{}).UnmarshalLogs(r.Payload)
		if err != nil {
			t.Fatal(err)
		}
		for _, rl := range ld.ResourceLogs().All() {
			for _, sl := range rl.ScopeLogs().All() {
				for _, rec := range sl.LogRecords().All() {
					kept, has := rec.Attributes().Get(otlp.AttrKept)
					got[fmt.Sprintf("%s %v %v", rec.Body().Str(), has, has && kept.Bool())]++
				}
			}
		}
	}
	return got
}

// sub is the broker's reading of a subscription.
func (p *process) sub(name string) broker.SubscriptionStats {
	for _, s := range p.broker.Stats().Subscriptions {
		if strings.HasSuffix(s.Name, "/"+name) {
			return s
		}
	}
	p.t.Fatalf("no subscription %s", name)
	return broker.SubscriptionStats{}
}

func (p *process) unacked() int { return p.sub(p.cfg.Queue.Subscription).Unacked }

func (r *running) totals() pipeline.Totals { return r.w.pipeline.State().Totals }

// unbalanced says what does not add up.
func unbalanced(t pipeline.Totals) string {
	sum := func(f func(pipeline.Count) int64) int64 {
		return f(t.Kept) + f(t.Dropped) + f(t.DeadLettered) + f(t.Returned) + f(t.Duplicate) + f(t.InFlight)
	}
	for what, f := range map[string]func(pipeline.Count) int64{
		"spans":  func(c pipeline.Count) int64 { return c.Spans },
		"traces": func(c pipeline.Count) int64 { return c.Traces },
		"logs":   func(c pipeline.Count) int64 { return c.Logs },
	} {
		if f(t.Received) != sum(f) {
			return fmt.Sprintf("%s: received %d, the outcomes are %d: %+v", what, f(t.Received), sum(f), t)
		}
	}
	return ""
}

// get asks the worker's console as a browser on this machine does.
func (r *running) get(path string) string {
	r.t.Helper()
	rec := httptest.NewRecorder()
	req := httptest.NewRequest(http.MethodGet, "http://localhost"+path, nil)
	r.w.console.ServeHTTP(rec, req)
	if rec.Code != http.StatusOK {
		r.t.Fatalf("GET %s: %d: %s", path, rec.Code, rec.Body)
	}
	return rec.Body.String()
}
