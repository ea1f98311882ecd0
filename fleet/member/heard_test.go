package member

import (
	"iter"
	"testing"
	"testing/synctest"
	"time"

	"tailweir/fleet"
	"tailweir/fleet/order"
)

// slowHolder takes a while to say what it holds.
type slowHolder struct {
	holding
	takes time.Duration
}

func (h *slowHolder) Held() iter.Seq[fleet.Facts] {
	return func(func(fleet.Facts) bool) { time.Sleep(h.takes) }
}

// Facts are heard while a leader says something, once all that was held before its term is said; and where nobody leads for long
// there is no use in waiting.
func TestHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &topics{}
		m, end := run(t, o.config(), &slowHolder{takes: 5 * time.Second})
		defer end()
		want := func(after time.Duration, heard bool) {
			t.Helper()
			time.Sleep(after)
			synctest.Wait()
			if m.Heard() != heard {
				t.Errorf("heard is %t, want %t", !heard, heard)
			}
		}
		c := &chair{topics: o}
		own := newPolicy(1, m.cfg.Policies.Hash(), m.cfg.Policies, m.cfg.Policies.Source())
		c.take(t, order.Body{Policy: own.entry()}) // its claim is read 2.4 s before its Open
		talks := func(lasts time.Duration) {
			for range lasts / beat {
				time.Sleep(beat)
				c.entry(t, order.Body{})
			}
		}
		want(time.Second, false)
		talks(5 * time.Second)
		want(time.Second, true)
		want(1500*time.Millisecond, false)
		c.entry(t, order.Body{})
		want(time.Second, true)
		o.set(&o.mute, true)
		want(10*time.Second, false)
		want(longestLeaderless, true)
	})
}
