package queue

import (
	"sync"
	"time"
)

// leaseState is what has become of a message. It only moves forward.
type leaseState uint8

const (
	leaseHeld      leaseState = iota // not settled: extended
	leaseAcking                      // acked, the ack not confirmed yet: still extended
	leaseReturning                   // nacked or handed back: extended no more
	leaseOver                        // confirmed, or given up
)

// lease is what outlives a settled message by up to half a lease: no payload, about 300 bytes with its ids.
type lease struct {
	ackID, messageID string
	bytes            int64
	attempt          int32 // of the delivery, 0 if unknown

	// Guarded by leases.mu.
	state     leaseState
	extending bool  // a request that extends it is under way
	delay     int32 // seconds until redelivery, of leaseReturning
	expiry    time.Time
}

// generations divide half a lease: each tick extends the one that has become that old. More of them would spread the work
// better, but where little is held each tick wakes the process up for a request with a few ids.
const generations = 5

// leases holds every message that Pub/Sub believes to be ours, as a ring of generations by the time of the last
// extension. A heap entry or timer for each of 100,000 messages would cost more than the extensions themselves;
// here a message costs one append at its receipt and one step of a loop every half lease.
//
// It does no I/O and has no clock. It is safe for concurrent use.
type leases struct {
	life time.Duration

	mu        sync.Mutex
	ring      [generations][]*lease
	newest    int              // index of the generation that gets new leases
	nextTick  time.Time        // when the oldest generation is due
	known     map[string]int32 // deliveries held, by message id
	acks      []*lease         // settled, to be sent
	returns   []*lease         // settled, to be sent
	held      int              // not settled
	heldBytes int64
	unsent    int // settled, not confirmed
	stats     Stats

	wake  chan struct{} // something is to be sent
	full  chan struct{} // a whole request is to be sent
	room  chan struct{} // a message was settled
	quiet chan struct{} // unsent became 0
}

func newLeases(life time.Duration) *leases {
	return &leases{
		life:  life,
		known: make(map[string]int32),
		wake:  make(chan struct{}, 1),
		full:  make(chan struct{}, 1),
		room:  make(chan struct{}, 1),
		quiet: make(chan struct{}, 1),
	}
}

// start sets the clock of the generations.
func (t *leases) start(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.nextTick = now.Add(t.step())
}

// step is the time between two ticks.
func (t *leases) step() time.Duration { return t.life / 2 / generations }

// add takes messages received at now. Where they may have waited unread for a good part of their lease already
// (aged), they are due at the next tick. It counts those that a message still held had brought before.
func (t *leases) add(now time.Time, batch []*lease, aged bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	generation := t.newest
	if aged {
		generation = (t.newest + 1) % generations
	}
	t.ring[generation] = append(t.ring[generation], batch...)
	for _, l := range batch {
		l.expiry = now.Add(t.life)
		t.known[l.messageID]++
		if t.known[l.messageID] > 1 || l.attempt > 1 {
			t.stats.Redelivered++
		}
		t.heldBytes += l.bytes
	}
	t.held += len(batch)
	t.stats.Received += uint64(len(batch))
}

// due advances to now and returns the leases to extend, each marked until extended is called.
func (t *leases) due(now time.Time) []*lease {
	t.mu.Lock()
	defer t.mu.Unlock()
	var batch []*lease
	for i := 0; i < generations && !now.Before(t.nextTick); i++ {
		t.nextTick = t.nextTick.Add(t.step())
		batch = t.turnLocked(batch)
	}
	if now.After(t.nextTick) { // the process slept: everything has been extended once
		t.nextTick = now.Add(t.step())
	}
	return batch
}

// turnLocked makes the oldest generation the newest and drops what needs no lease any more.
func (t *leases) turnLocked(batch []*lease) []*lease {
	t.newest = (t.newest + 1) % generations
	kept := t.ring[t.newest][:0]
	for _, l := range t.ring[t.newest] {
		if l.state > leaseAcking {
			continue
		}
		kept = append(kept, l)
		if !l.extending {
			l.extending = true
			batch = append(batch, l)
		}
	}
	clear(t.ring[t.newest][len(kept):])
	if cap(kept) > 4*len(kept)+1024 { // a burst must not keep its room for ever
		kept = append([]*lease(nil), kept...)
	}
	t.ring[t.newest] = kept
	return batch
}

// extended records the outcome of a request sent at start.
func (t *leases) extended(batch []*lease, start time.Time, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range batch {
		l.extending = false
		if ok {
			l.expiry = start.Add(t.life)
		}
		if l.state == leaseReturning {
			t.returns = append(t.returns, l)
			t.wakeLocked()
		}
	}
	if ok {
		t.stats.Extensions += uint64(len(batch))
	} else {
		t.stats.FailedExtensions += uint64(len(batch))
	}
}

// settle ends the hold on a message; a second time panics. A message whose extension is under way is returned only
// after it, because the later of the two requests to arrive sets the deadline.
func (t *leases) settle(l *lease, state leaseState, delay int32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if l.state != leaseHeld {
		panic("queue: message " + l.messageID + " settled twice")
	}
	l.state, l.delay = state, delay
	t.held--
	t.heldBytes -= l.bytes
	t.unsent++
	if t.known[l.messageID]--; t.known[l.messageID] == 0 {
		delete(t.known, l.messageID)
	}
	if state == leaseAcking {
		t.acks = append(t.acks, l)
	} else if !l.extending {
		t.returns = append(t.returns, l)
	}
	t.wakeLocked()
	signal(t.room)
}

func (t *leases) wakeLocked() {
	signal(t.wake)
	if len(t.acks) >= requestIDs || len(t.returns) >= requestIDs {
		signal(t.full)
	}
}

// take returns what is to be sent, and forgets it.
func (t *leases) take() (acks, returns []*lease) {
	t.mu.Lock()
	defer t.mu.Unlock()
	acks, returns = t.acks, t.returns
	t.acks, t.returns = nil, nil
	return acks, returns
}

// sent records that a request with the batch was confirmed, or given up.
func (t *leases) sent(batch []*lease, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range batch {
		t.stats.count(l, ok)
		l.state = leaseOver
	}
	if t.unsent -= len(batch); t.unsent == 0 {
		signal(t.quiet)
	}
}

// expiry is when the last lease of the batch ends, as far as is known.
func (t *leases) expiry(batch []*lease) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	var last time.Time
	for _, l := range batch {
		if l.expiry.After(last) {
			last = l.expiry
		}
	}
	return last
}

func (t *leases) holding() (messages int, bytes int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.held, t.heldBytes
}

func (t *leases) unconfirmed() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.unsent
}

// signal leaves a mark in a channel of capacity one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
