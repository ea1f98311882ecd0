package member_test

import (
	"fmt"
	"hash/crc32"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tailweir/fleet/order"
)

// scenario is a fleet and what befalls it.
type scenario struct {
	name    string
	workers []int // for which it is run by default; all in a long run
	change  func(*setup)
	faults  func(w *world) // from 20 s on; what it breaks it mends
}

var scenarios = []scenario{
	{name: "calm", workers: []int{1, 5}},
	{name: "twice", workers: []int{2}, change: func(s *setup) { s.twice = 0.02 }},
	{name: "kill", workers: []int{5}, faults: killEach(30*time.Second, anybody)},
	{name: "killleader", workers: []int{2, 5}, faults: killEach(40*time.Second, (*world).leader)},
	{name: "killtwins", workers: []int{5}, faults: killEach(40*time.Second, (*world).leader), change: func(s *setup) { s.swap, s.coin = 0.5, true }},
	{name: "join", workers: []int{2}, faults: join},
	{name: "leave", workers: []int{5}, faults: leaveEach(25*time.Second, anybody)},
	{name: "leaderleaves", workers: []int{2}, faults: leaveEach(25*time.Second, (*world).leader)},
	{name: "lag", workers: []int{5}, faults: trouble(30*time.Second, func(k *worker, until time.Time) { k.lags = until })},
	{name: "cut", workers: []int{5}, faults: trouble(40*time.Second, func(k *worker, until time.Time) { k.cut = until })},
	{name: "deaf", workers: []int{2}, faults: trouble(30*time.Second, func(k *worker, until time.Time) { k.deaf = until })},
	{name: "streams", workers: []int{2}, faults: streams},
	{name: "factsaway", workers: []int{2}, faults: factsAway},
	{name: "pauseleader", workers: []int{5}, faults: pauseLeader(10*time.Second, 20*time.Second)},
	{name: "pausenear", workers: []int{2}, faults: pauseLeader(12300*time.Millisecond, 14300*time.Millisecond)},
	{name: "badpublish", workers: []int{2}, change: func(s *setup) { s.bad, s.coin = true, true }},
	{name: "swap", workers: []int{20}, change: func(s *setup) { s.swap = 0.3 }, faults: killEach(35*time.Second, (*world).leader)},
	{name: "restart", workers: []int{5}, faults: restart},
	{name: "backlog", workers: []int{2}, faults: backlog, change: func(s *setup) { s.lasts += 150 * time.Second }},
	{name: "deploy", workers: []int{5}, faults: deploy},
	{name: "pressure", workers: []int{2}, change: func(s *setup) { s.maxBytes = 100_000 }},
	{name: "combo", workers: []int{5}, change: func(s *setup) { s.bad, s.coin, s.swap, s.twice = true, true, 0.3, 0.02 }, faults: combo},
}

// alive is the workers that run and do not leave, in the order of their start.
func (w *world) alive() (all []*worker) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, k := range w.workers {
		if !k.gone && !k.leaving {
			all = append(all, k)
		}
	}
	return all
}

// leader is the worker that leads, by what it says; nil when none does.
func (w *world) leader() *worker {
	for _, k := range w.alive() {
		if k.m.State().Phase == "leading" {
			return k
		}
	}
	return nil
}

// anybody is one of those alive.
func anybody(w *world) *worker {
	all := w.alive()
	return all[w.die("anybody", int(w.now()/time.Millisecond)).IntN(len(all))]
}

// during calls f again and again while the load lasts.
func (w *world) during(every time.Duration, f func()) {
	for end := w.setup.lasts - 10*time.Second; w.now() < end; time.Sleep(every) {
		f()
	}
}

func killEach(every time.Duration, who func(*world) *worker) func(*world) {
	return func(w *world) {
		w.during(every, func() {
			if k := who(w); k != nil {
				k.kill()
				time.Sleep(between(w.die("back", k.name), 0, 8*time.Second))
				w.start(w.setup.old)
			}
		})
	}
}

func leaveEach(every time.Duration, who func(*world) *worker) func(*world) {
	return func(w *world) {
		w.during(every, func() {
			if k := who(w); k != nil {
				w.start(w.setup.old)
				time.Sleep(between(w.die("back", k.name), 0, 8*time.Second))
				k.leave()
			}
		})
	}
}

