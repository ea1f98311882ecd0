package member

import (
	"testing"
	"testing/synctest"
	"time"

	"tailweir/fleet/order"
)

// A process that stood still for longer than the fence may find an old proof that looks fresh: what it knows is of before.
func TestAProcessThatStoodStillFencesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &topics{}
		m := still(o.config(), &holding{})
		m.replica.Read(order.Probe{}, time.Now().UnixMilli(), 0)
		m.reading.anchored, m.reading.listed, m.reading.caught = true, true, true
		m.policy.set = m.cfg.Policies
		look := func() (may bool) {
			now := time.Now()
			m.mu.Lock()
			defer m.mu.Unlock()
			m.life.confirmed = now // a publish that was confirmed in the moment of waking
			m.watchLife(t.Context(), now)
			return <-m.gateTo
		}
		for range 100 { // it runs
			time.Sleep(step)
			m.mu.Lock()
			m.life.proof = time.Now()
			m.mu.Unlock()
			if !look() {
				t.Fatal("a process that runs is fenced")
			}
		}
		time.Sleep(m.cfg.Fence + time.Millisecond)
		m.mu.Lock()
		m.life.proof = time.Now()
		m.mu.Unlock()
		if look() || m.stats.Fences != 1 {
			t.Fatalf("after standing still it may hold, with %d fences", m.stats.Fences)
		}
		time.Sleep(step)
		if look() {
			t.Fatal("the fence falls without a new proof")
		}
		synctest.Wait()
		time.Sleep(2 * way)
		synctest.Wait()
		never := false
		sent, _ := o.next(&o.log, 0, &never)
		probe, _ := order.Parse(sent.data)
		if p, ok := probe.(order.Probe); !ok || p.Worker != m.name {
			t.Fatalf("it publishes %+v, want a probe", probe)
		}
		m.take(order.Append(nil, order.Probe{Worker: m.name + 1, Nonce: 1}), time.Now())
		if look() {
			t.Fatal("the fence falls with somebody else's probe")
		}
		m.take(sent.data, time.Now())
		if !look() || m.stats.FencedFor == 0 {
			t.Fatal("the fence stands with its own probe read")
		}
	})
}

// A subscription may be one of a topic that was made again: nothing comes, and no error. A fence that lasts has it replaced.
// Where the new one reaches back to what was read, the replica goes on.
func TestALongFenceRenewsTheSubscription(t *testing.T) {
	for name, forgets := range map[string]bool{"it goes on": false, "it begins anew": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o, h := &topics{forgets: forgets}, &holding{}
				m, end := run(t, o.config(), h)
				defer end()
				time.Sleep(20 * time.Second)
				before := m.State()
				if before.Phase != Leading {
					t.Fatalf("a lone worker is %s after 20 s", before.Phase)
				}
				o.set(&o.mute, true)
				muted := time.Now()
				time.Sleep(time.Second)
				o.set(&o.mute, false) // the subscription that there is stays mute
				time.Sleep(m.cfg.Fence + renewAfter - 3*time.Second)
				if n := len(o.subscriptions()); n != 1 || m.State().Phase != Fenced {
					t.Fatalf("%s after %s, with %d subscriptions", m.State().Phase, time.Since(muted), n)
				}
				lost := false // what was known of the log
				for range 500 {
					time.Sleep(step / 5)
					m.mu.Lock()
					lost = lost || !m.reading.anchored
					m.mu.Unlock()
				}
				from := o.subscriptions()
				if len(from) != 2 {
					t.Fatalf("%d subscriptions after a fence of %s", len(from), renewAfter)
				}
				if want := muted.Add(-m.overlap()); from[1].Sub(want).Abs() > time.Second {
					t.Errorf("the second subscription begins at %s, want %s", from[1], want)
				}
				if lost != forgets {
					t.Errorf("what was known of the log is lost: %t", lost)
				}
				if s := m.State(); !forgets && (s.Term != before.Term || s.Seq < before.Seq) {
					t.Errorf("it stands at %s/%d after the renewal, and was at %s/%d", s.Term, s.Seq, before.Term, before.Seq)
				}
				time.Sleep(30 * time.Second)
				s := m.State()
				if _, fenced := h.counts(); s.Phase != Leading || s.Fences != 1 || fenced != 1 || s.Anomalies != (order.Anomalies{}) {
					t.Errorf("%s after the renewal, %d fences, %+v", s.Phase, s.Fences, s.Anomalies)
				}
			})
		})
	}
}
