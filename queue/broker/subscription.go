package broker

import (
	"math/rand/v2"
	"sync"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
)

// subscription is the state of one subscription: the un-acked messages, which
// of them are leased to whom, and the consumers that wait. All methods are
// safe for concurrent use; those ending in Locked want mu held.
type subscription struct {
	srv   *Server
	topic *topic
	name  string
	epoch uint64
	props *pubsubpb.StreamingPullResponse_SubscriptionProperties
	gone  chan struct{} // closed when the subscription is deleted

	mu               sync.Mutex
	pb               *pubsubpb.Subscription
	closed           bool
	nextSeq          uint64
	fresh            fifo[*delivery] // without key, never delivered
	again            fifo[*delivery] // without key, to be redelivered
	turn             bool            // whether again's turn has come
	keys             map[string]*orderKey
	freeKeys         fifo[*orderKey] // waiting keys without owner
	leases           map[uint64]*delivery
	heap             leaseHeap
	timer            *time.Timer
	armed            time.Duration // when the timer fires; 0 = it does not
	idle             []*consumer   // have credit and found nothing, longest idle first
	unacked          int           // ready and leased, not the acked ones kept for ordering
	outstandingBytes int64
	stats            SubscriptionStats // counters only
}

func newSubscription(srv *Server, t *topic, pb *pubsubpb.Subscription) *subscription {
	return &subscription{
		srv:   srv,
		topic: t,
		name:  pb.Name,
		epoch: rand.Uint64() >> 24, // 8 digits of base 36
		props: &pubsubpb.StreamingPullResponse_SubscriptionProperties{
			MessageOrderingEnabled: pb.EnableMessageOrdering,
		},
		gone:   make(chan struct{}),
		pb:     pb,
		keys:   make(map[string]*orderKey),
		leases: make(map[uint64]*delivery),
	}
}

// add takes newly published messages; the topic's lock is held.
func (s *subscription) add(messages []*message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unacked += len(messages)
	for _, m := range messages {
		s.nextSeq++
		d := &delivery{msg: m, seq: s.nextSeq}
		if s.pb.EnableMessageOrdering && m.pb.OrderingKey != "" {
			s.addKeyedLocked(d)
		} else {
			s.fresh.push(d)
		}
	}
	s.wakeLocked()
}

// ack settles the deliveries; stale ids are ignored.
func (s *subscription) ack(ids []ackID) {
	if len(ids) == 0 {
		return
	}
	s.mu.Lock()
	freed := make([]*message, 0, len(ids))
	for _, id := range ids {
		d := s.findLocked(id)
		if d == nil {
			continue
		}
		s.stats.Acked++
		s.unacked--
		s.endLeaseLocked(d)
		if d.key != nil {
			freed = s.ackKeyedLocked(d, freed)
		} else {
			freed = append(freed, d.msg)
		}
	}
	s.mu.Unlock()
	release(freed)
}

// extend gives the deliveries a lease of that length from now, or with 0 ends
// it and redelivers at once; stale ids are ignored.
func (s *subscription) extend(ids []ackID, lease func(i int) time.Duration) {
	if len(ids) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.srv.now()
	for i, id := range ids {
		d := s.findLocked(id)
		if d == nil {
			continue
		}
		if l := lease(i); l > 0 {
			s.extendLocked(d, now, l)
		} else {
			s.stats.Nacked++
			s.redeliverLocked(d)
		}
	}
	s.armLocked(now)
}

// findLocked returns the leased delivery that the id names, nil when it is stale.
func (s *subscription) findLocked(id ackID) *delivery {
	d := s.leases[id.seq]
	if d == nil || id.epoch != s.epoch || id.number != d.number {
		return nil
	}
	return d
}

// redeliverLocked ends the lease of d and makes it deliverable at once.
func (s *subscription) redeliverLocked(d *delivery) {
	if d.key != nil {
		s.rewindKeyLocked(d)
		return
	}
	s.endLeaseLocked(d)
	d.state = ready
	s.again.push(d)
	s.wakeLocked()
}

// close ends the subscription: its consumers leave and its messages are released.
func (s *subscription) close() {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.closed = true
	close(s.gone)
	if s.timer != nil {
		s.timer.Stop()
	}
	held := s.heldLocked()
	s.fresh, s.again, s.freeKeys = fifo[*delivery]{}, fifo[*delivery]{}, fifo[*orderKey]{}
	s.leases, s.keys, s.heap = map[uint64]*delivery{}, map[string]*orderKey{}, nil
	s.mu.Unlock()
	release(held)
}

func (s *subscription) heldLocked() []*message {
	held := make([]*message, 0, s.unacked)
	for s.fresh.len() > 0 {
		held = append(held, s.fresh.pop().msg)
	}
	for s.again.len() > 0 {
		held = append(held, s.again.pop().msg)
	}
	for _, k := range s.keys {
		for _, d := range k.items {
			held = append(held, d.msg)
		}
	}
	for _, d := range s.leases {
		if d.key == nil {
			held = append(held, d.msg)
		}
	}
	return held
}
