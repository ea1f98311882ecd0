package service

import (
	"fmt"
	"slices"
	"strings"
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
	c := &crew{p: inFleet(newProcess(t))}
	for range 3 {
		c.start()
	}
	soon(t, 20*time.Second, "three workers are not ready", func() bool { return c.ready() && len(c.workers[0].state().Members) == 3 })
	c.decideTogether()
	checkFleetPage(t, c.workers)
	checkWatch(t, c.p, c.workers)
	c.killLeader()
	c.leaderLeaves()
	c.oneJoins()
	c.verdicts(81, 100, 2) // of what came before one left, and after one came
	c.p.sendBehindProxy(101, 104)
	soon(t, 20*time.Second, "messages are un-acked", c.settled)
	c.p.checkBehindProxy(101, 104, true, c.backends)
	c.checkBooks()
}

// crew is the workers of TestFleet that live, each with a connection and a backend. The backends of the dead stay: what they
// were given counts.
type crew struct {
	p        *process
	backends []*exportertest.Backend
	workers  []*running
	clients  []*queue.Client // of workers
}

// start starts a worker that decides quickly. The halves of a trace are published one after the other: on a busy machine that
// takes its time.
func (c *crew) start() {
	backend := exportertest.NewHTTP(c.p.t, nil)
	w, client := c.p.member(backend, func(cfg *Config) {
		cfg.Traces.ClearUnseenParent = true
		w := &cfg.Window
		w.StartDelay, w.Settle, w.Idle, w.MaxAge, w.Slack = time.Millisecond, 2*time.Second, 3*time.Second, 10*time.Second, time.Second
	})
	c.backends, c.workers, c.clients = append(c.backends, backend), append(c.workers, w), append(c.clients, client)
}

// take takes a worker out of the crew.
func (c *crew) take(i int) (*running, *queue.Client) {
	w, client := c.workers[i], c.clients[i]
	c.workers, c.clients = slices.Delete(c.workers, i, i+1), slices.Delete(c.clients, i, i+1)
	return w, client
}

func (c *crew) ready() bool {
	return !slices.ContainsFunc(c.workers, func(r *running) bool { return !r.w.ready() })
}

// leader is the index of the worker that leads, or -1.
func (c *crew) leader() int {
	return slices.IndexFunc(c.workers, func(r *running) bool { return r.state().Phase == member.Leading })
}

func (c *crew) led() bool { return c.leader() >= 0 }

func (c *crew) settled() bool { return c.p.unacked() == 0 }

// send sends traces, of which the even ones are bad.
func (c *crew) send(from, to byte) {
	for n := from; n <= to; n++ {
		c.p.sendTrace(n, n%2 == 0)
	}
}

func (c *crew) verdicts(from, to byte, most int) (split int) {
	c.p.t.Helper()
	return verdicts(c.p.t, c.backends, from, to, most)
}

func (c *crew) decideTogether() {
	t := c.p.t
	c.send(1, 40)
	soon(t, 20*time.Second, "messages are un-acked", c.settled)
	if split := c.verdicts(1, 40, 1); split == 0 {
		t.Error("no trace was shared by workers: the test shows nothing")
	} else {
		t.Logf("%d of 20 kept traces came from several workers", split)
	}
}

// killLeader cuts the leader off and ends it: it has no connection to say goodbye by.
func (c *crew) killLeader() {
	t := c.p.t
	w, client := c.take(c.leader())
	c.send(41, 80)
	soon(t, 5*time.Second, "the leader holds nothing", func() bool { return w.w.Held() > 0 })
	killed := time.Now()
	client.Close()
	w.cancel()
	soon(t, 30*time.Second, "no successor leads", c.led)
	t.Logf("a successor led after %v", time.Since(killed).Round(100*time.Millisecond))
	soon(t, 30*time.Second, "messages are un-acked", c.settled)
	c.verdicts(41, 80, 2)
	w.wait()
	w.err = nil
}

// leaderLeaves makes the leader leave with payloads in its hands: the last one has all to itself.
func (c *crew) leaderLeaves() {
	t := c.p.t
	w, _ := c.take(c.leader())
	c.send(81, 90)
	name, left := w.state().Name, time.Now()
	w.stop()
	if took := time.Since(left); took > 4*time.Second {
		t.Errorf("it took %v to leave", took)
	}
	for _, s := range c.p.broker.Stats().Subscriptions {
		if strings.HasSuffix(s.Name, name) {
			t.Errorf("the log subscription %s is still there", s.Name)
		}
	}
	soon(t, 12*time.Second, "nobody followed the one that left", c.led)
	t.Logf("a successor led %v after the leader left", time.Since(left).Round(100*time.Millisecond))
}

func (c *crew) oneJoins() {
	c.start()
	c.send(91, 100)
	soon(c.p.t, 20*time.Second, "messages are un-acked, or the newcomer is not ready", func() bool { return c.settled() && c.ready() })
}

func (c *crew) checkBooks() {
	for _, r := range c.workers {
		if got := r.state().Anomalies; got != (member.State{}).Anomalies {
			c.p.t.Errorf("anomalies %v", got)
		}
		if fault := unbalanced(r.totals()); fault != "" {
			c.p.t.Errorf("the totals do not add up: %s", fault)
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
			`tailweir_fleet_anomalies_total{kind="hole"} 0`, `tailweir_fleet_members 3`, `tailweir_fleet_log_latency_seconds_bucket{le="600"} 40`, `tailweir_fleet_fences_total 0`,
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
		for _, line := range []string{"tailweir_window_traces ", "tailweir_decision_latency_seconds_count 40\n"} {
			if strings.Contains(metrics, line) != leads {
				t.Errorf("%s on a worker that is %s, or not", line, s.Phase)
			}
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
