package cloudtrace

import (
	"encoding/base64"
	"slices"
	"strings"
	"unicode/utf8"

	"go.opentelemetry.io/otel/attribute"

	"tailweir/otlp"
)

// attribute converts one and notes what of it is cut.
func (m *mapper) attribute(k []byte, v otlp.Value, where place) attribute.KeyValue {
	key := m.key(k)
	if key.shorter {
		m.notes.add("key", k, where)
	}
	return attribute.KeyValue{Key: key.name, Value: m.value(k, v, where)}
}

// maxKeys bounds what one mapper remembers of keys, which senders choose.
const maxKeys = 4096

func (m *mapper) key(k []byte) key {
	known, ok := m.keys[string(k)]
	if !ok {
		known = newKey(string(k))
		if len(m.keys) < maxKeys {
			m.keys[string(k)] = known
		}
	}
	return known
}

// value converts a value: what the API has no type for becomes text, arrays and maps JSON, bytes base64.
func (m *mapper) value(k []byte, v otlp.Value, where place) attribute.Value {
	switch v.Kind() {
	case otlp.Bool:
		return attribute.BoolValue(v.Bool())
	case otlp.Int:
		return attribute.Int64Value(v.Int())
	case otlp.Double:
		return attribute.Float64Value(v.Double())
	}
	return attribute.StringValue(m.fitting(m.valueText(v), k, where))
}

// fitting cuts the value of the attribute k.
func (m *mapper) fitting(text string, k []byte, where place) string {
	if len(text) <= maxValue {
		return text
	}
	cut := clip(text, maxValue)
	m.notes.add("value", k, where)
	m.notes.by(len(text) - len(cut))
	return cut
}

func (m *mapper) valueText(v otlp.Value) string {
	switch v.Kind() {
	case otlp.String:
		return valid(v.Str())
	case otlp.Bytes:
		return base64.StdEncoding.EncodeToString(v.Str())
	case otlp.Array, otlp.Map:
		m.buf = v.AppendJSON(m.buf[:0])
		return string(m.buf)
	}
	return ""
}

func (m *mapper) name(name []byte, where place) string {
	text := valid(name)
	if len(text) > maxName {
		m.notes.add("name", nil, where)
	}
	return text
}

// valid shows bytes that are no UTF-8 as U+FFFD. The package would leave them out without a trace.
func valid(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	return strings.ToValidUTF8(string(b), "\uFFFD")
}

// fit copies list, of which what begins at own is ours, to where it stays, as far as it fits. The package counts attributes
// whose keys are too long as dropped; that is the way to tell it how many were.
func (m *mapper) fit(list []attribute.KeyValue, own, limit int, where place) []attribute.KeyValue {
	m.list = list
	blanks := 0
	if len(list) > limit {
		kept, dropped := choose(list, own, limit)
		dropped += m.skipped
		m.notes.left(len(kept)+dropped, len(kept), "attributes", where)
		list, blanks = kept, m.blank(dropped)
	}
	for i := range list {
		m.size += sizeOf(list[i])
	}
	out := take(&m.attributesRoom, len(list)+blanks+1) // one more for tailweir.shortened
	for i := copy(out, list); i < len(out)-1; i++ {
		out[i] = tooLong
	}
	return out[:len(out)-1]
}

// choose takes as many attributes as may be, ours first, then by the order of the list. Of those with the same key the
// last counts, but ours before it.
func choose(list []attribute.KeyValue, own, limit int) (out []attribute.KeyValue, dropped int) {
	at := make(map[attribute.Key]int, limit)
	ours := len(list) - own
	for _, kv := range slices.Concat(list[own:], list[:own]) {
		i, known := at[kv.Key]
		switch {
		case known && i >= ours:
			out[i] = kv
		case !known && len(out) < limit:
			at[kv.Key] = len(out)
			out = append(out, kv)
		case !known:
			dropped++
		}
	}
	return out, dropped
}

var tooLong = attribute.Bool(strings.Repeat("-", maxKey+1), true)

// sizeOf bounds the size of an attribute as it is sent.
func sizeOf(kv attribute.KeyValue) int {
	const longestDouble = 344 // the package writes doubles without exponents
	n := sizeOfAttribute + len(kv.Key)
	switch kv.Value.Type() {
	case attribute.STRING:
		return n + len(kv.Value.AsString())
	case attribute.FLOAT64:
		return n + longestDouble
	}
	return n
}

// take returns n zero elements of a room that grows by pieces, since what was taken before stays where it is.
func take[T any](room *[]T, n int) []T {
	if n == 0 {
		return nil
	}
	at := len(*room)
	if cap(*room)-at < n {
		at, *room = 0, make([]T, 0, max(n, 1024))
	}
	*room = (*room)[:at+n]
	return (*room)[at : at+n : at+n]
}
