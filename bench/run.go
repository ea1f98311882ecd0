package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"tailweir/bench/ledger"
	benchload "tailweir/bench/load"
	"tailweir/bench/sink"
)

const (
	startGrace = time.Minute // an empty log is waited for, and then the sequencer
	stopGrace  = 30 * time.Second
)

// options of bench run.
type options struct {
	load    *benchload.Config
	window  windowing
	workers int
	drain   time.Duration
	keepDir bool
	json    string
}

// Result is what bench run writes with --json.
type Result struct {
	Load  benchload.Report `json:"load"`
	Stats stats            `json:"worker"` // all of them together
	Proof ledger.Proof     `json:"proof"`
	// Decided is from a trace's deadline to its decision's execution by who leads; Read from a decision's publish time in the log
	// to its execution, by every worker.
	Decided quantiles `json:"decided"`
	Read    quantiles `json:"read"`
	Costs   []Cost    `json:"costs"`
}

// Cost of one process over its whole life.
type Cost struct {
	Process    string  `json:"process"`
	CPUSeconds float64 `json:"cpu_seconds"`
	PerMillion float64 `json:"cpu_seconds_per_million_spans"`
	PeakBytes  int64   `json:"peak_bytes"`
}

// runFlags are shared by "run" and "cost".
func runFlags(f *flag.FlagSet) *options {
	o := &options{load: loadFlags(f)}
	f.DurationVar(&o.window.settle, "settle", 10*time.Second, "the worker's window.settle")
	f.DurationVar(&o.window.idle, "idle", 15*time.Second, "the worker's window.idle")
	f.StringVar(&o.window.hold, "hold", "4GiB", "the worker's hold.max_bytes")
	f.StringVar(&o.window.logs, "logs-keep", "all", "the worker's logs.keep: all or with_trace")
	f.BoolVar(&o.window.rpc, "export-grpc", false, "the worker exports by OTLP/gRPC")
	f.Var(&o.window.sinks, "sink", "`types` of the worker's exporters: otlp, telemetry, cloudtrace, cloudlogging, with commas between; fakes are at their other end, and what none is for goes by otlp")
	f.DurationVar(&o.drain, "drain", 3*time.Minute, "how long to wait for the last span")
	f.BoolVar(&o.keepDir, "keep", false, "keep the directory with binaries and logs, and print it")
	return o
}

func orchestrate(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("bench run", flag.ContinueOnError)
	o := runFlags(f)
	f.IntVar(&o.workers, "workers", 1, "worker processes, 1 to 16")
	f.BoolVar(&o.window.alone, "fleet-off", false, "each worker decides by itself: with more than one the proof shows what that does to traces")
	f.StringVar(&o.json, "json", "", "also write the result to this `file`")
	if err := parse(f, args); err != nil {
		return err
	}
	if o.load.Spans == 0 && o.load.Duration == 0 {
		o.load.Spans = 1_000_000
	}
	if o.workers < 1 || o.workers > 16 {
		return fmt.Errorf("workers %d: want 1 to 16", o.workers)
	}
	return o.inDirectory(ctx, func(dir string) error { return o.run(ctx, dir) })
}

// inDirectory builds everything in a directory and hands it to do.
func (o *options) inDirectory(ctx context.Context, do func(dir string) error) error {
	dir, err := os.MkdirTemp("", "tailweir-bench-")
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
	return do(dir)
}

func (o *options) run(ctx context.Context, dir string) error {
	s, err := o.begin(ctx, dir)
	defer s.kill()
	if err != nil {
		return err
	}
	result, err := s.measure(ctx, o)
	if err != nil {
		return err
	}
	var stopped error
	for _, p := range slices.Backward(s.parts) {
		stopped = errors.Join(stopped, p.proc.stop(stopGrace))
		p.gone = true
		result.Costs = append(result.Costs, cost(p.name, p.proc.cpu(), p.proc.peak, result.Load.Acked))
	}
	return errors.Join(stopped, result.print(o.json))
}

