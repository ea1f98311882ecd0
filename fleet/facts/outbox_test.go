package facts

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tailweir/buffer"
	"tailweir/fleet"
	"tailweir/otlp"
	"tailweir/sampler"
)

var (
	noon  = time.Unix(1_700_000_000, 0)
	claim = [16]byte{0xc1}
	me    = [16]byte{0x33}
)

// message is the facts of a message about n traces, 21 B each.
func message(id uint64, publish buffer.Stamp, n int) fleet.Facts {
	f := fleet.Facts{Message: id, Publish: publish, Fragments: make([]fleet.Fragment, n)}
	for i := range f.Fragments {
		f.Fragments[i] = fleet.Fragment{
			Trace: otlp.TraceID{byte(id), byte(id >> 8), 14: byte(i >> 8), 15: byte(i)},
			Facts: sampler.Facts{Spans: uint32(id), Start: nanoseconds(publish), End: nanoseconds(publish) + 1},
		}
	}
	return f
}

func parsed(t testing.TB, data []byte) *Batch {
	t.Helper()
	b := &Batch{}
	if err := b.Parse(data); err != nil {
		t.Fatal(err)
	}
	if len(data) > MaxBatch {
		t.Errorf("batch %d of stream %d has %d B, want at most %d", b.Seq, b.Stream, len(data), MaxBatch)
	}
	return b
}

// started is an Outbox whose first stream has said its first, empty batch at noon.
func started(t testing.TB) *Outbox {
	o := NewOutbox(7, me)
	o.Restart(noon, claim, 1, slices.Values([]fleet.Facts{}))
	if _, ok := o.Next(noon, Report{}); !ok {
		t.Fatal("the first batch of a stream is not due at once")
	}
	return o
}

func TestDue(t *testing.T) {
	type add struct{ after, fragments int } // ms after noon
	for _, tc := range []struct {
		name string
		adds []add
		want int // ms after noon
		of   int // members
	}{
		{"a beat without facts", nil, 500, 1},
		{"few facts wait for the beat", []add{{10, 1}, {20, 1}}, 500, 1},
		{"enough facts go soon after the first", []add{{10, 1}, {90, 50}}, 260, 1},
		{"enough facts at once", []add{{10, 50}}, 260, 0},
		{"enough facts just before the beat", []add{{450, 50}}, 500, 1},
		{"few facts became enough late", []add{{10, 1}, {300, 50}}, 260, 4},
		{"among six members", []add{{10, 50}}, 385, 6},
		{"among many", []add{{10, 50}}, 500, 100},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := started(t)
			o.Members(tc.of)
			for i, a := range tc.adds {
				o.Add(noon.Add(time.Duration(a.after)*time.Millisecond), message(uint64(i+1), 1000, a.fragments))
			}
			want := noon.Add(time.Duration(tc.want) * time.Millisecond)
			if at, ok := o.Due(); !ok || !at.Equal(want) {
				t.Errorf("Due = noon + %v, %t; want noon + %v", at.Sub(noon), ok, want.Sub(noon))
			}
			if _, ok := o.Next(want.Add(-time.Millisecond), Report{}); ok {
				t.Error("a batch before it was due")
			}
			data, ok := o.Next(want, Report{})
			if !ok || len(parsed(t, data).Messages) != len(tc.adds) {
				t.Fatalf("at noon + %v: %x, %t; want a batch of %d messages", want.Sub(noon), data, ok, len(tc.adds))
			}
			if at, _ := o.Due(); !at.Equal(want.Add(beat)) {
				t.Errorf("afterwards Due = noon + %v, want one beat later", at.Sub(noon))
			}
		})
	}
}

func TestBatchSaysEverything(t *testing.T) {
	o := started(t)
	report := Report{Newest: 2000, Lag: 3 * time.Second, Policy: 9}
	sent := []fleet.Facts{message(1, 1000, 2), message(2, 900, 0), message(3, 1100, 1)}
	for _, f := range sent {
		o.Add(noon, f)
	}
	data, _ := o.Next(noon.Add(beat), report)
	want := &Batch{Fleet: 7, Claim: claim, Epoch: 1, Worker: me, Stream: 1, Seq: 1, Report: report, Messages: sent}
	if diff := cmp.Diff(want, parsed(t, data), sameBatch); diff != "" {
		t.Errorf("−want +got\n%s", diff)
	}
}

