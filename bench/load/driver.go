package load

import (
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/sync/errgroup"
)

const (
	firstRate = 50_000 // spans per second assumed before the first second is over, when Rate is 0
	window    = 64     // payloads made ahead of the connections
)

// Run sends until the limit is reached and everything under way was acknowledged
// or given up. If ctx is done earlier, the report says what became of the rest.
func Run(ctx context.Context, cfg Config) (Report, error) {
	if err := cfg.Validate(); err != nil {
		return Report{}, err
	}
	start := time.Now()
	book := newBook(cfg, start)
	work, free := make(chan *Payload, window), make(chan *Payload, window+2*cfg.Connections)
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(work)
		return produce(gctx, cfg, start, book, work, free)
	})
	for range cfg.Connections {
		s, err := newSender(cfg)
		if err != nil {
			return Report{}, err
		}
		g.Go(func() error {
			defer s.close()
			for p := range work {
				deliver(gctx, cfg, book, s, p)
				free <- p
			}
			return nil
		})
	}
	err := g.Wait()
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return book.report(time.Since(start)), err
}

func newSender(cfg Config) (sender, error) {
	if cfg.GRPC {
		return newGRPCSender(cfg.Target, cfg.Gzip)
	}
	return newHTTPSender(cfg.Target, cfg.Gzip), nil
}

// produce makes payloads. With a rate it holds each back until it is due. Without
// one it lets virtual time run as fast as payloads are taken, and moves the
// density of the traces so that virtual time keeps up with the clock.
func produce(ctx context.Context, cfg Config, start time.Time, book *book, work chan<- *Payload, free chan *Payload) error {
	rate := cfg.Rate
	if rate == 0 {
		rate = firstRate
	}
	gen := NewGenerator(cfg.Run, rate, cfg.Logs, start)
	spans, measured, since := 0, 0, start
	for p := gen.Next(); p != nil; p = gen.Next() {
		if cfg.Rate > 0 {
			if err := sleepUntil(ctx, start.Add(p.Due)); err != nil {
				return err
			}
		} else if d := time.Since(since); d >= time.Second {
			gen.SetRate(max(float64(spans-measured)/d.Seconds(), 1000))
			measured, since = spans, time.Now()
		}
		if !p.Logs {
			spans += len(p.Items)
		}
		book.begun(gen.Traces())
		select {
		case work <- p:
		case <-ctx.Done():
			return ctx.Err()
		}
		for drained := false; !drained; {
			select {
			case p := <-free:
				gen.Free(p)
			default:
				drained = true
			}
		}
		if cfg.Spans > 0 && book.planned() >= cfg.Spans || cfg.Duration > 0 && time.Since(start) >= cfg.Duration {
			gen.Stop()
			book.lastBegun(time.Since(start))
		}
	}
	return nil
}

func sleepUntil(ctx context.Context, t time.Time) error {
	d := time.Until(t)
	if d < time.Millisecond { // what the kernel can keep
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// deliver sends a payload, again and again with the same bytes while the answer asks for it.
func deliver(ctx context.Context, cfg Config, book *book, s sender, p *Payload) {
	begun := time.Now()
	tries := 0
	wait := &backoff.ExponentialBackOff{InitialInterval: cfg.RetryInitial, RandomizationFactor: 0.5, Multiplier: 1.5, MaxInterval: cfg.RetryMax}
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		tries++
		err := s.send(ctx, p)
		var r *refusal
		switch {
		case !errors.As(err, &r):
			return struct{}{}, err
		case !r.retry:
			return struct{}{}, backoff.Permanent(err)
		case r.after > 0:
			return struct{}{}, errors.Join(err, backoff.RetryAfter(int(r.after/time.Second)))
		}
		return struct{}{}, err
	}, backoff.WithBackOff(wait), backoff.WithMaxElapsedTime(cfg.RetryFor))
	book.settle(p, outcome{err: err, tries: tries, begun: begun, took: time.Since(begun)})
}
