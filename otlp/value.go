package otlp

import (
	"encoding/base64"
	"iter"
	"math"
	"strconv"
)

// Kind is the type of a Value.
type Kind uint8

// The kinds of values. A value without content is Empty.
const (
	Empty Kind = iota
	String
	Bool
	Int
	Double
	Array
	Map
	Bytes
)

// Value is a view of an AnyValue: of an attribute or of a log record's body. The zero Value is Empty.
type Value struct {
	kind Kind
	num  uint64
	b    []byte // content of a String or Bytes, message of an Array or Map
}

// Kind returns the value's type.
func (v Value) Kind() Kind { return v.kind }

// Str returns the content of a String or of Bytes, which must not be changed; nil for other kinds.
func (v Value) Str() []byte {
	if v.kind == String || v.kind == Bytes {
		return v.b
	}
	return nil
}

// Bool returns the value of a Bool, false for other kinds.
func (v Value) Bool() bool { return v.kind == Bool && v.num != 0 }

// Int returns the value of an Int, 0 for other kinds.
func (v Value) Int() int64 {
	if v.kind != Int {
		return 0
	}
	return int64(v.num)
}

// Double returns the value of a Double, 0 for other kinds.
func (v Value) Double() float64 {
	if v.kind != Double {
		return 0
	}
	return math.Float64frombits(v.num)
}

// Elements iterates over an Array; other kinds have none.
func (v Value) Elements() iter.Seq[Value] {
	return func(yield func(Value) bool) {
		if v.kind != Array {
			return
		}
		f := fields{b: v.b}
		for tag, _, body, ok := f.next(); ok; tag, _, body, ok = f.next() {
			if tag == 1<<3|wireLen && !yield(decodeValue(body)) {
				return
			}
		}
	}
}

// Entries iterates over the keys and values of a Map, in the order of the payload and with repeated keys; other kinds have none.
func (v Value) Entries() iter.Seq2[[]byte, Value] {
	if v.kind != Map {
		return func(func([]byte, Value) bool) {}
	}
	return attributesOf(v.b, 1<<3|wireLen)
}

// String returns the value for people: strings as they are, Bytes in base64, arrays and maps like JSON.
func (v Value) String() string {
	if v.kind == String {
		return string(v.b)
	}
	return string(v.append(nil))
}

func (v Value) append(dst []byte) []byte {
	switch v.kind {
	case String:
		return strconv.AppendQuote(dst, string(v.b))
	case Bool:
		return strconv.AppendBool(dst, v.num != 0)
	case Int:
		return strconv.AppendInt(dst, int64(v.num), 10)
	case Double:
		return strconv.AppendFloat(dst, math.Float64frombits(v.num), 'g', -1, 64)
	case Bytes:
		return base64.StdEncoding.AppendEncode(dst, v.b)
	case Array:
		return v.appendArray(dst)
	case Map:
		return v.appendMap(dst)
	}
	return dst
}

func (v Value) appendArray(dst []byte) []byte {
	dst = append(dst, '[')
	n := len(dst)
	for e := range v.Elements() {
		if len(dst) > n {
			dst = append(dst, ',')
		}
		dst = e.append(dst)
	}
	return append(dst, ']')
}

func (v Value) appendMap(dst []byte) []byte {
	dst = append(dst, '{')
	n := len(dst)
	for key, e := range attributesOf(v.b, 1<<3|wireLen) {
		if len(dst) > n {
			dst = append(dst, ',')
		}
		dst = append(strconv.AppendQuote(dst, string(key)), ':')
		dst = e.append(dst)
	}
	return append(dst, '}')
}

func decodeValue(b []byte) (v Value) {
	v.merge(b)
	return v
}

// merge reads an AnyValue into v, as a repeated occurrence of the same field does: the last value set wins.
func (v *Value) merge(b []byte) {
	f := fields{b: b}
	for tag, num, body, ok := f.next(); ok; tag, num, body, ok = f.next() {
		switch tag {
		case 1<<3 | wireLen:
			*v = Value{kind: String, b: body}
		case 2<<3 | wireVarint:
			*v = Value{kind: Bool, num: num}
		case 3<<3 | wireVarint:
			*v = Value{kind: Int, num: num}
		case 4<<3 | wireI64:
			*v = Value{kind: Double, num: num}
		case 5<<3 | wireLen:
			*v = Value{kind: Array, b: body}
		case 6<<3 | wireLen:
			*v = Value{kind: Map, b: body}
		case 7<<3 | wireLen:
			*v = Value{kind: Bytes, b: body}
		case 8<<3 | wireVarint: // an index into a table that only profiles have
			*v = Value{}
		}
	}
}

func decodeKeyValue(kv []byte) (key []byte, v Value) {
	f := fields{b: kv}
	for tag, _, body, ok := f.next(); ok; tag, _, body, ok = f.next() {
		switch tag {
		case 1<<3 | wireLen:
			key = body
		case 2<<3 | wireLen:
			v.merge(body)
		}
	}
	return key, v
}

// attributesOf iterates over the attributes among the fields with the given tag in b.
func attributesOf(b []byte, tag uint64) iter.Seq2[[]byte, Value] {
	return func(yield func([]byte, Value) bool) {
		f := fields{b: b}
		for t, _, kv, ok := f.next(); ok; t, _, kv, ok = f.next() {
			if t == tag && !yield(decodeKeyValue(kv)) {
				return
			}
		}
	}
}

// lastText returns the bytes of the last field with the given tag in b.
func lastText(b []byte, tag uint64) (text []byte) {
	f := fields{b: b}
	for t, _, body, ok := f.next(); ok; t, _, body, ok = f.next() {
		if t == tag {
			text = body
		}
	}
	return text
}
