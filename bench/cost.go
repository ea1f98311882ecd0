package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"

	"tailweir/bench/ledger"
)

// costOptions of bench cost.
type costOptions struct {
	options
	fleets []int // workers; 0 = one without a fleet
	rest   time.Duration
	warm   time.Duration // of the load, before it counts
}

// compareCosts sends the same load, well below what the machine can take, to fleets of several sizes. Each worker has one core,
// which it shares with others where there are fewer cores, and what all of them used is counted.
func compareCosts(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("bench cost", flag.ContinueOnError)
	o := costOptions{options: *runFlags(f), fleets: []int{0, 1, 2, 4, 8}}
	f.Func("workers", "`numbers` of workers, 0 for one without a fleet (default 0,1,2,4,8)", func(s string) (err error) {
		o.fleets, err = parseFleets(s)
		return err
	})
	f.DurationVar(&o.rest, "rest", time.Minute, "how long to measure what the processes use without load")
	f.DurationVar(&o.warm, "warm", 30*time.Second, "how long the load lasts before what the processes use counts: the window fills, heaps grow")
	if err := parse(f, args); err != nil {
		return err
	}
	if o.load.Rate == 0 {
		// A fifth of a core for one worker. At less one measures how often processes wake, not what they do; with twice as much two
		// cores have nothing left for the load, ingest and broker.
		o.load.Rate = 40_000
	}
	if o.load.Duration == 0 {
		o.load.Duration = time.Minute
	}
	o.load.Duration += o.warm
	o.load.Gap = o.window.settle - 100*time.Millisecond
	o.window.pin, _ = exec.LookPath("taskset")
	return o.inDirectory(ctx, func(dir string) error {
		var rows []costRow
		for _, n := range o.fleets {
			row, err := o.play(ctx, dir, n)
			if err != nil {
				return fmt.Errorf("%d workers: %w", n, err)
			}
			rows = append(rows, row)
			fmt.Fprintf(os.Stderr, "%d workers: %v\n", n, row.Proof)
		}
		fmt.Print(costTable(rows, o.window.pin != ""))
		return nil
	})
}

func parseFleets(s string) (all []int, err error) {
	for field := range strings.SplitSeq(s, ",") {
		n, err := strconv.Atoi(field)
		if err != nil || n < 0 || n > 16 {
			return nil, fmt.Errorf("workers %q: want numbers of 0 to 16 with commas between", s)
		}
		all = append(all, n)
	}
	return all, nil
}

// costRow is what one fleet used.
type costRow struct {
	Result
	workers    int
	rest, load stretch
}

// stretch is what happened between two moments.
type stretch struct {
	seconds         float64
	ingest, workers float64 // CPU-seconds
	said            stats   // of the workers together
}

// net is the workers' CPU-seconds without what they would have used anyway.
func (r *costRow) net() float64 {
	return r.load.workers - r.rest.workers/r.rest.seconds*r.load.seconds
}

// perMillion is per million spans that the workers received.
func (r *costRow) perMillion(v float64) float64 {
	return v / float64(max(1, r.load.said.Received.Spans)) * 1e6
}

func (o *costOptions) play(ctx context.Context, dir string, n int) (row costRow, err error) {
	run := o.options
	run.workers, run.window.alone = max(n, 1), n == 0
	s, err := run.begin(ctx, dir)
	defer s.kill()
	if err != nil {
		return row, err
	}
	row.workers = n
	sleep(ctx, 5*time.Second) // what starting them began
	if row.rest, err = s.watch(ctx, o.rest); err != nil {
		return row, err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		r, err := s.measure(ctx, &run)
		if err == nil && !r.Proof.OK() {
			err = fmt.Errorf("%w: %v", errIncomplete, r.Proof)
		}
		if r != nil {
			row.Result = *r
		}
		return err
	})
	g.Go(func() (err error) {
		sleep(ctx, o.warm)
		row.load, err = s.watch(ctx, run.load.Duration-o.warm)
		return err
	})
	return row, g.Wait()
}

