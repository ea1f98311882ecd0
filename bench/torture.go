package main

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// tortureOptions of bench torture.
type tortureOptions struct {
	rounds, workers int
	first           int // number of the first round
	jobs            int // rounds at a time
	seed            uint64
	length          time.Duration // of the load of a round
	emulator        bool
	sinks           sinks
	keepDir         bool
}

// torture runs rounds in which processes are killed and stopped, the backend goes away and Pub/Sub fails, and proves after
// each that every acknowledged span had its outcome. A round's faults are a function of the seed and its number; when
// they strike is up to the machine.
func torture(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("bench torture", flag.ContinueOnError)
	var o tortureOptions
	f.IntVar(&o.rounds, "rounds", 3, "rounds, about 90 s each")
	f.IntVar(&o.first, "first", 0, "`number` of the first round, to play one again")
	f.IntVar(&o.workers, "workers", 1, "worker processes, 1 to 16; one is added and one removed in each round")
	f.IntVar(&o.jobs, "jobs", 1, "rounds at a time; each takes about a tenth of a core with one worker, and more when many things happen")
	f.Uint64Var(&o.seed, "seed", 1, "of the faults and the load")
	f.DurationVar(&o.length, "length", 20*time.Second, "of the load of a round, at least 5s")
	f.BoolVar(&o.emulator, "emulator", false, "Google's Pub/Sub emulator instead of the embedded broker")
	f.Var(&o.sinks, "sink", "`types` of the worker's exporters, as of bench run; those of Google's have faults of their own")
	f.BoolVar(&o.keepDir, "keep", false, "keep the directory with binaries, logs and journals, and print it")
	if err := parse(f, args); err != nil {
		return err
	}
	switch {
	case o.rounds < 1 || o.first < 0:
		return fmt.Errorf("rounds %d from %d: want at least 1 from 0", o.rounds, o.first)
	case o.workers < 1 || o.workers > 16:
		return fmt.Errorf("workers %d: want 1 to 16", o.workers)
	case o.jobs < 1:
		return fmt.Errorf("jobs %d: want at least 1", o.jobs)
	case o.length < 5*time.Second:
		return fmt.Errorf("length %v: want at least 5s", o.length)
	}
	dir, err := os.MkdirTemp("", "tailweir-torture-")
	if err != nil {
		return err
	}
	if o.keepDir {
		fmt.Println("directory:", dir)
	} else {
		defer os.RemoveAll(dir)
	}
	if err := (&target{dir: dir}).build(ctx); err != nil {
		return err
	}
	total := tally{workers: o.workers, google: o.sinks.google()}
	var g errgroup.Group // a round that fails does not end the others: they may tell why
	g.SetLimit(o.jobs)
	for n := range o.rounds {
		g.Go(func() error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return total.play(ctx, o, dir, o.first+n)
		})
	}
	failed := g.Wait()
	for _, note := range total.notes() {
		fmt.Println(note)
	}
	fmt.Println(total.String())
	return errors.Join(failed, total.verdict())
}

// play runs one round and adds it up.
func (t *tally) play(ctx context.Context, o tortureOptions, dir string, n int) error {
	p := newPlan(o.seed, n)
	p.logs = p.logs || o.sinks.logs == "cloudlogging"
	r, err := newRound(o, dir, p, o.window(p))
	if err != nil {
		return err
	}
	begun := time.Now()
	err = r.run(ctx)
	t.mu.Lock() // what is printed of a round stays together, too
	defer t.mu.Unlock()
	t.add(r)
	if err == nil {
		err = r.verdict()
	}
	f := r.total().Fleet
	fmt.Printf("round %d: %s; %.0f s; %d terms, %d stepped down, %d fences, anomalies %v; %v\n",
		n, r.plan, time.Since(begun).Seconds(), f.Terms, f.SteppedDown, f.Fences, f.Anomalies, r.proof)
	if err == nil {
		return nil
	}
	fmt.Printf("round %d failed: %v\n", n, err)
	for _, e := range append(r.proof.Examples, r.diary...) {
		fmt.Println("  ", e)
	}
	if o.keepDir {
		fmt.Println("   logs:", r.t.dir)
	}
	return fmt.Errorf("round %d: %w", n, err)
}

