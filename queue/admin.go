package queue

import (
	"context"
	"fmt"
	"strings"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// CreateTopic makes the topic unless it exists. It is meant for emulators; real topics are Terraform's.
func (c *Client) CreateTopic(ctx context.Context, topic string) error {
	return c.createTopic(ctx, &pubsubpb.Topic{Name: c.path("topics", topic)})
}

// CreateRetainingTopic is CreateTopic for a topic that keeps its messages, acked or not, for the retention, 10 minutes
// to 31 days: new subscriptions can seek back so far. A topic that exists is left as it is.
func (c *Client) CreateRetainingTopic(ctx context.Context, topic string, retention time.Duration) error {
	return c.createTopic(ctx, &pubsubpb.Topic{
		Name: c.path("topics", topic), MessageRetentionDuration: durationpb.New(retention),
	})
}

func (c *Client) createTopic(ctx context.Context, topic *pubsubpb.Topic) error {
	_, err := c.pubsub.TopicAdminClient.CreateTopic(ctx, topic)
	return unless(codes.AlreadyExists, "create topic", topic.Name, err)
}

// DeleteTopic deletes the topic; that there is none is fine. Its subscriptions stay and get nothing more.
func (c *Client) DeleteTopic(ctx context.Context, topic string) error {
	name := c.path("topics", topic)
	err := c.pubsub.TopicAdminClient.DeleteTopic(ctx, &pubsubpb.DeleteTopicRequest{Topic: name})
	return unless(codes.NotFound, "delete topic", name, err)
}

// SubscriptionConfig describes a pull subscription to create.
type SubscriptionConfig struct {
	// Subscription and Topic are ids in the client's project, or full resource names. Required.
	Subscription, Topic string
	// AckDeadline is the lease of a plain Pull, whole seconds, 10 s to 600 s. Streams bring their own. Default 10 s.
	AckDeadline time.Duration
	// Ordered delivers the messages of one ordering key in order. Default false.
	Ordered bool
	// Filter over attributes, as Pub/Sub defines it, at most 256 bytes. Default "": everything.
	Filter string
	// Retention is how long un-acked messages are kept, 10 minutes to 31 days. Default 0: Pub/Sub's 7 days.
	Retention time.Duration
	// Expiry deletes the subscription when nobody has used it for so long, at least a day. Default 0: never.
	Expiry time.Duration
	// DeadLetterTopic gets messages after MaxDeliveryAttempts. Default "": none.
	DeadLetterTopic string
	// MaxDeliveryAttempts is 5 to 100. Default 100, because a rollout that hands back everything counts as an attempt.
	MaxDeliveryAttempts int
}

func (cfg SubscriptionConfig) withDefaults() SubscriptionConfig {
	orDefault(&cfg.AckDeadline, minLease)
	orDefault(&cfg.MaxDeliveryAttempts, 100)
	return cfg
}

// CreateSubscription makes the subscription unless it exists; one that exists is left as it is. It has no retry
// policy, which would delay the redelivery of expired leases as well. It is meant for emulators.
func (c *Client) CreateSubscription(ctx context.Context, cfg SubscriptionConfig) error {
	cfg = cfg.withDefaults()
	sub := &pubsubpb.Subscription{
		Name:                     c.path("subscriptions", cfg.Subscription),
		Topic:                    c.path("topics", cfg.Topic),
		AckDeadlineSeconds:       wholeSeconds(cfg.AckDeadline),
		EnableMessageOrdering:    cfg.Ordered,
		Filter:                   cfg.Filter,
		MessageRetentionDuration: optional(cfg.Retention),
		ExpirationPolicy:         &pubsubpb.ExpirationPolicy{Ttl: optional(cfg.Expiry)},
	}
	if cfg.DeadLetterTopic != "" {
		sub.DeadLetterPolicy = &pubsubpb.DeadLetterPolicy{
			DeadLetterTopic:     c.path("topics", cfg.DeadLetterTopic),
			MaxDeliveryAttempts: int32(cfg.MaxDeliveryAttempts),
		}
	}
	_, err := c.pull.CreateSubscription(ctx, sub)
	return unless(codes.AlreadyExists, "create subscription", sub.Name, err)
}

// DeleteSubscription deletes the subscription; that there is none is fine.
func (c *Client) DeleteSubscription(ctx context.Context, subscription string) error {
	name := c.path("subscriptions", subscription)
	err := c.pull.DeleteSubscription(ctx, &pubsubpb.DeleteSubscriptionRequest{Subscription: name})
	return unless(codes.NotFound, "delete subscription", name, err)
}

// LogSubscriptions returns the ids of the topic's subscriptions in the client's project that begin with the prefix.
func (c *Client) LogSubscriptions(ctx context.Context, topic, prefix string) ([]string, error) {
	name := c.path("topics", topic)
	var ids []string
	all := c.pubsub.TopicAdminClient.ListTopicSubscriptions(ctx, &pubsubpb.ListTopicSubscriptionsRequest{Topic: name})
	for sub, err := range all.All() {
		if err != nil {
			return nil, fmt.Errorf("list subscriptions of %s: %w", name, err)
		}
		if id, ours := strings.CutPrefix(sub, c.path("subscriptions", "")); ours && strings.HasPrefix(id, prefix) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// unless wraps the error of an operation, but takes the expected one for success.
func unless(expected codes.Code, operation, name string, err error) error {
	if err == nil || status.Code(err) == expected {
		return nil
	}
	return fmt.Errorf("%s %s: %w", operation, name, err)
}

// optional leaves 0 out.
func optional(d time.Duration) *durationpb.Duration {
	if d == 0 {
		return nil
	}
	return durationpb.New(d)
}
