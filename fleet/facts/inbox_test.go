package facts

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tailweir/buffer"
	"tailweir/fleet"
)

var other = [16]byte{0x44}

// batch is one for the inbox of inboxes: its Newest is 1000 × stream + seq.
func batch(worker [16]byte, stream, seq uint64) *Batch {
	return &Batch{Fleet: 7, Claim: claim, Epoch: 1, Worker: worker, Stream: stream, Seq: seq, Report: Report{Newest: buffer.Stamp(1000*stream + seq)}}
}

func newInbox() *Inbox { return NewInbox(7, claim, 1) }

func take(t *testing.T, in *Inbox, b *Batch, want Verdict) {
	t.Helper()
	if got := in.Take(b); got != want {
		t.Errorf("batch %d.%d of epoch %d is %s, want %s", b.Stream, b.Seq, b.Epoch, got, want)
	}
}

func TestTake(t *testing.T) {
	type step struct {
		stream, seq uint64
		want        Verdict
		newest      buffer.Stamp
	}
	for _, tc := range []struct {
		name  string
		steps []step
	}{
		{"in order", []step{{1, 0, Fresh, 1000}, {1, 1, Fresh, 1001}, {1, 2, Fresh, 1002}}},
		{"repeats", []step{{1, 0, Fresh, 1000}, {1, 0, Repeat, 1000}, {1, 2, Fresh, 1000}, {1, 2, Repeat, 1000}, {1, 1, Fresh, 1002}, {1, 2, Repeat, 1002}}},
		{"up to the first hole", []step{{1, 1, Fresh, 0}, {1, 3, Fresh, 0}, {1, 0, Fresh, 1001}, {1, 4, Fresh, 1001}, {1, 2, Fresh, 1004}}},
		{"a newer stream begins at once, before its batch 0", []step{{1, 0, Fresh, 1000}, {3, 1, Fresh, 0}, {3, 0, Fresh, 3001}}},
		{"what was ahead in an older stream does not count", []step{{1, 1, Fresh, 0}, {2, 0, Fresh, 2000}, {2, 2, Fresh, 2000}}},
		{"an older stream is over", []step{{2, 0, Fresh, 2000}, {1, 0, Stale, 2000}, {1, 7, Stale, 2000}, {2, 1, Fresh, 2001}}},
		{"there is no stream 0", []step{{0, 0, Stale, 0}}},
		{"as far ahead as may be", []step{{1, Ahead, Fresh, 0}, {1, Ahead + 1, Early, 0}, {1, 0, Fresh, 1000}, {1, Ahead + 1, Fresh, 1000}}},
		{"the greatest number", []step{{1, 1<<64 - 1, Early, 0}, {1, 0, Fresh, 1000}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in := newInbox()
			in.Take(batch(other, 9, 0)) // another worker's do not matter
			for _, s := range tc.steps {
				take(t, in, batch(me, s.stream, s.seq), s.want)
				if got := in.Newest(me); got != s.newest {
					t.Errorf("after %d.%d newest is %d, want %d", s.stream, s.seq, got, s.newest)
				}
			}
			if got := in.Newest(other); got != 9000 {
				t.Errorf("the other worker's newest is %d, want 9000", got)
			}
		})
	}
}

func TestForeignBatches(t *testing.T) {
	for name, change := range map[string]func(*Batch){
		"fleet": func(b *Batch) { b.Fleet++ },
		"claim": func(b *Batch) { b.Claim[15]++ },
	} {
		in := newInbox()
		b := batch(me, 1, 0)
		change(b)
		take(t, in, b, Foreign)
		if got := in.Progress(me); got != (Progress{}) {
			t.Errorf("a batch of another %s left %+v", name, got)
		}
	}
}