// A batch given out belongs to the caller, and facts added to the Outbox: later Adds change neither.
func TestBatchesAreApart(t *testing.T) {
	o := started(t)
	f := message(1, 1000, 60)
	o.Add(noon, f)
	clear(f.Fragments)
	first, _ := o.Next(noon.Add(beat), Report{})
	o.Add(noon, message(2, 2000, 60))
	o.Next(noon.Add(2*beat), Report{})
	if diff := cmp.Diff([]fleet.Facts{message(1, 1000, 60)}, parsed(t, first).Messages, sameBatch); diff != "" {
		t.Errorf("−want +got\n%s", diff)
	}
}

func TestNothingBeforeTheFirstStream(t *testing.T) {
	o := NewOutbox(7, me)
	o.Add(noon, message(1, 1, 1))
	if at, ok := o.Due(); ok || o.open.messages > 0 {
		t.Errorf("Due = %v, with %d messages, before a claim is known", at, o.open.messages)
	}
	if data, ok := o.Next(noon.Add(time.Hour), Report{}); ok {
		t.Errorf("a batch before a claim is known: %x", data)
	}
	o.Restart(noon, claim, 1, slices.Values([]fleet.Facts{message(2, 1, 1)}))
	data, _ := o.Next(noon, Report{})
	if b := parsed(t, data); len(b.Messages) != 1 || b.Messages[0].Message != 2 {
		t.Errorf("the first batch has %+v, want what is held and nothing else", b.Messages)
	}
}

func TestRestart(t *testing.T) {
	o := started(t)
	o.Add(noon, message(1, 1000, 1))
	o.Restart(noon, [16]byte{0xc2}, 5, slices.Values([]fleet.Facts{message(2, 1000, 1), message(3, 900, 1)}))
	o.Add(noon, message(4, 1100, 1))
	data, ok := o.Next(noon, Report{Newest: 1100})
	if !ok {
		t.Fatal("a new stream does not begin at once")
	}
	want := &Batch{
		Fleet: 7, Claim: [16]byte{0xc2}, Epoch: 5, Worker: me, Stream: 2, Seq: 0, Report: Report{Newest: 1100},
		Messages: []fleet.Facts{message(2, 1000, 1), message(3, 900, 1), message(4, 1100, 1)},
	}
	if diff := cmp.Diff(want, parsed(t, data), sameBatch); diff != "" {
		t.Errorf("−want +got\n%s", diff)
	}
}

// What is held may be more than a batch: then only the last batch may say how far event time has come, or traces would be
// decided before their facts are said.
func TestCutBatchesDoNotMoveTime(t *testing.T) {
	held := []fleet.Facts{message(1, 1000, 12_000), message(2, 1001, 12_000), message(3, 1002, 1000)}
	o := NewOutbox(7, me)
	o.Restart(noon, claim, 1, slices.Values(held))
	var newest []buffer.Stamp
	var all []fleet.Fragment
	for data, ok := o.Next(noon, Report{Newest: 5000}); ok; data, ok = o.Next(noon, Report{Newest: 5000}) {
		b := parsed(t, data)
		if b.Seq != uint64(len(newest)) {
			t.Errorf("batch %d has number %d", len(newest), b.Seq)
		}
		newest = append(newest, b.Newest)
		for _, m := range b.Messages {
			if want := held[m.Message-1]; m.Publish != want.Publish {
				t.Errorf("message %d was published at %d, want %d", m.Message, m.Publish, want.Publish)
			}
			all = append(all, m.Fragments...)
		}
	}
	if want := []buffer.Stamp{0, 0, 5000}; !slices.Equal(newest, want) {
		t.Errorf("batches say %d, want %d", newest, want)
	}
	if want := slices.Concat(held[0].Fragments, held[1].Fragments, held[2].Fragments); !slices.Equal(all, want) {
		t.Errorf("the batches' %d fragments are not the %d that were held", len(all), len(want))
	}
	if at, _ := o.Due(); !at.Equal(noon.Add(beat)) {
		t.Errorf("after them Due = noon + %v, want one beat", at.Sub(noon))
	}
	o.Add(noon, message(4, 1003, 10_000))
	data, ok := o.Next(noon, Report{Newest: 6000})
	if ok {
		t.Errorf("one large message is due at once: %d B", len(data))
	}
	o.Add(noon, message(5, 1003, 1))
	o.Add(noon, message(6, 1003, 10_000))
	if data, ok = o.Next(noon, Report{Newest: 6000}); !ok || parsed(t, data).Newest != 5000 {
		t.Errorf("a batch cut off later: due %t, want one that repeats 5000", ok)
	}
	o.Restart(noon, claim, 2, slices.Values(held))
	if data, _ = o.Next(noon, Report{Newest: 7000}); parsed(t, data).Newest != 0 {
		t.Errorf("a new stream begins with newest %d, want 0", parsed(t, data).Newest)
	}
}

