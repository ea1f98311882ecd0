package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"tailweir/bench/ledger"
	benchload "tailweir/bench/load"
	"tailweir/exporter"
	"tailweir/exporter/cloudlogging"
	"tailweir/exporter/cloudtrace"
	"tailweir/exporter/gcp"
	"tailweir/exporter/googletest"
	"tailweir/exporter/telemetry"
	"tailweir/otlp"
)

// measureExporters sends batches like the pipeline's to fakes of Google's APIs in another process, which count and read nothing,
// each exporter by itself and then those for spans with the one for records, and says what a span or record costs the sender.
func measureExporters(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("bench exporters", flag.ContinueOnError)
	spans := f.Int("spans", 50_000, "spans a `second` that are to be exported")
	records := f.Int("records", 20_000, "log records a `second`")
	length := f.Duration("length", 10*time.Second, "of each measurement, a minute at most")
	fake := f.Bool("fake", false, "be the other process")
	if err := parse(f, args); err != nil {
		return err
	}
	if *fake {
		return serveUnread(os.Stdin, os.Stdout)
	}
	if *spans < 1 || *records < 1 || *length < time.Second || *length > time.Minute {
		return fmt.Errorf("--spans %d --records %d --length %v: want at least 1, and 1s to 1m", *spans, *records, *length)
	}
	traces, logs := pipelineBatches(*spans)
	for _, names := range [][]string{{"telemetry"}, {"cloudtrace"}, {"cloudlogging"}, {"telemetry", "cloudlogging"}, {"cloudtrace", "cloudlogging"}} {
		var flows []*flow
		for _, name := range names {
			w := &flow{name: name, batches: traces, rate: *spans, unit: "spans"}
			if name == "cloudlogging" {
				w.batches, w.rate, w.unit = logs, *records, "records"
			}
			flows = append(flows, w)
		}
		if err := measure(ctx, flows, *length); err != nil {
			return err
		}
	}
	return nil
}

// flow is the batches for one exporter, and what became of them.
type flow struct {
	name, unit string
	rate       int // items a second that are due
	batches    []*exporter.Batch
	to         exporter.Exporter
	sent       atomic.Int64
}

// sendersAtOnce is what the pipeline has for each signal.
const sendersAtOnce = 4

func measure(ctx context.Context, flows []*flow, length time.Duration) error {
	fake, addr, err := startUnread()
	if err != nil {
		return err
	}
	for _, w := range flows {
		if w.to, err = openGoogle(ctx, w.name, addr); err != nil {
			return errors.Join(err, fake.stop(nil))
		}
	}
	start, before := time.Now(), cpuOfThis()
	g, sending := errgroup.WithContext(ctx)
	for _, w := range flows {
		for range sendersAtOnce {
			g.Go(func() error { return w.send(sending, start, length) })
		}
	}
	err = g.Wait()
	took, cpu := time.Since(start), cpuOfThis()-before
	var sent int64
	for _, w := range flows {
		sent += w.sent.Load()
		fmt.Printf("%-12s %6.0f %s/s of %d due", w.name, float64(w.sent.Load())/took.Seconds(), w.unit, w.rate)
		if s, ok := exporter.StatsOf(w.to); ok {
			fmt.Printf(", %d requests, %d failed, round trip %v", s.Attempts, s.Attempts-confirmed(s), s.RoundTrip.Round(time.Millisecond))
		}
		fmt.Println()
		err = errors.Join(err, w.to.(io.Closer).Close())
	}
	fmt.Printf("%12s %.2f µs of CPU per item, %.0f %% of a core\n\n", "", float64(cpu.Microseconds())/float64(sent), 100*cpu.Seconds()/took.Seconds())
	var seen googletest.Stats
	if err = errors.Join(err, fake.stop(&seen)); err == nil && int64(seen.Spans+seen.Entries) != sent {
		err = fmt.Errorf("the fakes counted %d spans and %d entries, %d items were sent", seen.Spans, seen.Entries, sent)
	}
	return err
}

func confirmed(s exporter.Stats) int64 {
	n := s.Attempts
	for _, failed := range s.Failures {
		n -= failed
	}
	return n
}

// send gives batches to the exporter as they are due, until the length has passed.
func (w *flow) send(ctx context.Context, start time.Time, length time.Duration) error {
	due := int64(float64(w.rate) * length.Seconds())
	for i := 0; ; i++ {
		b := w.batches[i%len(w.batches)]
		at := w.sent.Add(int64(b.Items)) - int64(b.Items)
		if at >= due {
			w.sent.Add(-int64(b.Items))
			return nil
		}
		time.Sleep(time.Until(start.Add(time.Duration(float64(at) / float64(w.rate) * float64(time.Second)))))
		if err := w.to.Export(ctx, b); err != nil {
			return fmt.Errorf("export by %s: %w", w.name, err)
		}
	}
}