// stage is everything but the load.
type stage struct {
	t       *target
	parts   []*part // in the order of the data's way back, so that each finds what it sends to
	workers []*part // of them
}

// begin starts everything with programs that lie in dir, logs go to a new directory there.
func (o *options) begin(ctx context.Context, dir string) (s *stage, err error) {
	s = new(stage)
	sub, err := os.MkdirTemp(dir, "run-")
	if err != nil {
		return s, err
	}
	if s.t, err = newTarget(sub); err != nil {
		return s, err
	}
	s.t.bin, o.load.Target = dir, s.t.ingest
	if err := errors.Join(o.load.Validate(), s.t.configure(o.window)); err != nil {
		return s, err
	}
	ctx, cancel := context.WithTimeout(ctx, startGrace)
	defer cancel()
	start := func(p *part) error {
		s.parts = append(s.parts, p)
		return p.begin(ctx)
	}
	if err := start(s.t.sinkPart(false)); err != nil {
		return s, err
	}
	if err := start(s.t.brokerPart()); err != nil {
		return s, err
	}
	s.workers, err = s.t.startWorkers(ctx, o.workers)
	if s.parts = append(s.parts, s.workers...); err != nil {
		return s, err
	}
	return s, start(s.t.ingestPart())
}

// kill ends what an error left behind.
func (s *stage) kill() {
	for _, p := range s.parts {
		p.end()
	}
}

func (t *target) build(ctx context.Context) error {
	for name, pkg := range t.packages() {
		out, err := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(t.dir, name), pkg).CombinedOutput()
		if err != nil {
			return fmt.Errorf("build %s: %w\n%s", pkg, err, out)
		}
	}
	return nil
}

// measure floods, waits until the workers have nothing under way, and asks the sink.
func (s *stage) measure(ctx context.Context, o *options) (*Result, error) {
	r := new(Result)
	load, err := s.t.flood(ctx, *o, r)
	if err != nil {
		return nil, err
	}
	draining, cancel := context.WithTimeout(ctx, o.drain)
	defer cancel()
	for !s.isDrained(draining, r) {
		if sleep(draining, 100*time.Millisecond); draining.Err() != nil {
			fmt.Fprintf(os.Stderr, "bench: not drained, %+v\n", r.Stats)
			break
		}
	}
	r.Decided, err = latency(ctx, s.workers, "tailweir_decision_latency_seconds")
	if err == nil {
		r.Read, err = latency(ctx, s.workers, "tailweir_fleet_log_latency_seconds")
	}
	if err != nil {
		return nil, err
	}
	r.Proof, err = s.t.prove(ctx, r.Load.Sent, ledger.Expect{Percent: 10, LogsWith: o.window.logs == "with_trace"})
	if err != nil {
		return nil, err
	}
	r.Costs = append(r.Costs, cost("load", load.cpu(), load.cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss<<10, r.Load.Acked))
	return r, nil
}

// prove asks the sink.
func (t *target) prove(ctx context.Context, sent ledger.Sent, expect ledger.Expect) (p ledger.Proof, err error) {
	body, err := json.Marshal(sink.Question{Sent: sent, Expect: expect})
	if err == nil {
		err = post(ctx, "http://"+t.sink+"/proof", body, &p)
	}
	if err != nil {
		return p, fmt.Errorf("ask sink: %w", err)
	}
	return p, nil
}