// The greatest values in every place: a batch still keeps to its size, and its header to its own.
func TestLargestFacts(t *testing.T) {
	o := NewOutbox(1<<64-1, me)
	f := message(1<<64-1, -1<<63, 10*mostFragments)
	for i := range f.Fragments {
		f.Fragments[i].Facts = sampler.Facts{
			Spans: 1<<32 - 1, Logs: 1<<32 - 1, Bytes: 1<<64 - 1, Start: 1 << 63, End: 1<<63 - 1,
			Random: 1<<64 - 1, HasRandom: true, Root: true, Bits: [2]uint64{1<<64 - 1, 1<<64 - 1},
		}
	}
	o.head.Stream, o.head.Seq = 1<<64-2, 1<<64-1
	o.Restart(noon, claim, 1<<32-1, slices.Values([]fleet.Facts{f}))
	n := 0
	for data, ok := o.Next(noon, Report{Newest: -1 << 63, Lag: -1 << 63}); ok; data, ok = o.Next(noon, Report{}) {
		for _, m := range parsed(t, data).Messages {
			n += len(m.Fragments)
		}
	}
	if n != len(f.Fragments) {
		t.Errorf("%d fragments, want %d", n, len(f.Fragments))
	}
	b := Batch{Epoch: 1<<32 - 1, Stream: 1<<64 - 1, Seq: 1<<64 - 1, Report: Report{Newest: -1 << 63, Lag: -1 << 63}}
	if n := len(b.appendHeader(nil, MaxBatch, MaxBatch)); n > mostHeader {
		t.Errorf("a header of %d B, want at most %d", n, mostHeader)
	}
}

func TestLeave(t *testing.T) {
	o := started(t)
	o.Add(noon, message(1, 1000, 10_000))
	o.Add(noon, message(2, 1000, 10_000))
	o.Leave()
	var byes []bool
	for data, ok := o.Next(noon, Report{}); ok; data, ok = o.Next(noon, Report{}) {
		byes = append(byes, parsed(t, data).Bye)
	}
	if want := []bool{false, true}; !slices.Equal(byes, want) {
		t.Errorf("byes %t, want %t", byes, want)
	}
	o.Add(noon, message(3, 1000, 1))
	if _, ok := o.Due(); ok {
		t.Error("something is due after the bye")
	}
	o.Restart(noon, claim, 1, slices.Values([]fleet.Facts{message(1, 1000, 10_000), message(2, 1000, 10_000)}))
	for range 2 {
		if data, ok := o.Next(noon, Report{}); !ok || parsed(t, data).Bye || parsed(t, data).Stream != 2 {
			t.Errorf("a worker that stays after all: %d B, %t; want stream 2 without a bye", len(data), ok)
		}
	}
}

// Whatever is added, and whenever: a batch comes at the latest one beat after the one before, and none of the facts in it
// has waited longer.
func TestBeat(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	o := started(t)
	last, now, waiting := noon, noon, time.Time{}
	for i := range 20_000 {
		if rng.IntN(4) == 0 {
			o.Add(now, message(uint64(i), buffer.StampOf(now), rng.IntN(12)))
			if waiting.IsZero() {
				waiting = now
			}
		}
		if data, ok := o.Next(now, Report{}); ok {
			if early := now.Sub(last) < beat; early && (len(data) < worthwhile || now.Sub(waiting) < soon) {
				t.Fatalf("a batch of %d B after %v, the first of its facts %v old", len(data), now.Sub(last), now.Sub(waiting))
			}
			last, waiting = now, time.Time{}
		}
		if at, _ := o.Due(); !at.After(now) || at.Sub(last) > beat {
			t.Fatalf("at %v the next batch is due at %v, the last was at %v", now, at, last)
		}
		now = now.Add(time.Duration(rng.IntN(40)) * time.Millisecond)
		if at, _ := o.Due(); now.After(at) {
			now = at
		}
	}
}
