package broker

import (
	"slices"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
)

const (
	batchMessages = 500
	// gRPC pools buffers of up to 1 MiB; a batch stays below unless one message is larger.
	batchBytes = 1_000_000
	// What a message costs in a batch beside its size: ids, time, tags.
	batchOverhead = 128
)

// consumer is one stream, or one Pull call, on a subscription. wake has room
// for one signal; the rest is guarded by the subscription's mu.
type consumer struct {
	wake chan struct{}

	lease       time.Duration
	maxMessages int64 // 0 = no bound
	maxBytes    int64 // 0 = no bound
	messages    int64 // leased to it
	bytes       int64
	keys        fifo[*orderKey] // its keys with messages waiting
	pinged      bool
	idle        bool
	closed      bool
}

func newConsumer(lease time.Duration) *consumer {
	return &consumer{wake: make(chan struct{}, 1), lease: lease}
}

func (c *consumer) nudge() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// hasCredit follows the API: nothing is sent once a bound is reached, so
// that the last message may go over the byte bound.
func (c *consumer) hasCredit() bool {
	return (c.maxMessages == 0 || c.messages < c.maxMessages) &&
		(c.maxBytes == 0 || c.bytes < c.maxBytes)
}

// batch is what one response will carry.
type batch struct {
	deliveries []*delivery
	bytes      int64
	limit      int
}

func (b *batch) fits(d *delivery) bool {
	return len(b.deliveries) < b.limit &&
		(b.bytes == 0 || b.bytes+d.msg.size+batchOverhead <= batchBytes)
}

// next returns what c is to be sent now, nil for nothing: then c waits for wake. It never
// takes more than limit messages.
func (s *subscription) next(c *consumer, limit int) *pubsubpb.StreamingPullResponse {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unidleLocked(c)
	b := batch{limit: min(limit, batchMessages)}
	now := s.srv.now()
	s.takeLocked(c, &b, now)
	waits := len(b.deliveries) == 0 && !c.pinged
	if waits {
		s.idleLocked(c)
	}
	s.wakeLocked()
	if waits {
		return nil
	}
	c.pinged = false
	s.armLocked(now)
	return s.responseLocked(b.deliveries)
}

// takeLocked leases to c: first of its own keys, then its share of what is for all.
func (s *subscription) takeLocked(c *consumer, b *batch, now time.Duration) {
	for c.keys.len() > 0 {
		k := c.keys.peek()
		if k.owner == c && !s.takeKeyLocked(k, c, b, now) {
			return
		}
		c.keys.pop()
		if k.owner == c {
			k.queued = false
		}
	}
	var last *delivery
	for n := s.shareLocked(s.fresh.len() + s.again.len()); ; n-- {
		q := s.queueLocked()
		if q.len() == 0 || n <= 0 && !q.peek().publishedWith(last) {
			break
		}
		if !c.hasCredit() || !b.fits(q.peek()) {
			return
		}
		last = q.pop()
		s.grantLocked(last, c, b, now)
	}
	for n := s.shareLocked(s.freeKeys.len()); n > 0 && c.hasCredit() && len(b.deliveries) < b.limit; n-- {
		s.claimLocked(c, b, now)
	}
}

// publishedWith reports whether both came in one request. Pub/Sub delivers a request's messages together as far as it can, and so
// do we: a subscriber that wakes up once for ten messages uses a fraction of the CPU of ten that wake up for one each.
func (d *delivery) publishedWith(o *delivery) bool {
	return o != nil && d.msg.pb.PublishTime == o.msg.pb.PublishTime // the one Timestamp of their request
}

// shareLocked is c's part of n things when the idle consumers get theirs too.
func (s *subscription) shareLocked(n int) int {
	others := len(s.idle)
	return (n + others) / (others + 1)
}

// trimQueuesLocked removes what was dropped while it waited, as far as it stands in front.
func (s *subscription) trimQueuesLocked() {
	for s.fresh.len() > 0 && s.fresh.peek().state != ready {
		s.fresh.pop()
	}
	for s.again.len() > 0 && s.again.peek().state != ready {
		s.again.pop()
	}
}

// queueLocked alternates between the queues, so that neither a nack loop nor a backlog starves the other.
func (s *subscription) queueLocked() *fifo[*delivery] {
	s.trimQueuesLocked()
	s.turn = !s.turn
	if s.fresh.len() == 0 || s.turn && s.again.len() > 0 {
		return &s.again
	}
	return &s.fresh
}

