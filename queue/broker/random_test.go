package broker

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
)

// Whatever is done in whatever order, the books agree after every step, and in the end nothing is kept.
func TestRandomOperations(t *testing.T) {
	for seed := range uint64(50) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { randomOperations(t, rand.New(rand.NewPCG(seed, 0))) })
		})
	}
}

func randomOperations(t *testing.T, rnd *rand.Rand) {
	r, dead := newDeadLetterRig(t, Config{}, func(pb *pubsubpb.Subscription) {
		pb.EnableMessageOrdering = rnd.IntN(2) == 0
		pb.RetainAckedMessages = rnd.IntN(2) == 0
		retained(20 * time.Minute)(pb)
		if rnd.IntN(2) == 0 {
			retry(time.Second, time.Minute)(pb)
		}
		if rnd.IntN(3) == 0 {
			pb.Filter = `NOT attributes:out`
		}
	})
	consumers := []*consumer{newConsumer(10 * time.Second), newConsumer(30 * time.Second)}
	consumers[0].maxMessages = 5
	var held []*pubsubpb.ReceivedMessage
	var snap *pubsubpb.Snapshot
	some := func() []*pubsubpb.ReceivedMessage { // also stale ones
		if len(held) == 0 {
			return nil
		}
		i := rnd.IntN(len(held))
		return held[i:min(len(held), i+1+rnd.IntN(4))]
	}
	steps := []func(){
		func() { r.publish([]string{"", "a", "b"}[rnd.IntN(3)], "0", "1", "2") },
		func() { held = append(held, r.take(consumers[rnd.IntN(2)])...) },
		func() { held = append(held, r.take(consumers[rnd.IntN(2)])...) },
		func() { r.ack(some()...) },
		func() { r.modack(0, some()...) },
		func() { r.modack(time.Minute, some()...) },
		func() { pass(time.Duration(rnd.IntN(20)) * time.Second) },
		func() { pass(time.Duration(rnd.IntN(10)) * time.Minute) },
		func() { r.seek(time.Now().Add(-time.Duration(rnd.IntN(20)) * time.Minute)) },
		func() { snap = r.snapshot() },
		func() {
			if snap != nil {
				r.seekTo(snap)
			}
		},
		func() { r.setTopicRetention([]time.Duration{0, 10 * time.Minute, 30 * time.Minute}[rnd.IntN(3)]) },
		func() {
			r.update(&pubsubpb.Subscription{RetainAckedMessages: rnd.IntN(2) == 0}, "retain_acked_messages")
		},
	}
	for range 300 {
		steps[rnd.IntN(len(steps))]()
		checkBooks(t, r.sub)
	}
	drain(r, consumers)
	if n := r.sub.reading().Unacked; n != 0 {
		t.Errorf("%d messages were not delivered to consumers that took whenever woken", n)
	}
	r.setTopicRetention(0)
	pass(8 * 24 * time.Hour) // all retention is over, and all snapshots
	checkBooks(t, r.sub)
	checkBooks(t, dead)
	if st := r.srv.Stats(); st.Bytes != 0 || st.Topics[0].Messages != 0 || st.Topics[1].Messages != 0 {
		t.Errorf("kept in the end: %+v", st)
	}
	for i, c := range consumers {
		if c.messages != 0 || c.bytes != 0 {
			t.Errorf("consumer %d holds %d messages and %d bytes in the end", i, c.messages, c.bytes)
		}
	}
}

// All of it at once, for the race detector and for the order of the locks.
func TestConcurrentOperations(t *testing.T) {
	r, dead := newDeadLetterRig(t, Config{}, func(pb *pubsubpb.Subscription) { ordered(pb); pb.RetainAckedMessages = true })
	var wg sync.WaitGroup
	loop := func(n int, step func(i int)) {
		wg.Go(func() {
			for i := range n {
				step(i)
			}
		})
	}
	const n = 300
	loop(n, func(i int) { r.publish([]string{"", "a", "b"}[i%3], "0", "1", "2") })
	for range 2 {
		c := newConsumer(10 * time.Second)
		loop(2*n, func(i int) {
			for _, m := range r.take(c) {
				if i++; i%3 == 0 {
					r.ack(m)
				} else {
					r.modack(0, m)
				}
			}
		})
	}
	end := newConsumer(10 * time.Second)
	loop(n, func(int) {
		for _, m := range dead.next(end, 100).GetReceivedMessages() {
			dead.ack(r.ids(m))
		}
	})
	loop(n/10, func(int) { r.seek(time.Now().Add(-time.Millisecond)) })
	loop(n/10, func(int) {
		snap := r.snapshot()
		r.seekTo(snap)
		if _, err := r.api.DeleteSnapshot(t.Context(), &pubsubpb.DeleteSnapshotRequest{Snapshot: snap.Name}); err != nil {
			t.Error(err)
		}
	})
	loop(n/10, func(i int) { r.setTopicRetention(time.Duration(i%2) * time.Hour) })
	loop(n/10, func(i int) { r.update(&pubsubpb.Subscription{RetainAckedMessages: i%2 == 0}, "retain_acked_messages") })
	loop(n, func(int) { r.srv.Stats() })
	wg.Wait()
	checkBooks(t, r.sub)
	r.setTopicRetention(0)
	r.update(&pubsubpb.Subscription{}, "retain_acked_messages")
	for _, sub := range []*subscription{r.sub, dead} {
		if err := sub.seek(nil, time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	if st := r.srv.Stats(); st.Bytes != 0 || st.Subscriptions[0].Unacked+st.Subscriptions[1].Unacked != 0 {
		t.Errorf("kept in the end: %+v", st)
	}
}

// drain acks what comes until all leases and backoffs are over. Like streams, the
// consumers take again after each response and when they are woken.
func drain(r *rig, consumers []*consumer) {
	for _, c := range consumers {
		c.nudge()
	}
	for range 4 {
		for i := 0; i < len(consumers); i++ {
			select {
			case <-consumers[i].wake:
				if got := r.take(consumers[i]); len(got) > 0 {
					r.ack(got...)
					consumers[i].nudge()
				}
				i = -1 // it may have woken an earlier one
			default:
			}
		}
		pass(61 * time.Second)
	}
}

func checkBooks(t *testing.T, s *subscription) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	var states [done + 1]int
	for _, d := range s.log.from(0) {
		states[d.state]++
		if d.msg.refs.Load() <= 0 || d.msg.topic.log.at(d.msg.offset) != d.msg {
			t.Fatalf("message %d is held but freed", d.seq)
		}
		if k := d.key; k != nil && k.items[k.find(d)] != d {
			t.Fatalf("message %d is not where its key has it", d.seq)
		}
	}
	if n := states[leased]; n != len(s.leases) || n+states[resting] != len(s.heap) {
		t.Fatalf("%d leased and %d resting, %d leases and a heap of %d", n, states[resting], len(s.leases), len(s.heap))
	}
	if n := s.log.live - states[done]; n != s.unacked || states[forwarding] != 0 {
		t.Fatalf("%d un-acked messages, counted %d; %d are being forwarded", n, s.unacked, states[forwarding])
	}
	waiting := s.fresh.len() + s.again.len()
	for _, k := range s.keys {
		waiting += len(k.items) - k.sent
	}
	if waiting < states[ready] {
		t.Fatalf("%d messages ready, only %d stand in queues", states[ready], waiting)
	}
}
