package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cloud.google.com/go/pubsub/v2"
	gax "github.com/googleapis/gax-go/v2"
	"google.golang.org/grpc/codes"
)

// PublisherConfig bounds the batches and the memory of a publisher. The zero value means the defaults.
type PublisherConfig struct {
	// Delay is how long a message waits for others to share its request. Default 5 ms.
	Delay time.Duration
	// BatchMessages closes a batch, at most 1000. Default 100.
	BatchMessages int
	// BatchBytes closes a batch, at most 10 MB. Default 1 MB.
	BatchBytes int
	// Timeout bounds a Publish from call to confirmation, retries included. Default 8 s: SDKs give up at 10 s and
	// must get an answer before that.
	Timeout time.Duration
	// OutstandingMessages and OutstandingBytes bound what waits for confirmation; Publish waits for room.
	// Defaults 20,000 and 256 MiB.
	OutstandingMessages, OutstandingBytes int
}

func (cfg PublisherConfig) withDefaults() PublisherConfig {
	orDefault(&cfg.Delay, 5*time.Millisecond)
	orDefault(&cfg.BatchMessages, 100)
	orDefault(&cfg.BatchBytes, 1_000_000)
	orDefault(&cfg.Timeout, 8*time.Second)
	orDefault(&cfg.OutstandingMessages, 20_000)
	orDefault(&cfg.OutstandingBytes, 256<<20)
	return cfg
}

// Validate reports every setting that Pub/Sub would refuse.
func (cfg PublisherConfig) Validate() error {
	cfg = cfg.withDefaults()
	return errors.Join(
		between("publisher delay", cfg.Delay, 1, time.Second),
		between("publisher batch messages", cfg.BatchMessages, 1, pubsub.MaxPublishRequestCount),
		between("publisher batch bytes", cfg.BatchBytes, 1, pubsub.MaxPublishRequestBytes),
		between("publisher timeout", cfg.Timeout, time.Millisecond, 10*time.Minute),
		between("publisher outstanding messages", cfg.OutstandingMessages, 1, 1<<30),
		between("publisher outstanding bytes", cfg.OutstandingBytes, 1, 1<<40),
	)
}

// Publisher publishes to one topic. It is safe for concurrent use.
type Publisher struct {
	topic   string
	timeout time.Duration
	inner   *pubsub.Publisher
}

// Publisher returns a publisher to the topic, an id in the client's project or a full resource name. It does not ask
// whether the topic exists.
func (c *Client) Publisher(topic string, cfg PublisherConfig) *Publisher {
	cfg = cfg.withDefaults()
	name := c.path("topics", topic)
	inner := c.pubsub.Publisher(name)
	inner.PublishSettings.DelayThreshold = cfg.Delay
	inner.PublishSettings.CountThreshold = cfg.BatchMessages
	inner.PublishSettings.ByteThreshold = cfg.BatchBytes
	inner.PublishSettings.Timeout = cfg.Timeout
	// Payloads come gzipped or are plain on purpose: transport compression would only cost CPU.
	inner.PublishSettings.EnableCompression = false
	inner.PublishSettings.FlowControlSettings = pubsub.FlowControlSettings{
		MaxOutstandingMessages: cfg.OutstandingMessages,
		MaxOutstandingBytes:    cfg.OutstandingBytes,
		LimitExceededBehavior:  pubsub.FlowControlBlock,
	}
	return &Publisher{topic: name, timeout: cfg.Timeout, inner: inner}
}

// Publish returns nil once Pub/Sub has confirmed the message, or an error at the latest when ctx or the publisher's
// timeout ends. After such an error the message may still be published. data and attrs belong to the publisher from
// the call on, even when it returned an error: they must not be modified or put in a pool.
func (p *Publisher) Publish(ctx context.Context, data []byte, attrs map[string]string) error {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	result := p.inner.Publish(ctx, &pubsub.Message{Data: data, Attributes: attrs})
	if _, err := result.Get(ctx); err != nil {
		return fmt.Errorf("publish to %s: %w", p.topic, err)
	}
	return nil
}

// Close sends what waits, waits for the outcome of every Publish and ends the publisher's goroutines. It takes at
// most the publisher's timeout. Publish fails afterwards.
func (p *Publisher) Close() { p.inner.Stop() }

// publishRetry retries within the timeout at most a second apart. The library's own schedule grows fourfold to 60 s,
// so that the third retry of a short outage would come after the caller has given up.
func publishRetry() gax.CallOption {
	return gax.WithRetry(func() gax.Retryer {
		return gax.OnCodes([]codes.Code{
			codes.Aborted, codes.Canceled, codes.DeadlineExceeded, codes.Internal,
			codes.ResourceExhausted, codes.Unavailable, codes.Unknown,
		}, gax.Backoff{Initial: 100 * time.Millisecond, Max: time.Second, Multiplier: 1.6})
	})
}
