// Package otlp reads OTLP export requests on the wire, without decoding them.
//
// A [Payload] scans one ExportTraceServiceRequest, ExportLogsServiceRequest or ExportMetricsServiceRequest: it validates the whole
// structure and remembers, per span, log record or metric, where it lies and the few values that are asked for
// most. Views ([Span], [Record], [Resource], [Value]) read the rest from the payload's own bytes when they
// are asked to. An [Index] is what has to be kept of a scanned payload to copy parts of it out later.
//
// What Scan accepts is what the collector's pdata v1.70 accepts, and the views read what pdata reads:
// the last occurrence of a singular field counts, repeated occurrences of a message merge, unknown fields
// are skipped, and a field with another wire type than its own is malformed. The exceptions, all of them
// limits that keep one payload from taking the process down:
//   - messages nest at most 10,000 deep (pdata recurses without a limit until the stack is full);
//   - a payload has at most 2 GiB - 1 B and 2,097,152 spans, log records or metrics.
//
// One thing is read that pdata's unmarshaler drops: what is in the deprecated field 1000 of
// ResourceSpans, ResourceLogs and ResourceMetrics counts as items, and are written back as ordinary ones.
//
// The package is pure: no I/O, no clock, no goroutines.
package otlp

import (
	"encoding/hex"
	"fmt"
)

// TraceID is the 16-byte id of a trace; all zero means none.
type TraceID [16]byte

// SpanID is the 8-byte id of a span; all zero means none.
type SpanID [8]byte

// String returns the id as 32 lowercase hex digits.
func (t TraceID) String() string { return hex.EncodeToString(t[:]) }

// IsZero reports whether the id is absent.
func (t TraceID) IsZero() bool { return t == TraceID{} }

// String returns the id as 16 lowercase hex digits.
func (s SpanID) String() string { return hex.EncodeToString(s[:]) }

// IsZero reports whether the id is absent.
func (s SpanID) IsZero() bool { return s == SpanID{} }

// ParseTraceID reads 32 hex digits of either case. The all-zero id is an error, as in W3C Trace Context.
func ParseTraceID(s string) (TraceID, error) {
	var t TraceID
	if len(s) != 2*len(t) {
		return TraceID{}, fmt.Errorf("parse trace id %q: %d characters, want %d", s, len(s), 2*len(t))
	}
	if _, err := hex.Decode(t[:], []byte(s)); err != nil {
		return TraceID{}, fmt.Errorf("parse trace id %q: %w", s, err)
	}
	if t.IsZero() {
		return TraceID{}, fmt.Errorf("parse trace id %q: all zero", s)
	}
	return t, nil
}

// Signal says what a payload carries. The zero Signal is none.
type Signal uint8

// The signals of OTLP.
const (
	Traces Signal = iota + 1
	Logs
	Metrics
)

// String returns "traces", "logs" or "metrics".
func (s Signal) String() string {
	switch s {
	case Traces:
		return "traces"
	case Logs:
		return "logs"
	case Metrics:
		return "metrics"
	}
	return fmt.Sprintf("signal(%d)", uint8(s))
}

// Attributes of a Pub/Sub message and their values, as the collector's Pub/Sub exporter and receiver use them.
const (
	AttrType            = "ce-type"          // Signal.EventType
	AttrContentType     = "content-type"     // ContentTypeProtobuf
	AttrContentEncoding = "content-encoding" // EncodingGzip, absent when not compressed
	ContentTypeProtobuf = "application/protobuf"
	EncodingGzip        = "gzip"

	// AttrTick marks a message that only carries time: an empty traces payload.
	AttrTick = "tailweir.tick"
)

// Attributes of a dead letter, beside those the message came with.
const (
	AttrReason = "tailweir.reason" // why, in a word
	AttrError  = "tailweir.error"  // what went wrong, at most 1,000 bytes
)

// AttrKept is an attribute of exported log records whose trace is decided: whether it was kept.
const AttrKept = "tailweir.kept"

// EventType returns the CloudEvents type of a payload of the signal, "" for an unknown signal.
func (s Signal) EventType() string {
	switch s {
	case Traces, Logs, Metrics:
		return "org.opentelemetry.otlp." + s.String() + ".v1"
	}
	return ""
}

// SignalOf returns the signal of a CloudEvents type, false if it is not one of OTLP's.
func SignalOf(eventType string) (Signal, bool) {
	for s := Traces; s <= Metrics; s++ {
		if s.EventType() == eventType {
			return s, true
		}
	}
	return 0, false
}
