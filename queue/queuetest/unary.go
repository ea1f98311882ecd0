package queuetest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/grpc/codes"
)

func (f *fixture) pull(limit int32) []*pubsubpb.ReceivedMessage {
	f.Helper()
	resp, err := f.sub.Pull(f.ctx, &pubsubpb.PullRequest{Subscription: f.subscription, MaxMessages: limit})
	if err != nil {
		f.Fatalf("pull: %v", err)
	}
	return resp.ReceivedMessages
}

func pull(f *fixture) {
	f.publish(numbered(0, 10, "")...)
	var held []*pubsubpb.ReceivedMessage
	for len(held) < 10 {
		got := f.pull(3)
		if len(got) == 0 || len(got) > 3 {
			f.Fatalf("pulled %d messages, want 1 to 3", len(got))
		}
		held = append(held, got...)
	}
	f.modack(0, held[0])
	again := f.pull(3)
	if len(again) != 1 || again[0].Message.MessageId != held[0].Message.MessageId {
		f.Fatalf("pulled %v after the nack of %s, want that", texts(again), held[0].Message.Data)
	}
	f.ack(append(held[1:], again...)...)
}

func pullWaits(f *fixture) {
	pulled := make(chan int)
	go func() {
		for { // the server may answer without messages after a while
			resp, err := f.sub.Pull(f.ctx, &pubsubpb.PullRequest{Subscription: f.subscription, MaxMessages: 10})
			if n := len(resp.GetReceivedMessages()); err != nil || n > 0 {
				pulled <- n
				return
			}
		}
	}()
	select {
	case n := <-pulled:
		f.Fatalf("pull returned %d messages before any was published", n)
	case <-time.After(silence):
	}
	f.publish(numbered(0, 1, "")...)
	select {
	case n := <-pulled:
		if n != 1 {
			f.Fatalf("pulled %d messages, want 1", n)
		}
	case <-time.After(patience):
		f.Fatalf("a waiting pull got nothing in %v", patience)
	}
}

func publishLimits(f *fixture) {
	attributes := func(n int) map[string]string {
		m := map[string]string{}
		for i := range n {
			m[fmt.Sprint("key-", i)] = "v"
		}
		return m
	}
	one := func(m *pubsubpb.PubsubMessage) []*pubsubpb.PubsubMessage { return []*pubsubpb.PubsubMessage{m} }
	for _, c := range []struct {
		name     string
		messages []*pubsubpb.PubsubMessage
		want     codes.Code
	}{
		{"no message", nil, codes.InvalidArgument},
		{"empty message", one(&pubsubpb.PubsubMessage{}), codes.InvalidArgument},
		{"1000 messages", numbered(0, 1000, ""), codes.OK},
		{"1001 messages", numbered(0, 1001, ""), codes.InvalidArgument},
		{"nearly 10 MB", one(&pubsubpb.PubsubMessage{Data: make([]byte, 9_990_000)}), codes.OK},
		{"over 10 MB", one(&pubsubpb.PubsubMessage{Data: make([]byte, 10_000_001)}), codes.InvalidArgument},
		{"100 attributes", one(&pubsubpb.PubsubMessage{Attributes: attributes(100)}), codes.OK},
		{"101 attributes", one(&pubsubpb.PubsubMessage{Attributes: attributes(101)}), codes.InvalidArgument},
		{"key of 256 B", one(&pubsubpb.PubsubMessage{Attributes: map[string]string{strings.Repeat("k", 256): "v"}}), codes.OK},
		{"key of 257 B", one(&pubsubpb.PubsubMessage{Attributes: map[string]string{strings.Repeat("k", 257): "v"}}), codes.InvalidArgument},
		{"value of 1024 B", one(&pubsubpb.PubsubMessage{Attributes: map[string]string{"k": strings.Repeat("v", 1024)}}), codes.OK},
		{"value of 1025 B", one(&pubsubpb.PubsubMessage{Attributes: map[string]string{"k": strings.Repeat("v", 1025)}}), codes.InvalidArgument},
		{"two ordering keys", append(numbered(0, 1, "a"), numbered(1, 2, "b")...), codes.InvalidArgument},
	} {
		_, err := f.pub.Publish(f.ctx, &pubsubpb.PublishRequest{Topic: f.topic, Messages: c.messages})
		f.wantCode(c.name, err, c.want)
	}
}

