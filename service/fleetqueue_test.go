package service

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tailweir/exporter/exportertest"
	"tailweir/queue"
)

// What a worker cannot do without ends it, with the name and the permission.
func TestFleetNeedsItsObjects(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*Config)
		want   []string
	}{
		"log":                {func(c *Config) { c.Queue.Log = "nobody-made-it" }, []string{"nobody-made-it", "pubsub.topics.attachSubscription", "docs/fleet.md"}},
		"facts":              {func(c *Config) { c.Queue.Facts = "nobody-made-it" }, []string{"nobody-made-it", "pubsub.topics.publish"}},
		"facts subscription": {func(c *Config) { c.Queue.Sequencer = "nobody-made-it" }, []string{"nobody-made-it", "pubsub.subscriptions.consume"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := inFleet(newProcess(t)).worker(exportertest.NewHTTP(t, nil), tt.change)
			w.wait()
			for _, want := range append(tt.want, "NotFound") {
				if w.err == nil || !strings.Contains(w.err.Error(), want) {
					t.Errorf("error %v: want one that says %s", w.err, want)
				}
			}
			w.err = nil // for stop
		})
	}
}

// A log that is away at the start is waited for, and the wait is told.
func TestFleetWaitsForItsLog(t *testing.T) {
	if testing.Short() {
		t.Skip("an attempt to subscribe takes 8 s")
	}
	t.Parallel()
	p := inFleet(newProcess(t))
	l := listen(t)
	addr := l.Addr().String()
	l.Close()
	client, err := queue.Open(t.Context(), queue.Config{Project: p.cfg.Project, Endpoint: addr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	var text lockedText
	cfg := p.cfg
	cfg.Exporters = []ExporterConfig{{Type: "otlp", Endpoint: exportertest.NewHTTP(t, nil).URL}}
	w, err := NewWorker(cfg, WorkerOptions{Client: client, Log: slog.New(slog.NewTextHandler(&text, nil))})
	if err != nil {
		t.Fatal(err)
	}
	background(t, func(ctx context.Context) error {
		_, err := w.Run(ctx)
		return err
	})
	poll(t, "the wait is not told", func() bool { return strings.Contains(text.String(), "no answer from Pub/Sub") })
	if w.ready() {
		t.Error("ready without a log")
	}
	l, err = net.Listen("tcp", addr)
	if err != nil {
		t.Skipf("the port was taken: %v", err)
	}
	background(t, func(ctx context.Context) error { return p.broker.Serve(ctx, l) })
	soon(t, 30*time.Second, "not ready although the log is there", w.ready)
}

// lockedText is a log's text that grows while it is read.
type lockedText struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (l *lockedText) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Only subscriptions of workers that were gone twice are deleted.
func TestSweep(t *testing.T) {
	p := inFleet(newProcess(t))
	l := &fleetLog{client: p.client, names: p.cfg.Queue, name: "00000000000000a1", log: quiet}
	prefix := p.cfg.Queue.LogPrefix
	for _, id := range []string{"00000000000000a1", "00000000000000b2", "00000000000000c3", "00000000000000d4", "watch-12345678"} {
		if err := p.client.CreateSubscription(t.Context(), queue.SubscriptionConfig{Subscription: prefix + id, Topic: p.cfg.Queue.Log, Ordered: true}); err != nil {
			t.Fatal(err)
		}
	}
	left := func(alive ...string) []string {
		t.Helper()
		if err := l.sweep(t.Context(), func(name string) bool { return slices.Contains(alive, name) }); err != nil {
			t.Fatal(err)
		}
		ids, err := p.client.LogSubscriptions(t.Context(), p.cfg.Queue.Log, prefix)
		if err != nil {
			t.Fatal(err)
		}
		for i := range ids {
			ids[i] = strings.TrimLeft(strings.TrimPrefix(ids[i], prefix), "0")
		}
		return slices.Sorted(slices.Values(ids))
	}
	for i, step := range []struct{ alive, want []string }{
		{[]string{"00000000000000b2"}, []string{"a1", "b2", "c3", "d4", "watch-12345678"}},
		{[]string{"00000000000000d4"}, []string{"a1", "b2", "d4", "watch-12345678"}}, // c3 was gone twice
		{nil, []string{"a1", "d4", "watch-12345678"}},                                // b2, too; d4 only now
		{nil, []string{"a1", "watch-12345678"}},
	} {
		if diff := cmp.Diff(step.want, left(step.alive...)); diff != "" {
			t.Errorf("sweep %d leaves (-want +got):\n%s", i+1, diff)
		}
	}
}
