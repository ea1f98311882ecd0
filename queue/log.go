package queue

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

const (
	// logRetention bounds how far a reader may fall behind before messages are lost to it, where the topic does not
	// retain them longer. Pub/Sub's default of 7 days would outlive the expiry, to store what nobody reads.
	logRetention = time.Hour
	// logExpiry is the shortest that Pub/Sub takes; it is for readers that died without Close.
	logExpiry = 24 * time.Hour
	// clockError is what the server's clock may be behind ours.
	clockError = time.Second
)

// LogConfig says which log to read, and from when on.
type LogConfig struct {
	// Topic is the log, and Subscription this reader's own subscription to it: ids in the client's project, or full
	// resource names. Required.
	Topic, Subscription string
	// From is the publish time to begin at, as far as the topic retains messages. The zero time means all of them.
	From time.Time
	// Logger gets reconnects and lost acks. Default slog.Default().
	Logger *slog.Logger
}

// LogReader reads a topic in order through a subscription of its own.
type LogReader struct {
	client *Client
	name   string
	start  time.Time
	logger *slog.Logger
}

// SubscribeLog creates the ordered subscription, or takes the one of that name over, and seeks it to From. A
// subscription that is neither read nor closed expires in a day; so does what an error left behind.
//
// The server says for how long it retains the topic's messages. Where it says nothing there is nothing to seek to and
// the log begins now. That includes Google's emulator, which cannot seek ordered subscriptions, but delivers
// everything that a topic retains to new ones.
func (c *Client) SubscribeLog(ctx context.Context, cfg LogConfig) (*LogReader, error) {
	err := c.CreateSubscription(ctx, SubscriptionConfig{
		Subscription: cfg.Subscription, Topic: cfg.Topic, Ordered: true, Retention: logRetention, Expiry: logExpiry,
	})
	if err != nil {
		return nil, err
	}
	r := &LogReader{client: c, name: c.path("subscriptions", cfg.Subscription), logger: cfg.Logger}
	retention, err := r.retention(ctx, c.path("topics", cfg.Topic))
	if err != nil {
		return nil, err
	}
	r.start = time.Now().Add(clockError)
	if retention == 0 {
		return r, nil
	}
	if r.start = r.start.Add(-retention); r.start.Before(cfg.From) {
		r.start = cfg.From
	}
	_, err = c.pull.Seek(ctx, &pubsubpb.SeekRequest{
		Subscription: r.name, Target: &pubsubpb.SeekRequest_Time{Time: timestamppb.New(r.start)},
	})
	if err != nil {
		return nil, fmt.Errorf("seek %s to %v: %w", r.name, r.start, err)
	}
	return r, nil
}

// retention returns how long the topic retains messages, 0 if it does not or the server does not say. A subscription
// that was there before must be fit for a log.
func (r *LogReader) retention(ctx context.Context, topic string) (time.Duration, error) {
	sub, err := r.client.pull.GetSubscription(ctx, &pubsubpb.GetSubscriptionRequest{Subscription: r.name})
	if err != nil {
		return 0, fmt.Errorf("get subscription %s: %w", r.name, err)
	}
	if sub.GetTopic() != topic || !sub.GetEnableMessageOrdering() {
		return 0, fmt.Errorf("read log %s by %s: that is of %s, ordered: %t", topic, r.name, sub.GetTopic(), sub.GetEnableMessageOrdering())
	}
	return sub.GetTopicMessageRetentionDuration().AsDuration(), nil
}

// Start returns a publish time from which on Run hands over every message. Older ones may come too. Where the topic's
// retention was lengthened recently, what went before that is missing.
func (r *LogReader) Start() time.Time { return r.start }

// Run hands over the messages in the order of delivery, one at a time, and acks each when handle has returned, until
// ctx is done; it then returns nil, at the latest after a second, even if handle has not. Delivery does not wait for acks. A message may come
// again, and after it others of its key: after a reconnect, when an ack was lost, or when handle took longer than
// the lease could be kept.
//
// Run reconnects, but returns an error when the subscription has been deleted or is refused from the first; there
// is no way on then but another reader. A topic that was deleted is silence, also when it is made again. After Run has
// returned it may be called again.
func (r *LogReader) Run(ctx context.Context, handle func(data []byte, publish time.Time)) error {
	s := r.client.Subscriber(r.name, SubscriberConfig{
		MaxMessages: 10_000, MaxBytes: 64 << 20, Linger: 500 * time.Millisecond, Grace: time.Second, Logger: r.logger,
	})
	s.mayVanish = true
	err := s.Run(ctx, func(m *Message) {
		handle(m.Data, m.PublishTime)
		m.Ack()
	})
	if ctx.Err() != nil { // acks that were lost then are for a subscription that is given up
		return nil
	}
	return err
}

// Close deletes the subscription; that it is gone already is fine. Run is to have returned before.
func (r *LogReader) Close(ctx context.Context) error { return r.client.DeleteSubscription(ctx, r.name) }
