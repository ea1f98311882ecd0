package pipeline

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tailweir/buffer"
)

// TestModel runs random sequences of everything that can happen to a worker against a reference model: 3,000, or as many
// as 10 s take, since the race detector makes them ten times slower. TAILWEIR_MODEL sets how many however long they take,
// TAILWEIR_MODEL_SEED runs a single one again.
func TestModel(t *testing.T) {
	first, count, end := uint64(0), uint64(3000), time.Now().Add(10*time.Second)
	if n, err := strconv.ParseUint(os.Getenv("TAILWEIR_MODEL"), 10, 64); err == nil {
		count, end = n, end.Add(24*time.Hour)
	}
	if seed, err := strconv.ParseUint(os.Getenv("TAILWEIR_MODEL_SEED"), 10, 64); err == nil {
		first, count = seed, 1
	}
	for seed := first; seed < first+count; seed++ {
		if time.Now().After(end) {
			t.Logf("%d sequences in time", seed-first)
			return
		}
		s, steps := draw(seed)
		faults := play(t, s, seed, steps)
		if len(faults) == 0 {
			continue
		}
		steps, faults = shortest(t, s, seed, steps, faults)
		var text strings.Builder
		for _, x := range steps {
			fmt.Fprintf(&text, "\t%s\n", x)
		}
		t.Fatalf("TAILWEIR_MODEL_SEED=%d, %+v\n%s%s", seed, s, &text, strings.Join(faults, "\n"))
	}
}

// modelLevels are severities that rules are about.
var modelLevels = []byte{9, 17}

// step is something that happens, and how long it is quiet afterwards.
type step struct {
	what   string
	n      int // its number in the sequence as drawn: other steps can be left out without a change to this one
	random uint64
	mode   mode
	gap    time.Duration
}

func (s step) String() string {
	return fmt.Sprintf("%d: %s %q %d, then %s", s.n, s.what, s.mode.kind, s.mode.n, s.gap)
}

// draw makes a scenario and its steps of a seed. Each scenario has some of the faults only: with all of them at once
// nothing is ever exported.
func draw(seed uint64) (scenario, []step) {
	rng := rand.New(rand.NewPCG(seed, 1))
	chance := func(percent int) bool { return rng.IntN(100) < percent }
	s := scenario{
		maxBytes: plenty, batchBytes: 1 + rng.IntN(1000), keep: LogsAll, attempts: chance(50), handBack: 3 * time.Second,
		window: buffer.Config{Settle: 300 * time.Millisecond, Idle: 500 * time.Millisecond, MaxAge: 2 * time.Second}.Defaults(), slack: 100 * time.Millisecond,
	}
	if chance(30) {
		s.maxBytes = 7000
	}
	if chance(20) {
		s.window.MaxTraces = 2
	}
	if chance(50) {
		s.keep = []LogsKeep{LogsWithTrace, LogsWithTrace, LogsAtOnce}[rng.IntN(3)]
	}
	for range rng.IntN(4) {
		every := []LogsKeep{LogsAll, LogsWithTrace, LogsAtOnce, LogsNever}
		s.rules = append(s.rules, modelRule{modelLevels[rng.IntN(len(modelLevels))], byte(rng.IntN(2)), every[rng.IntN(4)]})
	}
	if chance(30) {
		s.orphans = LogsNever
	}
	if chance(20) {
		s.delay = 12 * time.Second
	}
	kinds := []string{"publish", "publish", "publish", "publish", "publish", "publish"}
	for _, kind := range []string{"again", "redeliver", "backend", "backend", "letters", "crash", "stop", "surrender", "repeat"} {
		if chance(40) {
			kinds = append(kinds, kind)
		}
	}
	var steps []step
	for n := range 4 + rng.IntN(24) {
		x := step{what: kinds[rng.IntN(len(kinds))], n: n, random: rng.Uint64()}
		switch x.what {
		case "backend":
			x.mode.kind = []string{"", "", "slow", "answers late", "fails", "away", "partial", "names", "refuses"}[rng.IntN(9)]
			x.mode.n = byte(rng.IntN(luckyTrace + 1))
		case "letters":
			x.mode.kind = []string{"", "fails", "hangs"}[rng.IntN(3)]
		}
		x.gap = []time.Duration{0, 0, 20 * time.Millisecond, 300 * time.Millisecond, time.Second, 4 * time.Second}[rng.IntN(6)]
		steps = append(steps, x)
	}
	return s, steps
}

// play runs the steps in a world and returns what was wrong.
func play(t *testing.T, s scenario, seed uint64, steps []step) (faults []string) {
	synctest.Test(t, func(t *testing.T) {
		w, err := newWorld(s, seed)
		if err != nil {
			t.Fatal(err)
		}
		w.begin()
		for _, x := range steps {
			w.take(x)
			if !w.well() {
				break
			}
		}
		if w.well() {
			w.drain()
		}
		if w.life != nil {
			w.stop(time.Minute)
		}
		time.Sleep(time.Hour) // let the queue's timers end
		faults = w.judge.faults
	})
	return faults
}

