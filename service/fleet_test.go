package service

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tailweir/exporter/exportertest"
	"tailweir/fleet/member"
	"tailweir/queue"
)

// inFleet makes a test's process one with a fleet.
func inFleet(p *process) *process {
	p.t.Helper()
	p.cfg.Fleet = FleetPubSub
	if err := Create(p.t.Context(), p.cfg, p.client); err != nil {
		p.t.Fatal(err)
	}
	return p
}

// member runs a worker with a connection of its own, which can be cut.
func (p *process) member(backend *exportertest.Backend, change func(*Config)) (*running, *queue.Client) {
	p.t.Helper()
	client, err := queue.Open(p.t.Context(), queue.Config{Project: p.cfg.Project, Endpoint: p.cfg.Emulator})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { client.Close() })
	own := *p
	own.client = client
	return own.worker(backend, change), client
}

func (r *running) state() member.State { return r.w.sequencer.State() }

// soon is poll with more patience: a successor is found in 17 s.
func soon(t *testing.T, d time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(d); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after %v: %s", d, what)
		}
	}
}

// verdicts compares what the backends got with the policy: both spans of the traces of this range that are bad, and nothing
// of the others. at most is how often a span may have come.
func verdicts(t *testing.T, backends []*exportertest.Backend, from, to byte, most int) (split int) {
	t.Helper()
	all := map[string]int{}
	where := map[string]map[int]bool{}
	for i, b := range backends {
		for span, n := range spansAt(t, b, 0) {
			all[span] += n
			trace, _, _ := strings.Cut(span, "/")
			if where[trace] == nil {
				where[trace] = map[int]bool{}
			}
			where[trace][i] = true
		}
	}
	for n := from; n <= to; n++ {
		for span := 1; span <= 2; span++ {
			name := fmt.Sprintf("%d/%d", n, span)
			if got := all[name]; n%2 == 0 && (got < 1 || got > most) || n%2 == 1 && got != 0 {
				t.Errorf("span %s came %d times; bad: %t", name, got, n%2 == 0)
			}
		}
		if len(where[fmt.Sprint(n)]) > 1 {
			split++
		}
	}
	return split
}

// Three workers decide as one: in calm, when the leader is killed with payloads in its hands, when one leaves and when one
// joins.
func TestFleet(t *testing.T) {
	if testing.Short() {
		t.Skip("a successor is found in 17 s")
	}
	t.Parallel()
	p := inFleet(newProcess(t))
	// The halves of a trace are published one after the other: on a busy machine that takes its time.
	quick := func(c *Config) {
		w := &c.Window
		w.StartDelay, w.Settle, w.Idle, w.MaxAge, w.Slack = time.Millisecond, 2*time.Second, 3*time.Second, 10*time.Second, time.Second
	}
	var backends []*exportertest.Backend
	var workers []*running
	var clients []*queue.Client
	start := func() *running {
		backends = append(backends, exportertest.NewHTTP(t, nil))
		w, client := p.member(backends[len(backends)-1], quick)
		workers, clients = append(workers, w), append(clients, client)
		return w
	}
	ready := func(all ...*running) func() bool {
		return func() bool { return !slices.ContainsFunc(all, func(r *running) bool { return !r.w.ready() }) }
	}
	send := func(from, to byte) {
		for n := from; n <= to; n++ {
			p.sendTrace(n, n%2 == 0)
		}
	}
	settled := func() bool { return p.unacked() == 0 }

	for range 3 {
		start()
	}
	soon(t, 20*time.Second, "three workers are not ready", func() bool {
		return ready(workers...)() && len(workers[0].state().Members) == 3
	})
	send(1, 40)
	soon(t, 20*time.Second, "messages are un-acked", settled)
	if split := verdicts(t, backends, 1, 40, 1); split == 0 {
		t.Error("no trace was shared by workers: the test shows nothing")
	} else {
		t.Logf("%d of 20 kept traces came from several workers", split)
	}
	checkFleetPage(t, workers)
	checkWatch(t, p, workers)

	lead := slices.IndexFunc(workers, func(r *running) bool { return r.state().Phase == member.Leading })
	send(41, 80)
	soon(t, 5*time.Second, "the leader holds nothing", func() bool { return workers[lead].w.Held() > 0 })
	killed := time.Now()
	clients[lead].Close()
	workers[lead].cancel()
	rest := slices.Delete(slices.Clone(workers), lead, lead+1)
	soon(t, 30*time.Second, "no successor leads", func() bool {
		return slices.ContainsFunc(rest, func(r *running) bool { return r.state().Phase == member.Leading })
	})
	t.Logf("a successor led after %v", time.Since(killed).Round(100*time.Millisecond))
	soon(t, 30*time.Second, "messages are un-acked", settled)
	verdicts(t, backends, 41, 80, 2)
	workers[lead].wait()
	workers[lead].err = nil // it had no connection to say goodbye by

	// The one that leaves leads, the other has all to itself, then a new one comes.
	leaver, stayer := rest[0], rest[1]
	if stayer.state().Phase == member.Leading {
		leaver, stayer = stayer, leaver
	}
	send(81, 90)
	name, left := leaver.state().Name, time.Now()
	leaver.stop()
	if took := time.Since(left); took > 4*time.Second {
		t.Errorf("it took %v to leave", took)
	}
	for _, s := range p.broker.Stats().Subscriptions {
		if strings.HasSuffix(s.Name, name) {
			t.Errorf("the log subscription %s is still there", s.Name)
		}
	}
	soon(t, 12*time.Second, "nobody followed the one that left", func() bool { return stayer.state().Phase == member.Leading })
	t.Logf("a successor led %v after the leader left", time.Since(left).Round(100*time.Millisecond))
	newcomer := start()
	send(91, 100)
	soon(t, 20*time.Second, "messages are un-acked, or the newcomer is not ready", func() bool { return settled() && ready(newcomer)() })
	verdicts(t, backends, 81, 100, 2)
	for _, r := range []*running{stayer, newcomer} {
		if got := r.state().Anomalies; got != (member.State{}).Anomalies {
			t.Errorf("anomalies %v", got)
		}
		if fault := unbalanced(r.totals()); fault != "" {
			t.Errorf("the totals do not add up: %s", fault)
		}
	}
}

