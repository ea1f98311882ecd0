package member_test

import (
	"testing"
	"time"
)

// TestFullHoldsPassABacklog: payloads stop for ten minutes, and then they come out of order in two, with fresh ones in
// between, to workers that can hold a fraction of them. A fleet whose holds are all full of parts, while the rest of each
// trace is with nobody, must not lock up.
func TestFullHoldsPassABacklog(t *testing.T) {
	var full, samples int
	fill := func(w *world) {
		w.holdBack(10*time.Minute, 2*time.Minute)
		for end := time.Now().Add(20 * time.Minute); time.Now().Before(end) && w.waiting() > 100; time.Sleep(time.Second) {
			t.Logf("%s waiting %d", w.now(), w.waiting())
			for _, k := range w.alive() {
				samples++; t.Logf("  %d", k.p.State().Bytes)
				if s := k.p.State(); s.Bytes > s.MaxBytes/10*7 { // 80 % less a message or two
					full++
				}
			}
		}
	}
	r := inWorld(t, setup{workers: 3, lasts: 25 * time.Minute, rate: 2, maxBytes: 100_000}, fill)
	t.Logf("%+v; %d of %d times a hold was full", r, full, samples)
	if samples < 200 || full < samples*9/10 {
		t.Errorf("%d of %d times a hold was full, want nearly always", full, samples)
	}
	if r.delayed < 1000 || r.torn > 0 {
		t.Errorf("%d messages were given back for a while, %d traces are torn", r.delayed, r.torn)
	}
}

// waiting is how many payloads are not acked.
func (w *world) waiting() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.unsettled())
}
