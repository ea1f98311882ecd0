package queuetest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	project = "projects/queuetest"

	// The shortest ack deadline that the API takes, used by all cases.
	ackDeadline = 10 * time.Second

	// What must come is waited for this long; it comes at once on an idle machine.
	patience = 60 * time.Second

	// What must not come is waited for this long: a wrong server is caught on
	// most runs, a right one never fails.
	silence = 700 * time.Millisecond
)

// fixture is a case's own topic and subscription.
type fixture struct {
	*testing.T
	ctx          context.Context
	endpoint     string // host:port
	pub          pubsubpb.PublisherClient
	sub          pubsubpb.SubscriberClient
	topic        string
	subscription string
}

func newFixture(t *testing.T, target Target, c suiteCase) *fixture {
	t.Helper()
	id := fmt.Sprintf("%s-%08x", c.name, rand.Uint32())
	f := &fixture{
		T:            t,
		ctx:          t.Context(),
		endpoint:     target.Conn.Target(),
		pub:          pubsubpb.NewPublisherClient(target.Conn),
		sub:          pubsubpb.NewSubscriberClient(target.Conn),
		topic:        project + "/topics/" + id,
		subscription: project + "/subscriptions/" + id,
	}
	if _, err := f.pub.CreateTopic(f.ctx, &pubsubpb.Topic{Name: f.topic}); err != nil {
		t.Fatalf("create topic: %v", err)
	}
	t.Cleanup(f.removeTopic)
	return f.subscribe("", func(pb *pubsubpb.Subscription) { pb.EnableMessageOrdering = c.ordered })
}

// subscribe returns the fixture with another subscription to its topic, named with the suffix.
func (f *fixture) subscribe(suffix string, edit func(*pubsubpb.Subscription)) *fixture {
	f.Helper()
	other := *f
	other.subscription += suffix
	pb := &pubsubpb.Subscription{Name: other.subscription, Topic: f.topic, AckDeadlineSeconds: int32(ackDeadline / time.Second)}
	if edit != nil {
		edit(pb)
	}
	if _, err := f.sub.CreateSubscription(f.ctx, pb); err != nil {
		f.Fatalf("create subscription: %v", err)
	}
	f.Cleanup(other.removeSubscription)
	return &other
}

// onTopic returns the fixture with another topic, named with the suffix, that the subscription is not of.
func (f *fixture) onTopic(suffix string, edit func(*pubsubpb.Topic)) *fixture {
	f.Helper()
	other := *f
	other.topic += suffix
	pb := &pubsubpb.Topic{Name: other.topic}
	if edit != nil {
		edit(pb)
	}
	if _, err := f.pub.CreateTopic(f.ctx, pb); err != nil {
		f.Fatalf("create topic: %v", err)
	}
	f.Cleanup(other.removeTopic)
	return &other
}

// removeSubscription frees the server's memory; a case may have deleted it.
func (f *fixture) removeSubscription() {
	f.cleanUp("delete subscription", func(ctx context.Context) error {
		_, err := f.sub.DeleteSubscription(ctx, &pubsubpb.DeleteSubscriptionRequest{Subscription: f.subscription})
		return err
	})
}

func (f *fixture) removeTopic() {
	f.cleanUp("delete topic", func(ctx context.Context) error {
		_, err := f.pub.DeleteTopic(ctx, &pubsubpb.DeleteTopicRequest{Topic: f.topic})
		return err
	})
}

func (f *fixture) cleanUp(what string, remove func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := remove(ctx); err != nil && status.Code(err) != codes.NotFound {
		f.Errorf("%s: %v", what, err)
	}
}

// publish sends one request and returns the ids.
func (f *fixture) publish(messages ...*pubsubpb.PubsubMessage) []string {
	f.Helper()
	resp, err := f.pub.Publish(f.ctx, &pubsubpb.PublishRequest{Topic: f.topic, Messages: messages})
	if err != nil {
		f.Fatalf("publish: %v", err)
	}
	if len(resp.MessageIds) != len(messages) {
		f.Fatalf("publish: %d ids for %d messages", len(resp.MessageIds), len(messages))
	}
	return resp.MessageIds
}

// numbered returns messages with data "from" to "to-1", of one key.
func numbered(from, to int, key string) []*pubsubpb.PubsubMessage {
	var messages []*pubsubpb.PubsubMessage
	for i := from; i < to; i++ {
		messages = append(messages, &pubsubpb.PubsubMessage{Data: []byte(fmt.Sprint(i)), OrderingKey: key})
	}
	return messages
}

func (f *fixture) ack(received ...*pubsubpb.ReceivedMessage) {
	f.Helper()
	_, err := f.sub.Acknowledge(f.ctx, &pubsubpb.AcknowledgeRequest{Subscription: f.subscription, AckIds: ackIDs(received)})
	if err != nil {
		f.Fatalf("acknowledge: %v", err)
	}
}

// modack sets the lease of the messages; 0 is a nack.
func (f *fixture) modack(lease time.Duration, received ...*pubsubpb.ReceivedMessage) {
	f.Helper()
	_, err := f.sub.ModifyAckDeadline(f.ctx, &pubsubpb.ModifyAckDeadlineRequest{
		Subscription:       f.subscription,
		AckIds:             ackIDs(received),
		AckDeadlineSeconds: int32(lease / time.Second),
	})
	if err != nil {
		f.Fatalf("modify ack deadline: %v", err)
	}
}

func (f *fixture) wantCode(what string, err error, want codes.Code) {
	f.Helper()
	if got := status.Code(err); got != want {
		f.Errorf("%s: code %v, want %v (%v)", what, got, want, err)
	}
}

func ackIDs(received []*pubsubpb.ReceivedMessage) []string {
	ids := make([]string, len(received))
	for i, r := range received {
		ids[i] = r.AckId
	}
	return ids
}

func texts(received []*pubsubpb.ReceivedMessage) []string {
	var out []string
	for _, r := range received {
		out = append(out, string(r.Message.Data))
	}
	return out
}
