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
	"strconv"
	"syscall"
	"time"

	"tailweir/bench/ledger"
	benchload "tailweir/bench/load"
	"tailweir/bench/sink"
)

const (
	startGrace = 30 * time.Second
	stopGrace  = 30 * time.Second
)

// options of bench run.
type options struct {
	load    *benchload.Config
	window  windowing
	drain   time.Duration
	keepDir bool
	json    string
}

// Result is what bench run writes with --json.
type Result struct {
	Load  benchload.Report `json:"load"`
	Stats drained          `json:"worker"`
	Proof ledger.Proof     `json:"proof"`
	Costs []Cost           `json:"costs"`
}

// Cost of one process over its whole life.
type Cost struct {
	Process    string  `json:"process"`
	CPUSeconds float64 `json:"cpu_seconds"`
	PerMillion float64 `json:"cpu_seconds_per_million_spans"`
	PeakBytes  int64   `json:"peak_bytes"`
}

func orchestrate(ctx context.Context, args []string) (err error) {
	f := flag.NewFlagSet("bench run", flag.ContinueOnError)
	o := options{load: loadFlags(f)}
	f.DurationVar(&o.window.settle, "settle", 10*time.Second, "the worker's window.settle")
	f.DurationVar(&o.window.idle, "idle", 15*time.Second, "the worker's window.idle")
	f.StringVar(&o.window.hold, "hold", "4GiB", "the worker's hold.max_bytes")
	f.StringVar(&o.window.logs, "logs-keep", "all", "the worker's logs.keep: all or with_trace")
	f.BoolVar(&o.window.rpc, "export-grpc", false, "the worker exports by OTLP/gRPC")
	f.DurationVar(&o.drain, "drain", 3*time.Minute, "how long to wait for the last span")
	f.BoolVar(&o.keepDir, "keep", false, "keep the directory with binaries and logs, and print it")
	f.StringVar(&o.json, "json", "", "also write the result to this `file`")
	if err := parse(f, args); err != nil {
		return err
	}
	if o.load.Spans == 0 && o.load.Duration == 0 {
		o.load.Spans = 1_000_000
	}
	dir, err := os.MkdirTemp("", "tailweir-bench-")
	if err != nil {
		return err
	}
	if o.keepDir {
		fmt.Println("directory:", dir)
	} else {
		defer os.RemoveAll(dir)
	}
	t, err := newTarget(dir)
	if err != nil {
		return err
	}
	o.load.Target = t.ingest
	if err := o.load.Validate(); err != nil {
		return err
	}
	return t.run(ctx, o)
}

// run starts everything in the order of the data's way back, so that each finds what it sends to.
func (t *target) run(ctx context.Context, o options) (err error) {
	if err := t.build(ctx); err != nil {
		return err
	}
	env, err := t.environment(o.window)
	if err != nil {
		return err
	}
	var running []*process
	defer func() {
		for _, p := range running { // what an error left behind
			p.kill()
		}
	}()
	starting, cancel := context.WithTimeout(ctx, startGrace)
	defer cancel()
	for _, s := range []struct {
		name, binary string
		args         []string
		ready        func() bool
	}{
		{"sink", "bench", []string{"sink", "--http", t.sink, "--grpc", t.sinkRPC}, listens(t.sink)},
		{"broker", "bench", []string{"broker", "--addr", t.broker}, listens(t.broker)},
		{"worker", "worker", []string{"--create"}, answersOK("http://" + t.console + "/readyz")},
		{"ingest", "ingest", []string{"--create"}, listens(t.ingest)},
	} {
		p, err := t.start(s.name, s.binary, env, s.args...)
		if err != nil {
			return err
		}
		running = append(running, p)
		if err := p.until(starting, s.ready); err != nil {
			return err
		}
	}
	result, err := t.measure(ctx, o, running[2])
	if err != nil {
		return err
	}
	order := []*process{running[3], running[2], running[1], running[0]}
	running = nil
	var stopped error
	for _, p := range order {
		stopped = errors.Join(stopped, p.stop(stopGrace))
		result.Costs = append(result.Costs, cost(p.name, p.cpu(), p.peak, result.Load.Acked))
	}
	return errors.Join(stopped, result.print(o.json))
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

// measure floods, waits until the worker has nothing under way, and asks the sink.
func (t *target) measure(ctx context.Context, o options, worker *process) (*Result, error) {
	r := new(Result)
	load, err := t.flood(ctx, o, r)
	if err != nil {
		return nil, err
	}
	draining, cancel := context.WithTimeout(ctx, o.drain)
	defer cancel()
	if err := worker.until(draining, func() bool { return t.isDrained(r) }); err != nil {
		fmt.Fprintf(os.Stderr, "bench: not drained, %+v\n", r.Stats)
		if !worker.alive() {
			return nil, err
		}
	}
	r.Proof, err = t.prove(ctx, r.Load.Sent, ledger.Expect{Percent: 10, LogsWith: o.window.logs == "with_trace"})
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

// isDrained is true when all that was acknowledged has arrived at the worker and nothing of it is under way.
func (t *target) isDrained(r *Result) bool {
	client := http.Client{Timeout: 5 * time.Second}
	answer, err := client.Get("http://" + t.console + "/api/stats")
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	r.Stats = drained{}
	if json.NewDecoder(answer.Body).Decode(&r.Stats) != nil {
		return false
	}
	s := r.Stats
	return s.InFlight.Spans == 0 && s.InFlight.Logs == 0 &&
		s.Kept.Spans+s.Dropped.Spans+s.Deadlettered.Spans >= r.Load.Acked &&
		s.Kept.Logs+s.Dropped.Logs+s.Deadlettered.Logs >= r.Load.AckedRecords
}

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
