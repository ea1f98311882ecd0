// Package ledger is the bookkeeping of a load test: ids that say by themselves
// what must become of their trace, a record of what arrived, and the proof that
// joins what was sent with what arrived.
//
// It shares no code with the pipeline it judges.
package ledger

import "encoding/binary"

// MaxSpans is the greatest number of spans a trace id can carry.
const MaxSpans = 1 << 12

// Identity is what a trace id says of its trace.
//
// A trace id is two words. The high one holds, from the top: run (16 bits),
// number (32), spans-1 (12), flags (4). The low one is a keyed 64-bit mix of the
// high one: uniform, so that its low 56 bits serve as the randomness of
// probabilistic sampling (OTEP-235), and a check, so that an id that the load
// did not make is recognised.
type Identity struct {
	Run    uint16
	Number uint32
	Spans  int  // 1..MaxSpans
	Error  bool // a span of the trace has status ERROR
	Slow   bool // the trace lasts longer than SlowDuration
}

const (
	flagError = 1 << 0
	flagSlow  = 1 << 1
	flagsUsed = flagError | flagSlow

	lowKey  = 0x7461696c77656972 // any constant: it only has to differ from what others mix
	spanKey = 0x9e3779b97f4a7c15
)

// High is the first word of the trace id.
func (id Identity) High() uint64 {
	h := uint64(id.Run)<<48 | uint64(id.Number)<<16 | uint64(id.Spans-1)<<4
	if id.Error {
		h |= flagError
	}
	if id.Slow {
		h |= flagSlow
	}
	return h
}

// TraceID is the id in wire order.
func (id Identity) TraceID() (b [16]byte) {
	h := id.High()
	binary.BigEndian.PutUint64(b[:8], h)
	binary.BigEndian.PutUint64(b[8:], Low(h))
	return b
}

// Low is the second word of the trace id whose first word is high.
func Low(high uint64) uint64 { return mix(high ^ lowKey) }

// ParseTraceID reads a trace id; ok is false for one that no load made.
func ParseTraceID(b []byte) (id Identity, ok bool) {
	if len(b) != 16 {
		return Identity{}, false
	}
	h := binary.BigEndian.Uint64(b)
	if binary.BigEndian.Uint64(b[8:]) != Low(h) {
		return Identity{}, false
	}
	return parseHigh(h)
}

func parseHigh(h uint64) (Identity, bool) {
	flags := h & 15
	return Identity{
		Run:    uint16(h >> 48),
		Number: uint32(h >> 16),
		Spans:  int(h>>4&(MaxSpans-1)) + 1,
		Error:  flags&flagError != 0,
		Slow:   flags&flagSlow != 0,
	}, flags&^flagsUsed == 0
}

// SpanID is the id of the index-th span of the trace with the given first word:
// index+1 in 16 bits, then a 48-bit check. It is never zero.
func SpanID(high uint64, index int) uint64 {
	at := uint64(index + 1)
	return at<<48 | mix(high+at*spanKey)>>16
}

// ParseSpanID reads a span id of the trace; ok is false if it is none of its spans.
func ParseSpanID(high uint64, b []byte) (index int, ok bool) {
	if len(b) != 8 {
		return 0, false
	}
	id := binary.BigEndian.Uint64(b)
	index = int(id>>48) - 1
	spans := int(high>>4&(MaxSpans-1)) + 1
	if index < 0 || index >= spans || id != SpanID(high, index) {
		return 0, false
	}
	return index, true
}

// HasRecord says whether the index-th span has a correlated log record, when the
// run sends logs: half of the spans do.
func HasRecord(high uint64, index int) bool { return SpanID(high, index)&(1<<20) != 0 }

// Records counts the correlated log records of the trace.
func (id Identity) Records() (n int) {
	h := id.High()
	for i := range id.Spans {
		if HasRecord(h, i) {
			n++
		}
	}
	return n
}

// Verdict is what tail sampling has to do with a trace.
type Verdict uint8

const (
	Drop   Verdict = iota // no span of it may arrive
	Keep                  // every span of it must arrive
	Either                // both are right, but it must arrive whole or not at all
)

// borderline is the half width of the band of randomness around the threshold
// inside which both verdicts are right: samplers may round a threshold to four
// hex digits (2^-16 of the range). One trace in 16,000 falls into it.
const borderline = 1 << (56 - 15)

// Verdict applies the policies "status ERROR", "slow" and "percent of the rest".
func (id Identity) Verdict(percent float64) Verdict {
	if id.Error || id.Slow {
		return Keep
	}
	threshold := threshold(percent)
	random := int64(Low(id.High()) & (1<<56 - 1))
	switch {
	case percent >= 100 || random >= threshold+borderline:
		return Keep
	case percent <= 0 || random < threshold-borderline:
		return Drop
	}
	return Either
}

// threshold is the least randomness that is kept, but for rounding.
func threshold(percent float64) int64 { return int64((1 - percent/100) * (1 << 56)) }

// mix is the finalizer of splitmix64: a bijection of 64 bits without visible structure.
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}
