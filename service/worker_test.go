package service

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"tailweir/exporter/exportertest"
	"tailweir/otlp"
	"tailweir/pipeline"
	"tailweir/queue"
	"tailweir/queue/broker"
	"tailweir/strictyaml"
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
	p := &process{t: t, broker: broker.New(broker.Config{}), cfg: testConfig(t)}
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

// testConfig decides in about a second and keeps traces with an error.
func testConfig(t *testing.T) Config {
	t.Helper()
	cfg := Default()
	src := `project: test
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

func (p *process) sendLog(n byte, text string) {
	p.t.Helper()
	ld := plog.NewLogs()
	r := ld.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
	if n > 0 {
		r.SetTraceID(pcommon.TraceID{0: 1, 15: n})
	}
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
					kept, has := rec.Attributes().Get(pipeline.AttrKept)
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

func TestKeptGoesOutAndTheRestIsAcked(t *testing.T) {
	p := newProcess(t)
	backend := exportertest.NewHTTP(t, nil)
	w := p.worker(backend, nil)

	stop := make(chan struct{})
	var sampling sync.WaitGroup
	sampling.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if fault := unbalanced(w.totals()); fault != "" {
				t.Errorf("the totals do not add up: %s", fault)
				return
			}
		}
	})
	for n := byte(1); n <= 20; n++ {
		p.sendTrace(n, n%4 == 0)
	}
	p.sendLog(4, "with a kept trace")
	p.sendLog(5, "with a dropped trace")
	p.sendLog(0, "without a trace")
	poll(t, "messages are un-acked", func() bool {
		got := w.totals()
		return got.Received.Spans == 40 && got.Received.Logs == 3 && got.InFlight == (pipeline.Count{}) && p.unacked() == 0
	})
	close(stop)
	sampling.Wait()

	want := map[string]int{}
	for n := 4; n <= 20; n += 4 {
		want[fmt.Sprintf("%d/1", n)], want[fmt.Sprintf("%d/2", n)] = 1, 1
	}
	if diff := cmp.Diff(want, spansAt(t, backend, 0)); diff != "" {
		t.Errorf("spans at the backend (-want +got):\n%s", diff)
	}
	records := map[string]int{"with a kept trace true true": 1, "with a dropped trace true false": 1, "without a trace false false": 1}
	if diff := cmp.Diff(records, recordsAt(t, backend)); diff != "" {
		t.Errorf("log records at the backend (-want +got):\n%s", diff)
	}
	checkConsole(t, w)
	if s := w.stop(); s.Messages != 0 || s.Undone {
		t.Errorf("at the end %d messages went back, undone %v; want none", s.Messages, s.Undone)
	}
}

// checkConsole compares the console's JSON and the metrics with the worker's own counters.
func checkConsole(t *testing.T, w *running) {
	t.Helper()
	type count struct{ Spans, Traces, Logs int64 }
	var stats struct {
		Received, Kept, Dropped, Deadlettered, Returned, Duplicate count
		InFlight                                                   count                     `json:"in_flight"`
		ByPolicy                                                   map[string]map[string]any `json:"by_policy"`
	}
	if err := json.Unmarshal([]byte(w.get("/api/stats")), &stats); err != nil {
		t.Fatal(err)
	}
	if want := (count{40, 20, 3}); stats.Received != want {
		t.Errorf("received %+v, want %+v", stats.Received, want)
	}
	if want := (count{10, 5, 3}); stats.Kept != want {
		t.Errorf("kept %+v, want %+v", stats.Kept, want)
	}
	if want := (count{30, 15, 0}); stats.Dropped != want {
		t.Errorf("dropped %+v, want %+v", stats.Dropped, want)
	}
	if stats.InFlight != (count{}) {
		t.Errorf("in flight %+v, want none", stats.InFlight)
	}
	if _, ok := stats.ByPolicy["errors"]; !ok {
		t.Errorf("by_policy %v lacks the policy errors", stats.ByPolicy)
	}
	if list := w.get("/api/traces?limit=10"); strings.Count(list, `"trace_id"`) != 5 || !strings.Contains(list, "GET /cart") {
		t.Errorf("/api/traces: %s\nwant five traces of GET /cart", list)
	}
	trace := otlp.TraceID{0: 1, 15: 4}
	if one := w.get("/api/traces/" + trace.String()); strings.Count(one, `"spanId"`) != 2 {
		t.Errorf("/api/traces/%s: %s\nwant two spans", trace, one)
	}
	metrics := w.get("/metrics")
	for _, line := range []string{
		`tailweir_items_total{kind="spans",outcome="received"} 40`,
		`tailweir_items_total{kind="spans",outcome="kept"} 10`,
		`tailweir_items_total{kind="traces",outcome="dropped"} 15`,
		`tailweir_policy_items_total{decision="keep",kind="spans",policy="errors"} 10`,
		`tailweir_hold_messages 0`, `tailweir_window_traces 0`,
	} {
		if !strings.Contains(metrics, line+"\n") {
			t.Errorf("/metrics lacks %q:\n%s", line, metrics)
		}
	}
}

// What a stopping worker has not decided is another's at once, not when its lease ends.
func TestUndecidedGoesToTheNextWorker(t *testing.T) {
	p := newProcess(t)
	first, second := exportertest.NewHTTP(t, nil), exportertest.NewHTTP(t, nil)
	slow := func(c *Config) {
		c.Window.Settle, c.Window.Idle, c.Window.MaxAge = time.Minute, time.Minute, time.Minute
	}
	w := p.worker(first, slow)
	for n := byte(1); n <= 4; n++ {
		p.sendTrace(n, n%2 == 0)
	}
	poll(t, "the worker does not hold the payloads", func() bool { return w.totals().Received.Spans == 8 })
	s := w.stop()
	if fault := unbalanced(s.Totals); fault != "" {
		t.Errorf("the totals do not add up: %s", fault)
	}
	if s.Messages != 8 || s.Returned.Spans != 8 || s.InFlight != (pipeline.Count{}) {
		t.Errorf("gave back %d messages, %+v, in flight %+v; want 8 and nothing in flight", s.Messages, s.Returned, s.InFlight)
	}
	if n := p.unacked(); n < 8 {
		t.Errorf("%d messages un-acked, want the 8 that were given back", n)
	}

	w = p.worker(second, nil)
	begin := time.Now()
	poll(t, "the second worker has not received it all", func() bool { return w.totals().Received.Spans == 8 })
	if took := time.Since(begin); took > 8*time.Second {
		t.Errorf("redelivered after %v: the leases ran out, nothing was given back", took)
	}
	poll(t, "messages are un-acked", func() bool { return w.totals().InFlight == (pipeline.Count{}) && p.unacked() == 0 })
	want := map[string]int{"2/1": 1, "2/2": 1, "4/1": 1, "4/2": 1}
	if diff := cmp.Diff(want, spansAt(t, second, 0)); diff != "" {
		t.Errorf("spans at the second backend (-want +got):\n%s", diff)
	}
	if len(first.Requests()) != 0 {
		t.Errorf("the first worker exported %d requests of undecided traces", len(first.Requests()))
	}
}

// Nothing kept is acked before the backend confirmed it, and nothing is lost while it is down.
func TestBackendDownThenUp(t *testing.T) {
	p := newProcess(t)
	backend := exportertest.NewHTTP(t, nil)
	down := make([]exportertest.Answer, 2)
	for i := range down {
		down[i] = exportertest.Answer{Status: http.StatusServiceUnavailable}
	}
	backend.Script(down...)
	w := p.worker(backend, nil)
	for n := byte(1); n <= 4; n++ {
		p.sendTrace(n, true)
	}
	for up := false; !up; {
		n := p.unacked()
		if len(backend.Requests()) <= len(down) && n < 8 && w.totals().Received.Spans == 8 && len(backend.Requests()) > 0 && n > 0 {
			t.Fatalf("%d messages un-acked before the backend confirmed any, want 8", n)
		}
		up = len(backend.Requests()) > len(down)
		if !up {
			time.Sleep(time.Millisecond)
		}
	}
	poll(t, "messages are un-acked", func() bool { return w.totals().InFlight == (pipeline.Count{}) && p.unacked() == 0 })
	got := spansAt(t, backend, len(down))
	for n := 1; n <= 4; n++ {
		for span := 1; span <= 2; span++ {
			if got[fmt.Sprintf("%d/%d", n, span)] == 0 {
				t.Errorf("span %d/%d is lost", n, span)
			}
		}
	}
	if kept := w.totals().Kept; kept.Spans != 8 || kept.Traces != 4 {
		t.Errorf("kept %+v, want 8 spans of 4 traces", kept)
	}
}

// A worker that stops while its backend is away gives back what it could not export.
func TestStopsWhileTheBackendIsDown(t *testing.T) {
	p := newProcess(t)
	down, up := exportertest.NewHTTP(t, nil), exportertest.NewHTTP(t, nil)
	for range 1000 {
		down.Script(exportertest.Answer{Status: http.StatusServiceUnavailable})
	}
	w := p.worker(down, func(c *Config) { c.Shutdown = 300 * time.Millisecond })
	p.sendTrace(1, true)
	poll(t, "no export was tried", func() bool { return len(down.Requests()) > 0 })
	s := w.stop()
	if !s.Undone || s.Messages != 2 || s.Returned.Spans != 2 || s.Kept != (pipeline.Count{}) {
		t.Errorf("summary %+v: want two messages given back, undone, nothing kept", s)
	}
	if fault := unbalanced(s.Totals); fault != "" {
		t.Errorf("the totals do not add up: %s", fault)
	}
	w = p.worker(up, nil)
	poll(t, "messages are un-acked", func() bool {
		return w.totals().Received.Spans == 2 && w.totals().InFlight == (pipeline.Count{}) && p.unacked() == 0
	})
	if diff := cmp.Diff(map[string]int{"1/1": 1, "1/2": 1}, spansAt(t, up, 0)); diff != "" {
		t.Errorf("spans at the second backend (-want +got):\n%s", diff)
	}
}

// A message that is no OTLP lands on the dead-letter topic as it came, with the reason, and does not stop the others.
func TestUndecodableIsDeadLettered(t *testing.T) {
	p := newProcess(t)
	backend := exportertest.NewHTTP(t, nil)
	w := p.worker(backend, nil)
	topic := p.client.Publisher(p.cfg.Queue.Topic, queue.PublisherConfig{})
	t.Cleanup(topic.Close)
	bad := []byte("\xff\xffno protobuf")
	attrs := map[string]string{otlp.AttrType: otlp.Traces.EventType(), "origin": "somewhere"}
	if err := topic.Publish(t.Context(), bad, attrs); err != nil {
		t.Fatal(err)
	}
	p.sendTrace(1, true)

	letters := make(chan *queue.Message, 10)
	sub := p.client.Subscriber(p.cfg.Queue.DeadLetters+"-kept", queue.SubscriberConfig{Logger: quiet})
	background(t, func(ctx context.Context) error {
		return sub.Run(ctx, func(m *queue.Message) { m.Ack(); letters <- m })
	})
	select {
	case m := <-letters:
		if !bytes.Equal(m.Data, bad) {
			t.Errorf("dead letter %q, want the payload as it came", m.Data)
		}
		if m.Attributes[pipeline.AttrReason] != pipeline.ReasonUndecodable || m.Attributes["origin"] != "somewhere" || m.Attributes[pipeline.AttrError] == "" {
			t.Errorf("attributes %v: want its own, the reason %s and the error", m.Attributes, pipeline.ReasonUndecodable)
		}
	case <-time.After(patience):
		t.Fatal("no dead letter")
	}
	poll(t, "messages are un-acked", func() bool { return w.totals().Kept.Spans == 2 && p.unacked() == 0 })
}

func TestSubscriptionThatDoesNotExist(t *testing.T) {
	p := newProcess(t)
	w := p.worker(exportertest.NewHTTP(t, nil), func(c *Config) { c.Queue.Subscription = "nobody-made-it" })
	w.wait()
	if w.err == nil || !strings.Contains(w.err.Error(), "nobody-made-it") || !strings.Contains(w.err.Error(), "NotFound") {
		t.Errorf("error %v: want one that names the subscription and says NotFound", w.err)
	}
	w.err = nil // for stop
}

func TestWorkerWithoutExporterIsRefused(t *testing.T) {
	_, err := NewWorker(testConfig(t), WorkerOptions{Log: quiet})
	if err == nil || !strings.Contains(err.Error(), "exporters") {
		t.Errorf("error %v, want one about exporters", err)
	}
}

// A hold that is full hands messages back and loses none of them.
func TestFullHoldLosesNothing(t *testing.T) {
	p := newProcess(t)
	backend := exportertest.NewHTTP(t, nil)
	w := p.worker(backend, func(c *Config) { c.Hold.MaxBytes, c.Hold.HandBack = strictyaml.Size(16_000), time.Second })
	for n := byte(1); n <= 30; n++ {
		p.sendTrace(n, true)
	}
	poll(t, "messages are un-acked", func() bool { return w.totals().InFlight == (pipeline.Count{}) && p.unacked() == 0 })
	got := spansAt(t, backend, 0)
	for n := 1; n <= 30; n++ {
		for span := 1; span <= 2; span++ {
			if got[fmt.Sprintf("%d/%d", n, span)] != 1 {
				t.Errorf("span %d/%d arrived %d times, want once", n, span, got[fmt.Sprintf("%d/%d", n, span)])
			}
		}
	}
	totals := w.totals()
	if totals.Returned.Spans == 0 {
		t.Error("nothing was handed back: the test did not fill the hold")
	}
	if fault := unbalanced(totals); fault != "" {
		t.Errorf("the totals do not add up: %s", fault)
	}
}