func notFound(f *fixture) {
	topic, subscription := f.project+"/topics/not-there", f.project+"/subscriptions/not-there"
	stream, err := f.sub.StreamingPull(f.ctx)
	if err != nil {
		f.Fatal(err)
	}
	if err := stream.Send(&pubsubpb.StreamingPullRequest{Subscription: subscription, StreamAckDeadlineSeconds: 10}); err != nil {
		f.Fatal(err)
	}
	calls := map[string]func() error{
		"Publish": func() error {
			_, err := f.pub.Publish(f.ctx, &pubsubpb.PublishRequest{Topic: topic, Messages: numbered(0, 1, "")})
			return err
		},
		"GetTopic": func() error {
			_, err := f.pub.GetTopic(f.ctx, &pubsubpb.GetTopicRequest{Topic: topic})
			return err
		},
		"DeleteTopic": func() error {
			_, err := f.pub.DeleteTopic(f.ctx, &pubsubpb.DeleteTopicRequest{Topic: topic})
			return err
		},
		"CreateSubscription": func() error {
			_, err := f.sub.CreateSubscription(f.ctx, &pubsubpb.Subscription{Name: subscription, Topic: topic})
			return err
		},
		"GetSubscription": func() error {
			_, err := f.sub.GetSubscription(f.ctx, &pubsubpb.GetSubscriptionRequest{Subscription: subscription})
			return err
		},
		"DeleteSubscription": func() error {
			_, err := f.sub.DeleteSubscription(f.ctx, &pubsubpb.DeleteSubscriptionRequest{Subscription: subscription})
			return err
		},
		"Pull": func() error {
			_, err := f.sub.Pull(f.ctx, &pubsubpb.PullRequest{Subscription: subscription, MaxMessages: 1})
			return err
		},
		"StreamingPull": func() error { _, err := stream.Recv(); return err },
	}
	for name, call := range calls {
		err := call()
		f.wantCode(name, err, codes.NotFound)
	}
}

func alreadyExists(f *fixture) {
	_, err := f.pub.CreateTopic(f.ctx, &pubsubpb.Topic{Name: f.topic})
	f.wantCode("CreateTopic", err, codes.AlreadyExists)
	_, err = f.sub.CreateSubscription(f.ctx, &pubsubpb.Subscription{Name: f.subscription, Topic: f.topic})
	f.wantCode("CreateSubscription", err, codes.AlreadyExists)
}

func listAndDelete(f *fixture) {
	if topics := f.topics(); !slices.Contains(topics, f.topic) {
		f.Errorf("topics %v, want %s among them", topics, f.topic)
	}
	of, err := f.pub.ListTopicSubscriptions(f.ctx, &pubsubpb.ListTopicSubscriptionsRequest{Topic: f.topic})
	if err != nil || !slices.Equal(of.GetSubscriptions(), []string{f.subscription}) {
		f.Errorf("subscriptions of the topic %v, %v; want %s", of.GetSubscriptions(), err, f.subscription)
	}
	sub, err := f.sub.GetSubscription(f.ctx, &pubsubpb.GetSubscriptionRequest{Subscription: f.subscription})
	if err != nil || sub.Topic != f.topic || sub.AckDeadlineSeconds != 10 {
		f.Errorf("subscription %v, %v; want topic %s", sub, err, f.topic)
	}
	f.publish(numbered(0, 5, "")...)
	s := f.open(credit{})
	s.receive(5)
	if _, err := f.sub.DeleteSubscription(f.ctx, &pubsubpb.DeleteSubscriptionRequest{Subscription: f.subscription}); err != nil {
		f.Errorf("delete subscription: %v", err)
	}
	select {
	case err := <-s.ended:
		f.wantCode("stream of a deleted subscription", err, codes.NotFound)
	case <-time.After(patience):
		f.Errorf("the stream of a deleted subscription goes on")
	}
	if _, err := f.pub.DeleteTopic(f.ctx, &pubsubpb.DeleteTopicRequest{Topic: f.topic}); err != nil {
		f.Errorf("delete topic: %v", err)
	}
	if topics := f.topics(); slices.Contains(topics, f.topic) {
		f.Errorf("topics %v after the deletion of %s", topics, f.topic)
	}
}

// topics lists in pages of 2, so that paging is exercised.
func (f *fixture) topics() []string {
	f.Helper()
	var names []string
	req := &pubsubpb.ListTopicsRequest{Project: f.project, PageSize: 2}
	for {
		resp, err := f.pub.ListTopics(f.ctx, req)
		if err != nil {
			f.Fatalf("list topics: %v", err)
		}
		for _, t := range resp.Topics {
			names = append(names, t.Name)
		}
		if req.PageToken = resp.NextPageToken; req.PageToken == "" {
			return names
		}
	}
}