func TestEpochs(t *testing.T) {
	in := newInbox()
	of := func(epoch uint32, stream, seq uint64) *Batch {
		b := batch(me, stream, seq)
		b.Epoch = epoch
		return b
	}
	take(t, in, of(1, 1, 0), Fresh)
	take(t, in, of(1, 1, 2), Fresh)
	take(t, in, of(2, 2, 0), Early) // the holder has read of the epoch first
	if got := in.Newest(me); got != 1000 {
		t.Errorf("an early batch left newest at %d, want 1000", got)
	}
	in.Advance(2)
	if got := in.Newest(me); got != 0 {
		t.Errorf("the new epoch begins with newest %d, want 0", got)
	}
	take(t, in, of(1, 1, 1), Stale)
	take(t, in, of(2, 1, 1), Stale)
	take(t, in, of(1, 2, 0), Stale) // a rejoin by a holder that has not read of the epoch
	take(t, in, of(2, 2, 1), Fresh)
	take(t, in, of(2, 2, 0), Fresh) // it comes again
	if got := in.Newest(me); got != 2001 {
		t.Errorf("the new stream has newest %d, want 2001", got)
	}
}

func TestBar(t *testing.T) {
	in := newInbox()
	in.Bar(me) // never heard of
	take(t, in, batch(me, 2, 0), Fresh)
	in.Bar(me)
	in.Bar(me)
	if got := in.Progress(me); got != (Progress{}) {
		t.Errorf("a removed worker has %+v", got)
	}
	take(t, in, batch(me, 2, 1), Stale)
	take(t, in, batch(me, 1, 0), Stale)
	take(t, in, batch(me, 3, 0), Fresh)
	if got := in.Newest(me); got != 3000 {
		t.Errorf("the worker is back with newest %d, want 3000", got)
	}
}

func TestByeCountsWhenAllIsIn(t *testing.T) {
	in := newInbox()
	bye := batch(me, 1, 2)
	bye.Bye = true
	bye.Policy = 9
	for _, b := range []*Batch{batch(me, 1, 0), bye} {
		take(t, in, b, Fresh)
		if in.Progress(me).Bye {
			t.Error("the worker has left before batch 1 is in")
		}
	}
	take(t, in, batch(me, 1, 1), Fresh)
	if got, want := in.Progress(me), (Progress{Stream: 1, Next: 3, Report: bye.Report, Bye: true}); got != want {
		t.Errorf("progress %+v, want %+v", got, want)
	}
}

func TestNewestOfAll(t *testing.T) {
	in := newInbox()
	in.Take(batch(me, 2, 0))
	in.Take(batch(other, 1, 5))
	for want, members := range map[buffer.Stamp][][16]byte{
		2000: {me},
		0:    {other, me},
	} {
		if got := in.Newest(members...); got != want {
			t.Errorf("newest of %d members is %d, want %d", len(members), got, want)
		}
	}
	in.Take(batch(other, 1, 0))
	if got := in.Newest(me, other); got != 1000 {
		t.Errorf("newest is %d, want the lesser, 1000", got)
	}
	if got := in.Newest(me, other, [16]byte{}); got != 0 {
		t.Errorf("newest with a member never heard of is %d, want 0", got)
	}
	if got := in.Newest(); got != 0 {
		t.Errorf("newest of nobody is %d, want 0", got)
	}
}

// Holders may read a claim before the claimant does, and their first batch is the only one with number 0. It goes back to
// the topic while the inbox is another claim's, and is taken as soon as there is one for it.
func TestBatchBeforeTheLeaderKnowsItself(t *testing.T) {
	first := batch(me, 1, 0)
	before := NewInbox(7, [16]byte{0xc0}, 1)
	take(t, before, first, Foreign)
	in := newInbox() // the claim is sent, nothing of it read
	take(t, in, batch(me, 1, 1), Fresh)
	take(t, in, first, Fresh)
	if got := in.Newest(me); got != 1001 {
		t.Errorf("newest is %d, want 1001: the first batch is lost", got)
	}
}

