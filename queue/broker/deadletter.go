package broker

import (
	"maps"
	"strconv"
	"strings"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
)

// letter is a delivery that has failed too often, and what is published of it to the dead-letter topic.
type letter struct {
	of *delivery
	to string
	pb *pubsubpb.PubsubMessage
}

// exhaustedLocked follows the service, which counts nacks and expiries.
func (s *subscription) exhaustedLocked(d *delivery) bool {
	policy := s.pb.DeadLetterPolicy
	return policy != nil && int32(d.failed) >= policy.MaxDeliveryAttempts
}

// postLocked leaves d for unlockAndForward: to publish is to take the lock of a topic, which comes before ours.
func (s *subscription) postLocked(d *delivery) {
	s.restLocked(d, forwarding)
	m := d.msg.pb
	attributes := maps.Clone(m.Attributes)
	if attributes == nil {
		attributes = make(map[string]string)
	}
	parts := strings.Split(s.name, "/") // projects/PROJECT/subscriptions/ID
	const prefix = "CloudPubSubDeadLetterSource"
	attributes[prefix+"SubscriptionProject"], attributes[prefix+"Subscription"] = parts[1], parts[3]
	attributes[prefix+"DeliveryCount"] = strconv.Itoa(int(d.failed))
	attributes[prefix+"TopicPublishTime"] = m.PublishTime.AsTime().Format("2006-01-02T15:04:05.000-07:00")
	s.outbox = append(s.outbox, letter{
		of: d,
		to: s.pb.DeadLetterPolicy.DeadLetterTopic,
		pb: &pubsubpb.PubsubMessage{Data: m.Data, Attributes: attributes, OrderingKey: m.OrderingKey},
	})
}

// unlockAndForward gives mu back and publishes what was posted under it. A message
// that its topic does not take stays, and goes on being delivered.
func (s *subscription) unlockAndForward() {
	outbox := s.outbox
	s.outbox = nil
	s.mu.Unlock()
	for _, l := range outbox {
		t, err := s.srv.topic(l.to)
		if err == nil {
			_, err = t.publish([]*pubsubpb.PubsubMessage{l.pb})
		}
		release(s.forwarded(l.of, err == nil))
	}
}

// forwarded ends d, or gives it back to delivery; a seek or an ack may have come first.
func (s *subscription) forwarded(d *delivery, ok bool) (freed []*message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.log.at(int64(d.seq)) != d || d.state == done:
	case ok:
		s.stats.DeadLettered++
		return s.dropLocked(d, nil)
	case d.state != forwarding: // its key was taken back and sent again meanwhile
	case d.key != nil && d.key.rest != d:
		d.state = ready // its key waits for an earlier one
	default:
		now := s.srv.now()
		s.retryLocked(d, now)
		s.armLocked(now)
	}
	return nil
}
