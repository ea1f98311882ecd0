package member_test

import (
	"testing"
	"time"
)

// TestNothingIsHandedBackThatNobodyHearsOf: holds become full only when nobody leads, and those that held die before somebody
// does. What they handed back would be away for half a minute, and nobody alive would know that there is something to wait for.
func TestNothingIsHandedBackThatNobodyHearsOf(t *testing.T) {
	faults := func(w *world) {
		old := w.alive()
		w.leader().kill()
		time.Sleep(time.Second)
		for range 4 * len(old) { // so many that none of them is ever full
			w.start(w.setup.old)
		}
		full := 0
		for range 11 {
			time.Sleep(time.Second)
			for _, k := range old {
				if s := k.p.State(); s.Bytes > s.MaxBytes/10*8 {
					full++
				}
			}
		}
		if full < 5 {
			t.Errorf("holds were full %d times, so this proves nothing", full)
		}
		for _, k := range old {
			k.kill()
		}
	}
	r := inWorld(t, setup{workers: 4, lasts: time.Minute, rate: 10, maxBytes: 170_000}, faults)
	t.Logf("%+v", r)
	if r.partial+r.excused+r.torn > 0 {
		t.Errorf("%d traces were decided without something that was in time: %+v", r.partial, r)
	}
}
