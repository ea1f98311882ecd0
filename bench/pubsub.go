package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

const (
	project         = "projects/bench"
	payloads        = project + "/topics/tailweir-payloads"
	deadLetterTopic = project + "/topics/tailweir-deadletters"
	subscription    = project + "/subscriptions/tailweir-payloads-worker"
	deadLetters     = project + "/subscriptions/tailweir-deadletters-kept"
)

func (r *round) pubsub() (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+r.t.broker, grpc.WithTransportCredentials(insecure.NewCredentials()))
}

// subscribe makes the subscription of the workers as it is in the cloud, with the dead-letter policy. What else there has to
// be the processes make.
func (r *round) subscribe(ctx context.Context) error {
	conn, err := r.pubsub()
	if err != nil {
		return err
	}
	defer conn.Close()
	for _, topic := range []string{payloads, deadLetterTopic} {
		if _, err := pubsubpb.NewPublisherClient(conn).CreateTopic(ctx, &pubsubpb.Topic{Name: topic}); err != nil {
			return fmt.Errorf("create %s: %w", topic, err)
		}
	}
	_, err = pubsubpb.NewSubscriberClient(conn).CreateSubscription(ctx, &pubsubpb.Subscription{
		Name: subscription, Topic: payloads, AckDeadlineSeconds: 10,
		DeadLetterPolicy: &pubsubpb.DeadLetterPolicy{DeadLetterTopic: deadLetterTopic, MaxDeliveryAttempts: 100},
	})
	if err != nil {
		return fmt.Errorf("create %s: %w", subscription, err)
	}
	return nil
}

// poison publishes payloads that nobody can read, as a broken publisher would.
func poison(ctx context.Context, r *round, rnd *rand.Rand) error {
	conn, err := r.pubsub()
	if err != nil {
		return err
	}
	defer conn.Close()
	kinds := []map[string]string{
		{"ce-type": "org.opentelemetry.otlp.traces.v1"},
		{"ce-type": "org.opentelemetry.otlp.logs.v1", "content-encoding": "gzip"},
		{"ce-type": "org.opentelemetry.otlp.metrics.v1"},
		{"who": "somebody else"},
	}
	req := &pubsubpb.PublishRequest{Topic: payloads}
	for _, attrs := range kinds {
		text := fmt.Sprintf("\x0apoison %d", rnd.Uint64())
		req.Messages = append(req.Messages, &pubsubpb.PubsubMessage{Data: []byte(text), Attributes: attrs})
	}
	for { // the broker may be stopped, or told to fail
		attempt, cancel := context.WithTimeout(ctx, 5*time.Second)
		_, err = pubsubpb.NewPublisherClient(conn).Publish(attempt, req)
		cancel()
		if err == nil || ctx.Err() != nil {
			break
		}
		sleep(ctx, time.Second)
	}
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range req.Messages {
		r.poison[string(m.Data)] = false
	}
	return nil
}

// exhume reads the dead-letter topic: all that was poisoned must be there with its reason and its attributes, and nothing
// else.
func (r *round) exhume(ctx context.Context) error {
	conn, err := r.pubsub()
	if err != nil {
		return err
	}
	defer conn.Close()
	client := pubsubpb.NewSubscriberClient(conn)
	for empty := 0; empty < 2; { // the emulator answers empty now and then
		pull, cancel := context.WithTimeout(ctx, 30*time.Second)
		//lint:ignore SA1019 an answer at once is what is wanted here
		resp, err := client.Pull(pull, &pubsubpb.PullRequest{Subscription: deadLetters, MaxMessages: 500, ReturnImmediately: true})
		cancel()
		if err != nil {
			return fmt.Errorf("read dead letters: %w", err)
		}
		if len(resp.ReceivedMessages) == 0 {
			empty++
			sleep(ctx, 200*time.Millisecond)
			continue
		}
		ids := make([]string, len(resp.ReceivedMessages))
		for i, m := range resp.ReceivedMessages {
			ids[i] = m.AckId
			if err := r.identify(m.Message); err != nil {
				return err
			}
		}
		if _, err := client.Acknowledge(ctx, &pubsubpb.AcknowledgeRequest{Subscription: deadLetters, AckIds: ids}); err != nil {
			return fmt.Errorf("ack dead letters: %w", err)
		}
	}
	return nil
}

func (r *round) identify(m *pubsubpb.PubsubMessage) error {
	if _, ours := r.poison[string(m.Data)]; !ours {
		return fmt.Errorf("a healthy payload of %d bytes was dead-lettered: %v", len(m.Data), m.Attributes)
	}
	if m.Attributes["tailweir.reason"] != "undecodable" || m.Attributes["tailweir.error"] == "" || m.Attributes["ce-type"] == "" && m.Attributes["who"] == "" {
		return fmt.Errorf("dead letter %q has the attributes %v", m.Data, m.Attributes)
	}
	r.poison[string(m.Data)] = true
	return nil
}
