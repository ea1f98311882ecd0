package queue

import (
	"context"
	"fmt"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"github.com/cenkalti/backoff/v5"
	gax "github.com/googleapis/gax-go/v2"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	// requestIDs bounds a request to about 200 kB of Google's ack ids; the service takes 512 kB.
	requestIDs = 1000
	// requests that may be under way at once, for settling and for extending each. 100,000 held messages need 20
	// extensions a second, which leaves 400 ms for each.
	requests = 8
)

// once leaves repeating to us: the generated client would repeat a call for 60 s, beyond every lease.
var once = gax.WithRetry(func() gax.Retryer { return nil })

// settleLoop sends what was settled, until ctx ends.
func (s *Subscriber) settleLoop(ctx context.Context) error {
	var senders errgroup.Group
	senders.SetLimit(requests)
	for {
		select {
		case <-ctx.Done():
			return senders.Wait()
		case <-s.leases.wake:
		}
		s.gather(ctx)
		acks, returns := s.leases.take()
		inRequests(acks, func(batch []*lease) {
			senders.Go(func() error { s.acknowledge(ctx, batch); return nil })
		})
		for delay, same := range byDelay(returns) {
			inRequests(same, func(batch []*lease) {
				senders.Go(func() error { s.giveBack(ctx, batch, delay); return nil })
			})
		}
	}
}

// gather waits for a request to fill up, but not for long, and not at all while draining.
func (s *Subscriber) gather(ctx context.Context) {
	timer := time.NewTimer(s.cfg.Linger)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.leases.full:
	case <-s.draining:
	case <-ctx.Done():
	}
}

func (s *Subscriber) acknowledge(ctx context.Context, batch []*lease) {
	req := &pubsubpb.AcknowledgeRequest{Subscription: s.name, AckIds: ackIDs(batch)}
	err := s.repeat(ctx, batch, func(ctx context.Context) error {
		return s.client.Acknowledge(ctx, req, once)
	})
	s.leases.sent(batch, err == nil)
	if err != nil {
		s.log.Warn("acks lost, messages may be redelivered", "messages", len(batch), "error", err)
	}
}

func (s *Subscriber) giveBack(ctx context.Context, batch []*lease, delay int32) {
	err := s.modify(ctx, batch, delay)
	s.leases.sent(batch, err == nil)
	if err != nil {
		s.log.Warn("hand-back failed, messages are redelivered when their leases end", "messages", len(batch), "error", err)
	}
}

// extendLoop keeps the leases, until ctx ends.
func (s *Subscriber) extendLoop(ctx context.Context) error {
	var senders errgroup.Group
	senders.SetLimit(requests)
	ticker := time.NewTicker(s.leases.step())
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return senders.Wait()
		case now := <-ticker.C:
			inRequests(s.leases.due(now), func(batch []*lease) {
				senders.Go(func() error { s.extend(ctx, batch); return nil })
			})
		}
	}
}

func (s *Subscriber) extend(ctx context.Context, batch []*lease) {
	start := time.Now()
	err := s.modify(ctx, batch, wholeSeconds(s.cfg.Lease))
	s.leases.extended(batch, start, err == nil)
	if err != nil && ctx.Err() == nil {
		s.log.Warn("leases not extended, messages may be redelivered", "messages", len(batch), "error", err)
	}
}

func (s *Subscriber) modify(ctx context.Context, batch []*lease, seconds int32) error {
	req := &pubsubpb.ModifyAckDeadlineRequest{Subscription: s.name, AckIds: ackIDs(batch), AckDeadlineSeconds: seconds}
	return s.repeat(ctx, batch, func(ctx context.Context) error {
		return s.client.ModifyAckDeadline(ctx, req, once)
	})
}

// repeat calls until it succeeds, cannot succeed, or the leases of the batch are over. Extensions of an ack that is
// being repeated go on, so an ack outlives trouble that concerns acks alone.
func (s *Subscriber) repeat(ctx context.Context, batch []*lease, call func(context.Context) error) error {
	pause := &backoff.ExponentialBackOff{
		InitialInterval: 50 * time.Millisecond, Multiplier: 2, RandomizationFactor: 0.5, MaxInterval: time.Second,
	}
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		attempt, cancel := context.WithTimeout(ctx, s.cfg.Lease/4)
		defer cancel()
		err := call(attempt)
		if err != nil && (hopeless(err) || time.Now().After(s.leases.expiry(batch))) {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(pause), backoff.WithMaxElapsedTime(0))
	if err != nil {
		return fmt.Errorf("settle on %s: %w", s.name, err)
	}
	return nil
}

// hopeless tells errors of a call on known messages that no repetition mends. Permissions and credentials can come
// back, as can a broker that is being restarted.
func hopeless(err error) bool {
	switch status.Code(err) {
	case codes.InvalidArgument, codes.NotFound, codes.FailedPrecondition, codes.Unimplemented:
		return true
	}
	return false
}

func ackIDs(batch []*lease) []string {
	ids := make([]string, len(batch))
	for i, l := range batch {
		ids[i] = l.ackID
	}
	return ids
}

// inRequests cuts the leases into what one request takes.
func inRequests(all []*lease, send func([]*lease)) {
	for len(all) > 0 {
		n := min(len(all), requestIDs)
		send(all[:n:n])
		all = all[n:]
	}
}

func byDelay(returns []*lease) map[int32][]*lease {
	groups := make(map[int32][]*lease)
	for _, l := range returns {
		groups[l.delay] = append(groups[l.delay], l)
	}
	return groups
}