func join(w *world) { w.during(15*time.Second, func() { w.start(w.setup.old) }) }

// trouble strikes one after the other, the leader first.
func trouble(lasts time.Duration, what func(k *worker, until time.Time)) func(*world) {
	return func(w *world) {
		turn := 0
		w.during(lasts+10*time.Second, func() {
			k := w.leader()
			if turn++; k == nil || turn%2 == 0 {
				k = anybody(w)
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			w.note("trouble for %s", k.name)
			what(k, time.Now().Add(lasts))
		})
	}
}

func pauseLeader(least, most time.Duration) func(*world) {
	return func(w *world) {
		w.during(40*time.Second, func() {
			if k := w.leader(); k != nil {
				k.pause(between(w.die("pause", int(w.now()/time.Millisecond)), least, most))
			}
		})
	}
}

func (k *worker) pause(d time.Duration) {
	k.w.mu.Lock()
	defer k.w.mu.Unlock()
	k.w.note("%s stands still for %s", k.name, d)
	k.paused = time.Now().Add(d)
}

func streams(w *world) { w.during(10*time.Second, func() { anybody(w).breakStream() }) }

func factsAway(w *world) {
	w.mu.Lock()
	w.facts.stops = time.Now().Add(25 * time.Second)
	w.mu.Unlock()
	time.Sleep(40 * time.Second)
	w.mu.Lock()
	w.log.stops = time.Now().Add(20 * time.Second)
	w.mu.Unlock()
	time.Sleep(20 * time.Second)
}

func restart(w *world) {
	n := len(w.alive())
	for _, k := range w.alive() {
		k.kill()
	}
	time.Sleep(30 * time.Second)
	for range n {
		w.start(w.setup.old)
	}
}

// backlog stops payloads while the load goes on; then they come 5 times as fast as they were sent, with new ones in between.
func backlog(w *world) {
	const stop = 150 * time.Second
	w.mu.Lock()
	began := time.Now()
	w.payloads.stops = began.Add(stop)
	w.payloads.quick = func(m *message) time.Duration {
		r := w.die("backlog", m.id)
		if u := r.Float64(); u < 0.1 {
			return between(r, 0, stop/5) // out of order
		}
		return max(0, m.publish.Sub(began)/5)
	}
	w.mu.Unlock()
	time.Sleep(stop + stop/5)
}

func deploy(w *world) {
	for _, k := range w.alive() {
		w.start(w.setup.new)
		time.Sleep(between(w.die("deploy", k.name), time.Second, 8*time.Second))
		k.leave()
	}
	time.Sleep(40 * time.Second) // a claimant may have left before its Open
	w.mu.Lock()
	defer w.mu.Unlock()
	if got := w.judge.active; got != order.Hash(w.setup.new.Hash()) {
		w.judge.fault("after the deploy the policy is %x, want %x", got, w.setup.new.Hash())
	}
}

func combo(w *world) {
	turn := 0
	w.during(15*time.Second, func() {
		turn++
		k := w.leader()
		if k == nil || turn%3 == 0 {
			k = anybody(w)
		}
		switch turn % 4 {
		case 0:
			k.pause(13 * time.Second)
		case 1:
			k.kill()
			w.start(w.setup.old)
		case 2:
			w.mu.Lock()
			k.cut = time.Now().Add(14 * time.Second)
			w.mu.Unlock()
		case 3:
			w.start(w.setup.old)
			k.leave()
		}
	})
}

// play plays a scenario to its end, in a bubble.
func play(t *testing.T, seed uint64, s setup, faults func(*world)) (r result) {
	w := newWorld(t, seed, s)
	for range s.workers {
		w.start(w.setup.old)
	}
	go w.watch()
	time.Sleep(20 * time.Second)
	if faults != nil {
		faults(w)
	}
	w.mu.Lock()
	rest := time.Until(w.load.ends)
	w.mu.Unlock()
	time.Sleep(rest)
	w.drain()
	for _, k := range w.alive() {
		if n := k.p.State().Messages; n > 0 {
			w.mu.Lock()
			w.judge.fault("%s holds %d messages at the end", k.name, n)
			w.mu.Unlock()
		}
	}
	w.stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	r = w.verify()
	for _, k := range w.workers {
		r.fences += int(k.final.Fences)
		if k.final.Anomalies != (order.Anomalies{}) {
			w.judge.fault("%s has seen anomalies: %v", k.name, k.final.Anomalies)
		}
	}
	if most := 2 + r.traces/500; r.excused > most && s.maxBytes == 0 {
		w.judge.fault("%d traces deviate because what came late was not known, want %d at most", r.excused, most)
	}
	w.report()
	return r
}

// drain waits until all is acked, as long as that may take after the faults and the load.
func (w *world) drain() {
	most := window.MaxAge + 2*(death+5*time.Second) + slack + ackDeadline + 2*time.Second
	if w.setup.maxBytes > 0 {
		most += 2 * time.Minute // handed back, perhaps twice and longer
	}
	if w.payloads.quick != nil {
		most += 4 * time.Minute // the watermark stays behind by the age of what came last
	}
	for end := time.Now().Add(most); time.Now().Before(end); time.Sleep(time.Second) {
		w.mu.Lock()
		left := len(w.unsettled())
		w.mu.Unlock()
		if left == 0 {
			return
		}
	}
}

// stop ends everybody, and with them the bubble.
func (w *world) stop() {
	var all sync.WaitGroup
	for _, k := range w.alive() {
		all.Go(k.leave)
	}
	all.Wait()
	w.mu.Lock()
	w.over = true
	workers := w.workers
	w.mu.Unlock()
	for _, k := range workers {
		k.cancel()
		k.done.Wait()
	}
}

func (w *world) report() {
	if len(w.judge.faults) == 0 {
		return
	}
	for _, f := range w.judge.faults {
		w.t.Error(f)
	}
	if w.judge.more > 0 {
		w.t.Errorf("and %d more", w.judge.more)
	}
	if os.Getenv("TAILWEIR_FLEET_SEED") != "" {
		w.t.Log("what happened:\n" + strings.Join(w.lines, "\n"))
	}
}

// TestFleet plays the scenarios. TAILWEIR_FLEET_RUNS=n plays each with n seeds and 1, 2, 5 and 20 workers;
// with them TAILWEIR_FLEET_CASE=kill/5 and TAILWEIR_FLEET_SEED=7 play one again.
func TestFleet(t *testing.T) {
	runs, _ := strconv.Atoi(os.Getenv("TAILWEIR_FLEET_RUNS"))
	only, given := os.LookupEnv("TAILWEIR_FLEET_CASE")
	seed, one := strconv.ParseUint(os.Getenv("TAILWEIR_FLEET_SEED"), 10, 64)
	var all result
	played := 0
	for _, s := range scenarios {
		workers := s.workers
		if runs > 0 || given {
			workers = []int{1, 2, 5, 20}
		}
		for _, n := range workers {
			name := fmt.Sprintf("%s/%d", s.name, n)
			if given && only != name && only != s.name {
				continue
			}
			for i := range max(1, runs) {
				number := uint64(i + 1)
				if one == nil && number != seed {
					continue
				}
				t.Run(fmt.Sprintf("%s/%d", name, number), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						set := setup{workers: n, lasts: 70 * time.Second}
						if runs > 0 {
							set.lasts = 150 * time.Second
						}
						set.coin = number%2 == 0
						if s.change != nil {
							s.change(&set)
						}
						r := play(t, number<<32|uint64(crc32.ChecksumIEEE([]byte(name))), set, s.faults)
						t.Logf("%+v", r)
						all.add(r)
						played++
					})
				})
			}
		}
	}
	t.Logf("%d runs: %+v", played, all)
}

func (r *result) add(o result) {
	r.traces += o.traces
	r.kept += o.kept
	r.torn += o.torn
	r.deviating += o.deviating
	r.excused += o.excused
	r.twice += o.twice
	r.fences += o.fences
	r.terms += o.terms
	r.logged += o.logged
	r.latest = slices.Max([]time.Duration{r.latest, o.latest})
}
