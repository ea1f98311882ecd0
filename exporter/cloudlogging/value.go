package cloudlogging

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/structpb"

	"tailweir/otlp"
)

const (
	// maxDepth bounds how deep a jsonPayload nests. Most protobuf parsers refuse more than 100 nested messages, and a
	// level of a Struct takes three. What lies deeper is written as JSON text.
	maxDepth = 20

	// maxExact is how far every integer is a double of its own: the numbers of a jsonPayload are doubles.
	maxExact = 1 << 53
)

// text is b as proto3 wants strings; what is not UTF-8 becomes U+FFFD.
func text(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	return strings.ToValidUTF8(string(b), "\uFFFD")
}

// toValue converts v. Numbers that a double would change are text. depth is how many levels v may nest.
func toValue(v otlp.Value, depth int) *structpb.Value {
	switch v.Kind() {
	case otlp.String:
		return structpb.NewStringValue(text(v.Str()))
	case otlp.Bool:
		return structpb.NewBoolValue(v.Bool())
	case otlp.Int:
		if n := v.Int(); -maxExact <= n && n <= maxExact {
			return structpb.NewNumberValue(float64(n))
		}
		return structpb.NewStringValue(strconv.FormatInt(v.Int(), 10))
	case otlp.Double:
		if d := v.Double(); math.IsNaN(d) || math.IsInf(d, 0) {
			return structpb.NewStringValue(plain(v))
		}
		return structpb.NewNumberValue(v.Double())
	case otlp.Bytes:
		return structpb.NewStringValue(base64.StdEncoding.EncodeToString(v.Str()))
	case otlp.Map:
		if s, ok := toStruct(v, depth); ok {
			return structpb.NewStructValue(s)
		}
		return structpb.NewStringValue(string(v.AppendJSON(nil)))
	case otlp.Array:
		return toList(v, depth)
	}
	return structpb.NewNullValue()
}

func toList(v otlp.Value, depth int) *structpb.Value {
	if depth == 0 {
		return structpb.NewStringValue(string(v.AppendJSON(nil)))
	}
	list := &structpb.ListValue{}
	for e := range v.Elements() {
		list.Values = append(list.Values, toValue(e, depth-1))
	}
	return structpb.NewListValue(list)
}

// toStruct converts a Map; false for what a Struct cannot hold: keys that repeat, and more levels than depth.
func toStruct(v otlp.Value, depth int) (*structpb.Struct, bool) {
	if depth == 0 {
		return nil, false
	}
	s := &structpb.Struct{Fields: map[string]*structpb.Value{}}
	for k, e := range v.Entries() {
		key := text(k)
		if s.Fields[key] != nil {
			return nil, false
		}
		s.Fields[key] = toValue(e, depth-1)
	}
	return s, true
}

// plain is v as the text of a label or of a textPayload: strings as they are, all else like JSON, nothing for nothing.
func plain(v otlp.Value) string {
	switch v.Kind() {
	case otlp.Empty:
		return ""
	case otlp.String:
		return text(v.Str())
	}
	return strings.Trim(string(v.AppendJSON(nil)), `"`) // bytes and "NaN" are quoted there
}

// parseObject reads text that is one JSON object, spaces around it aside. False means that it is not, that a Struct could
// not hold all of it, see toStruct, or that it is longer than an entry, so that it would have to be shortened, which text has not.
func parseObject(b []byte) (*structpb.Struct, bool) {
	b = bytes.TrimSpace(b)
	if len(b) < 2 || len(b) > maxEntry || b[0] != '{' || b[len(b)-1] != '}' || !json.Valid(b) {
		return nil, false
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	v, ok := parseValue(dec, maxDepth)
	if _, err := dec.Token(); !ok || err != io.EOF {
		return nil, false
	}
	return v.GetStructValue(), true
}

func parseValue(dec *json.Decoder, depth int) (*structpb.Value, bool) {
	token, err := dec.Token()
	if err != nil {
		return nil, false
	}
	switch t := token.(type) {
	case string:
		return structpb.NewStringValue(t), true
	case bool:
		return structpb.NewBoolValue(t), true
	case json.Number:
		return toNumber(string(t)), true
	case json.Delim:
		if depth == 0 {
			return nil, false
		}
		if t == '{' {
			return parseFields(dec, depth-1)
		}
		return parseElements(dec, depth-1)
	}
	return structpb.NewNullValue(), true
}

func parseFields(dec *json.Decoder, depth int) (*structpb.Value, bool) {
	s := &structpb.Struct{Fields: map[string]*structpb.Value{}}
	for dec.More() {
		key, err := dec.Token()
		k, _ := key.(string)
		v, ok := parseValue(dec, depth)
		if err != nil || !ok || s.Fields[k] != nil {
			return nil, false
		}
		s.Fields[k] = v
	}
	_, err := dec.Token()
	return structpb.NewStructValue(s), err == nil
}

func parseElements(dec *json.Decoder, depth int) (*structpb.Value, bool) {
	list := &structpb.ListValue{}
	for dec.More() {
		v, ok := parseValue(dec, depth)
		if !ok {
			return nil, false
		}
		list.Values = append(list.Values, v)
	}
	_, err := dec.Token()
	return structpb.NewListValue(list), err == nil
}

// toNumber is a JSON number as a double, or as the text it is where a double would say something else: integers beyond
// 2^53, more digits than a double has, and what is beyond all doubles.
func toNumber(n string) *structpb.Value {
	f, err := strconv.ParseFloat(n, 64)
	whole := !strings.ContainsAny(n, ".eE")
	if err != nil || whole && math.Abs(f) > maxExact || digits(n) != digits(strconv.FormatFloat(f, 'e', -1, 64)) {
		return structpb.NewStringValue(n)
	}
	return structpb.NewNumberValue(f)
}

// digits returns the significant digits of a JSON number.
func digits(n string) string {
	mantissa, _, _ := strings.Cut(strings.ToLower(n), "e")
	return strings.Trim(strings.ReplaceAll(strings.TrimPrefix(mantissa, "-"), ".", ""), "0")
}