// A worker's first batches ask for membership, so they come before it; so do those of a worker that was removed.
func TestBatchBeforeTheMembership(t *testing.T) {
	in := newInbox()
	members := [][16]byte{other}
	take(t, in, batch(other, 1, 0), Fresh)
	for stream := uint64(1); stream < 4; stream++ {
		take(t, in, batch(me, stream, 0), Fresh)
		take(t, in, batch(me, stream, 1), Fresh)
		if got := in.Newest(members...); got != 1000 {
			t.Errorf("newest is %d, want 1000: who is not a member does not count", got)
		}
		if got, want := in.Newest(me), buffer.Stamp(1000*stream+1); got != want {
			t.Errorf("the new member begins with newest %d, want %d: its first batches are lost", got, want)
		}
		in.Bar(me)
	}
}

// A batch that never comes must not make the Inbox grow.
func TestHoleIsBounded(t *testing.T) {
	in := newInbox()
	early := 0
	for seq := uint64(1); seq < 3*Ahead; seq++ {
		if in.Take(batch(me, 1, seq)) == Early {
			early++
		}
	}
	if n := len(in.workers[me].ahead); n != Ahead || early != 2*Ahead-1 {
		t.Errorf("%d batches are ahead and %d early, want %d and %d", n, early, Ahead, 2*Ahead-1)
	}
	take(t, in, batch(me, 1, 0), Fresh)
	if n := len(in.workers[me].ahead); n != 0 || in.Progress(me).Next != Ahead+1 {
		t.Errorf("the hole is filled, %d batches are ahead, next is %d", n, in.Progress(me).Next)
	}
}

// holder is one worker of TestDelivery: what it has received, and what its Outbox has sent.
type holder struct {
	outbox *Outbox
	worker [16]byte
	held   []fleet.Facts
	sent   [][]byte
	// complete is, for each batch sent, how many of held were in the Outbox when the Newest in it was said.
	complete map[[2]uint64]int
}

// run receives random messages for a while; now and then it begins a new stream.
func (h *holder) run(t *testing.T, rng *rand.Rand) {
	h.outbox = NewOutbox(7, h.worker)
	h.complete = map[[2]uint64]int{}
	now, said := noon, 0
	for i := range 60 {
		if i == 0 || rng.IntN(20) == 0 {
			h.outbox.Restart(now, claim, 1, slices.Values(h.held))
			said = 0
		}
		if rng.IntN(3) > 0 {
			h.receive(now, rng)
		}
		report := Report{Newest: buffer.Stamp(i + 1)}
		for data, ok := h.outbox.Next(now, report); ok; data, ok = h.outbox.Next(now, report) {
			b := parsed(t, data)
			if b.Newest == report.Newest {
				said = len(h.held)
			}
			h.sent = append(h.sent, data)
			h.complete[[2]uint64{b.Stream, b.Seq}] = said
		}
		now = now.Add(time.Duration(rng.IntN(500)) * time.Millisecond)
	}
	h.outbox.Leave()
	data, _ := h.outbox.Next(now, Report{Newest: 1000})
	h.sent = append(h.sent, data)
}

func (h *holder) receive(now time.Time, rng *rand.Rand) {
	n := rng.IntN(8)
	if k := len(h.held); h.worker[0] == 1 && (k == 3 || k == 5) {
		n = 9000 // from here on a new stream begins with more than a batch
	}
	f := message(uint64(h.worker[0])<<8|uint64(len(h.held)+1), buffer.Stamp(20_000+rng.IntN(40_000)), n)
	for i := range min(n, 8) {
		f.Fragments[i].Trace = [16]byte{0: 0xff, 15: byte(rng.IntN(30))} // shared with other messages and workers
		f.Fragments[i].Facts.Root = rng.IntN(4) == 0
	}
	h.held = append(h.held, f)
	h.outbox.Add(now, f)
}

// fold is what the window makes of facts.
type fold struct{ *buffer.Window }