func openGoogle(ctx context.Context, name, addr string) (exporter.Exporter, error) {
	dial, routes, quiet := gcp.Dial{Endpoint: addr, Insecure: true}, gcp.Routes{Project: "tailweir-bench"}, slog.New(slog.DiscardHandler)
	switch name {
	case "telemetry":
		return telemetry.New(ctx, telemetry.Config{Dial: dial, Routes: routes, Logger: quiet})
	case "cloudtrace":
		return cloudtrace.New(ctx, cloudtrace.Config{Dial: dial, Routes: routes, Courier: exporter.CourierConfig{Logger: quiet}})
	}
	return cloudlogging.New(ctx, cloudlogging.Config{Dial: dial, Routes: routes, Logger: quiet})
}

// batchBytes is the pipeline's size of a batch.
const batchBytes = 1 << 20

// pipelineBatches are about 20 batches of each signal: a part for each trace's share of a payload, as the pipeline makes them.
func pipelineBatches(rate int) (traces, logs []*exporter.Batch) {
	gen := benchload.NewGenerator(ledger.Run{Seed: 1}, float64(rate), true, time.Now())
	open := [2]*exporter.Batch{{Signal: otlp.Traces}, {Signal: otlp.Logs}}
	for len(traces) < 20 || len(logs) < 20 {
		p := gen.Next()
		b := &open[0]
		if p.Logs {
			b = &open[1]
		}
		addParts(*b, p.Body)
		if len((*b).Payload) < batchBytes {
			continue
		}
		if p.Logs {
			logs = append(logs, *b)
		} else {
			traces = append(traces, *b)
		}
		*b = &exporter.Batch{Signal: (*b).Signal}
	}
	return traces, logs
}

func addParts(b *exporter.Batch, body []byte) {
	var p otlp.Payload
	if err := p.Scan(b.Signal, body); err != nil {
		panic(fmt.Sprintf("bench: a payload of the generator: %v", err))
	}
	index := p.Index()
	for _, g := range p.Groups() {
		part := exporter.Part{Trace: g.Trace, Kept: true, Decided: true, Policy: "bench", Reason: "settled", Items: int(g.Items), Off: len(b.Payload)}
		b.Payload = index.AppendGroup(b.Payload, g.First, nil)
		part.Len = len(b.Payload) - part.Off
		if b.Signal == otlp.Logs {
			part.Sources = []exporter.Source{{Message: uint64(len(b.Parts)), Items: part.Items}}
		}
		b.Items += part.Items
		b.Parts = append(b.Parts, part)
	}
}

// serveUnread is the other process: it ends, and says what it counted, when in does.
func serveUnread(in io.Reader, out io.Writer) error {
	s, err := googletest.Start(googletest.Config{Unread: true})
	if err != nil {
		return err
	}
	defer s.Close()
	if _, err := fmt.Fprintln(out, s.Addr()); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, in); err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(s.Stats())
}

// unread is the other process, as this one has it.
type unread struct {
	cmd *exec.Cmd
	in  io.Closer
	out *bufio.Reader
}

func startUnread() (u *unread, addr string, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, "", err
	}
	cmd := exec.Command(self, "exporters", "--fake")
	cmd.Stderr, cmd.SysProcAttr = os.Stderr, attributes()
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, "", err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, "", err
	}
	if err := cmd.Start(); err != nil {
		return nil, "", err
	}
	u = &unread{cmd: cmd, in: in, out: bufio.NewReader(out)}
	line, err := u.out.ReadString('\n')
	if err == nil {
		addr = line[:len(line)-1]
		_, _, err = net.SplitHostPort(addr)
	}
	if err != nil {
		return nil, "", errors.Join(fmt.Errorf("start the fakes: %w", err), u.stop(nil))
	}
	return u, addr, nil
}

// stop ends the process and reads what it counted.
func (u *unread) stop(into *googletest.Stats) error {
	if err := u.in.Close(); err != nil {
		return err
	}
	var err error
	if into != nil {
		err = json.NewDecoder(u.out).Decode(into)
	}
	return errors.Join(err, u.cmd.Wait())
}

// cpuOfThis is the time that this process has used of all cores, its garbage collector's share too.
func cpuOfThis() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(fmt.Sprintf("bench: getrusage: %v", err)) // only a wrong argument
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
