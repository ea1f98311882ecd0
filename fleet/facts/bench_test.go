package facts

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"tailweir/buffer"
	"tailweir/fleet"
	"tailweir/otlp"
	"tailweir/sampler"
)

// realistic is n payloads of ten services: 40 spans each in 8 traces, flushed every 5 s, 350 B a span, durations lognormal
// (0.2 s, σ 1.5) between 10 ms and 20 s, five leaf conditions.
func realistic(rng *rand.Rand, n int) []fleet.Facts {
	messages := make([]fleet.Facts, n)
	for i := range messages {
		m := &messages[i]
		*m = fleet.Facts{Message: rng.Uint64(), First: true, Publish: 1_700_000_000_000 + buffer.Stamp(i*10+rng.IntN(200))}
		service := rng.IntN(10)
		for range 8 {
			m.Fragments = append(m.Fragments, realisticFragment(rng, m.Publish, service))
		}
	}
	return messages
}

func realisticFragment(rng *rand.Rand, publish buffer.Stamp, service int) (x fleet.Fragment) {
	for i := range x.Trace {
		x.Trace[i] = byte(rng.Uint32())
	}
	lasted := uint64(1e9 * min(max(0.2*math.Exp(1.5*rng.NormFloat64()), 0.01), 20))
	end := uint64(publish)*1e6 - rng.Uint64N(uint64(5*time.Second))
	x.Facts = sampler.Facts{Spans: 1 + rng.Uint32N(9), Start: end - lasted, End: end, Root: service == 0}
	x.Facts.Bytes = uint64(x.Facts.Spans) * (250 + rng.Uint64N(200))
	if rng.IntN(10) < 3 {
		x.Facts.Bits[0] = 1 << rng.IntN(5)
	}
	return x
}

// realisticBatch is what a worker sends of 25 payloads: 1,000 spans in 200 fragments.
func realisticBatch() *Batch {
	b := example()
	b.Messages = realistic(rand.New(rand.NewPCG(1, 1)), 25)
	return b
}

const perBatch = 25 * 8

// The bytes of a fragment are what the control plane costs: 24 B were specified with a trace id of 8 B.
func TestBytesPerFragment(t *testing.T) {
	header := len((&Batch{Report: example().Report}).appendHeader(nil, 25, perBatch))
	whole := len(realisticBatch().Append(nil))
	with := realisticBatch()
	for i := range with.Messages {
		with.Messages[i].Fragments = nil
	}
	messages := len(with.Append(nil)) - header
	fragment := float64(whole-header-messages) / perBatch
	t.Logf("%d B a batch, %.1f B a message, %.2f B a fragment, %.2f with its share of both", header, float64(messages)/25, fragment, float64(whole)/perBatch)
	if fragment > 31 || messages > 25*13 || header > 72 {
		t.Errorf("%d B a batch, %d B for 25 messages, %.1f B a fragment; want at most 72, 325, 31", header, messages, fragment)
	}
}

func TestParseDoesNotAllocate(t *testing.T) {
	data := realisticBatch().Append(nil)
	var b Batch
	if n := testing.AllocsPerRun(10, func() {
		if err := b.Parse(data); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkDecode(b *testing.B) {
	data := realisticBatch().Append(nil)
	var batch Batch
	b.ReportAllocs()
	for b.Loop() {
		if err := batch.Parse(data); err != nil {
			b.Fatal(err)
		}
	}
	perFragment(b, len(data))
}

func BenchmarkEncode(b *testing.B) {
	batch := realisticBatch()
	var data []byte
	b.ReportAllocs()
	for b.Loop() {
		data = batch.Append(data[:0])
	}
	perFragment(b, len(data))
}

// BenchmarkOutbox is the holder's whole sending side.
func BenchmarkOutbox(b *testing.B) {
	messages := realistic(rand.New(rand.NewPCG(1, 1)), 25)
	o := NewOutbox(1, [16]byte{1})
	now := time.Unix(1_700_000_000, 0)
	o.Restart(now, [16]byte{2}, 1, func(func(fleet.Facts) bool) {})
	o.Next(now, Report{})
	size := 0
	b.ReportAllocs()
	for b.Loop() {
		for _, m := range messages {
			o.Add(now, m)
		}
		now = now.Add(soon)
		data, ok := o.Next(now, Report{Newest: 1_700_000_000_000, Lag: 40 * time.Millisecond})
		if !ok {
			b.Fatal("no batch")
		}
		size = len(data)
	}
	perFragment(b, size)
}

// BenchmarkGather is the sequencer's receiving side up to the window: decoding, Inbox, and each trace looked up.
func BenchmarkGather(b *testing.B) {
	batch := realisticBatch()
	in := NewInbox(batch.Fleet, batch.Claim, batch.Epoch)
	traces := map[otlp.TraceID]*sampler.Facts{}
	for i := range batch.Messages {
		for _, x := range batch.Messages[i].Fragments {
			traces[x.Trace] = &sampler.Facts{}
		}
	}
	data := batch.Append(nil)
	var got Batch
	var seq uint64
	b.ReportAllocs()
	for b.Loop() {
		if err := got.Parse(data); err != nil {
			b.Fatal(err)
		}
		got.Seq = seq
		seq++
		if v := in.Take(&got); v != Fresh {
			b.Fatal(v)
		}
		for i := range got.Messages {
			for j := range got.Messages[i].Fragments {
				x := &got.Messages[i].Fragments[j]
				traces[x.Trace].Merge(&x.Facts)
			}
		}
	}
	perFragment(b, len(data))
}

func perFragment(b *testing.B, size int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*perBatch), "ns/fragment")
	b.ReportMetric(float64(size)/perBatch, "B/fragment")
	b.ReportMetric(0, "ns/op")
}
