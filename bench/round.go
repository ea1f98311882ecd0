package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"tailweir/bench/ledger"
	benchload "tailweir/bench/load"
)

const (
	drainGrace = 15 * time.Minute // of a round, from the last fault on
	calm       = 3 * time.Second  // nothing under way for so long is the end
)

// emulatorReturn is how long Google's emulator may take to deliver a message after workers were killed: it never forgets a
// stream whose client is gone without a word, and offers it its share of the messages, new ones too, for 10 s each time. Of
// two streams with one dead every second message comes late by 10 s, every fourth by 20 s, and so on: payloads, and facts for
// the sequencer after the one that was killed, to whom the holders seem silent for so long. Nothing may be decided meanwhile,
// so a round takes 15 minutes.
const emulatorReturn = 200 * time.Second

// round is one run of everything in a directory of its own.
type round struct {
	t     *target
	opts  tortureOptions
	plan  plan
	procs map[string]*part // but for the workers

	settled time.Duration // the worker's window.settle

	mu       sync.Mutex // guards all below
	diary    []string
	struck   map[string]int
	crew     []*part // the workers, but for those that left for good
	hired    int     // how many there were
	looks    map[life]look
	most     int // bytes held by one worker
	miscount error
	poison   map[string]bool // payload → seen on the dead-letter topic

	load  benchload.Report
	proof ledger.Proof
	begun time.Time
}

// newRound makes a round of programs that lie in dir.
func newRound(o tortureOptions, dir string, p plan, w windowing) (*round, error) {
	sub, err := os.MkdirTemp(dir, "round-")
	if err != nil {
		return nil, err
	}
	t, err := newTarget(sub)
	if err != nil {
		return nil, err
	}
	t.bin = dir
	return &round{
		t: t, opts: o, plan: p, settled: w.settle,
		procs: map[string]*part{}, struck: map[string]int{}, looks: map[life]look{}, poison: map[string]bool{},
	}, t.configure(w)
}

// window is that of a torture: of a message whose stream was cut the trace is decided only after it has come back.
func (o tortureOptions) window(p plan) windowing {
	w := windowing{settle: 15 * time.Second, idle: 20 * time.Second, hold: "512MiB", rpc: p.grpc, logs: "all", sinks: o.sinks}
	if p.pressure {
		w.hold = fmt.Sprintf("%dMiB", max(4, 24/o.workers))
	}
	if o.emulator {
		w.delay, w.death, w.settle, w.idle = emulatorReturn, emulatorReturn, emulatorReturn, emulatorReturn+5*time.Second
	}
	return w
}

// run lets the faults loose while the load is sent and for a while after.
func (r *round) run(ctx context.Context) error {
	return r.play(ctx, func(ctx context.Context) error {
		if err := errors.Join(r.strike(ctx), r.heal(ctx)); err != nil {
			return err
		}
		return r.settle(ctx)
	})
}

// play starts everything, watches it while the act lasts, and asks the sink.
func (r *round) play(ctx context.Context, act func(context.Context) error) error {
	r.begun = time.Now()
	defer r.end()
	if err := r.start(ctx); err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	watching, endWatch := context.WithCancel(gctx)
	g.Go(func() error { return r.watch(watching) })
	g.Go(func() error {
		defer endWatch()
		return act(gctx)
	})
	if err := g.Wait(); err != nil {
		return err
	}
	return r.account(ctx)
}

func (r *round) end() {
	for _, p := range slices.AppendSeq(slices.Clone(r.crew), maps.Values(r.procs)) {
		p.end()
	}
}

// strike sends the load while faults strike. They go on for a while after it: what is decided, exported and acked then is
// in danger, too.
func (r *round) strike(ctx context.Context) error {
	striking, enough := context.WithCancel(ctx)
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return r.send(gctx) })
	if r.opts.sinks.google() {
		g.Go(func() error { return r.misbehaveGoogle(gctx) })
	}
	until := time.AfterFunc(r.opts.length+20*time.Second, enough)
	defer until.Stop()
	for _, a := range actors {
		g.Go(func() error { return r.misbehave(gctx, striking, a) })
	}
	if r.plan.outage {
		g.Go(func() error { return r.sinkAway(gctx, r.opts.length/2, time.Minute) })
	}
	return g.Wait()
}

