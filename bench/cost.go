package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// costOptions of bench cost.
type costOptions struct {
	options
	fleets []int // workers; 0 = one without a fleet
	rest   time.Duration
}

// compareCosts sends the same load, well below what the machine can take, to fleets of several sizes. All their processes
// share the machine's cores, and what all of them used is counted.
func compareCosts(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("bench cost", flag.ContinueOnError)
	o := costOptions{options: *runFlags(f), fleets: []int{0, 1, 2, 4, 8}}
	f.Func("workers", "`numbers` of workers, 0 for one without a fleet (default 0,1,2,4,8)", func(s string) (err error) {
		o.fleets, err = parseFleets(s)
		return err
	})
	f.DurationVar(&o.rest, "rest", time.Minute, "how long to measure what the processes use without load")
	if err := parse(f, args); err != nil {
		return err
	}
	if o.load.Rate == 0 {
		o.load.Rate = 20_000
	}
	if o.load.Spans == 0 && o.load.Duration == 0 {
		o.load.Duration = time.Minute
	}
	o.load.Gap = o.window.settle - 100*time.Millisecond
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
		fmt.Print(costTable(rows))
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
	workers        int
	before, after  stats   // of the workers together
	took           float64 // seconds from the first span sent until nothing was under way
	ingest, worker usage
}

// usage in CPU-seconds.
type usage struct{ busy, resting float64 } // resting is per second

// net is without what the processes would have used anyway.
func (u usage) net(took float64) float64 { return u.busy - u.resting*took }

func (o *costOptions) play(ctx context.Context, dir string, n int) (row costRow, err error) {
	run := o.options
	run.workers, run.window.alone = max(n, 1), n == 0
	s, err := run.begin(ctx, dir)
	defer s.kill()
	if err != nil {
		return row, err
	}
	ingest := s.parts[len(s.parts)-1:]
	row.workers = n
	sleep(ctx, 5*time.Second) // what starting them began
	ingest0, workers0 := used(ingest), used(s.workers)
	sleep(ctx, o.rest)
	ingest1, workers1 := used(ingest), used(s.workers)
	row.ingest.resting, row.worker.resting = (ingest1-ingest0)/o.rest.Seconds(), (workers1-workers0)/o.rest.Seconds()
	if row.before, err = ask(ctx, s.workers); err != nil {
		return row, err
	}
	began := time.Now()
	r, err := s.measure(ctx, &run)
	if err != nil {
		return row, err
	}
	row.Result, row.took = *r, time.Since(began).Seconds()
	row.ingest.busy, row.worker.busy = used(ingest)-ingest1, used(s.workers)-workers1
	if row.after, err = ask(ctx, s.workers); err != nil {
		return row, err
	}
	if !r.Proof.OK() {
		return row, fmt.Errorf("%w: %v", errIncomplete, r.Proof)
	}
	return row, nil
}

// used is the CPU time of processes so far, in user and kernel mode, in seconds.
func used(parts []*part) (sum float64) {
	for _, p := range parts {
		sum += p.proc.cpuSoFar().Seconds()
	}
	return sum
}

// perMillion is per million spans.
func (r *costRow) perMillion(v float64) float64 { return v / float64(r.Load.Acked) * 1e6 }

func costTable(rows []costRow) string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%-8s %10s %8s %8s %8s %8s %7s %9s %9s %8s %8s %8s %8s\n", "workers", "spans", "ingest", "workers", "net", "rest",
		"factor", "facts B/", "log B/", "control", "p50 s", "p99 s", "max s")
	fmt.Fprintf(&b, "%-8s %10s %8s %8s %8s %8s %7s %9s %9s %8s %8s %8s %8s\n", "", "", "s/M", "s/M", "s/M", "s/min", "of 1", "fragment", "trace",
		"B/trace", "", "", "")
	base := 0.0
	for _, r := range rows {
		if r.workers == 1 {
			base = r.worker.net(r.took) / float64(r.Load.Acked)
		}
	}
	for _, r := range rows {
		b.WriteString(r.line(base))
	}
	b.WriteString("\ns/M: CPU-seconds per million spans; net: without what the workers use at rest; factor: of net; p50, p99, max: from a trace's\n" +
		"last span to its export, which is the window's settle and what the decision took; control: facts and one reading of the log.\n")
	return b.String()
}

func (r *costRow) line(base float64) string {
	net := r.worker.net(r.took)
	factor, name := "", "off"
	if r.workers > 0 {
		name = strconv.Itoa(r.workers)
	}
	if base > 0 {
		factor = fmt.Sprintf("%.3f", net/float64(r.Load.Acked)/base)
	}
	traces := float64(r.Load.Traces)
	facts := float64(r.after.Fleet.FactsBytes - r.before.Fleet.FactsBytes)
	fragments := float64(max(1, r.after.Fleet.FragmentsSent-r.before.Fleet.FragmentsSent))
	log := float64(r.after.Fleet.LogBytes-r.before.Fleet.LogBytes) / float64(max(1, r.workers))
	l := r.Proof.Latency
	return fmt.Sprintf("%-8s %10d %8.2f %8.2f %8.2f %8.2f %7s %9.1f %9.1f %8.1f %8.2f %8.2f %8.2f\n", name, r.Load.Acked,
		r.perMillion(r.ingest.busy), r.perMillion(r.worker.busy), r.perMillion(net), r.worker.resting*60, factor,
		facts/fragments, log/traces, (facts+log)/traces, seconds(l.P50), seconds(l.P99), seconds(l.Max))
}
