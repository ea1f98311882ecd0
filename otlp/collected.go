package otlp

import "math/bits"

// SizeCollected returns the size in bytes that the collector's tail_sampling processor measures of the group's spans, which
// bytes_limiting pays for: a resource group for each of the payload's, in it a scope group for each of its, without schema
// URLs, all written anew by pdata v1.70. Bare leaves away the tags and lengths in front of the resource groups: that is what
// maximum_trace_size_bytes bounds. It sums over payloads. It is exact for what has each singular field once, as all
// encoders write, and ignores the deprecated field 1000's difference. It walks all bytes of the group: ask when needed.
func (p *Payload) SizeCollected(g Group, bare bool) (n int) {
	for i := g.First; i >= 0; {
		r := p.resourceOf(i)
		size := p.writtenHeader(&p.resources[r], resource)
		for i >= 0 && p.resourceOf(i) == r {
			s := p.entries[i].scope
			inner := p.writtenHeader(&p.scopes[s], scope)
			for ; i >= 0 && p.entries[i].scope == s; i = p.chain[i] {
				inner += fieldSize(span.written(p.body(i)))
			}
			size += fieldSize(inner)
		}
		if !bare {
			size = fieldSize(size)
		}
		n += size
	}
	return n
}

// writtenHeader is the size of the resource or scope in a group's header as a field, which pdata writes also when empty.
func (p *Payload) writtenHeader(h *header, m message) int {
	for _, part := range p.parts(h) {
		f := fields{b: part}
		for tag, _, body, ok := f.next(); ok; tag, _, body, ok = f.next() {
			if tag == 1<<3|wireLen {
				return fieldSize(m.written(body))
			}
		}
	}
	return fieldSize(0)
}

// alwaysWritten has a bit for each field that pdata writes also when it is empty or absent.
var alwaysWritten = [...]uint32{
	keyValue: 1 << 2,
	span:     1<<1 | 1<<2 | 1<<4 | 1<<15,
	link:     1<<1 | 1<<2,
}

// written is the size of the message b as pdata writes it, which knows the fields of schemas.
func (m message) written(b []byte) (n int) {
	var missing uint32
	if int(m) < len(alwaysWritten) {
		missing = alwaysWritten[m]
	}
	f := fields{b: b}
	for tag, num, body, ok := f.next(); ok; tag, num, body, ok = f.next() {
		field := tag >> 3
		if field >= 17 || schemas[m].rules[field].name == "" || num == 0 && len(body) == 0 && m.omitsZero(field) {
			continue
		}
		missing &^= 1 << field
		n += m.writtenField(field, num, body)
	}
	return n + fieldSize(0)*bits.OnesCount32(missing)
}

// omitsZero is not so for lists and in a value, whose kind is said by which field there is.
func (m message) omitsZero(field uint64) bool {
	return schemas[m].rules[field].sub == scalar && m != anyValue && !(m == entityRef && field >= 3)
}

func (m message) writtenField(field, num uint64, body []byte) int {
	r := &schemas[m].rules[field]
	tag := varintSize(field << 3)
	switch {
	case r.sub != scalar:
		return fieldSize(r.sub.written(body))
	case r.wire == wireLen:
		return fieldSize(len(body))
	case r.wire == wireI64:
		return tag + 8
	case r.wire == wireI32:
		return tag + 4
	}
	return tag + varintSize(num)
}
