package queuetest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"tailweir/queue"
)

const (
	// The shortest ack deadline that the API takes, used by all cases.
	ackDeadline = 10 * time.Second

	// What must come is waited for this long; it comes at once on an idle machine.
	patience = 60 * time.Second

	// What must not come is waited for this long: a wrong server is caught on
	// most runs, a right one never fails.
	silence = 700 * time.Millisecond
)

// T is what a case needs of a test; *testing.T has it.
type T interface {
	Context() context.Context
	Cleanup(func())
	Helper()
	Logf(format string, args ...any)
	Error(args ...any)
	Errorf(format string, args ...any)
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// fixture is a case's own topic and subscription.
type fixture struct {
	T
	ctx          context.Context
	queue        queue.Config
	project      string // "projects/" and its id
	pub          pubsubpb.PublisherClient
	sub          pubsubpb.SubscriberClient
	topic        string
	subscription string
}

func newFixture(t T, target Target, c suiteCase) *fixture {
	t.Helper()
	if target.Queue.Project == "" {
		target.Queue = queue.Config{Project: "queuetest", Endpoint: target.Conn.Target()}
	}
	id := fmt.Sprintf("%s%s-%08x", target.Prefix, c.name, rand.Uint32())
	f := &fixture{
		T:       t,
		ctx:     t.Context(),
		queue:   target.Queue,
		project: "projects/" + target.Queue.Project,
		pub:     pubsubpb.NewPublisherClient(target.Conn),
		sub:     pubsubpb.NewSubscriberClient(target.Conn),
	}
	f.topic, f.subscription = f.project+"/topics/"+id, f.project+"/subscriptions/"+id
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
	pb := &pubsubpb.Subscription{
		Name: other.subscription, Topic: f.topic, AckDeadlineSeconds: int32(ackDeadline / time.Second),
		// In a real project what a killed run leaves behind expires; its messages must not outlive it.
		MessageRetentionDuration: durationpb.New(time.Hour),
		ExpirationPolicy:         &pubsubpb.ExpirationPolicy{Ttl: durationpb.New(24 * time.Hour)},
	}
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
