package cloudtrace

import (
	"encoding/hex"
	"strconv"

	"go.opentelemetry.io/otel/attribute"

	"tailweir/otlp"
)

// Shortened is the attribute of a span that had to be cut to fit a limit, and says what was: "value of db.query.text, 3 links".
const Shortened = "tailweir.shortened"

// Attributes for what the API has no field for, or none that the package fills. Those that begin with otel are the
// OpenTelemetry specification's ("Mapping to non-OTLP formats").
const (
	traceState        = "w3c.tracestate"
	traceFlags        = "w3c.traceflags" // two hex digits; absent when 00
	statusCode        = "otel.status_code"
	statusDescription = "otel.status_description"
	droppedAttributes = "otel.dropped_attributes_count" // by the source; what is left out here counts in the API's fields
	droppedEvents     = "otel.dropped_events_count"
	droppedLinks      = "otel.dropped_links_count"
)

func appendCount(list []attribute.KeyValue, key string, n uint32) []attribute.KeyValue {
	if n == 0 {
		return list
	}
	return append(list, attribute.Int64(key, int64(n)))
}

func (m *mapper) appendText(list []attribute.KeyValue, key string, text []byte, where place) []attribute.KeyValue {
	if len(text) == 0 {
		return list
	}
	return append(list, attribute.String(key, m.fitting(valid(text), []byte(key), where)))
}

func (m *mapper) appendContext(list []attribute.KeyValue, state []byte, flags uint32, where place) []attribute.KeyValue {
	list = m.appendText(list, traceState, state, where)
	if b := byte(flags); b != 0 {
		list = append(list, attribute.String(traceFlags, flagTexts[2*int(b):][:2]))
	}
	return list
}

// flagTexts is all bytes in hex, one after the other.
var flagTexts = func() string {
	var all [256]byte
	for i := range all {
		all[i] = byte(i)
	}
	return hex.EncodeToString(all[:])
}()

// appendStatus keeps what the API's status does not: a message that is not of an error, and a code that OTLP does not know.
func (m *mapper) appendStatus(list []attribute.KeyValue, code int32, message []byte) []attribute.KeyValue {
	if code != otlp.StatusError {
		list = m.appendText(list, statusDescription, message, ofSpan)
	}
	if code < otlp.StatusUnset || code > otlp.StatusError {
		list = append(list, attribute.String(statusCode, strconv.Itoa(int(code))))
	}
	return list
}

// httpLabels gathers what a span's labels of HTTP are made of.
type httpLabels struct {
	any     bool          // an attribute was there that is one of HTTP alone
	sources [labels]uint8 // 1 + index of the best source, 0 for none
	values  [labels]attribute.Value
}

func (h *httpLabels) found(index uint8, v attribute.Value) {
	s := &sources[index-1]
	h.any = h.any || !s.general
	if old := h.sources[s.label]; old == 0 || index <= old {
		h.sources[s.label], h.values[s.label] = index, v
	}
}

func (h *httpLabels) append(list []attribute.KeyValue) []attribute.KeyValue {
	if !h.any {
		return list
	}
	for l := noLabel + 1; l < labels; l++ {
		if h.sources[l] > 0 {
			list = append(list, attribute.KeyValue{Key: labelKeys[l], Value: h.values[l]})
		}
	}
	return list
}
