package exporter

import (
	"context"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// maxWait caps what a backend may ask for by Retry-After or RetryInfo: a date computed from a wrong clock
// must not park a batch, and the messages behind it, for days.
const maxWait = 5 * time.Minute

// retry says how long to wait between attempts: doubling from Initial to Max, each wait spread by half of
// itself to both sides so that workers that failed together do not come back together.
type retry struct {
	initial, max time.Duration
}

func (r retry) waits() *backoff.ExponentialBackOff {
	return &backoff.ExponentialBackOff{
		InitialInterval:     r.initial,
		MaxInterval:         r.max,
		Multiplier:          2,
		RandomizationFactor: backoff.DefaultRandomizationFactor,
	}
}

// do calls attempt until it succeeds, is refused or ctx is done; failed hears of each fault that is held
// and the wait that follows it. A backend's own wish is a floor: the jitter comes on top of it when it is
// the longer of the two, or clients that were throttled together would return together.
func (r retry) do(ctx context.Context, attempt func(context.Context) *Fault, failed func(*Fault, time.Duration)) error {
	waits := r.waits()
	for {
		f := attempt(ctx)
		if f == nil {
			return nil
		}
		if !f.Verdict.held() {
			return f
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%w (%w)", f, context.Cause(ctx))
		}
		wait := waits.NextBackOff()
		if f.Wait > 0 {
			asked := min(f.Wait, maxWait)
			wait = max(wait, asked+min(wait, asked)/4)
		}
		failed(f, wait)
		if !sleep(ctx, wait) {
			return fmt.Errorf("%w (%w)", f, context.Cause(ctx))
		}
	}
}

// sleep reports whether d passed before ctx was done.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
