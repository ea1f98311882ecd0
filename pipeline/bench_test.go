package pipeline

import (
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"runtime"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/plog"

	run "tailweir/bench/ledger"
	"tailweir/bench/load"
	"tailweir/buffer"
	"tailweir/exporter"
	"tailweir/fleet"
	"tailweir/otlp"
	"tailweir/sampler"
)

// toNothing confirms everything.
type toNothing struct{}

func (toNothing) Name() string                                  { return "nothing" }
func (toNothing) Export(context.Context, *exporter.Batch) error { return nil }

// toNobody hears everything.
type toNobody struct{}

func (toNobody) Send(context.Context, fleet.Facts) error { return nil }

// unsettled is for what is not settled, or nobody cares how.
type unsettled struct{}

func (unsettled) Ack()                   {}
func (unsettled) Nack()                  {}
func (unsettled) HandBack(time.Duration) {}

type acks struct{ n chan struct{} }

func (a acks) Ack()                   { a.n <- struct{}{} }
func (a acks) Nack()                  { panic("nack") }
func (a acks) HandBack(time.Duration) { panic("hand back") }

// payloads generates n realistic payloads and says how many spans they hold.
func payloads(n int) (out [][]byte, spans int) {
	g := load.NewGenerator(run.Run{ID: 1, Seed: 1}, 100_000, false, time.Unix(1_700_000_000, 0))
	for len(out) < n {
		p := g.Next()
		out = append(out, append([]byte(nil), p.Body...))
		spans += len(p.Items)
		g.Free(p)
	}
	return out, spans
}

// BenchmarkWalk is the worker without its sockets: read, hold, decide with the default policies, export to nothing, ack.
// Everything is in time and is decided by Drain at the end. One operation is one span.
func BenchmarkWalk(b *testing.B) {
	data, spans := payloads(2000)
	b.ReportAllocs()
	for done := 0; done < b.N; done += spans {
		ctx, cancel := context.WithCancel(b.Context())
		solo := fleet.NewSolo(fleet.SoloConfig{Policies: sampler.Default(), Window: buffer.Config{}.Defaults(), Delay: time.Hour})
		p := New(Config{Policies: sampler.Default(), Exporter: toNothing{}, Sequencer: solo, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Linger: time.Millisecond})
		go func() { _ = p.Run(ctx) }()
		go func() { _ = solo.Run(ctx, p.Apply) }()
		settled := acks{make(chan struct{}, len(data))}
		now := time.Now()
		for _, d := range data {
			p.Handle(ctx, Delivery{Data: d, Attributes: attrs(otlp.Traces), Publish: now, Receipt: settled})
		}
		p.Quiesce(ctx)
		if err := solo.Drain(ctx); err != nil {
			b.Fatal(err)
		}
		for range data {
			<-settled.n
		}
		cancel()
	}
}

// BenchmarkHold reports the memory of a held span, payload and all: what hold.max_bytes has to be compared with.
func BenchmarkHold(b *testing.B) {
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		ctx, cancel := context.WithCancel(b.Context())
		solo := fleet.NewSolo(fleet.SoloConfig{Policies: sampler.Default(), Window: buffer.Config{}.Defaults(), Delay: time.Hour})
		p := New(Config{Policies: sampler.Default(), Exporter: toNothing{}, Sequencer: solo})
		go func() { _ = p.Run(ctx) }()
		go func() { _ = solo.Run(ctx, p.Apply) }()
		data, spans := payloads(10_000)
		settled := acks{make(chan struct{}, len(data))}
		now := time.Now()
		for _, d := range data {
			p.Handle(ctx, Delivery{Data: d, Attributes: attrs(otlp.Traces), Publish: now, Receipt: settled})
		}
		data = nil
		p.Quiesce(ctx)
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(spans), "heap-B/span")
		b.ReportMetric(float64(p.State().Bytes+solo.State().Bytes)/float64(spans), "charged-B/span")
		runtime.KeepAlive(data)
		cancel()
	}
}

// holding is a pipeline that holds n payloads undecided, read one after the other.
func holding(b *testing.B, n int) (p *Pipeline, bytes int) {
	b.Helper()
	p = New(Config{Policies: sampler.Default(), Exporter: toNothing{}, Sequencer: toNobody{}, MaxBytes: 4 << 30})
	data, _ := payloads(n)
	now := time.Now()
	for i, d := range data {
		bytes += len(d)
		p.take(b.Context(), Delivery{Data: d, Attributes: attrs(otlp.Traces), Publish: now.Add(time.Duration(i)), Receipt: unsettled{}, session: p.session})
	}
	p.busy = 0
	return p, bytes
}

// BenchmarkHeld tells everything that is held anew, BenchmarkTake is what holding it took. An operation is 2,000 payloads.
func BenchmarkHeld(b *testing.B) {
	p, bytes := holding(b, 2000)
	b.SetBytes(int64(bytes))
	b.ReportAllocs()
	for b.Loop() {
		for range p.Held() {
		}
	}
}

func BenchmarkTake(b *testing.B) {
	data, _ := payloads(2000)
	b.ReportAllocs()
	for b.Loop() {
		p := New(Config{Policies: sampler.Default(), Exporter: toNothing{}, Sequencer: toNobody{}, MaxBytes: 4 << 30})
		bytes := 0
		for _, d := range data {
			bytes += len(d)
			p.take(b.Context(), Delivery{Data: d, Attributes: attrs(otlp.Traces), Publish: time.Now(), Receipt: unsettled{}, session: p.session})
		}
		b.SetBytes(int64(bytes))
	}
}

// BenchmarkReadLogs reads 100 records in 10 traces, a third of them with a severity of WARN or above, by what is kept.
func BenchmarkReadLogs(b *testing.B) {
	var all []record
	for i := range 100 {
		all = append(all, record{trace: byte(1 + i/10), level: []plog.SeverityNumber{fine, info, warn}[i%3], kind: "request", body: "payment gateway answered slowly"})
	}
	data := records("shop", all...)
	for name, rules := range map[string][]LogRule{
		"no rule": nil, "always_above": {{MinSeverity: 13, Keep: LogsAtOnce}},
		"attributes": {{Attribute: "kind", Values: []string{"audit"}, Keep: LogsAll}, {Attribute: "team", Values: []string{"bank"}, Keep: LogsNever}},
	} {
		b.Run(name, func(b *testing.B) {
			r, set := &reader{max: 1 << 20, classes: newClasses(rules, LogsWithTrace)}, sampler.Default()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := r.read(set, Delivery{Data: data, Attributes: attrs(otlp.Logs)}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(all)), "ns/record")
		})
	}
}

// BenchmarkApplyElsewhere is 20,000 decisions on traces of which this worker holds nothing, new to it and repeated.
func BenchmarkApplyElsewhere(b *testing.B) {
	all := elsewhere(20_000)
	b.Run("new", func(b *testing.B) {
		p, n := New(Config{Policies: sampler.Default()}), uint64(0)
		b.ReportAllocs()
		for b.Loop() {
			n++
			for i := range all {
				binary.LittleEndian.PutUint64(all[i].Trace[8:], n)
			}
			p.Apply(all)
		}
	})
	b.Run("repeated", func(b *testing.B) {
		p := New(Config{Policies: sampler.Default()})
		b.ReportAllocs()
		for b.Loop() {
			p.Apply(all)
		}
	})
}

// BenchmarkSurrender gives 2,000 payloads back at once.
func BenchmarkSurrender(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		p, _ := holding(b, 2000)
		b.StartTimer()
		p.Surrender(b.Context())
	}
}
