package queue

import (
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
)

// Message is one delivery. It is held, its lease extended and its credit used, until exactly one of Ack, Nack and
// HandBack is called, once: a second call panics. They do not block and may be called from any goroutine; the request
// follows within twice the subscriber's Linger, shared with others. After Run has returned they have no effect on the server any more.
//
// The fields may be read by any goroutine, and Data may be kept after settling.
type Message struct {
	ID          string // of the server; a redelivery has the same
	Data        []byte
	Attributes  map[string]string
	PublishTime time.Time // of the server's clock
	// DeliveryAttempt counts from 1 where the subscription has a dead-letter policy, else it is 0.
	DeliveryAttempt int
	OrderingKey     string

	lease  *lease
	leases *leases
}

// Ack tells Pub/Sub never to deliver the message again. The ack is repeated while the lease holds; should it never be
// confirmed, the message is redelivered.
func (m *Message) Ack() { m.leases.settle(m.lease, leaseAcking, 0) }

// Nack gives the message back for redelivery at once, to any subscriber.
func (m *Message) Nack() { m.leases.settle(m.lease, leaseReturning, 0) }

// HandBack gives the message back for redelivery after the delay, rounded up to seconds, at most 600 s. Until then
// it takes no part of the credit here, and no other subscriber gets it.
func (m *Message) HandBack(delay time.Duration) {
	m.leases.settle(m.lease, leaseReturning, wholeSeconds(delay))
}

// newMessage keeps no reference to the envelope, whose ack id outlives the payload.
func (t *leases) newMessage(r *pubsubpb.ReceivedMessage) *Message {
	m := r.GetMessage()
	bytes := len(m.GetData()) + len(m.GetOrderingKey())
	for key, value := range m.GetAttributes() {
		bytes += len(key) + len(value)
	}
	return &Message{
		ID:              m.GetMessageId(),
		Data:            m.GetData(),
		Attributes:      m.GetAttributes(),
		PublishTime:     m.GetPublishTime().AsTime(),
		DeliveryAttempt: int(r.GetDeliveryAttempt()),
		OrderingKey:     m.GetOrderingKey(),
		lease: &lease{
			ackID: r.GetAckId(), messageID: m.GetMessageId(), bytes: int64(bytes), attempt: r.GetDeliveryAttempt(),
		},
		leases: t,
	}
}
