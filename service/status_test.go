package service

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tailweir/exporter/exportertest"
)

// lines is a log that can be read while it is written.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

// status are the status lines so far. A key twice in a line fails the test: whoever reads it takes one of them.
func (l *lines) status(t *testing.T) []map[string]any {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []map[string]any
	for line := range strings.Lines(l.buf.String()) {
		m := map[string]any{}
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if n := strings.Count(line, `":`); n != len(m) {
			t.Errorf("%d fields, %d of them different: %s", n, len(m), line)
		}
		if m["message"] == "worker status" {
			all = append(all, m)
		}
	}
	return all
}

// sayingWorker is a worker whose status lines come when the test says.
func (p *process) sayingWorker(endpoint string) (w *Worker, log *lines, say func() map[string]any, stop func()) {
	p.t.Helper()
	cfg := p.cfg
	cfg.Exporters = []ExporterConfig{{Type: "otlp", Endpoint: endpoint}}
	log = &lines{}
	w, err := NewWorker(cfg, WorkerOptions{Client: p.client, Log: CloudLog(log), Console: []net.Listener{listen(p.t)}})
	if err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(p.t.Context()))
	ended := make(chan error, 1)
	go func() {
		_, err := w.Run(ctx)
		ended <- err
	}()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-ended; err != nil {
				p.t.Error(err)
			}
		})
	}
	p.t.Cleanup(stop)
	var last statusCounts
	say = func() map[string]any {
		w.logStatus(&last)
		all := log.status(p.t)
		return all[len(all)-1]
	}
	return w, log, say, stop
}

func TestStatusLines(t *testing.T) {
	p := newProcess(t)
	backend := exportertest.NewHTTP(t, nil)
	w, log, say, stop := p.sayingWorker(backend.URL)
	settled := func(spans int64) {
		poll(t, "all is decided", func() bool {
			s := w.pipeline.State()
			return s.Received.Spans == spans && s.InFlight.Spans == 0
		})
	}
	for n := byte(1); n <= 8; n++ {
		p.sendTrace(n, n%4 == 0)
	}
	settled(16)
	check := func(got map[string]any, want map[string]any) {
		t.Helper()
		of := map[string]any{}
		for k := range want {
			of[k] = got[k]
		}
		if diff := cmp.Diff(want, of); diff != "" {
			t.Errorf("status (-want +got):\n%s", diff)
		}
	}
	check(say(), map[string]any{
		"severity": "INFO", "phase": "leading", "ready": true, "spans_received": 16.0, "spans_kept": 4.0, "spans_dropped": 12.0, "traces_decided": 8.0, "kept_share": 0.25,
		"hold_messages": 0.0, "exporters_failing": 0.0, "anomalies": 0.0, "payloads_undecodable": 0.0, "policy_pending": 0.0,
	})
	// Counts are of the time since the line before, and a share of nothing is not there.
	check(say(), map[string]any{"spans_received": 0.0, "spans_kept": 0.0, "kept_share": nil, "traces_decided": nil})

	for n := byte(9); n <= 10; n++ {
		p.sendTrace(n, true)
	}
	settled(20)
	check(say(), map[string]any{"spans_received": 4.0, "spans_kept": 4.0, "kept_share": 1.0})

	// The worker's own lines: it says a last one when it ends, in which all is counted that its others did not count.
	stop()
	all := log.status(t)
	check(all[len(all)-1], map[string]any{"spans_received": 20.0, "spans_kept": 8.0, "traces_decided": 10.0})
}

// A line comes with each tick, and one at the end.
func TestStatusTicks(t *testing.T) {
	p := newProcess(t)
	w, log, _, _ := p.sayingWorker(exportertest.NewHTTP(t, nil).URL)
	ctx, cancel := context.WithCancel(t.Context())
	tick, done := make(chan time.Time), make(chan struct{})
	go func() {
		defer close(done)
		w.sayStatus(ctx, tick)
	}()
	before := len(log.status(t))
	tick <- time.Time{}
	tick <- time.Time{}
	cancel()
	<-done
	if n := len(log.status(t)) - before; n != 3 {
		t.Errorf("%d lines, want 3", n)
	}
}

// A backend that is away is failing until it is back.
func TestStatusOfAFailingExporter(t *testing.T) {
	p := newProcess(t)
	_, _, say, _ := p.sayingWorker("http://127.0.0.1:1")
	p.sendTrace(4, true)
	var got map[string]any
	poll(t, "the exporter fails", func() bool {
		got = say()
		return got["exporters_failing"] == 1.0
	})
	if keys := slices.Sorted(maps.Keys(got)); !slices.Contains(keys, "export_failures") || !slices.Contains(keys, "window_lag_seconds") {
		t.Errorf("fields: %v", keys)
	}
}
