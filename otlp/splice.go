package otlp

import (
	"encoding/binary"
	"math"
)

// splice is what of a payload is replaced, in its order.
type splice struct {
	edits []patch
	text  []byte
	delta int // by how much the payload grows
}

// patch puts text[from:to] in the place of the bytes [off, end).
type patch struct{ off, end, from, to uint32 }

// pending is the length of a message that is being walked.
const pending = math.MaxUint32

// mark is where a message began.
type mark struct{ edits, text, delta int }

func (s *splice) reset() {
	const most = 1 << 16
	if cap(s.edits) > most || cap(s.text) > most<<4 {
		*s = splice{}
	}
	s.edits, s.text, s.delta = s.edits[:0], s.text[:0], 0
}

// size is the memory it takes.
func (s *splice) size() int { return len(s.edits)*16 + len(s.text) }

// open begins a message whose length stands from length to start.
func (s *splice) open(length, start int) mark {
	m := mark{len(s.edits), len(s.text), s.delta}
	s.edits = append(s.edits, patch{uint32(length), uint32(start), pending, 0})
	return m
}

// close ends it at end: with a new length if anything changed in it.
func (s *splice) close(m mark, end int) {
	if len(s.edits) == m.edits+1 {
		s.edits = s.edits[:m.edits]
		return
	}
	p := &s.edits[m.edits]
	size := end - int(p.end) + s.delta - m.delta
	p.from = uint32(len(s.text))
	s.text = binary.AppendUvarint(s.text, uint64(size))
	p.to = uint32(len(s.text))
	s.delta += int(p.to-p.from) - int(p.end-p.off)
}

// rollback forgets what changed since open.
func (s *splice) rollback(m mark) {
	s.edits, s.text, s.delta = s.edits[:m.edits], s.text[:m.text], m.delta
}

// put replaces [off, end) by the text that begins at from.
func (s *splice) put(off, end, from int) {
	s.edits = append(s.edits, patch{uint32(off), uint32(end), uint32(from), uint32(len(s.text))})
	s.delta += len(s.text) - from - (end - off)
}

// cut removes [off, end). Neighbours become one.
func (s *splice) cut(off, end int) {
	s.delta -= end - off
	if n := len(s.edits); n > 0 {
		if last := &s.edits[n-1]; last.from == last.to && int(last.end) == off {
			last.end = uint32(end)
			return
		}
	}
	s.edits = append(s.edits, patch{off: uint32(off), end: uint32(end)})
}

// prefixLength puts its length before the text that begins at from.
func (s *splice) prefixLength(from int) {
	n := len(s.text) - from
	var head [binary.MaxVarintLen64]byte
	size := binary.PutUvarint(head[:], uint64(n))
	s.text = append(s.text, head[:size]...)
	copy(s.text[from+size:], s.text[from:from+n])
	copy(s.text[from:], head[:size])
}

func (s *splice) apply(b []byte) []byte {
	if len(s.edits) == 0 {
		return b
	}
	out := make([]byte, 0, len(b)+s.delta)
	at := 0
	for _, p := range s.edits {
		out = append(out, b[at:p.off]...)
		out = append(out, s.text[p.from:p.to]...)
		at = int(p.end)
	}
	return append(out, b[at:]...)
}
