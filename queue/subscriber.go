package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	pubsubapi "cloud.google.com/go/pubsub/v2/apiv1"
	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"
)

// Subscriber pulls from one subscription and keeps the leases of what it handed out. Make one for each process and
// subscription: Pub/Sub knows it by one client id over all its reconnects. All methods are safe for concurrent use.
type Subscriber struct {
	name     string
	clientID string
	cfg      SubscriberConfig
	client   *pubsubapi.SubscriptionAdminClient
	log      *slog.Logger
	leases   *leases
	// mayVanish ends Run when the subscription is gone, even after a stream has lived.
	mayVanish bool

	started    atomic.Bool
	proven     atomic.Bool // a stream has lived: from now on every error is worth a reconnect
	reconnects atomic.Uint64

	stopOnce  sync.Once
	stopped   chan struct{} // closed by StopPulling
	drainOnce sync.Once
	draining  chan struct{} // closed when Run's context ends
}

// Subscriber returns a subscriber to the subscription, an id in the client's project or a full resource name.
func (c *Client) Subscriber(subscription string, cfg SubscriberConfig) *Subscriber {
	cfg = cfg.withDefaults()
	name := c.path("subscriptions", subscription)
	s := &Subscriber{
		name:     name,
		clientID: uuid.NewString(),
		cfg:      cfg,
		client:   c.pull,
		log:      cfg.Logger.With("subscription", name),
		leases:   newLeases(cfg.Lease),
		stopped:  make(chan struct{}),
		draining: make(chan struct{}),
	}
	s.proven.Store(cfg.Insist)
	return s
}

// Run pulls until StopPulling is called or ctx is done, and keeps leases and sends acks until ctx is done. It may be
// called once.
//
// handle is called from one goroutine for each stream, for one message at a time. It may block: its stream is not read
// meanwhile, while leases and acks go on. Messages that arrived but were not handed to handle when pulling stops are
// nacked.
//
// After ctx is done Run waits for running calls of handle and sends every ack, nack and hand-back issued so far, and
// returns nil when the server has confirmed them; when that takes longer than the grace it returns an error that
// says how many are unconfirmed. Messages not settled are forgotten: their leases run out.
//
// Run returns an error before that when the first stream is refused for a reason that needs a person: the
// subscription does not exist, is not pulled from, or access is denied. Once a stream has lived, or with Insist, Run
// reconnects after any error.
func (s *Subscriber) Run(ctx context.Context, handle func(*Message)) error {
	if err := s.cfg.Validate(); err != nil {
		return err
	}
	if s.started.Swap(true) {
		return errors.New("queue: run subscriber " + s.name + ": it has run before")
	}
	s.leases.start(time.Now())
	// Work outlives ctx: streams are closed in order, and acks issued before are sent.
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var loops errgroup.Group
	loops.Go(func() error { return s.settleLoop(work) })
	loops.Go(func() error { return s.extendLoop(work) })

	pulling := make(chan error, 1)
	go func() { pulling <- s.pullAll(work, handle) }()
	err := s.wait(ctx, pulling)
	s.drainOnce.Do(func() { close(s.draining) })
	if err == nil {
		err = s.drain(pulling)
	}
	cancel()
	return errors.Join(err, loops.Wait())
}

// wait returns when ctx is done, or with the reason why pulling cannot go on.
func (s *Subscriber) wait(ctx context.Context, pulling chan error) error {
	select {
	case <-ctx.Done():
	case err := <-pulling:
		if err != nil {
			return err
		}
		pulling <- nil // for drain
		<-ctx.Done()
	}
	return nil
}

// drain waits until handle has returned and the server has confirmed everything settled.
func (s *Subscriber) drain(pulling chan error) error {
	s.StopPulling()
	grace := time.NewTimer(s.cfg.Grace)
	defer grace.Stop()
	select {
	case err := <-pulling:
		if err != nil {
			return err
		}
	case <-grace.C:
		return fmt.Errorf("drain %s: handling of a message did not end within %v, %d acks unconfirmed",
			s.name, s.cfg.Grace, s.leases.unconfirmed())
	}
	for s.leases.unconfirmed() > 0 {
		select {
		case <-s.leases.quiet:
		case <-grace.C:
			return fmt.Errorf("drain %s: %d acks unconfirmed after %v", s.name, s.leases.unconfirmed(), s.cfg.Grace)
		}
	}
	return nil
}

// pullAll runs the streams until pulling stops; the first that cannot go on ends the others.
func (s *Subscriber) pullAll(ctx context.Context, handle func(*Message)) error {
	streams, ctx := errgroup.WithContext(ctx)
	for range s.cfg.Streams {
		streams.Go(func() error { return s.pull(ctx, handle) })
	}
	return streams.Wait()
}

// StopPulling ends the streams. No call of handle begins after it returned; calls that have begun, one for each
// stream at most, go on, and their messages are held like the others. Leases of
// held messages are still extended and acks sent until Run's context ends. It does not block, and repeating it is
// fine; pulling cannot be taken up again.
func (s *Subscriber) StopPulling() {
	s.stopOnce.Do(func() { close(s.stopped) })
}

func (s *Subscriber) pullingStopped() bool {
	select {
	case <-s.stopped:
		return true
	default:
		return false
	}
}

// Held returns the messages not settled, and the bytes of their payloads and attributes.
func (s *Subscriber) Held() (messages int, bytes int64) { return s.leases.holding() }

// Credit returns the capacity beside Held.
func (s *Subscriber) Credit() (messages int, bytes int64) {
	return s.cfg.MaxMessages, int64(s.cfg.MaxBytes)
}

// Stats returns the counters, consistent among each other.
func (s *Subscriber) Stats() Stats {
	s.leases.mu.Lock()
	defer s.leases.mu.Unlock()
	stats := s.leases.stats
	stats.Reconnects = s.reconnects.Load()
	return stats
}