// plan is what a round does beside what chance does.
type plan struct {
	seed     uint64
	rate     int // spans per second
	logs     bool
	grpc     bool // apps and export
	gzip     bool
	pressure bool // a hold too small for the window, so that messages are handed back
	outage   bool // the sink is away for a minute
}

func newPlan(seed uint64, n int) plan {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	binary.LittleEndian.PutUint64(key[8:], uint64(n))
	rnd := rand.New(rand.NewChaCha8(key))
	return plan{
		seed: rnd.Uint64(), rate: 2000 + rnd.IntN(4000), logs: rnd.IntN(3) == 0, grpc: rnd.IntN(3) == 0, gzip: rnd.IntN(2) == 0,
		pressure: n%5 == 3, outage: n%5 == 1,
	}
}

func (p plan) String() string {
	s := fmt.Sprintf("%d spans/s", p.rate)
	for _, x := range []struct {
		set  bool
		what string
	}{{p.logs, "logs"}, {p.grpc, "gRPC"}, {p.gzip, "gzip"}, {p.pressure, "hold too small"}, {p.outage, "sink away for a minute"}} {
		if x.set {
			s += ", " + x.what
		}
	}
	return s
}

// tally adds up the rounds.
type tally struct {
	mu                                                        sync.Mutex
	rounds, workers                                           int
	google                                                    bool // whose answers get lost, so that things are sent again
	repeats                                                   int  // spans and records that were
	acked, kept, lost, split, invented, duplicates            int
	redelivered, retries, poisons                             int
	unexpected, contradicted, altered, uncounted, lostRecords int
	fleet                                                     stats
	faults                                                    map[string]int
}

func (t *tally) add(r *round) {
	p := r.proof
	t.rounds++
	t.acked += p.Acked
	t.kept += p.KeptTraces
	t.lost += p.Lost
	t.split += p.Split
	t.invented += p.Invented
	t.duplicates += p.DuplicateSpans
	t.repeats += p.DuplicateSpans + p.DuplicateRecords
	t.redelivered += r.redelivered()
	t.retries += r.load.Retries
	t.unexpected += p.Unexpected
	t.altered += p.Altered
	t.uncounted += p.Uncounted
	t.lostRecords += p.LostRecords
	t.contradicted += p.Contradicted
	t.poisons += len(r.poison)
	t.fleet = t.fleet.plus(r.total())
	if t.faults == nil {
		t.faults = map[string]int{}
	}
	for what, n := range r.struck {
		t.faults[what] += n
	}
}

// String is the line that scripts read.
func (t *tally) String() string {
	return fmt.Sprintf("torture: %d rounds, %d workers, %d acked spans, %d kept traces, %d lost, %d split, %d invented, %d duplicates, %d redelivered",
		t.rounds, t.workers, t.acked, t.kept, t.lost, t.split, t.invented, t.duplicates, t.redelivered)
}

// notes are what the line has no place for.
func (t *tally) notes() []string {
	return []string{
		fmt.Sprintf("faults: %v", t.faults),
		fmt.Sprintf("fleet: %d terms, %d stepped down, %d fences, anomalies of the log %v", t.fleet.Fleet.Terms, t.fleet.Fleet.SteppedDown, t.fleet.Fleet.Fences, t.fleet.Fleet.Anomalies),
		fmt.Sprintf("load: %d payloads were sent again; %d poisoned payloads, all dead-lettered unless said above", t.retries, t.poisons),
		fmt.Sprintf("also: %d unexpected, %d contradicted by their log records, %d altered, %d traces without their threshold, %d log records lost", t.unexpected, t.contradicted, t.altered, t.uncounted, t.lostRecords),
	}
}

// verdict is an error unless the run proves something, and that nothing was lost.
func (t *tally) verdict() error {
	switch {
	case t.lost+t.split+t.invented+t.unexpected+t.contradicted+t.altered+t.uncounted+t.lostRecords > 0:
		return errIncomplete
	case t.redelivered == 0 || t.retries == 0:
		return fmt.Errorf("%d redeliveries and %d retries: without any the run proves nothing", t.redelivered, t.retries)
	case t.google && t.repeats == 0:
		return errors.New("nothing was sent to Google again: without a lost answer the run proves nothing")
	}
	return nil
}
