// Package exporter delivers kept spans and log records to the places where people read them: any OTLP
// backend, files of OTLP JSON lines, and the memory that the console shows.
//
// Delivery is at least once and confirmed: Export returns nil only after the backend said that it has the
// data, and the caller holds its messages until then. Each exporter classifies a failure once, where it
// arises, and retries by itself whatever can succeed later; the caller only settles.
package exporter

import (
	"context"
	"fmt"

	"tailweir/otlp"
)

// Batch is one or more traces' spans, or log records, or metrics. Exporters only read it.
type Batch struct {
	Signal  otlp.Signal
	Payload []byte // a valid export request of the signal, uncompressed
	Items   int    // spans, log records or data points in Payload
	Parts   []Part // in the order of Payload; without them a batch is never sent in smaller pieces
}

// Part is one trace's share of a batch, or one payload of metrics, of which only Items, Off and Len are set: Payload[Off:Off+Len] is itself a valid export request.
type Part struct {
	Trace   otlp.TraceID // zero for log records without a trace id
	Kept    bool         // false: log records of a trace that was dropped or is not decided
	Decided bool         // Kept is the tail decision; false: nobody decided, and a record's own sampled flag says most
	Policy  string       // the policy that decided
	Reason  string       // why the trace was released
	Items   int          // spans, log records or data points
	Off     int
	Len     int
	Sources []Source // logs only: where the records came from, in their order
}

// Source is a run of a part's log records that came in one message, and all of theirs that are of one class.
type Source struct {
	Message uint64 // hash of the message's payload and of the class: the same in every process, and whenever it is delivered
	Items   int
}

// Exporter delivers batches. Implementations are safe for concurrent use.
type Exporter interface {
	// Name is short and stable: for logs and metrics, such as "otlp".
	Name() string

	// Export returns nil only after the backend confirmed the whole batch. It retries what can succeed later
	// until ctx is done. Errors: *PermanentError and *PartialError as described there (use errors.AsType); any
	// other error means that the backend may take the batch later. It neither modifies nor keeps the batch.
	Export(ctx context.Context, b *Batch) error
}

// PartialError says that the backend has the batch except for Rejected items, which it did not name. They
// must not be sent again (OTLP specification, "Partial Success"). It may come joined with a PermanentError
// that names what it refused; the rejected items are then of the rest.
type PartialError struct {
	Rejected int    // spans, log records or data points, at least 1
	Msg      string // the backend's reason, at most 512 bytes
}

func (e *PartialError) Error() string {
	return fmt.Sprintf("backend rejected %d items: %s", e.Rejected, e.Msg)
}

// tiled says whether the parts cover the payload without gaps, in order: only then can pieces replace it.
func (b *Batch) tiled() bool {
	end := 0
	for _, p := range b.Parts {
		if p.Off != end || p.Len < 0 {
			return false
		}
		end += p.Len
	}
	return len(b.Parts) > 0 && end == len(b.Payload)
}

// run is the payload and the items of the parts [first, end).
func (b *Batch) run(first, end int) (payload []byte, items int) {
	for _, part := range b.Parts[first:end] {
		items += part.Items
	}
	last := b.Parts[end-1]
	return b.Payload[b.Parts[first].Off : last.Off+last.Len], items
}