// watch measures for a while.
func (s *stage) watch(ctx context.Context, d time.Duration) (stretch, error) {
	ingest := s.parts[len(s.parts)-1:]
	before, err := ask(ctx, s.workers)
	if err != nil {
		return stretch{}, err
	}
	began, a, b := time.Now(), used(ingest), used(s.workers)
	sleep(ctx, d)
	x := stretch{seconds: time.Since(began).Seconds(), ingest: used(ingest) - a, workers: used(s.workers) - b}
	after, err := ask(ctx, s.workers)
	x.said = after.since(before)
	return x, err
}

// used is the CPU time of processes so far, in user and kernel mode, in seconds.
func used(parts []*part) (sum float64) {
	for _, p := range parts {
		sum += p.proc.cpuSoFar().Seconds()
	}
	return sum
}

func costTable(rows []costRow, pinned bool) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "workers\tspans\tspans/s\tingest\tworkers\tat rest\tnet\tfactor\tsteady\tfacts\tlog\tcontrol\tp50\tp99\tmax\tdecided\tp99\tread\tp99\t")
	fmt.Fprintln(w, "\t\t\ts/M\ts/M\ts/min\ts/M\tof 1\tof 1\tB/fragment\tB/trace\tB/trace\ts\ts\ts\tp50 s\ts\tp50 ms\tms\t")
	var base *costRow
	for i := range rows {
		if rows[i].workers == 1 {
			base = &rows[i]
		}
	}
	for i := range rows {
		fmt.Fprintln(w, rows[i].line(base))
	}
	w.Flush()
	where := "Workers run wherever the system puts them, with threads for all cores: there is no taskset here."
	if pinned {
		where = fmt.Sprintf("Worker i has one thread for its work (GOMAXPROCS=1) and is pinned to core i mod %d; the other processes are not.", runtime.NumCPU())
	}
	return b.String() + `
s/M: CPU-seconds per million spans; net: without what the workers use at rest; factor: of net; steady: the same after division
by what ingest used, whose work never changes: where the two differ, the machine had other work, too; control: facts and one reading of
the log; p50, p99, max: from a trace's last span to its export, that is the window's settle and what the decision took; decided: from
a trace's deadline to its decision's execution, by the worker that leads; read: from a decision's publish in the log to its execution, by all.
` + where + "\n"
}

func (r *costRow) line(base *costRow) string {
	name, factor, steady := "off", "", ""
	if r.workers > 0 {
		name = strconv.Itoa(r.workers)
	}
	if base != nil {
		of := r.perMillion(r.net()) / base.perMillion(base.net())
		factor, steady = fmt.Sprintf("%.2f", of), fmt.Sprintf("%.2f", of*base.perMillion(base.load.ingest)/r.perMillion(r.load.ingest))
	}
	said, l := &r.load.said, r.Proof.Latency
	traces := float64(said.Received.Spans) / ledger.MeanSpans
	facts, log := float64(said.Fleet.FactsBytes), float64(said.Fleet.LogBytes)/float64(max(1, r.workers))
	return fmt.Sprintf("%s\t%d\t%.0f\t%.2f\t%.2f\t%.2f\t%.2f\t%s\t%s\t%.1f\t%.1f\t%.0f\t%.1f\t%.1f\t%.1f\t%.2f\t%.2f\t%.0f\t%.0f\t", name, said.Received.Spans,
		float64(said.Received.Spans)/r.load.seconds, r.perMillion(r.load.ingest), r.perMillion(r.load.workers), r.rest.workers/r.rest.seconds*60,
		r.perMillion(r.net()), factor, steady, facts/float64(max(1, said.Fleet.FragmentsSent)), log/traces, (facts+log)/traces,
		seconds(l.P50), seconds(l.P99), seconds(l.Max), r.Decided.P50, r.Decided.P99, 1000*r.Read.P50, 1000*r.Read.P99)
}
