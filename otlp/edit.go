package otlp

import (
	"bytes"
	"slices"
)

// Edit is what AppendGroup changes in each item; nil and the zero value change nothing. It keeps memory for the next call, so
// it serves one at a time.
type Edit struct {
	// Suffix is appended inside each item's message; see AttributeField.
	Suffix []byte
	// State appends to dst what a span's trace_state becomes, which may be nothing, from what it is; nil leaves all as they
	// are, as it does log records. It must not keep or change either. A new state takes the place of the old one, or
	// of the last where a span has several, which is the one that counts, and the others go; without one it comes at
	// the end, as a reader takes fields in any order. All else stays as it came, also where the state is what it was.
	State func(dst, old []byte) []byte

	spans []spanEdit // by item, those of the call that is running
	text  []byte     // their states
}

// spanEdit is how one span changes: the state [from, to) of Edit.text, as a field, comes instead of [off, end).
type spanEdit struct {
	off, end, from, to uint32
	size               uint32 // of the span afterwards
	repeats            bool   // there are states before off, to be left out
}

const stateTag = 3<<3 | wireLen

// prepare finds how the chain's spans change: lengths come before contents, so sizes are asked for several times.
func (e *Edit) prepare(l *layout, chain []int32, first int32) {
	e.text, e.spans = e.text[:0], e.spans[:0]
	if e.State == nil || l.signal != Traces {
		return
	}
	e.spans = slices.Grow(e.spans, len(l.entries))[:len(l.entries)]
	for i := first; i >= 0; i = chain[i] {
		e.spans[i] = e.span(l.body(i))
	}
}

func (e *Edit) span(body []byte) (s spanEdit) {
	old, left := s.find(body)
	s.from = uint32(len(e.text))
	e.text = e.State(e.text, old)
	s.to = uint32(len(e.text))
	n := int(s.to - s.from)
	if bytes.Equal(old, e.text[s.from:]) {
		return spanEdit{off: uint32(len(body)), end: uint32(len(body)), size: uint32(len(body))}
	}
	if n > 0 {
		left += fieldSize(n)
	}
	s.size = uint32(left)
	return s
}

// find sets the place of the trace_state and returns it, and how many bytes the span has without.
func (s *spanEdit) find(body []byte) (state []byte, left int) {
	left = len(body)
	s.off, s.end = uint32(left), uint32(left)
	for at, end := 0, 0; at < len(body); at = end {
		if c := body[at]; c&7 == wireLen && c < 0x80 && c != stateTag && body[at+1] < 0x80 {
			end = at + 2 + int(body[at+1]) // two thirds of all fields, in half the time
			continue
		}
		f := fields{b: body, pos: at}
		tag, _, b, _ := f.next()
		if end = f.pos; tag != stateTag {
			continue
		}
		s.repeats = left < len(body)
		left -= end - at
		s.off, s.end, state = uint32(at), uint32(end), b
	}
	return state, left
}

// size is the size of item i with its changes.
func (e *Edit) size(l *layout, i int32) int {
	switch {
	case e == nil:
		return int(l.entries[i].size)
	case len(e.spans) == 0:
		return int(l.entries[i].size) + len(e.Suffix)
	}
	return int(e.spans[i].size) + len(e.Suffix)
}

// append appends item i with its changes.
func (e *Edit) append(dst []byte, l *layout, i int32) []byte {
	body := l.body(i)
	switch {
	case e == nil:
		return append(dst, body...)
	case len(e.spans) == 0:
		return append(append(dst, body...), e.Suffix...)
	}
	s := &e.spans[i]
	if s.repeats {
		dst = appendWithout(dst, body[:s.off], stateTag)
	} else {
		dst = append(dst, body[:s.off]...)
	}
	if n := int(s.to - s.from); n > 0 {
		dst = append(appendField(dst, stateTag, n), e.text[s.from:s.to]...)
	}
	return append(append(dst, body[s.end:]...), e.Suffix...)
}

// appendWithout appends the fields of b but for those with the tag.
func appendWithout(dst, b []byte, tag uint64) []byte {
	f := fields{b: b}
	for at := 0; at < len(b); at = f.pos {
		if t, _, _, _ := f.next(); t != tag {
			dst = append(dst, b[at:f.pos]...)
		}
	}
	return dst
}