// send runs the load to its end.
func (r *round) send(ctx context.Context) error {
	var result Result
	o := options{load: &benchload.Config{
		Run: ledger.Run{ID: uint16(r.plan.seed), Seed: r.plan.seed}, Target: r.t.ingest, Connections: 32, Rate: float64(r.plan.rate), Duration: r.opts.length,
		GRPC: r.plan.grpc, Gzip: r.plan.gzip, Logs: r.plan.logs, RetryInitial: time.Second, RetryMax: 5 * time.Second, RetryFor: 2 * time.Minute,
		Gap: r.settled - 100*time.Millisecond,
	}}
	_, err := r.t.flood(ctx, o, &result)
	r.load = result.Load
	return err
}

// settle waits until nothing is under way any more, and all workers have their places.
func (r *round) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, drainGrace)
	defer cancel()
	still := time.Time{}
	for {
		s, err := ask(ctx, r.workers())
		open := -1
		if err == nil {
			open = s.InFlight.Spans + s.InFlight.Logs + s.Held.Messages + s.outside
			if n, known := r.unacked(ctx); known {
				open += n
			}
		}
		switch now := time.Now(); {
		case open != 0:
			still = time.Time{}
		case still.IsZero():
			still = now
		case now.Sub(still) > r.patience():
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not drained after %v: %d under way, workers %+v, %w", drainGrace, open, s, errors.Join(err, ctx.Err()))
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// patience is how long nothing may be under way before that is the end: where the queue does not say what it holds, as
// long as the lease of a worker that was killed.
func (r *round) patience() time.Duration {
	if r.opts.emulator {
		return emulatorReturn
	}
	return calm
}

// account asks the sink and the dead-letter topic what became of everything.
func (r *round) account(ctx context.Context) (err error) {
	r.proof, err = r.t.prove(ctx, r.load.Sent, ledger.Expect{Percent: 10})
	return errors.Join(err, r.exhume(ctx))
}

// verdict is what of this round is not as it must be.
func (r *round) verdict() error {
	err := r.miscount
	for payload, seen := range r.poison {
		if !seen {
			err = errors.Join(err, fmt.Errorf("poison %q was not dead-lettered", payload))
		}
	}
	if all := r.total().Fleet.Anomalies; len(all) > 0 {
		err = errors.Join(err, fmt.Errorf("anomalies of the log: %v", all))
	}
	if !r.proof.OK() {
		err = errors.Join(err, errIncomplete)
	}
	return err
}

// redelivered counts messages. Where the queue does not say so of a delivery, it is reckoned from the items that the
// workers received beyond those that were acknowledged to the load.
func (r *round) redelivered() int {
	sum, acked := r.total(), r.load.Acked+r.load.AckedRecords
	if items := sum.Received.Spans + sum.Received.Logs - acked; r.opts.emulator && items > 0 {
		return items * r.load.Payloads / acked
	}
	return sum.Held.Redelivered
}

// note writes into the diary, which is printed when the round fails.
func (r *round) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.diary = append(r.diary, fmt.Sprintf("%6.1fs ", time.Since(r.begun).Seconds())+fmt.Sprintf(format, args...))
}

// start starts Pub/Sub, then everything else in the order of the data's way back.
func (r *round) start(ctx context.Context) (err error) {
	grace := startGrace
	if r.opts.emulator {
		grace += 2 * emulatorReturn // a log that cannot be read back is taken for empty only when nobody can be left who leads
	}
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	t := r.t
	pubsub := t.brokerPart()
	if r.opts.emulator {
		if pubsub, err = t.emulatorPart(); err != nil {
			return err
		}
	}
	for _, p := range []*part{pubsub, t.sinkPart(true), t.ingestPart()} {
		r.procs[p.name] = p
	}
	if err := pubsub.begin(ctx); err != nil {
		return err
	}
	if !r.opts.emulator {
		if err := r.subscribe(ctx); err != nil {
			return err
		}
	}
	if err := r.procs["sink"].begin(ctx); err != nil {
		return err
	}
	r.crew, err = t.startWorkers(ctx, r.opts.workers)
	if r.hired = len(r.crew); err != nil {
		return err
	}
	return r.procs["ingest"].begin(ctx)
}

func getJSON(ctx context.Context, url string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(url + ": status " + strconv.Itoa(resp.StatusCode))
	}
	return json.NewDecoder(resp.Body).Decode(into)
}