// post sends JSON and reads the answer into what into points to, unless it is nil.
func post(ctx context.Context, url string, body []byte, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
		return fmt.Errorf("%s: status %d: %s", url, resp.StatusCode, text)
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

// flood runs the load to its end, as a process of its own.
func (t *target) flood(ctx context.Context, o options, r *Result) (*process, error) {
	file := filepath.Join(t.dir, "load.json")
	c := o.load
	p, err := t.start("load", "bench", nil, "load", "--target", c.Target, "--out", file,
		"--rate", strconv.FormatFloat(c.Rate, 'f', -1, 64), "--spans", strconv.Itoa(c.Spans), "--duration", c.Duration.String(),
		"--connections", strconv.Itoa(c.Connections), "--seed", strconv.FormatUint(c.Seed, 10), "--run", strconv.Itoa(int(c.ID)),
		"--retry-initial", c.RetryInitial.String(), "--retry-max", c.RetryMax.String(), "--retry-for", c.RetryFor.String(), "--gap", c.Gap.String(),
		fmt.Sprintf("--grpc=%v", c.GRPC), fmt.Sprintf("--gzip=%v", c.Gzip), fmt.Sprintf("--logs=%v", c.Logs))
	if err != nil {
		return nil, err
	}
	interrupt := context.AfterFunc(ctx, func() { p.cmd.Process.Signal(os.Interrupt) })
	defer interrupt()
	if err := p.cmd.Wait(); err != nil {
		return nil, fmt.Errorf("load: %w\n%s", err, p.lastWords())
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read report: %w", err)
	}
	if err := json.Unmarshal(b, &r.Load); err != nil {
		return nil, fmt.Errorf("read report: %w", err)
	}
	return p, nil
}

// isDrained is true when all that was acknowledged has arrived at the workers and nothing of it is under way.
func (s *stage) isDrained(ctx context.Context, r *Result) bool {
	sum, err := ask(ctx, s.workers)
	if err != nil {
		return false
	}
	r.Stats = sum
	return sum.InFlight.Spans == 0 && sum.InFlight.Logs == 0 &&
		sum.Kept.Spans+sum.Dropped.Spans+sum.Deadlettered.Spans >= r.Load.Acked &&
		sum.Kept.Logs+sum.Dropped.Logs+sum.Deadlettered.Logs >= r.Load.AckedRecords
}

func seconds(ms int64) float64 { return float64(ms) / 1000 }

func cost(name string, cpu time.Duration, peak int64, spans int) Cost {
	return Cost{Process: name, CPUSeconds: cpu.Seconds(), PerMillion: cpu.Seconds() / float64(max(spans, 1)) * 1e6, PeakBytes: peak}
}

// print writes the table and the proof; the error says that the proof failed.
func (r *Result) print(file string) error {
	fmt.Printf("%-8s %12s %20s %10s\n", "process", "CPU s", "CPU s per M spans", "peak MB")
	var all float64
	for _, c := range r.Costs {
		fmt.Printf("%-8s %12.2f %20.2f %10.1f\n", c.Process, c.CPUSeconds, c.PerMillion, float64(c.PeakBytes)/1e6)
		all += c.PerMillion
	}
	fmt.Printf("%-8s %33.2f\n\n", "all", all)
	l := r.Load
	fmt.Printf("%.0f spans/s acknowledged over %.1f s in %d payloads, p50 %.1f ms, p99 %.1f ms, %d retries, %d spans refused\n",
		l.SpansPerSec, l.Seconds, l.Payloads, l.P50, l.P99, l.Retries, l.Failed)
	for why, n := range l.Errors {
		fmt.Printf("  %d payloads: %s\n", n, why)
	}
	fmt.Println(r.Proof)
	if l := r.Proof.Latency; l.Traces > 0 {
		fmt.Printf("from a trace's last span to its export: p50 %.1f s, p99 %.1f s, at most %.1f s\n", seconds(l.P50), seconds(l.P99), seconds(l.Max))
	}
	fmt.Printf("from a trace's deadline to the execution of its decision, where it was made: %v\n", r.Decided)
	fmt.Printf("from a decision's publish in the log to its execution, over all workers: %v\n", r.Read)
	for _, e := range r.Proof.Examples {
		fmt.Println(" ", e)
	}
	if file != "" {
		if err := writeJSON(file, r); err != nil {
			return err
		}
	}
	if !r.Proof.OK() {
		return errIncomplete
	}
	return nil
}
