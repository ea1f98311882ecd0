// Package probe measures, in a project of one's own, what the fleet's protocol assumes of Pub/Sub, and says whether the
// fleet can run there and with which constants.
//
// Everything happens on temporary topics and subscriptions, whose names begin with tailweir-probe- and a random number.
// They are deleted at the end, after errors and interrupts as well; subscriptions that are left expire after a day.
package probe

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"tailweir/queue"
	"tailweir/queue/queuetest"
)

// Config says where to measure, and how much.
type Config struct {
	// Queue is the project, and the endpoint of an emulator if it is one. Required.
	Queue queue.Config
	// Duration is how long the log is under load, 20 s to 6 h. The other measurements come on top, a minute or two without
	// the suite.
	Duration time.Duration
	// Publishers write to one ordering key at once, 2 to 20, each about 10 entries/s. Subscriptions read it, 2 to 20; the
	// last of them stops and goes on now and then.
	Publishers, Subscriptions int
	// SkipSuite leaves out package queuetest.
	SkipSuite bool
	// Progress is told what is being done. May be nil.
	Progress func(string)
}

// Validate reports everything out of bounds.
func (c Config) Validate() error {
	within := func(what string, v, low, high int64, show func(int64) string) error {
		if v < low || v > high {
			return fmt.Errorf("%s is %s, want %s to %s", what, show(v), show(low), show(high))
		}
		return nil
	}
	number := func(v int64) string { return fmt.Sprint(v) }
	length := func(v int64) string { return time.Duration(v).String() }
	return errors.Join(c.Queue.Validate(),
		within("duration", int64(c.Duration), int64(20*time.Second), int64(6*time.Hour), length),
		within("publishers", int64(c.Publishers), 2, 20, number),
		within("subscriptions", int64(c.Subscriptions), 2, 20, number))
}

func (c Config) say(format string, args ...any) {
	if c.Progress != nil {
		c.Progress(fmt.Sprintf(format, args...))
	}
}

// namePrefix begins the names of all objects.
const namePrefix = "tailweir-probe-"

// results is all that was measured. Without a run, its tracker is nil.
type results struct {
	run      *run
	loadErr  error
	bursts   []burst
	caughtUp caughtUp
	settled  map[string]settled
	suite    []queuetest.Outcome
	suiteErr error // why it did not run
}

// Run measures until it is done or ctx ends, deletes what it made, at the longest for a minute after ctx has ended, and
// returns the report. What could not be measured is in it, with the reason. It uses at most 20 MB of memory and 20 bytes
// for each entry published, 50 entries/s with 5 publishers.
func Run(ctx context.Context, cfg Config) (Report, error) {
	if err := cfg.Validate(); err != nil {
		return Report{}, err
	}
	return measure(ctx, cfg)
}

func measure(ctx context.Context, cfg Config) (Report, error) {
	conn, err := dial(ctx, cfg.Queue.Endpoint)
	if err != nil {
		return Report{}, fmt.Errorf("connect to Pub/Sub: %w", err)
	}
	defer conn.Close()
	prefix := fmt.Sprintf("%s%08x", namePrefix, rand.Uint32())
	o := newObjects(cfg.Queue, prefix, conn)
	begin := time.Now()
	m := results{settled: map[string]settled{}}
	m.run, m.loadErr = newRun(ctx, cfg, o)
	defer m.run.close()
	if m.loadErr == nil {
		m.measureLog(ctx, cfg, o)
	}
	switch {
	case cfg.SkipSuite:
		m.suiteErr = errSkipped
	case ctx.Err() != nil || m.loadErr != nil:
		m.suiteErr = errors.Join(m.loadErr, ctx.Err())
	default:
		cfg.say("running the conformance suite: some minutes")
		target := queuetest.Target{Name: cfg.Queue.Project, Conn: conn, Queue: cfg.Queue, Prefix: prefix + "-suite-", Skips: skips(cfg, m.caughtUp.err)}
		queuetest.Check(ctx, target, suiteAtOnce, func(out queuetest.Outcome) { m.suite = append(m.suite, out) })
		m.suiteErr = ctx.Err()
	}
	cfg.say("deleting topics and subscriptions")
	left := o.remove(ctx, !cfg.SkipSuite)
	report := m.report()
	report.Project, report.Begin, report.Took, report.Left = cfg.Queue.Project, begin, time.Since(begin), left
	return report, nil
}

// measureLog measures the log, and leases beside it: they wait for the most part.
func (m *results) measureLog(ctx context.Context, cfg Config, o *objects) {
	cfg.say("writing to one ordering key with %d publishers and reading with %d subscriptions for %v", cfg.Publishers, cfg.Subscriptions, cfg.Duration)
	var checks sync.WaitGroup
	var mu sync.Mutex
	for _, name := range slices.Sorted(maps.Keys(settleChecks)) {
		checks.Go(func() {
			s := settle(ctx, o, name)
			mu.Lock()
			defer mu.Unlock()
			m.settled[name] = s
		})
	}
	m.bursts, m.loadErr = m.run.load(ctx)
	cfg.say("reading the log back")
	m.caughtUp = m.run.catchUp(ctx)
	checks.Wait()
}

// suiteAtOnce is how many cases run at a time; they wait for leases for the most part.
const suiteAtOnce = 12

// skips are the cases of the suite that do not apply: to Google's emulator, which is known by what it cannot, and to a
// project without the roles that dead-letter topics need.
func skips(cfg Config, seek error) map[string]string {
	switch {
	case unimplemented(seek) && cfg.Queue.Endpoint != "":
		return queuetest.EmulatorSkips
	case cfg.Queue.Endpoint == "":
		const roles = "Pub/Sub's service agent would need roles on topics and subscriptions that exist for this case only"
		return map[string]string{"dead-letter": roles}
	}
	return nil
}
