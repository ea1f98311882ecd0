package broker

import (
	"container/heap"
	"time"
)

// Deadlines are rounded up to this grain: at 5,000 leases a second the timer then
// fires 50 times a second instead of 5,000.
const leaseGrain = 20 * time.Millisecond

// delivery is one message on one subscription, from publish to ack.
// All of it is guarded by the subscription's mu.
type delivery struct {
	msg    *message
	seq    uint64 // order of publish in the subscription
	number uint32 // of the latest delivery, 0 before the first; the ack id carries it
	state  deliveryState
	to     *consumer // whose lease it is
	key    *orderKey // nil without ordering

	// until is when the lease ends; due is where it stands in the heap, never after until.
	// An extension moves only until: 100k leases extended every 5 s leave the heap alone.
	until, due time.Duration
	heapAt     int
}

type deliveryState uint8

const (
	ready  deliveryState = iota
	leased               // in the heap and in subscription.leases
	acked                // kept only with ordering, until all before it are acked
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
	defer s.mu.Unlock()
	s.armed = 0
	now := s.srv.now()
	for range expireAtOnce {
		if len(s.heap) == 0 || s.heap[0].due > now {
			break
		}
		if d := s.heap[0]; d.until > now {
			d.due = d.until
			heap.Fix(&s.heap, 0)
		} else {
			s.stats.Expired++
			s.redeliverLocked(d)
		}
	}
	s.armLocked(now)
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