func newFold() fold {
	return fold{buffer.New(buffer.Config{Settle: 3 * time.Second, Idle: 8 * time.Second, MaxAge: 30 * time.Second, MaxTraces: 1 << 20, MaxBytes: 1 << 40}.Defaults())}
}

func (w fold) add(f fleet.Facts) {
	for _, x := range f.Fragments {
		w.Add(x.Trace, buffer.Fact{Message: f.Message, Publish: f.Publish, Facts: x.Facts}, func(buffer.Release) { panic("evicted") })
	}
}

func (w fold) releases() (out []buffer.Release) {
	w.Drain(func(r buffer.Release) { out = append(out, r) })
	return out
}

// In whatever order and how often batches come, and however the facts are spread over them: what is gathered is the facts
// of all holders, and whenever a worker's Newest moves, all that the worker had when it said so is in.
func TestDelivery(t *testing.T) {
	for seed := range uint64(10) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 4))
			want, got := newFold(), newFold()
			holders := map[[16]byte]*holder{}
			var topic [][]byte
			for i := range 3 {
				h := &holder{worker: [16]byte{byte(i + 1)}}
				h.run(t, rng)
				holders[h.worker] = h
				topic = append(topic, h.sent...)
				for _, f := range h.held {
					want.add(f)
				}
			}
			deliver(t, disordered(rng, topic), holders, got)
			if a, b := want.releases(), got.releases(); !slices.Equal(a, b) {
				t.Errorf("−want +got\n%s", cmp.Diff(a, b))
			}
		})
	}
}

// disordered is the batches with a third of them twice, in places up to 40 from their own.
func disordered(rng *rand.Rand, topic [][]byte) [][]byte {
	type delivery struct {
		at   int
		data []byte
	}
	var all []delivery
	for i, data := range topic {
		for n := 1 + rng.IntN(3)/2; n > 0; n-- {
			all = append(all, delivery{i + rng.IntN(40), data})
		}
	}
	slices.SortStableFunc(all, func(a, b delivery) int { return a.at - b.at })
	var out [][]byte
	for _, d := range all {
		out = append(out, d.data)
	}
	return out
}

// deliver does what a sequencer does with its topic, and checks each step.
func deliver(t *testing.T, topic [][]byte, holders map[[16]byte]*holder, to fold) {
	in := newInbox()
	fresh := map[[3]uint64]bool{}
	gathered := map[[2]uint64]int{} // fragments by stream and message: a stream has everything by itself
	var b Batch
	for _, data := range topic {
		if err := b.Parse(data); err != nil {
			t.Fatal(err)
		}
		if in.Take(&b) == Fresh {
			once(t, fresh, &b)
			for _, m := range b.Messages {
				gathered[[2]uint64{b.Stream, m.Message}] += len(m.Fragments)
				to.add(m)
			}
		}
		h, p := holders[b.Worker], in.Progress(b.Worker)
		if p.Next == 0 {
			continue
		}
		for _, m := range h.held[:h.complete[[2]uint64{p.Stream, p.Next - 1}]] {
			if n := gathered[[2]uint64{p.Stream, m.Message}]; n < len(m.Fragments) {
				t.Fatalf("worker %d has newest %d, but only %d of %d fragments of message %d are in", b.Worker[0], p.Newest, n, len(m.Fragments), m.Message)
			}
		}
	}
	for _, h := range holders {
		if p := in.Progress(h.worker); !p.Bye || p.Newest != 1000 {
			t.Errorf("worker %d ends at %+v, want its bye", h.worker[0], p)
		}
	}
}

func once(t *testing.T, fresh map[[3]uint64]bool, b *Batch) {
	id := [3]uint64{uint64(b.Worker[0]), b.Stream, b.Seq}
	if fresh[id] {
		t.Errorf("batch %d of worker, stream, seq is given out twice", id)
	}
	fresh[id] = true
}