// checkFleetPage compares consoles and metrics with the workers.
func checkFleetPage(t *testing.T, workers []*running) {
	t.Helper()
	leaders := 0
	for _, w := range workers {
		s := w.state()
		page, metrics := w.get("/"), w.get("/metrics")
		if !strings.Contains(page, s.Name+" (this)") || !strings.Contains(page, s.Leader) {
			t.Errorf("the page of %s does not name it and its leader, %s", s.Name, s.Leader)
		}
		for _, line := range []string{
			`tailweir_fleet_anomalies_total{kind="hole"} 0`, `tailweir_fleet_members 3`, `tailweir_fleet_fences_total 0`,
			fmt.Sprintf(`tailweir_fleet_phase{phase="%s"} 1`, s.Phase),
		} {
			if !strings.Contains(metrics, line+"\n") {
				t.Errorf("/metrics lacks %q:\n%s", line, metrics)
			}
		}
		leads := s.Phase == member.Leading
		if leads {
			leaders++
		}
		if strings.Contains(metrics, "tailweir_window_traces ") != leads {
			t.Errorf("window metrics on a worker that is %s", s.Phase)
		}
	}
	if leaders != 1 {
		t.Errorf("%d leaders", leaders)
	}
}

// checkWatch compares the log's own story with the workers'.
func checkWatch(t *testing.T, p *process, workers []*running) {
	t.Helper()
	var reports []LogReport
	err := WatchLog(t.Context(), p.cfg, p.client, time.Minute, func(r LogReport) bool {
		reports = append(reports, r)
		return len(reports) < 2
	})
	if err != nil || len(reports) != 2 {
		t.Fatalf("%d reports, %v", len(reports), err)
	}
	s := workers[0].state()
	got := reports[0]
	slices.Sort(got.Members)
	slices.Sort(s.Members)
	if diff := cmp.Diff(s.Members, got.Members); !got.Known || got.Leader != s.Leader || got.Term != s.Term || got.Policy != hash(s.Policy) || got.Epoch != s.Epoch || diff != "" {
		t.Errorf("the log says %+v, a worker %+v\n%s", got, s, diff)
	}
	if got.Kept <= 0 || got.Dropped <= 0 || len(got.Anomalies) > 0 || got.Claims == 0 || got.AgeMS > 2000 {
		t.Errorf("report %+v: want decisions of both kinds, claims, and no anomaly", got)
	}
	if e := reports[1].Entries; e < 1 || e > 20 {
		t.Errorf("%.1f entries/s while nothing happens, want about 2", e)
	}
	for _, s := range p.broker.Stats().Subscriptions {
		if strings.Contains(s.Name, "watch") {
			t.Errorf("the subscription %s is left", s.Name)
		}
	}
}

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
