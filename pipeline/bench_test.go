package pipeline

import (
	"context"
	"io"
	"log/slog"
	"runtime"
	"testing"
	"time"

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
