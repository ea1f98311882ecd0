package service

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tailweir/exporter/exportertest"
	"tailweir/otlp"
	"tailweir/pipeline"
	"tailweir/queue"
	"tailweir/strictyaml"
)

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
