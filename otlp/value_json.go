package otlp

import (
	"encoding/base64"
	"math"
	"strconv"
	"unicode/utf8"
)

// AppendJSON appends the value as JSON: Bytes as a string of base64, what is Empty as null, and numbers that JSON does not
// have ("NaN", "Infinity", "-Infinity") as strings, like protobuf's JSON. Bytes of strings that are no UTF-8 become U+FFFD.
// Maps keep their order, and whatever keys come twice.
func (v Value) AppendJSON(dst []byte) []byte {
	switch v.kind {
	case String:
		return AppendJSONString(dst, v.b)
	case Bool, Int:
		return v.append(dst)
	case Double:
		return appendJSONNumber(dst, math.Float64frombits(v.num))
	case Bytes:
		return append(base64.StdEncoding.AppendEncode(append(dst, '"'), v.b), '"')
	case Array:
		return v.appendJSONArray(dst)
	case Map:
		return v.appendJSONMap(dst)
	}
	return append(dst, "null"...)
}

func (v Value) appendJSONArray(dst []byte) []byte {
	dst = append(dst, '[')
	n := len(dst)
	for e := range v.Elements() {
		if len(dst) > n {
			dst = append(dst, ',')
		}
		dst = e.AppendJSON(dst)
	}
	return append(dst, ']')
}

func (v Value) appendJSONMap(dst []byte) []byte {
	dst = append(dst, '{')
	n := len(dst)
	for key, e := range v.Entries() {
		if len(dst) > n {
			dst = append(dst, ',')
		}
		dst = e.AppendJSON(append(AppendJSONString(dst, key), ':'))
	}
	return append(dst, '}')
}

func appendJSONNumber(dst []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		return append(dst, `"NaN"`...)
	case math.IsInf(f, 1):
		return append(dst, `"Infinity"`...)
	case math.IsInf(f, -1):
		return append(dst, `"-Infinity"`...)
	}
	return strconv.AppendFloat(dst, f, 'g', -1, 64)
}

// AppendJSONString appends s as a JSON string; what is no UTF-8 becomes U+FFFD.
func AppendJSONString(dst, s []byte) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRune(s[i:])
			dst = utf8.AppendRune(dst, r)
			i += n
			continue
		}
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c == '\t':
			dst = append(dst, '\\', 't')
		case c < ' ':
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			dst = append(dst, c)
		}
		i++
	}
	return append(dst, '"')
}
