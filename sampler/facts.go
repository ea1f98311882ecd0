package sampler

import (
	"encoding/binary"
	"math"
	"time"

	"tailweir/otlp"
)

// Facts is what is known of one trace, or of a fragment of it. The zero value says that nothing was seen.
//
// Merge is commutative and associative, so fragments may arrive in any order and be grouped in any way. Times, randomness,
// Root and Bits are idempotent as well; Spans, Logs and Bytes are sums, so a fragment that is delivered twice must be
// merged once.
type Facts struct {
	Spans, Logs uint32 // saturating
	Bytes       uint64 // encoded size of the spans
	// Start is the earliest start and End the latest end of all spans, in unix ns; 0 is none. A span that ends before it
	// starts counts as ending at its start.
	Start, End uint64
	// Random is the explicit randomness (`rv` of the tracestate, OTEP-235), 56 bits, when HasRandom; the greatest if spans
	// disagree.
	Random    uint64
	HasRandom bool
	Root      bool // a span without a parent was seen
	// Bits is which leaf conditions of the policy set matched on any span or its resource. The numbering belongs to one
	// policy set: Facts of sets with different Hash must not be merged.
	Bits [2]uint64
}

// Merge adds what g knows to f. g is not changed.
func (f *Facts) Merge(g *Facts) {
	f.Spans = addSaturating(f.Spans, g.Spans)
	f.Logs = addSaturating(f.Logs, g.Logs)
	f.Bytes += g.Bytes
	if g.Start != 0 && (f.Start == 0 || g.Start < f.Start) {
		f.Start = g.Start
	}
	f.End = max(f.End, g.End)
	f.Random = max(f.Random, g.Random)
	f.HasRandom = f.HasRandom || g.HasRandom
	f.Root = f.Root || g.Root
	f.Bits[0] |= g.Bits[0]
	f.Bits[1] |= g.Bits[1]
}

func addSaturating(a, b uint32) uint32 {
	if a > math.MaxUint32-b {
		return math.MaxUint32
	}
	return a + b
}

// Duration is latest end − earliest start of the spans; 0 when a time is missing.
func (f *Facts) Duration() time.Duration {
	if f.Start == 0 || f.End <= f.Start {
		return 0
	}
	return time.Duration(min(f.End-f.Start, math.MaxInt64))
}

// randomness is the R of OTEP-235: the explicit rv, else the low 56 bits of the trace id.
func (f *Facts) randomness(id otlp.TraceID) uint64 {
	if f.HasRandom {
		return min(f.Random, never-1) // what other workers say is not checked
	}
	return binary.BigEndian.Uint64(id[8:]) & (never - 1)
}