// claimLocked makes c the owner of the first free key and takes what it has.
func (s *subscription) claimLocked(c *consumer, b *batch, now time.Duration) {
	k := s.freeKeys.peek()
	if k.owner != nil || !k.waiting() {
		s.freeKeys.pop() // it has been served since
		return
	}
	if !b.fits(k.items[k.sent]) {
		return
	}
	s.freeKeys.pop()
	k.owner, k.queued = c, false
	if !s.takeKeyLocked(k, c, b, now) {
		k.queued = true
		c.keys.push(k)
	}
}

// takeKeyLocked reports whether all waiting messages of k were taken.
func (s *subscription) takeKeyLocked(k *orderKey, c *consumer, b *batch, now time.Duration) bool {
	for k.waiting() {
		d := k.items[k.sent]
		if !c.hasCredit() || !b.fits(d) {
			return false
		}
		k.sent++
		s.grantLocked(d, c, b, now)
	}
	return true
}

func (s *subscription) grantLocked(d *delivery, c *consumer, b *batch, now time.Duration) {
	s.leaseLocked(d, c, now)
	b.deliveries = append(b.deliveries, d)
	b.bytes += d.msg.size + batchOverhead
}

// responseLocked builds the response of a batch in four allocations, whatever its size.
func (s *subscription) responseLocked(deliveries []*delivery) *pubsubpb.StreamingPullResponse {
	resp := &pubsubpb.StreamingPullResponse{SubscriptionProperties: s.props}
	if len(deliveries) == 0 {
		return resp
	}
	received := make([]pubsubpb.ReceivedMessage, len(deliveries))
	resp.ReceivedMessages = make([]*pubsubpb.ReceivedMessage, len(deliveries))
	text := make([]byte, 0, 24*len(deliveries))
	ends := make([]int, len(deliveries))
	for i, d := range deliveries {
		text = ackID{epoch: s.epoch, seq: d.seq, number: d.number}.append(text)
		ends[i] = len(text)
	}
	ids, from := string(text), 0
	attempts := s.pb.DeadLetterPolicy != nil
	for i, d := range deliveries {
		r := &received[i]
		r.Message, r.AckId = d.msg.pb, ids[from:ends[i]]
		if attempts {
			r.DeliveryAttempt = int32(d.failed) + 1
		}
		resp.ReceivedMessages[i] = r
		from = ends[i]
	}
	return resp
}

// wakeLocked wakes the longest idle consumer if there is something for anybody. The one
// woken wakes the next if it leaves something.
func (s *subscription) wakeLocked() {
	if len(s.idle) == 0 || s.fresh.len()+s.again.len()+s.freeKeys.len() == 0 {
		return
	}
	c := s.idle[0]
	s.unidleLocked(c)
	c.nudge()
}

func (s *subscription) idleLocked(c *consumer) {
	if c.closed || !c.hasCredit() {
		return // regained credit wakes it
	}
	c.idle = true
	s.idle = append(s.idle, c)
}

func (s *subscription) unidleLocked(c *consumer) {
	if !c.idle {
		return
	}
	c.idle = false
	i := slices.Index(s.idle, c)
	s.idle = slices.Delete(s.idle, i, i+1)
}

// ping makes next answer at once.
func (s *subscription) ping(c *consumer) {
	s.mu.Lock()
	c.pinged = true
	s.mu.Unlock()
	c.nudge()
}

// leave ends a consumer. Its leases stand until they expire; what it was woken for goes to another.
func (s *subscription) leave(c *consumer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.closed = true
	s.unidleLocked(c)
	s.wakeLocked()
}

func (s *subscription) setLease(c *consumer, lease time.Duration) {
	s.mu.Lock()
	c.lease = lease
	s.mu.Unlock()
}

// proto returns a copy of the subscription's settings.
func (s *subscription) proto() *pubsubpb.Subscription {
	s.mu.Lock()
	defer s.mu.Unlock()
	pb := proto.Clone(s.pb).(*pubsubpb.Subscription)
	pb.TopicMessageRetentionDuration = nil
	if d := s.topic.retention.Load(); d != 0 {
		pb.TopicMessageRetentionDuration = durationpb.New(time.Duration(d))
	}
	return pb
}
