package facts

import (
	"fmt"

	"tailweir/buffer"
)

// Ahead is how many batches after the first missing one an Inbox takes of a worker: 100 s of them at the shortest
// interval, and at most 100 kB of memory.
const Ahead = 1024

// Inbox is what a sequencer has taken under one claim. Use NewInbox. It knows nothing of membership: a worker's first
// batch may come before the worker is a member, and before the sequencer has read its own claim back, and is the only one
// of its number. It is not safe for concurrent use. Beside Ahead it takes about 150 B for each worker heard of, those that
// are gone included, since their late batches must not bring them back; the end of the claim frees them.
type Inbox struct {
	fleet   uint64
	claim   [16]byte
	epoch   uint32
	workers map[[16]byte]*sender
}

// sender is one worker's streams.
type sender struct {
	barred uint64 // streams up to this number are over
	Progress
	ahead map[uint64]mark // by seq: the batches taken beyond the first missing one
}

// mark is what counts of a batch once all before it are in.
type mark struct {
	Report
	bye bool
}

// Progress is how far a worker's current stream is known without a gap. The zero value says that there is none.
type Progress struct {
	Stream uint64
	Next   uint64 // the first seq missing; when it stands still, something is lost or the worker silent
	Report        // of the batch before Next; zero when Next is 0
	Bye    bool   // the worker has left, and everything it said is in
}

// Place is a number that grows when the worker's stream goes on, or another begins.
func (p Progress) Place() [2]uint64 { return [2]uint64{p.Stream, p.Next} }

// Verdict is what becomes of a batch.
type Verdict uint8

// Fresh batches are processed and acked, Repeat and Stale ones acked only. Early ones are nacked: they will be wanted
// when they come again. Of Foreign ones the log knows: an old claim is acked, a new or unknown one nacked.
const (
	Fresh   Verdict = iota // its facts are to be gathered
	Repeat                 // was taken before
	Stale                  // of an epoch or a stream that is over; what still matters of it is said again in a newer one
	Early                  // of an epoch to come, or too far ahead of a missing batch
	Foreign                // for another claim or fleet
)

func (v Verdict) String() string {
	names := [...]string{"fresh", "repeat", "stale", "early", "foreign"}
	if int(v) < len(names) {
		return names[v]
	}
	return fmt.Sprintf("verdict %d", uint8(v))
}

// NewInbox returns the Inbox of a claim under an epoch. It has to exist from the moment the claim is sent: holders may
// read the claim first.
func NewInbox(fleet uint64, claim [16]byte, epoch uint32) *Inbox {
	return &Inbox{fleet: fleet, claim: claim, epoch: epoch, workers: map[[16]byte]*sender{}}
}

// Take takes note of a batch and says what is to become of it. Batches may come in any order and more than once; each is
// Fresh once. A batch of a newer stream ends the older one. A missing batch is waited for: it holds Progress, so the
// watermark, and once Ahead batches after it are in, the rest stay on the topic. A worker that lost a batch for good is
// therefore removed like a silent one, by its Next, and returns with a new stream.
func (in *Inbox) Take(b *Batch) Verdict {
	switch {
	case b.Fleet != in.fleet || b.Claim != in.claim:
		return Foreign
	case b.Epoch > in.epoch:
		return Early
	case b.Epoch < in.epoch:
		return Stale
	}
	w := in.workers[b.Worker]
	if w == nil {
		w = &sender{}
		in.workers[b.Worker] = w
	}
	switch {
	case b.Stream <= w.barred || b.Stream < w.Stream:
		return Stale
	case b.Stream > w.Stream:
		w.Progress, w.ahead = Progress{Stream: b.Stream}, nil
	}
	return w.take(b)
}

func (w *sender) take(b *Batch) Verdict {
	_, known := w.ahead[b.Seq]
	switch {
	case known || b.Seq < w.Next:
		return Repeat
	case b.Seq-w.Next > Ahead:
		return Early
	case b.Seq > w.Next:
		if w.ahead == nil {
			w.ahead = map[uint64]mark{}
		}
		w.ahead[b.Seq] = mark{b.Report, b.Bye}
		return Fresh
	}
	for m, ok := (mark{b.Report, b.Bye}), true; ok; m, ok = w.ahead[w.Next] {
		delete(w.ahead, w.Next)
		w.Report, w.Bye = m.Report, m.bye
		w.Next++
	}
	return Fresh
}

// Progress returns how far the worker's stream has come.
func (in *Inbox) Progress(worker [16]byte) Progress {
	if w := in.workers[worker]; w != nil {
		return w.Progress
	}
	return Progress{}
}

// Newest returns the least Newest of the members: the event time that all of them have reached with all their facts in.
// It is 0, before any deadline, while one has not begun, and without members.
func (in *Inbox) Newest(members ...[16]byte) buffer.Stamp {
	var least buffer.Stamp
	for i, m := range members {
		if e := in.Progress(m).Newest; i == 0 || e < least {
			least = e
		}
	}
	return least
}

// Bar ends the worker's current stream, because it left or fell silent: the sequencer removes it from the members. A newer
// stream begins anew.
func (in *Inbox) Bar(worker [16]byte) {
	if w := in.workers[worker]; w != nil {
		*w = sender{barred: max(w.barred, w.Stream)}
	}
}

// Advance makes epoch the current one, which must be greater than the one before. All streams end with their epoch, so
// every member's Newest is 0 until its new stream has begun.
func (in *Inbox) Advance(epoch uint32) {
	in.epoch = epoch
	for worker := range in.workers {
		in.Bar(worker)
	}
}
