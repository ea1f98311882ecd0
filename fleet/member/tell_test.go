package member

import (
	"iter"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"tailweir/buffer"
	"tailweir/fleet"
	"tailweir/fleet/order"
	"tailweir/otlp"
)

// large holds so many messages that telling them takes longer than the fence, and than a term lasts without an entry.
type large struct {
	holding
	m *Member
	t *testing.T
}

const (
	largeHold = 100
	perTold   = 200 * time.Millisecond
	untold    = 1000 // a message that comes meanwhile
)

func (h *large) Held() iter.Seq[fleet.Facts] {
	return func(yield func(fleet.Facts) bool) {
		for n := range uint64(largeHold) {
			if !h.othersGoOn() {
				h.t.Error("somebody waits for the end of what is held")
				return
			}
			time.Sleep(perTold)
			if !yield(h.facts(n)) {
				return
			}
		}
	}
}

func (h *large) facts(n uint64) fleet.Facts {
	return fleet.Facts{
		Message: n, Publish: buffer.StampOf(time.Now()), Policy: h.m.cfg.Policies.Hash(), First: true, Fragments: []fleet.Fragment{{Trace: otlp.TraceID{byte(n)}}},
	}
}

// othersGoOn reports whether the sender's lock is free. Sleeping while it is not would end no test: in a bubble time stands
// still for who waits for a lock.
func (h *large) othersGoOn() bool {
	for range 1_000_000 { // others have it for a moment
		if h.m.sender.mu.TryLock() {
			h.m.sender.mu.Unlock()
			return true
		}
		runtime.Gosched()
	}
	return false
}

// A new term has all said again that is held, which takes seconds where it is much. The worker lives on: it leads, what comes is
// said, and only event time waits for the end.
func TestALargeHoldIsSaidOnTheSide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &topics{}
		m := New(o.config())
		h := &large{m: m, t: t}
		defer start(t, m, h)()
		for m.State().Restarts == 0 {
			time.Sleep(step)
		}
		began := time.Now()
		time.Sleep(largeHold * perTold / 2)
		if err := m.Send(t.Context(), h.facts(untold)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		said, newest := o.told(t)
		if n := len(said); n < largeHold/3 || n > largeHold || !said[untold] {
			t.Errorf("%d messages are said in the midst of %d, the one that came is %t", n, largeHold, said[untold])
		}
		if newest != 0 {
			t.Error("event time is said before all that is held")
		}
		time.Sleep(largeHold*perTold/2 + 2*time.Second)
		s := m.State()
		if said, newest = o.told(t); len(said) != largeHold+1 || newest == 0 {
			t.Errorf("after %s %d of %d messages are said, with event time %d", time.Since(began), len(said), largeHold+1, newest)
		}
		if s.Phase != Leading || s.Fences+s.SteppedDown > 0 || s.Terms != 1 || s.Restarts != 1 {
			t.Errorf("it is %s after %d fences, %d terms, %d given up, %d streams", s.Phase, s.Fences, s.Terms, s.SteppedDown, s.Restarts)
		}
	})
}

// told is which messages were said, and the last event time.
func (o *topics) told(t *testing.T) (said map[uint64]bool, newest buffer.Stamp) {
	said = map[uint64]bool{}
	for _, b := range o.batches(t) {
		newest = b.Newest
		for _, f := range b.Messages {
			said[f.Message] = true
		}
	}
	return said, newest
}

// The log of the last minutes tells of leaders that are gone. What a joiner held for them would be for nobody, and its event
// time would count in none of their terms: it says nothing before it has read its own probe.
func TestAJoinerSaysNothingOfThePast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &topics{}
		c, decide := &chair{topics: o}, []order.Decision{{Trace: otlp.TraceID{1}}}
		policy := &order.PolicyChange{Epoch: 1, Hash: order.Hash(o.config().Policies.Hash())}
		for _, entries := range []int{20, 600} {
			time.Sleep(13 * time.Second) // the term before ends
			c.take(t, order.Body{Policy: policy})
			for range entries {
				time.Sleep(beat)
				c.entry(t, order.Body{Decide: decide})
			}
		}
		m, end := run(t, o.config(), &holding{})
		defer end()
		began, first := time.Now(), time.Duration(0)
		for range 60 {
			body := order.Body{Decide: decide}
			if all := o.batches(t); len(all) > 0 {
				body.Members = []order.Member{{Worker: m.name, Stream: 1}}
				if first == 0 {
					first = time.Since(began)
				}
			}
			c.entry(t, body)
			time.Sleep(beat)
		}
		if least := 600 * way / 5; first < least {
			t.Errorf("it says something after %s, and has read the log after %s at the earliest", first, least)
		}
		for i, b := range o.batches(t) {
			if b.Claim != c.id || b.Stream != 1 {
				t.Fatalf("batch %d is stream %d for claim %x, want stream 1 for %x", i, b.Stream, b.Claim[:1], c.id[:1])
			}
		}
		s := m.State()
		if s.Phase != Holding || s.Fences > 0 {
			t.Errorf("it is %s after %d fences", s.Phase, s.Fences)
		}
		if s.Decisions < 620 || s.Read.Sum <= 0 || s.Read.Sum > time.Minute {
			t.Errorf("reading %d decisions, most of them minutes old, is said to have taken %s", s.Decisions, s.Read.Sum)
		}
	})
}
