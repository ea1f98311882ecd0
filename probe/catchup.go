package probe

import (
	"context"
	"fmt"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// caughtUp is how a subscription that was made late and sought back read the log.
type caughtUp struct {
	entries int
	took    time.Duration // from the wish to subscribe to the last entry
	gap     time.Duration // from its start to the first entry's publish time
	err     error         // why it was not measured
}

// catchUp reads the log back as a worker does that starts.
func (r *run) catchUp(ctx context.Context) (c caughtUp) {
	begin := time.Now()
	from := begin.Add(-replay)
	if from.Before(r.epoch) {
		from = r.epoch
	}
	reader, err := r.subscribe(ctx, r.spare(), "-log-late", from)
	if err != nil {
		c.err = err
		return c
	}
	if reader.Start().After(begin) {
		c.err = r.cannotSeek(ctx, from)
		return c
	}
	start := reader.Start().UnixMicro()
	sub := r.tracker.subscribe(late, start)
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- reader.Run(ctx, r.handler(sub)) }()
	r.await(ctx, func() bool { return r.tracker.missing(sub) > 0 })
	c.took = time.Since(begin)
	c.err = ctx.Err() // of an interrupt: what was not read is then no hole
	stop()
	if err := <-ended; err != nil {
		c.err = err
	}
	got := r.tracker.subs[sub]
	c.entries = int(got.count)
	if got.first != 0 {
		c.gap = micros(got.first - start)
	}
	return c
}

// cannotSeek gets the service's own word for a subscription that begins now whatever was asked for.
func (r *run) cannotSeek(ctx context.Context, from time.Time) error {
	_, err := r.objects.sub.Seek(ctx, &pubsubpb.SeekRequest{
		Subscription: r.objects.path("subscriptions", r.objects.name("subscriptions", "-log-late")),
		Target:       &pubsubpb.SeekRequest_Time{Time: timestamppb.New(from)},
	})
	if err != nil {
		return fmt.Errorf("seek an ordered subscription: the service says %v: %w", status.Code(err), err)
	}
	return fmt.Errorf("the service does not say for how long it retains the topic's messages")
}
