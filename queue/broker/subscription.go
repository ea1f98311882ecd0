package broker

import (
	"math/rand/v2"
	"sync"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// subscription is the state of one subscription: the un-acked messages, which
// of them are leased to whom, and the consumers that wait. All methods are
// safe for concurrent use; those ending in Locked want mu held.
type subscription struct {
	srv    *Server
	topic  *topic
	name   string
	filter filter // nil = every message
	props  *pubsubpb.StreamingPullResponse_SubscriptionProperties
	gone   chan struct{} // closed when the subscription is deleted or detached

	mu               sync.Mutex
	pb               *pubsubpb.Subscription
	backoff          backoff
	epoch            uint64
	closed           bool
	log              chunkLog[delivery] // all that it holds messages by, in publish order
	fresh            fifo[*delivery]    // without key, never delivered
	again            fifo[*delivery]    // without key, to be redelivered
	turn             bool               // whether again's turn has come
	keys             map[string]*orderKey
	freeKeys         fifo[*orderKey] // waiting keys without owner
	leases           map[uint64]*delivery
	heap             leaseHeap
	timer            *time.Timer
	armed            time.Duration // when the timer fires; 0 = it does not
	purger           *time.Timer
	purging          bool        // whether the purger is set
	outbox           []letter    // for unlockAndForward
	idle             []*consumer // have credit and found nothing, longest idle first
	unacked          int         // deliveries that are not done
	outstandingBytes int64
	stats            SubscriptionStats // counters only
}

func newSubscription(srv *Server, t *topic, pb *pubsubpb.Subscription, f filter) *subscription {
	s := &subscription{
		srv:    srv,
		topic:  t,
		name:   pb.Name,
		filter: f,
		epoch:  rand.Uint64() >> 24, // 8 digits of base 36
		props: &pubsubpb.StreamingPullResponse_SubscriptionProperties{
			MessageOrderingEnabled: pb.EnableMessageOrdering,
		},
		gone:   make(chan struct{}),
		keys:   make(map[string]*orderKey),
		leases: make(map[uint64]*delivery),
	}
	s.configureLocked(pb)
	return s
}

// configureLocked takes settings that were checked.
func (s *subscription) configureLocked(pb *pubsubpb.Subscription) {
	s.pb, s.backoff = pb, backoff{}
	if p := pb.RetryPolicy; p != nil {
		s.backoff = backoff{min: p.MinimumBackoff.AsDuration(), max: p.MaximumBackoff.AsDuration()}
	}
}

// add takes those of the messages that are for it; the topic's lock is held.
func (s *subscription) add(messages []*message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range messages {
		if s.filter == nil || s.filter(m.pb.Attributes) {
			s.addLocked(m)
		}
	}
	s.armPurgeLocked()
	s.wakeLocked()
}

// addLocked takes a reference of m and queues it for its first delivery.
func (s *subscription) addLocked(m *message) {
	m.refs.Add(1)
	s.unacked++
	d := &delivery{msg: m}
	d.seq = uint64(s.log.append(d))
	if s.pb.EnableMessageOrdering && m.pb.OrderingKey != "" {
		s.addKeyedLocked(d)
	} else {
		s.fresh.push(d)
	}
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
		d.state = done
		if d.key != nil {
			freed = s.trimKeyLocked(d.key, freed)
		} else {
			freed = s.doneLocked(d, freed)
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
	defer s.unlockAndForward()
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
			s.failLocked(d, now)
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

// close ends the subscription: its consumers leave and its messages are released.
func (s *subscription) close() {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.closed = true
	close(s.gone)
	for _, timer := range []*time.Timer{s.timer, s.purger} {
		if timer != nil {
			timer.Stop()
		}
	}
	held := s.resetLocked()
	s.mu.Unlock()
	release(held)
}

// ended is what streams and pulls end with when gone is closed.
func (s *subscription) ended() error {
	if s.proto().Detached {
		return status.Errorf(codes.FailedPrecondition, "subscription %q is detached from its topic", s.name)
	}
	return notFound("subscription", s.name)
}

// resetLocked makes the subscription empty and all ack ids stale, and returns
// the messages that it held, in publish order. The consumers stay.
func (s *subscription) resetLocked() (held []*message) {
	for _, d := range s.leases {
		s.endLeaseLocked(d)
	}
	for _, k := range s.keys {
		k.owner, k.items, k.sent = nil, nil, 0 // it may stand in a consumer's queue
	}
	for _, d := range s.log.from(0) {
		held = append(held, d.msg)
	}
	s.epoch++
	s.unacked = 0
	s.log, s.heap, s.keys = chunkLog[delivery]{}, nil, make(map[string]*orderKey)
	s.fresh, s.again, s.freeKeys = fifo[*delivery]{}, fifo[*delivery]{}, fifo[*orderKey]{}
	return held
}
