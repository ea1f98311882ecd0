package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"golang.org/x/sync/errgroup"
)

// outageOptions of bench outage.
type outageOptions struct {
	away time.Duration
	rate int
	hold int // MiB
}

// outage is the backend away under load, with a hold that is far too small for it: memory stays within its budget, nothing
// is lost, and what waited is done faster than it came.
func outage(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("bench outage", flag.ContinueOnError)
	var o outageOptions
	f.DurationVar(&o.away, "away", time.Minute, "how long the sink is away, at least 10s")
	f.IntVar(&o.rate, "rate", 5000, "spans per `second` meanwhile")
	f.IntVar(&o.hold, "hold", 64, "the worker's hold.max_bytes in `MiB`; the window alone needs about 0.7 kB for each span of 13 s")
	if err := parse(f, args); err != nil {
		return err
	}
	if o.away < 10*time.Second || o.rate < 1 || o.hold < 1 {
		return fmt.Errorf("away %v, rate %d, hold %d: want at least 10s, 1 and 1", o.away, o.rate, o.hold)
	}
	dir, err := os.MkdirTemp("", "tailweir-outage-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := (&target{dir: dir}).build(ctx); err != nil {
		return err
	}
	const before = 10 * time.Second
	r, err := newRound(tortureOptions{workers: 1, length: before + o.away}, dir, plan{seed: 1, rate: o.rate},
		windowing{settle: 12 * time.Second, idle: 15 * time.Second, hold: fmt.Sprintf("%dMiB", o.hold), logs: "all"})
	if err != nil {
		return err
	}
	res := outageResult{outageOptions: o}
	if err := r.playOutage(ctx, before, &res); err != nil {
		return err
	}
	fmt.Println(r.proof)
	fmt.Println(res)
	return errors.Join(r.verdict(), res.verdict())
}

// outageResult is what is said of it.
type outageResult struct {
	outageOptions
	most    int           // bytes held
	peak    int64         // bytes of the worker's process
	waited  int           // messages un-acked when the sink came back
	drained time.Duration // from then until none was
	came    float64       // messages per second before that
}

func (o outageResult) rate() float64 { return float64(o.waited) / o.drained.Seconds() }

func (o outageResult) String() string {
	return fmt.Sprintf("outage: %v away at %d spans/s, at most %.1f of %d MiB held, worker %.0f MiB at its peak, %d messages waited and were done at %.0f/s, they came at %.0f/s",
		o.away, o.outageOptions.rate, float64(o.most)/(1<<20), o.hold, float64(o.peak)/(1<<20), o.waited, o.rate(), o.came)
}

func (o outageResult) verdict() error {
	switch {
	case o.most > o.hold<<20:
		return fmt.Errorf("%d bytes were held, the budget is %d", o.most, o.hold<<20)
	case o.rate() <= o.came:
		return errors.New("the backlog was done no faster than it came")
	}
	return nil
}

// playOutage lets the sink go when the load has run for a while, and return when it ends.
func (r *round) playOutage(ctx context.Context, before time.Duration, res *outageResult) error {
	return r.play(ctx, func(ctx context.Context) error {
		var g errgroup.Group
		g.Go(func() error { return r.send(ctx) })
		g.Go(func() error { return r.sinkAway(ctx, before, res.away) })
		err := g.Wait()
		back := time.Now()
		res.waited, _ = r.unacked(ctx)
		if err == nil {
			err = r.settle(ctx)
		}
		res.drained = time.Since(back) - calm
		res.came = float64(r.load.Payloads) / r.load.Seconds
		res.most, res.peak = r.most, r.crew[0].proc.peakMemory()
		return err
	})
}
