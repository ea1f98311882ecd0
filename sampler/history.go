package sampler

import (
	"encoding/binary"
	"hash/maphash"
	"math"
	"sync"

	"tailweir/otlp"
)

// History remembers the decisions of the most recently used traces, so that late spans and redelivered messages follow
// them: at least the size/2 used last, and at most size. Safe for concurrent use.
//
// It is two generations: when the young one holds half of size it becomes the old one, and the old one is forgotten as a
// whole; its memory is kept for the next. A list in the order of use would forget exactly, at four times the memory and time
// for each entry.
type History struct {
	mu         sync.Mutex
	seed       maphash.Seed // senders choose the trace ids: what collides must not be known to them
	half       int
	young, old generation
	twice      int      // how many are in both
	names      []string // of policies, by number; at most mostNames
	numbers    map[string]uint16
}

const mostNames = math.MaxUint16 + 1

// verdict is a Decision as bytes, so that an entry needs no padding: 8 of threshold and keep, 2 of the number of the
// policy's name. Its First, which few have, lies elsewhere.
type verdict [10]byte

// Beside a threshold, which has 57 bits.
const (
	keepBit  = 1 << 63
	firstBit = 1 << 62
)

func (v *verdict) hasFirst() bool { return v[7]&(firstBit>>56) != 0 }

// NewHistory returns a history of at most size traces, 32 B each: 6 of them at once, the others as they come. One with a First
// takes 8 B more, which 4 B for each trace would come to if half of all had one. Less than two is two.
func NewHistory(size int) *History {
	half := max(size/2, 1)
	return &History{
		seed: maphash.MakeSeed(),
		half: half, young: newGeneration(half), old: newGeneration(half),
		names: []string{""}, numbers: map[string]uint16{"": 0},
	}
}

// Get is the decision on id, if it is remembered, and marks it as used.
func (h *History) Get(id otlp.TraceID) (Decision, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	v, first, known := h.useLocked(&id, h.hash(&id))
	if !known {
		return Decision{}, false
	}
	d := h.unpackLocked(v)
	d.First = first
	return d, true
}

// Put remembers d for id unless a decision on id is remembered already: the first one stands. It reports whether d was
// the first. After 65,535 names of policies, decisions of further ones are remembered without the name.
func (h *History) Put(id otlp.TraceID, d Decision) (first bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	hash := h.hash(&id)
	if _, _, decided := h.useLocked(&id, hash); decided {
		return false
	}
	h.addLocked(&id, hash, h.packLocked(d), d.First)
	return true
}

// Len is the number of traces remembered.
func (h *History) Len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.young.n + h.old.n - h.twice
}

func (h *History) hash(id *otlp.TraceID) uint64 { return maphash.Bytes(h.seed, id[:]) }

func (h *History) useLocked(id *otlp.TraceID, hash uint64) (v verdict, first uint32, known bool) {
	if v, first, known = h.young.find(id, hash); known {
		return v, first, true
	}
	if v, first, known = h.old.find(id, hash); known && h.addLocked(id, hash, v, first) {
		h.twice++
	}
	return v, first, known
}

// addLocked reports whether id, which is not in the young generation, went into the one that was young before.
func (h *History) addLocked(id *otlp.TraceID, hash uint64, v verdict, first uint32) bool {
	full := h.young.n >= h.half
	if full {
		h.young, h.old, h.twice = h.old, h.young, 0
		h.young.clear()
	}
	h.young.add(id, hash, v, first)
	return !full
}

func (h *History) packLocked(d Decision) verdict {
	number, known := h.numbers[d.Policy]
	if !known && len(h.names) < mostNames {
		number = uint16(len(h.names))
		h.names = append(h.names, d.Policy)
		h.numbers[d.Policy] = number
	}
	bits := d.Threshold
	if d.Keep {
		bits |= keepBit
	}
	if d.First != 0 {
		bits |= firstBit
	}
	var v verdict
	binary.LittleEndian.PutUint64(v[:8], bits)
	binary.LittleEndian.PutUint16(v[8:], number)
	return v
}

func (h *History) unpackLocked(v verdict) Decision {
	bits := binary.LittleEndian.Uint64(v[:8])
	return Decision{Keep: bits&keepBit != 0, Policy: h.names[binary.LittleEndian.Uint16(v[8:])], Threshold: bits &^ (keepBit | firstBit)}
}
