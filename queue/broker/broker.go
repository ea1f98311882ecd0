// Package broker is a Pub/Sub in memory that speaks the gRPC API of
// google.pubsub.v1, for local runs and tests: any Pub/Sub client works on it
// through PUBSUB_EMULATOR_HOST.
//
// Delivery is at least once. A message is delivered under a lease of the
// stream's (or, for Pull, the subscription's) ack deadline, and again when the lease ends
// without an ack or the client nacks. A stream that closes leaves its leases
// standing, as in the service. With message ordering the messages of a key
// come in publish order, many of them outstanding at a time, to one stream while any is
// outstanding; redelivery of one redelivers all later ones of its key, acked
// or not.
//
// A nack or an expiry counts as a failed attempt. A retry policy lets the message
// rest after it, and its key with it; a dead-letter policy forwards it as a new
// message after the last attempt, or goes on when the dead-letter topic does not take it.
//
// A topic keeps its messages in a log. Subscriptions, snapshots and, with a retention of its
// own, the topic refer to those that they need; a message that none refers to is freed at
// once, and all that are kept count against MaxBytes. A subscription's own log, in publish
// order, is what it drops by age from the front, and what Seek and snapshots walk. A
// seek makes all ack ids of its subscription stale; messages published after a seek to the
// future are delivered, as by Google's emulator.
//
// What is not built (exactly once, push, export, transforms, schemas) is refused as
// UNIMPLEMENTED. An expiration policy is kept, but nothing expires by it.
//
// Nothing scans but Seek and CreateSnapshot: publishing, acks and expiring leases wake
// the streams that have credit and something to get. The lock order is Server.mu, topic.mu,
// subscription.mu; nothing is sent, and no dead letter published, under a lock.
//
// Inject and DropStreams make the server fail in chosen ways, for the tests of its clients.
package broker

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
)

const (
	defaultMaxBytes = 2 << 30

	// Above the 10 MB of a Publish request, so that a request over the limit
	// gets our INVALID_ARGUMENT; gRPC's own RESOURCE_EXHAUSTED is retried by clients.
	maxReceive = 32 << 20
)

// Config holds the settings of a Server. The zero value is ready for use.
type Config struct {
	// MaxBytes bounds the memory of all messages kept, in bytes of data,
	// attributes and bookkeeping. Publish answers RESOURCE_EXHAUSTED above it. Default 2 GiB.
	MaxBytes int64
}

func (c Config) withDefaults() Config {
	if c.MaxBytes == 0 {
		c.MaxBytes = defaultMaxBytes
	}
	return c
}

// Validate reports a setting outside its bounds.
func (c Config) Validate() error {
	if c.MaxBytes < 0 {
		return fmt.Errorf("broker: MaxBytes %d: must not be negative", c.MaxBytes)
	}
	return nil
}

// Server is the broker. Its methods are safe for concurrent use. Topics,
// subscriptions and messages live as long as the Server, across calls of Serve.
type Server struct {
	cfg   Config
	start time.Time // leases count from here, on the monotonic clock

	used      atomic.Int64
	nextID    atomic.Uint64
	published atomic.Uint64
	faults    faults

	mu            sync.RWMutex
	topics        map[string]*topic
	subscriptions map[string]*subscription
	snapshots     map[string]*snapshot
}

// New returns a Server without topics; Serve makes it reachable. It panics
// when cfg does not pass Validate.
func New(cfg Config) *Server {
	if err := cfg.Validate(); err != nil {
		panic(err)
	}
	s := &Server{
		cfg:           cfg.withDefaults(),
		start:         time.Now(),
		topics:        make(map[string]*topic),
		subscriptions: make(map[string]*subscription),
		snapshots:     make(map[string]*snapshot),
	}
	// Ids go on from the clock, so that those of a restarted broker do not repeat.
	s.nextID.Store(uint64(s.start.UnixMicro())<<4 | rand.Uint64N(16))
	return s
}

// Serve answers on l until ctx is done, then cuts all calls and returns nil once
// their handlers have ended; it closes l. Another error means that l failed.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	g := grpc.NewServer(
		grpc.MaxRecvMsgSize(maxReceive),
		grpc.MaxSendMsgSize(maxReceive),
		// Wide windows spare the estimator's pings and window updates per 64 kB.
		grpc.InitialWindowSize(4<<20),
		grpc.InitialConnWindowSize(16<<20),
		grpc.ReadBufferSize(128<<10),
		grpc.WriteBufferSize(128<<10),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
		grpc.WaitForHandlers(true),
		grpc.UnaryInterceptor(s.faults.unary),
		grpc.StreamInterceptor(s.faults.stream),
	)
	pubsubpb.RegisterPublisherServer(g, publisherService{srv: s})
	pubsubpb.RegisterSubscriberServer(g, subscriberService{srv: s})

	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { g.Stop(); close(stopped) })
	err := g.Serve(l)
	if stop() {
		g.Stop()
		return fmt.Errorf("serve pubsub on %s: %w", l.Addr(), err)
	}
	<-stopped
	return nil
}

func (s *Server) now() time.Duration { return time.Since(s.start) }

// reserve takes n bytes of the memory bound, or nothing and reports false.
func (s *Server) reserve(n int64) bool {
	if s.used.Add(n) > s.cfg.MaxBytes {
		s.used.Add(-n)
		return false
	}
	return true
}
