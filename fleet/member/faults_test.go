package member_test

import (
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
	{name: "pressurekill", workers: []int{5}, change: func(s *setup) { s.maxBytes = 100_000 }, faults: killEach(30*time.Second, anybody)},
	{name: "pressurekills", workers: []int{5}, change: func(s *setup) { s.maxBytes = 100_000 }, faults: killSome},
	{name: "proxy", workers: []int{1, 5}, change: behindProxy},
	{name: "proxykill", workers: []int{5}, change: behindProxy, faults: killEach(20*time.Second, anybody)},
	{name: "combo", workers: []int{5}, change: func(s *setup) { s.bad, s.coin, s.swap, s.twice = true, true, 0.3, 0.02 }, faults: combo},
}

func behindProxy(s *setup) { s.rootless, s.twice, s.coin = 0.7, 0.05, false }

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

// killSome kills the leader and, within seconds, before another leads, two more.
func killSome(w *world) {
	w.during(50*time.Second, func() {
		for n := range 3 {
			k := w.leader()
			if n > 0 || k == nil {
				k = anybody(w)
			}
			k.kill()
			r := w.die("back", k.name)
			time.Sleep(between(r, 0, 4*time.Second))
			w.start(w.setup.old)
			time.Sleep(between(r, 0, 4*time.Second))
		}
	})
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
	time.Sleep(w.setup.lasts / 3) // until there are decisions to be remembered
	n := len(w.alive())
	for _, k := range w.alive() {
		k.kill()
	}
	time.Sleep(30 * time.Second)
	for range n {
		w.start(w.setup.old)
	}
}

// backlog is one of 150 s that comes in 30.
func backlog(w *world) { w.holdBack(150*time.Second, 30*time.Second) }

// holdBack stops payloads while the load goes on; then they come in a shorter time, in their order but for a tenth, with new
// ones in between. It returns when they stop to be held back.
func (w *world) holdBack(stop, takes time.Duration) {
	w.mu.Lock()
	began := time.Now()
	w.payloads.stops = began.Add(stop)
	w.payloads.quick = func(m *message) time.Duration {
		r := w.die("backlog", m.id)
		if u := r.Float64(); u < 0.1 {
			return between(r, 0, takes) // out of order
		}
		return max(0, time.Duration(float64(m.publish.Sub(began))/float64(stop)*float64(takes)))
	}
	w.mu.Unlock()
	time.Sleep(stop)
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
