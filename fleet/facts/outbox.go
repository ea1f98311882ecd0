package facts

import (
	"iter"
	"time"

	"tailweir/buffer"
	"tailweir/fleet"
)

const (
	// MaxBatch is the most bytes of a batch: far below Pub/Sub's 10 MB, so that one batch holds up neither side for long.
	MaxBatch = 256 << 10

	// worthwhile is the size from which a batch does not wait for more facts: Pub/Sub bills a request as 1 kB at least.
	worthwhile = 1 << 10
	// soon is how long after the first fact a batch goes out, if worthwhile: a request costs a worker more than its facts.
	soon = 250 * time.Millisecond
	beat = 500 * time.Millisecond // after the batch before, in any case
	each = soon / 4               // of soon for each member: from four to eight of them the fleet sends no more batches

	mostHeader = 128
	// mostFragments of a message go together, 90 B each at most; a larger message is said in parts, which the window takes
	// like different messages about different traces.
	mostFragments = 2048
)

// Outbox gathers the facts of a holder into the batches of its streams. Use NewOutbox. It is not safe for concurrent use.
// It holds the encoded facts that Next has not yet given out, about 30 B a fragment; the caller bounds them by bounding
// what it holds.
type Outbox struct {
	head   Batch  // of the stream; Seq is the next number, Newest what the last complete batch said
	open   part   // gathers
	full   []part // cut off because of their size, in order
	soon   time.Duration
	since  time.Time // when open's first fact came
	last   time.Time // when the last batch was given out
	active bool      // a stream has begun, and not ended with a bye
	urgent bool      // the next batch is due at once
	leave  bool
}

// part is the encoded messages of one batch to be.
type part struct {
	body                []byte
	messages, fragments int
	publish             buffer.Stamp // of the last message
}

func (p part) with(f *fleet.Facts) part {
	p.body = appendMessage(p.body, f, p.publish)
	p.messages++
	p.fragments += len(f.Fragments)
	p.publish = f.Publish
	return p
}

// NewOutbox returns the Outbox of a worker. It sends nothing before the first Restart.
func NewOutbox(fleet uint64, worker [16]byte) *Outbox {
	return &Outbox{head: Batch{Fleet: fleet, Worker: worker}, soon: soon}
}

// Members says how many send facts: the more they are, the longer each gathers, half a second at most.
func (o *Outbox) Members(n int) { o.soon = min(max(soon, time.Duration(n)*each), beat) }

// Restart begins a new stream at now: for a new claim, a new epoch, when the members lack this worker or list an older
// stream of it, and when a batch could not be published. held yields the facts of everything that is held and undecided,
// with bits of the epoch; they go first, and replace whatever waited here.
func (o *Outbox) Restart(now time.Time, claim [16]byte, epoch uint32, held iter.Seq[fleet.Facts]) {
	o.head.Claim, o.head.Epoch = claim, epoch
	o.head.Stream++
	o.head.Seq, o.head.Newest, o.head.Bye = 0, 0, false
	o.open, o.full = part{}, nil
	o.active, o.urgent, o.leave = true, true, false
	for f := range held {
		o.Add(now, f)
	}
}

// Claim and Epoch are what the stream was begun for.
func (o *Outbox) Claim() [16]byte { return o.head.Claim }

// Epoch is the policy's epoch of the stream.
func (o *Outbox) Epoch() uint32 { return o.head.Epoch }

// Add takes the facts of one message, received at now, and keeps no part of them. Without a stream it does nothing:
// Restart will ask for all that is held.
func (o *Outbox) Add(now time.Time, f fleet.Facts) {
	if !o.active {
		return
	}
	for all := f.Fragments; ; {
		n := min(len(all), mostFragments)
		f.Fragments, all = all[:n], all[n:]
		o.add(now, &f)
		if len(all) == 0 {
			return
		}
	}
}

func (o *Outbox) add(now time.Time, f *fleet.Facts) {
	grown := o.open.with(f)
	if len(grown.body) > MaxBatch-mostHeader {
		o.full = append(o.full, o.open)
		o.open, o.urgent = part{}, true
		grown = o.open.with(f)
	}
	if o.open.messages == 0 {
		o.since = now
	}
	o.open = grown
}

// Leave makes the worker leave: what waits is due at once, the last batch says goodbye, and then nothing is due until
// the next Restart. The caller has stopped receiving.
func (o *Outbox) Leave() { o.leave, o.urgent = true, true }

// Due returns when Next will have a batch, if nothing is added before. It is the zero time for at once; ok is false when
// nothing will be due without a Restart.
func (o *Outbox) Due() (at time.Time, ok bool) {
	switch {
	case !o.active:
		return time.Time{}, false
	case o.urgent:
		return time.Time{}, true
	}
	at = o.last.Add(beat)
	if early := o.since.Add(o.soon); len(o.open.body) >= worthwhile && early.Before(at) {
		at = early
	}
	return at, true
}

// Next returns the next batch if one is due at now; it belongs to the caller, who publishes these same bytes until it is
// confirmed, or else calls Restart. Batches need not be published one after another. Call Next until there is none.
//
// report.Newest may count only messages whose facts were given to Add, or need none. A batch that is cut off because of
// its size does not have all of them, so it repeats what the one before said.
func (o *Outbox) Next(now time.Time, report Report) (data []byte, ok bool) {
	if at, ok := o.Due(); !ok || now.Before(at) {
		return nil, false
	}
	b := &o.head
	b.Lag, b.Away, b.Policy = report.Lag, report.Away, report.Policy
	var p part
	if len(o.full) > 0 {
		p, o.full = o.full[0], o.full[1:]
	} else {
		p, o.open = o.open, part{body: o.open.body[:0]}
		b.Newest, b.Bye = report.Newest, o.leave
		o.urgent, o.active = false, !o.leave
	}
	data = b.appendHeader(make([]byte, 0, mostHeader+len(p.body)), p.messages, p.fragments)
	b.Seq++
	o.last = now
	return append(data, p.body...), true
}
