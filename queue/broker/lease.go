package broker

import (
	"container/heap"
	"math"
	"time"
)

// Deadlines are rounded up to this grain: at 5,000 leases a second the timer then
// fires 50 times a second instead of 5,000.
const leaseGrain = 20 * time.Millisecond

// delivery is one message on one subscription, from publish to ack.
// All of it is guarded by the subscription's mu.
type delivery struct {
	msg    *message
	seq    uint64 // offset in the subscription's log, which is the order of publish
	number uint32 // of the latest delivery, 0 before the first; the ack id carries it
	failed uint16 // nacks and expiries of its own, not those of its key; it stays at the maximum
	state  deliveryState
	to     *consumer // whose lease it is
	key    *orderKey // nil without ordering, and when the key is done with it

	// until is when the lease, or the rest, ends; due is where it stands in the heap, never after until.
	// An extension moves only until: 100k leases extended every 5 s leave the heap alone.
	until, due time.Duration
	heapAt     int
}

type deliveryState uint8

const (
	ready      deliveryState = iota // in a queue, or after key.sent
	leased                          // in the heap and in subscription.leases
	resting                         // in the heap, until the backoff of the retry policy ends
	forwarding                      // on its way to the dead-letter topic
	done                            // acked, or dropped; acked ones are kept for ordering, until all before are acked, and for seek
)

// leaseHeap orders leases by due.
type leaseHeap []*delivery

func (h leaseHeap) Len() int           { return len(h) }
func (h leaseHeap) Less(i, j int) bool { return h[i].due < h[j].due }
func (h leaseHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].heapAt, h[j].heapAt = i, j
}
func (h *leaseHeap) Push(x any) {
	d := x.(*delivery)
	d.heapAt = len(*h)
	*h = append(*h, d)
}
func (h *leaseHeap) Pop() any {
	last := len(*h) - 1
	d := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return d
}

func deadline(now, lease time.Duration) time.Duration {
	return (now + lease + leaseGrain - 1).Truncate(leaseGrain)
}

// leaseLocked hands d to c.
func (s *subscription) leaseLocked(d *delivery, c *consumer, now time.Duration) {
	if d.number++; d.number > 1 {
		s.stats.Redelivered++
	}
	s.stats.Delivered++
	d.state, d.to = leased, c
	d.until = deadline(now, c.lease)
	d.due = d.until
	c.messages++
	c.bytes += d.msg.size
	s.outstandingBytes += d.msg.size
	s.leases[d.seq] = d
	heap.Push(&s.heap, d)
	if d.key != nil {
		d.key.leased++
	}
}

// endLeaseLocked takes d back from its consumer; the caller gives it its next state.
func (s *subscription) endLeaseLocked(d *delivery) {
	heap.Remove(&s.heap, d.heapAt)
	delete(s.leases, d.seq)
	c := d.to
	d.to = nil
	full := !c.hasCredit()
	c.messages--
	c.bytes -= d.msg.size
	s.outstandingBytes -= d.msg.size
	if full && c.hasCredit() {
		c.nudge()
	}
	if d.key != nil {
		d.key.leased--
	}
}

func (s *subscription) extendLocked(d *delivery, now, lease time.Duration) {
	d.until = deadline(now, lease)
	if d.until < d.due {
		d.due = d.until
		heap.Fix(&s.heap, d.heapAt)
	}
}

// A wave of expiries is worked off in pieces, between which acks get the lock.
const expireAtOnce = 4096

// expire is the timer's function: it makes deliverable again what was not acked in time.
func (s *subscription) expire() {
	s.mu.Lock()
	defer s.unlockAndForward()
	s.armed = 0
	now := s.srv.now()
	for range expireAtOnce {
		if len(s.heap) == 0 || s.heap[0].due > now {
			break
		}
		switch d := s.heap[0]; {
		case d.until > now:
			d.due = d.until
			heap.Fix(&s.heap, 0)
		case d.state == resting:
			heap.Pop(&s.heap)
			s.readyLocked(d)
		default:
			s.stats.Expired++
			s.failLocked(d, now)
		}
	}
	s.armLocked(now)
}

// failLocked is a nack of d or the end of its lease.
func (s *subscription) failLocked(d *delivery, now time.Duration) {
	if d.failed < math.MaxUint16 {
		d.failed++
	}
	if d.key != nil {
		s.rewindKeyLocked(d)
	} else {
		s.endLeaseLocked(d)
	}
	if s.exhaustedLocked(d) {
		s.postLocked(d)
	} else {
		s.retryLocked(d, now)
	}
}

// retryLocked makes d deliverable again, at once or after the retry policy's backoff.
func (s *subscription) retryLocked(d *delivery, now time.Duration) {
	wait := s.backoff.after(d.failed)
	if wait == 0 {
		s.readyLocked(d)
		return
	}
	d.until = deadline(now, wait)
	d.due = d.until
	heap.Push(&s.heap, d)
	s.restLocked(d, resting)
}

// restLocked keeps d, and with it its key, from being delivered.
func (s *subscription) restLocked(d *delivery, state deliveryState) {
	d.state = state
	if d.key != nil {
		d.key.rest = d
		s.settleKeyLocked(d.key)
	}
}

// readyLocked puts d where its next delivery comes from.
func (s *subscription) readyLocked(d *delivery) {
	d.state = ready
	if k := d.key; k != nil {
		if k.rest == d {
			k.rest = nil
		}
		s.settleKeyLocked(k)
		return
	}
	s.again.push(d)
	s.wakeLocked()
}

// backoff is a retry policy: how long a delivery rests after its first failure,
// doubled with each later one up to max. Zero is no policy.
type backoff struct{ min, max time.Duration }

func (b backoff) after(failed uint16) time.Duration {
	wait := b.min
	for ; failed > 1 && wait > 0 && wait < b.max; failed-- {
		wait *= 2
	}
	return min(wait, b.max)
}

// armLocked sets the timer to the first due lease, if it is not set to that or an earlier time.
func (s *subscription) armLocked(now time.Duration) {
	if s.closed || len(s.heap) == 0 {
		return
	}
	due := s.heap[0].due
	if s.armed != 0 && s.armed <= due {
		return
	}
	s.armed = due
	if s.timer == nil {
		s.timer = time.AfterFunc(due-now, s.expire)
		return
	}
	s.timer.Reset(due - now)
}
