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
	"slices"

	"tailweir/otlp"
)

// Batch is one or more traces' spans, or log records, of one signal. Exporters only read it.
type Batch struct {
	Signal  otlp.Signal
	Payload []byte // a valid ExportTraceServiceRequest or ExportLogsServiceRequest, uncompressed
	Items   int    // spans or log records in Payload
	Parts   []Part // in the order of Payload; without them a batch is never sent in smaller pieces
}

// Part is one trace's share of a batch: Payload[Off:Off+Len] is itself a valid export request.
type Part struct {
	Trace  otlp.TraceID // zero for log records without a trace id
	Kept   bool         // false: log records of a trace that was dropped or is not decided
	Policy string       // the policy that decided
	Reason string       // why the trace was released
	Items  int          // spans or log records
	Off    int
	Len    int
}

// Exporter delivers batches. Implementations are safe for concurrent use.
type Exporter interface {
	// Name is short and stable: for logs and metrics, such as "otlp".
	Name() string

	// Export returns nil only after the backend confirmed the whole batch. It retries what can succeed later
	// until ctx is done. Errors: *PermanentError and *PartialError as described there (use errors.As); any
	// other error means that the backend may take the batch later. It neither modifies nor keeps the batch.
	Export(ctx context.Context, b *Batch) error
}

// PermanentError says that the backend will never take the batch: it is for the dead-letter topic.
type PermanentError struct {
	Err error

	// Parts are the indexes of Batch.Parts that were refused, ascending; the others were confirmed. nil means that the
	// batch was refused as one, so that some of it may pass alone.
	Parts []int
}

func (e *PermanentError) Error() string { return e.Err.Error() }
func (e *PermanentError) Unwrap() error { return e.Err }

// PartialError says that the backend has the batch except for Rejected items, which it did not name. They
// must not be sent again (OTLP specification, "Partial Success"). It may come joined with a PermanentError
// that names Parts; the rejected items are then of the other parts.
type PartialError struct {
	Rejected int    // spans or log records, at least 1
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

// piece is a run of a batch's parts, [first, end), or the whole batch.
type piece struct {
	payload    []byte
	items      int
	first, end int
}

func (b *Batch) whole() piece {
	return piece{payload: b.Payload, items: b.Items, end: len(b.Parts)}
}

// halve cuts a piece of at least two parts where its bytes are closest to even.
func (b *Batch) halve(p piece) (piece, piece) {
	base := b.Parts[p.first].Off
	middle := base + len(p.payload)/2
	inner := b.Parts[p.first+1 : p.end]
	i, _ := slices.BinarySearchFunc(inner, middle, func(part Part, off int) int { return part.Off - off })
	if i == len(inner) || (i > 0 && middle-inner[i-1].Off < inner[i].Off-middle) {
		i--
	}
	return b.run(p.first, p.first+1+i), b.run(p.first+1+i, p.end)
}

func (b *Batch) run(first, end int) piece {
	p := piece{first: first, end: end}
	for _, part := range b.Parts[first:end] {
		p.items += part.Items
	}
	last := b.Parts[end-1]
	p.payload = b.Payload[b.Parts[first].Off : last.Off+last.Len]
	return p
}