func (w *world) well() bool {
	synctest.Wait()
	if w.life != nil {
		w.judgeTotals(w.life)
		w.judgeHeld(w.life)
	}
	return len(w.judge.faults) == 0
}

func (w *world) take(x step) {
	rng := rand.New(rand.NewPCG(x.random, 2))
	switch x.what {
	case "publish":
		w.publishAlone(w.draw(x.n, rng))
	case "again":
		if m := w.any(rng); m != nil {
			w.publishAlone(m.payload)
		}
	case "redeliver":
		if m := w.any(rng); m != nil {
			w.mu.Lock()
			time.AfterFunc(time.Until(w.slotLocked(time.Now())), func() { w.deliver(m, true) })
			w.mu.Unlock()
		}
	case "backend":
		w.mu.Lock()
		w.export = x.mode
		w.mu.Unlock()
	case "letters":
		w.mu.Lock()
		w.dead = x.mode
		w.mu.Unlock()
	case "crash":
		w.crash()
		w.between(x.n, time.Duration(rng.IntN(12_000))*time.Millisecond, rng)
	case "surrender":
		w.surrender(time.Duration(rng.IntN(7_000)) * time.Millisecond)
	case "repeat":
		w.repeatDecisions(rng)
	case "stop":
		w.stop(time.Duration(rng.IntN(3)) * time.Second)
		w.between(x.n, time.Duration(rng.IntN(2_000))*time.Millisecond, rng)
	}
	time.Sleep(x.gap + 20*time.Millisecond)
}

// between is the time from one worker to the next, in which apps send all the same.
func (w *world) between(n int, pause time.Duration, rng *rand.Rand) {
	if m := w.any(rng); m != nil && rng.IntN(3) == 0 {
		w.publishAlone(m.payload)
	}
	if rng.IntN(3) == 0 {
		w.publishAlone(w.draw(n, rng))
	}
	time.Sleep(pause)
	w.begin()
}

// publishAlone publishes at a publish time that no other payload has.
func (w *world) publishAlone(p *payload) {
	w.mu.Lock()
	at := w.slotLocked(time.Now())
	w.mu.Unlock()
	time.Sleep(time.Until(at))
	w.publish(p)
}

// any is a message that somebody published, ticks excepted.
func (w *world) any(rng *rand.Rand) *published {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := slices.DeleteFunc(slices.Clone(w.messages), func(m *published) bool { return m.good && len(m.items) == 0 })
	if len(all) == 0 {
		return nil
	}
	return all[rng.IntN(len(all))]
}

// draw makes a payload of up to four items. A few are items of earlier payloads: an SDK that retries packs its batches anew.
func (w *world) draw(n int, rng *rand.Rand) *payload {
	chance := func(percent int) bool { return rng.IntN(100) < percent }
	p := &payload{good: true}
	log := chance(40)
	for i := range 1 + rng.IntN(4) {
		x := item{trace: byte(1 + rng.IntN(luckyTrace)), id: uint32(n*8 + i), log: log, root: chance(25), bad: chance(15)}
		if log && chance(70) {
			x.level = modelLevels[rng.IntN(len(modelLevels))]
		}
		switch old := w.any(rng); {
		case chance(4), log && chance(15):
			x.trace = 0
		case old != nil && old.good && old.items[0].log == log && chance(10):
			x = old.items[rng.IntN(len(old.items))]
		}
		p.items = append(p.items, x)
	}
	p.data, p.attrs = encodeItems(p.items), attrs(p.items[0].signal())
	if chance(8) {
		p.data, p.items, p.good = fmt.Appendf(nil, "\nno OTLP %d", n), nil, false
	}
	p.attrs["origin"] = fmt.Sprint("step ", n)
	return p
}

// drain heals everything and waits until nothing is un-acked.
func (w *world) drain() {
	w.mu.Lock()
	w.export, w.dead = mode{}, mode{}
	w.mu.Unlock()
	for range 300 {
		time.Sleep(time.Second)
		if !w.well() {
			return
		}
		if w.settled() {
			w.judgeEnd(w.life)
			return
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.messages {
		if !m.acked || m.leases > 0 {
			w.judge.fault("%s is not settled after five minutes: %+v", m.id, m.items)
		}
	}
}

func (w *world) settled() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !slices.ContainsFunc(w.messages, func(m *published) bool { return !m.acked || m.leases > 0 })
}

// shortest leaves out steps as long as something stays wrong.
func shortest(t *testing.T, s scenario, seed uint64, steps []step, faults []string) ([]step, []string) {
	for size := len(steps) / 2; size > 0; {
		removed := false
		for at := 0; at+size <= len(steps); {
			fewer := slices.Delete(slices.Clone(steps), at, at+size)
			if f := play(t, s, seed, fewer); len(f) > 0 {
				steps, faults, removed = fewer, f, true
			} else {
				at += size
			}
		}
		if !removed {
			size /= 2
		}
	}
	return steps, faults
}
