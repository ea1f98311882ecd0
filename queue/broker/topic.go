package broker

import (
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// What a kept message costs beside its bytes: the decoded message, its slot in
// the log and one delivery, about 430 B on amd64 with three attributes.
const messageOverhead = 512

// message is one published message. pb is never changed after publish, so
// that any number of streams may encode it at a time.
type message struct {
	topic  *topic
	pb     *pubsubpb.PubsubMessage
	size   int64 // of data, attributes and key: what counts for flow control
	offset int64 // in the topic's log
	// refs counts the subscriptions and snapshots that hold it, the topic where it
	// retains messages, and its publisher until it is filed. The last one frees it.
	refs     atomic.Int32
	retained bool // by the topic, whose mu guards it
}

type topic struct {
	srv       *Server
	name      string
	retention atomic.Int64 // a time.Duration, 0 = none; changed under mu

	mu            sync.Mutex
	pb            *pubsubpb.Topic // replaced, never changed
	deleted       bool
	log           chunkLog[message]
	bytes         int64
	lastPublish   time.Time
	subscriptions map[string]*subscription
	snapshots     map[string]*snapshot
	retained      int64 // offset before which no message is retained by the topic
	purger        *time.Timer
	purging       bool // whether the purger is set
}

// publish appends the messages, hands them to the subscriptions and returns their ids in order.
func (t *topic) publish(batch []*pubsubpb.PubsubMessage) ([]string, error) {
	messages, cost := t.wrap(batch)
	if !t.srv.reserve(cost) {
		return nil, status.Errorf(codes.ResourceExhausted, "publish to %s: the broker keeps %d bytes of at most %d; ack messages or delete subscriptions", t.name, t.srv.used.Load(), t.srv.cfg.MaxBytes)
	}
	ids := make([]string, len(batch))
	if err := t.append(messages, ids); err != nil {
		t.srv.used.Add(-cost)
		return nil, err
	}
	release(messages) // those that nobody waits for go at once
	t.srv.published.Add(uint64(len(batch)))
	return ids, nil
}

func (t *topic) wrap(batch []*pubsubpb.PubsubMessage) (messages []*message, cost int64) {
	messages = make([]*message, len(batch))
	for i, pb := range batch {
		messages[i] = &message{topic: t, pb: pb, size: messageSize(pb)}
		cost += messages[i].size + messageOverhead
	}
	return messages, cost
}

func messageSize(pb *pubsubpb.PubsubMessage) int64 {
	n := len(pb.Data) + len(pb.OrderingKey)
	for k, v := range pb.Attributes {
		n += len(k) + len(v)
	}
	return int64(n)
}

// append stamps the messages and files them under the lock that also hands them to the
// subscriptions: the order of ids, publish times and delivery is one. The caller has a
// reference of each to release.
func (t *topic) append(messages []*message, ids []string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.deleted {
		return notFound("topic", t.name)
	}
	published := t.publishTimeLocked()
	last := t.srv.nextID.Add(uint64(len(messages)))
	for i, m := range messages {
		ids[i] = strconv.FormatUint(last-uint64(len(messages)-1-i), 10)
		m.pb.MessageId, m.pb.PublishTime = ids[i], published
		m.refs.Store(1)
		m.offset = t.log.append(m)
		t.bytes += m.size
	}
	for _, sub := range t.subscriptions {
		sub.add(messages)
	}
	for _, snap := range t.snapshots {
		snap.addLocked(messages)
	}
	t.retainLocked(messages)
	return nil
}

// publishTimeLocked never goes back, so that the log is ordered by it.
func (t *topic) publishTimeLocked() *timestamppb.Timestamp {
	if now := t.srv.start.Add(t.srv.now()).Round(0); now.After(t.lastPublish) { // a wall clock may be set back
		t.lastPublish = now
	}
	return timestamppb.New(t.lastPublish)
}

// release drops one reference of each message and frees those that have none
// left. Neither topic.mu nor subscription.mu may be held.
func release(messages []*message) {
	for _, m := range messages {
		if m.refs.Add(-1) == 0 {
			m.topic.free(m)
		}
	}
}

func (t *topic) free(m *message) {
	t.mu.Lock()
	t.log.drop(m.offset)
	t.bytes -= m.size
	t.mu.Unlock()
	t.srv.used.Add(-m.size - messageOverhead)
}

func (t *topic) attach(sub *subscription) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.deleted {
		return notFound("topic", t.name)
	}
	t.subscriptions[sub.name] = sub
	return nil
}

func (t *topic) attachedLocked() []*subscription {
	return slices.Collect(maps.Values(t.subscriptions))
}

func (t *topic) proto() *pubsubpb.Topic {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.pb
}

func (t *topic) detach(sub *subscription) {
	t.mu.Lock()
	delete(t.subscriptions, sub.name)
	t.mu.Unlock()
}
