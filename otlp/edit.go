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
	// First, unless 0, takes the parent from each span of the group that starts at a time with these low 32 bits, in ns, and
	// is a LocalRoot whose parent is not in the group: the entry span of a trace whose real parent nobody sends. The flags, which
	// speak of the parent, stay.
	First uint32

	spans []spanEdit // by item, those of the call that is running
	text  []byte     // their states
	ids   []SpanID   // of the group, sorted, once a span asks for them
}

// spanEdit is how one span changes: the state [from, to) of Edit.text, as a field, comes instead of [off, end).
type spanEdit struct {
	off, end, from, to uint32
	size               uint32 // of the span afterwards
	start              uint32 // low bits of its start time
	repeats            bool   // there are states before off, to be left out
	orphan             bool   // its parent is left out
}

const (
	stateTag  = 3<<3 | wireLen
	parentTag = 4<<3 | wireLen
	startTag  = 7<<3 | wireI64
)

// prepare finds how the chain's spans change: lengths come before contents, so sizes are asked for several times. The chain
// is of the group, or a part of it.
func (e *Edit) prepare(l *layout, chain []int32, first, group int32) {
	e.text, e.spans, e.ids = e.text[:0], e.spans[:0], e.ids[:0]
	if e.State == nil && e.First == 0 || l.signal != Traces {
		return
	}
	e.spans = slices.Grow(e.spans, len(l.entries))[:len(l.entries)]
	for i := first; i >= 0; i = chain[i] {
		s := e.span(l.body(i))
		if e.First != 0 && s.start == e.First && e.isEntry(l, i, group) {
			s.orphan = true
			s.size -= sizeOf(l.body(i), parentTag)
		}
		e.spans[i] = s
	}
}

func (e *Edit) span(body []byte) (s spanEdit) {
	old, left := s.find(body)
	s.from = uint32(len(e.text))
	if e.State == nil {
		e.text = append(e.text, old...)
	} else {
		e.text = e.State(e.text, old)
	}
	s.to = uint32(len(e.text))
	n := int(s.to - s.from)
	if bytes.Equal(old, e.text[s.from:]) {
		size := uint32(len(body))
		return spanEdit{off: size, end: size, size: size, start: s.start}
	}
	if n > 0 {
		left += fieldSize(n)
	}
	s.size = uint32(left)
	return s
}

// isEntry reports whether item i is a LocalRoot whose parent is not in the group. One that is there has started later: the
// clocks of two machines differ, and it is the parent all the same.
func (e *Edit) isEntry(l *layout, i, group int32) bool {
	var it item
	if it.scanSpan(l.body(i), 0, &nesting{}) != nil || it.parent.IsZero() || !it.localRoot() {
		return false
	}
	if len(e.ids) == 0 { // sorted, since all spans may start at one time
		for j := group; j >= 0; j = l.chain[j] {
			var other item
			_ = other.scanSpan(l.body(j), 0, &nesting{}) // which was scanned before without an error
			e.ids = append(e.ids, other.span)
		}
		slices.SortFunc(e.ids, compareIDs)
	}
	_, seen := slices.BinarySearchFunc(e.ids, it.parent, compareIDs)
	return !seen
}

func compareIDs(a, b SpanID) int { return bytes.Compare(a[:], b[:]) }

// sizeOf is how many bytes the fields with the tag take in b.
func sizeOf(b []byte, tag uint64) (n uint32) {
	f := fields{b: b}
	for at := 0; at < len(b); at = f.pos {
		if t, _, _, _ := f.next(); t == tag {
			n += uint32(f.pos - at)
		}
	}
	return n
}

// find sets the start time and the place of the trace_state and returns that, and how many bytes the span has without.
func (s *spanEdit) find(body []byte) (state []byte, left int) {
	left = len(body)
	s.off, s.end = uint32(left), uint32(left)
	for at, end := 0, 0; at < len(body); at = end {
		if c := body[at]; c&7 == wireLen && c < 0x80 && c != stateTag && body[at+1] < 0x80 {
			end = at + 2 + int(body[at+1]) // two thirds of all fields, in half the time
			continue
		}
		f := fields{b: body, pos: at}
		tag, num, b, _ := f.next()
		if end = f.pos; tag == startTag {
			s.start = uint32(num)
		}
		if tag != stateTag {
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
	dst = s.appendRest(dst, body[:s.off])
	if n := int(s.to - s.from); n > 0 {
		dst = append(appendField(dst, stateTag, n), e.text[s.from:s.to]...)
	}
	return append(s.appendRest(dst, body[s.end:]), e.Suffix...)
}

// appendRest appends what stays of b, a part of the span beside its last state.
func (s *spanEdit) appendRest(dst, b []byte) []byte {
	switch {
	case s.repeats && s.orphan:
		return appendWithout(dst, b, stateTag, parentTag)
	case s.orphan:
		return appendWithout(dst, b, parentTag, parentTag)
	case s.repeats:
		return appendWithout(dst, b, stateTag, stateTag)
	}
	return append(dst, b...)
}

// appendWithout appends the fields of b but for those with the tags.
func appendWithout(dst, b []byte, tag, other uint64) []byte {
	f := fields{b: b}
	for at := 0; at < len(b); at = f.pos {
		if t, _, _, _ := f.next(); t != tag && t != other {
			dst = append(dst, b[at:f.pos]...)
		}
	}
	return dst
}
