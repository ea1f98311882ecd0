// Package facts is how facts travel from the holders of payloads to the sequencer: their wire form (Batch), the sending
// side (Outbox) and the receiving side (Inbox). It is pure: no I/O, no clock, no goroutine.
//
// The topic between the two sides neither keeps order nor delivers only once. A holder therefore numbers its batches in
// a stream, and says in each of them how far event time has come for it. The sequencer believes that only up to the first
// missing number, since only then has it every fact that the holder had when it said so. A new claim, a new epoch or a
// rejoin begins a new stream, in which the holder first says again all that is undecided.
package facts

import (
	"errors"
	"fmt"
	"time"

	"tailweir/buffer"
	"tailweir/fleet"
)

// Batch is one message on the facts topic.
type Batch struct {
	Fleet  uint64   // hash of the fleet's name: batches of another fleet are not ours
	Claim  [16]byte // the sequencer it is for
	Epoch  uint32   // of the policy that numbered the bits of the facts
	Worker [16]byte // new for each start of a process
	Stream uint64   // grows with each claim, epoch and rejoin of the worker; from 1
	Seq    uint64   // of the batch in its stream; from 0
	Report
	Bye      bool // the worker leaves: its last batch
	Messages []fleet.Facts

	fragments []fleet.Fragment // of all messages, as Parse read them
}

// Report is what a holder says of itself in each batch.
type Report struct {
	// Newest is the greatest publish time among the messages received whose facts are in this batch or an earlier one of
	// the stream; 0 is none. It is 0 and not the least Stamp because a lag is subtracted from it.
	Newest buffer.Stamp
	Lag    time.Duration // how far behind Newest the holder wants the watermark, by the disorder in which messages came to it lately
	// Away is how long after this batch the last message returns to the queue that the holder handed back for a while, in
	// whole milliseconds; 0 is none. Its facts were said, but only to who led then.
	Away   time.Duration
	Policy uint64 // hash of the policy set that the holder knows; it may be ahead of the epoch
}

// ErrNewer is what Parse's error wraps for a batch in a later format, as happens during a rolling deploy: another reader
// may know it, so it must go back to the topic.
var ErrNewer = errors.New("batch in a newer format")

// ErrMalformed is what every *Error is. The batch is of no use to anybody.
var ErrMalformed = errors.New("malformed batch")

// Error says where and why a batch is malformed.
type Error struct {
	Offset int    // bytes from the start of the batch to the value at fault
	Field  string // "seq"
	Fault  string // "is cut off"
}

func (e *Error) Error() string {
	return fmt.Sprintf("facts: malformed batch: byte %d: %s %s", e.Offset, e.Field, e.Fault)
}

// Is makes errors.Is(err, ErrMalformed) true.
func (e *Error) Is(target error) bool { return target == ErrMalformed }
