package member_test

import (
	"fmt"
	"hash/crc32"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tailweir/fleet/order"
)

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
	if s.rootless > 0 && r.cleared < r.kept/4 {
		w.judge.fault("%d spans have lost their parent in %d kept traces", r.cleared, r.kept)
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
	if len(w.judge.faults) == 0 && os.Getenv("TAILWEIR_FLEET_SEED") == "" {
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

// TestFleet plays the scenarios; with an even seed a coin decides, one toss for each trace and term. TAILWEIR_FLEET_RUNS=n plays each with n seeds and 1, 2, 5 and 20 workers;
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
	if most := 5 + all.traces/2000; all.partial > most {
		t.Errorf("%d traces were decided without something that was in time, want at most %d, for deliveries that take up to 15 s", all.partial, most)
	}
}

func (r *result) add(o result) {
	r.traces += o.traces
	r.kept += o.kept
	r.torn += o.torn
	r.deviating += o.deviating
	r.excused += o.excused
	r.partial += o.partial
	r.twice += o.twice
	r.fences += o.fences
	r.terms += o.terms
	r.logged += o.logged
	r.pressed += o.pressed
	r.cleared += o.cleared
	r.delayed += o.delayed
	r.attempts = max(r.attempts, o.attempts)
	r.latest = max(r.latest, o.latest)
}
