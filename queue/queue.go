// Package queue is Pub/Sub as Tailweir uses it: publish with confirmation, and hold messages un-acked.
//
// The Publisher is that of cloud.google.com/go/pubsub/v2 with bounded memory and bounded waiting. The Subscriber is a
// StreamingPull loop of its own on the generated client, because the library's Receive cannot stop pulling while it
// keeps leases, gives its flow control back when the callback returns instead of when the message is settled, and
// loses acks that were issued just before its context ends.
//
// Delivery is at least once. A message is leased from its receipt until Ack, Nack or HandBack; leases are short
// (10 s), so that the messages of a process that died are with another one in seconds, and are extended at half their
// life for as long as the message is held.
package queue

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"cloud.google.com/go/pubsub/v2"
	pubsubapi "cloud.google.com/go/pubsub/v2/apiv1"
	gax "github.com/googleapis/gax-go/v2"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/experimental"
	"google.golang.org/grpc/mem"
)

// Config says which Pub/Sub to talk to.
type Config struct {
	// Project owns the topics and subscriptions that are named without a path. Required.
	Project string
	// Endpoint is the host:port of an emulator or of the embedded broker: plaintext, no credentials.
	// Default "": Google's Pub/Sub with the default credentials.
	Endpoint string
}

// Validate reports what makes the configuration unusable.
func (c Config) Validate() error {
	if c.Project == "" {
		return errors.New("queue: project is empty")
	}
	return nil
}

// Client is a connection to Pub/Sub, shared by publishers and subscribers. It is safe for concurrent use.
type Client struct {
	project string
	pubsub  *pubsub.Client
	pull    *pubsubapi.SubscriptionAdminClient
}

// Open makes a client. It does not wait for the connection: a server that cannot be reached shows as errors of
// Publish, and as reconnecting of a Subscriber. Where Endpoint is empty, the Google library itself honours the
// environment variable PUBSUB_EMULATOR_HOST.
func Open(ctx context.Context, cfg Config) (*Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	client, err := pubsub.NewClientWithConfig(ctx, cfg.Project, &pubsub.ClientConfig{
		TopicAdminCallOptions: &pubsubapi.TopicAdminCallOptions{Publish: []gax.CallOption{publishRetry()}},
	}, dialOptions(cfg.Endpoint)...)
	if err != nil {
		return nil, fmt.Errorf("open pubsub client of project %s: %w", cfg.Project, err)
	}
	return &Client{project: cfg.Project, pubsub: client, pull: client.SubscriptionAdminClient}, nil
}

// buffers has a tier for each power of two from 4 kB to 1 MB. gRPC's own pool has none between 32 kB and 1 MB, and clears a whole buffer when it
// gives it out: a response of five payloads cost as much as a megabyte.
var buffers = func() mem.BufferPool {
	pool, err := mem.NewBinaryTieredBufferPool(8, 12, 13, 14, 15, 16, 17, 18, 19, 20)
	if err != nil {
		panic(err) // the sizes are constants
	}
	return pool
}()

const (
	streamWindow = 4 << 20
	connWindow   = 16 << 20
	readBuffer   = 128 << 10 // for each connection; a response of several payloads in one read
)

// dialOptions reconnects at least every 3 s: gRPC's own limit of 120 s is twelve leases long. The windows are wide and fixed:
// gRPC's growing ones begin at 64 kB, with an update to be sent for every 16 kB received, and ping the server at each message that finds
// the connection idle. That cost eight workers that share a load 15 % of their CPU. What may lie unread in a stream, beside
// the credit, is bounded by its window.
func dialOptions(endpoint string) []option.ClientOption {
	reconnect := backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 3 * time.Second}
	opts := []option.ClientOption{
		option.WithGRPCDialOption(grpc.WithConnectParams(grpc.ConnectParams{Backoff: reconnect, MinConnectTimeout: 5 * time.Second})),
		option.WithGRPCDialOption(grpc.WithInitialWindowSize(streamWindow)),
		option.WithGRPCDialOption(grpc.WithInitialConnWindowSize(connWindow)),
		option.WithGRPCDialOption(grpc.WithReadBufferSize(readBuffer)),
		option.WithGRPCDialOption(experimental.WithBufferPool(buffers)),
	}
	if endpoint == "" {
		return opts
	}
	return append(opts,
		option.WithEndpoint(endpoint),
		option.WithoutAuthentication(),
		option.WithTelemetryDisabled(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
	)
}

// Close closes the connections. Publishers are to be closed and subscribers to have returned before.
func (c *Client) Close() error {
	if err := c.pubsub.Close(); err != nil {
		return fmt.Errorf("close pubsub client of project %s: %w", c.project, err)
	}
	return nil
}

// path returns the full resource name of an id; full names stay as they are.
func (c *Client) path(kind, id string) string {
	if strings.HasPrefix(id, "projects/") {
		return id
	}
	return "projects/" + c.project + "/" + kind + "/" + id
}
