package otlp

import (
	"encoding/binary"
	"math/bits"
)

// Wire types of protobuf.
const (
	wireVarint = 0
	wireI64    = 1
	wireLen    = 2
	wireStart  = 3
	wireEnd    = 4
	wireI32    = 5
)

// varint reads the varint at pos; next is -1 if it is cut off or longer than ten bytes. Bits beyond the
// 64th are lost, as in pdata. Nearly all tags and lengths are one byte: that case is inlined.
func varint(b []byte, pos int) (v uint64, next int) {
	if uint(pos) < uint(len(b)) && b[pos] < 0x80 {
		return uint64(b[pos]), pos + 1
	}
	return longVarint(b, pos)
}

//go:noinline
func longVarint(b []byte, pos int) (v uint64, next int) {
	for shift := uint(0); shift < 64; shift += 7 {
		if uint(pos) >= uint(len(b)) {
			return 0, -1
		}
		c := b[pos]
		pos++
		v |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return v, pos
		}
	}
	return 0, -1
}

// readTag reads a field's tag and returns it as field<<3|wire; next is -1 for a malformed one.
func readTag(b []byte, pos int) (tag uint64, next int) {
	if uint(pos) < uint(len(b)) && b[pos] < 0x80 && b[pos] >= 8 {
		return uint64(b[pos]), pos + 1
	}
	return longTag(b, pos)
}

// longTag is readTag for all tags. Field numbers are cut to 32 bits before they are compared, as in pdata.
//
//go:noinline
func longTag(b []byte, pos int) (tag uint64, next int) {
	v, next := varint(b, pos)
	field := int32(v >> 3)
	if next < 0 || field <= 0 {
		return 0, -1
	}
	return uint64(field)<<3 | v&7, next
}

// chunk reads the length at pos and returns where the bytes it announces start and end; end is -1 if they
// are not all there.
func chunk(b []byte, pos int) (start, end int) {
	n, start := varint(b, pos)
	if start < 0 || n > uint64(len(b)-start) {
		return 0, -1
	}
	return start, start + int(n)
}

// skip returns where the value of the given wire type at pos ends, -1 if it is malformed. It treats groups,
// which OTLP never had, exactly as pdata does: the first scalar inside a group ends it, an empty group is
// skipped, but not at the end of a message.
func skip(b []byte, pos int, wire uint64) int {
	for depth := 0; pos < len(b); {
		switch wire {
		case wireVarint:
			_, pos = varint(b, pos)
			return pos
		case wireI64:
			return fixed(b, pos, 8)
		case wireLen:
			_, pos = chunk(b, pos)
			return pos
		case wireI32:
			return fixed(b, pos, 4)
		case wireStart:
			depth++
		case wireEnd:
			depth--
		default:
			return -1
		}
		if depth <= 0 {
			return pos | depth // negative exactly when a group ends that never began
		}
		var tag uint64
		if tag, pos = readTag(b, pos); pos < 0 {
			return -1
		}
		wire = tag & 7
	}
	return -1
}

func fixed(b []byte, pos, n int) int {
	if pos > len(b)-n {
		return -1
	}
	return pos + n
}

// fields walks a message that was validated before.
type fields struct {
	b   []byte
	pos int
}

// next returns the next field: its tag as field<<3|wire, and its value as a number or as bytes.
func (f *fields) next() (tag, num uint64, body []byte, ok bool) {
	if f.pos >= len(f.b) {
		return 0, 0, nil, false
	}
	tag, pos := readTag(f.b, f.pos)
	switch tag & 7 {
	case wireVarint:
		num, f.pos = varint(f.b, pos)
	case wireI64:
		num, f.pos = binary.LittleEndian.Uint64(f.b[pos:]), pos+8
	case wireI32:
		num, f.pos = uint64(binary.LittleEndian.Uint32(f.b[pos:])), pos+4
	case wireLen:
		start, end := chunk(f.b, pos)
		body, f.pos = f.b[start:end:end], end
	default:
		f.pos = skip(f.b, pos, tag&7)
	}
	return tag, num, body, true
}

// fieldSize is the encoded size of a length-delimited field with a one-byte tag and n bytes of content.
func fieldSize(n int) int {
	return 1 + varintSize(uint64(n)) + n
}

func varintSize(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

// appendField appends the tag and the length of such a field.
func appendField(dst []byte, tag byte, n int) []byte {
	return binary.AppendUvarint(append(dst, tag), uint64(n))
}
