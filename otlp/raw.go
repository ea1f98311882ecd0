package otlp

import "slices"

// Parts of a payload as export requests of their own, for a reader that has to decode some of it and not the rest. A
// resource can be as large as the payload, and a payload can have as many scopes as spans, so each comes alone: decoded
// once, it serves all its spans.

// ScopeIndex returns the number of the item's scope, 0 <= n < Payload.Scopes. Scopes are numbered over the whole payload.
func (v view) ScopeIndex() int32 { return v.p.entries[v.i].scope }

// Scopes returns the number of scopes that have items.
func (p *Payload) Scopes() int { return len(p.scopes) }

// AppendResource appends to dst an export request of resource r, 0 <= r < Resources, without scopes.
func (p *Payload) AppendResource(dst []byte, r int32) []byte {
	return p.appendHeader(dst, 1<<3|wireLen, &p.resources[r])
}

// AppendScope appends to dst an export request of scope s, 0 <= s < Scopes, without items and under an empty resource.
func (p *Payload) AppendScope(dst []byte, s int32) []byte {
	h := &p.scopes[s]
	return p.appendHeader(appendField(dst, 1<<3|wireLen, fieldSize(h.size())), 2<<3|wireLen, h)
}

func (p *Payload) appendHeader(dst []byte, tag byte, h *header) []byte {
	parts := p.parts(h)
	return append(append(appendField(dst, tag, h.size()), parts[0]...), parts[1]...)
}

// Part says which of a span's repeated fields AppendPart takes. They are nearly all of a span; its other fields are always taken.
type Part struct {
	Attributes    []string // the keys of those to take
	AllAttributes bool
	Events, Links bool
}

// AppendPart appends to dst an export request of the span alone, under an empty resource and an empty scope.
func (s Span) AppendPart(dst []byte, part *Part) []byte {
	const frame = 3 * (1 + paddedLength)
	start := len(dst)
	dst = append(dst, make([]byte, frame)...)
	body := s.body()
	for f := (fields{b: body}); ; {
		at := f.pos
		tag, _, sub, ok := f.next()
		if !ok {
			break
		}
		if part.takes(tag, sub) {
			dst = append(dst, body[at:f.pos]...)
		}
	}
	for i, tag := range [...]byte{1<<3 | wireLen, 2<<3 | wireLen, 2<<3 | wireLen} {
		at := start + i*(1+paddedLength)
		dst[at] = tag
		putPadded(dst[at+1:], len(dst)-at-1-paddedLength)
	}
	return dst
}

func (p *Part) takes(tag uint64, body []byte) bool {
	switch tag {
	case 9<<3 | wireLen:
		return p.AllAttributes || len(p.Attributes) > 0 && p.hasKey(lastText(body, 1<<3|wireLen))
	case 11<<3 | wireLen:
		return p.Events
	case 13<<3 | wireLen:
		return p.Links
	}
	return true
}

func (p *Part) hasKey(key []byte) bool {
	return slices.ContainsFunc(p.Attributes, func(k string) bool { return k == string(key) })
}

// paddedLength is the size of a length that is written before what it counts is known. Trailing zeros are allowed in a
// varint.
const paddedLength = 5

func putPadded(b []byte, n int) {
	for i := range paddedLength {
		b[i] = byte(n>>(7*i)) | 0x80
	}
	b[paddedLength-1] &= 0x7f
}
