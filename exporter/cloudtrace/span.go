package cloudtrace

import (
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"tailweir/otlp"
)

// span is a span for the package. The methods are those that the package calls; the interface, which is nil, is there for
// the others and for one that is private, so that there is no other way to make a ReadOnlySpan without copying all of it.
type span struct {
	sdktrace.ReadOnlySpan

	context, parent trace.SpanContext
	name            string
	kind            trace.SpanKind
	start, end      time.Time
	status          sdktrace.Status
	attributes      []attribute.KeyValue
	shared          []byte // more of them, encoded, see sending
	events          []sdktrace.Event
	links           []sdktrace.Link
	size            int // of the span as it is sent, in bytes, at most
}

func (s *span) SpanContext() trace.SpanContext   { return s.context }
func (s *span) Parent() trace.SpanContext        { return s.parent }
func (s *span) Name() string                     { return s.name }
func (s *span) SpanKind() trace.SpanKind         { return s.kind }
func (s *span) StartTime() time.Time             { return s.start }
func (s *span) EndTime() time.Time               { return s.end }
func (s *span) Status() sdktrace.Status          { return s.status }
func (s *span) Attributes() []attribute.KeyValue { return s.attributes }
func (s *span) Events() []sdktrace.Event         { return s.events }
func (s *span) Links() []sdktrace.Link           { return s.links }

// Resource is empty. The package would merge its attributes into each span anew.
func (s *span) Resource() *resource.Resource { return nil }

// Bits of a span's and a link's flags beyond the eight of W3C Trace Context.
const (
	flagHasIsRemote = 0x100
	flagIsRemote    = 0x200
)

// remoteParent tells whether the parent is in another process. Where the source does not say, which is true of older SDKs,
// it is for the kinds of spans that answer somebody else's.
func remoteParent(s otlp.Span) bool {
	if s.ParentSpanID().IsZero() {
		return false
	}
	if s.Flags()&flagHasIsRemote != 0 {
		return s.Flags()&flagIsRemote != 0
	}
	kind := spanKind(s.Kind())
	return kind == trace.SpanKindServer || kind == trace.SpanKindConsumer
}

func contexts(s otlp.Span) (own, parent trace.SpanContext) {
	id := trace.TraceID(s.TraceID())
	own = trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: trace.SpanID(s.SpanID())})
	if p := s.ParentSpanID(); !p.IsZero() {
		parent = trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: trace.SpanID(p), Remote: remoteParent(s)})
	}
	return own, parent
}

// spanKind: OTLP and the SDK number kinds alike. Unknown ones are internal, like unspecified ones in the package.
func spanKind(kind int32) trace.SpanKind {
	if kind < int32(trace.SpanKindUnspecified) || kind > int32(trace.SpanKindConsumer) {
		return trace.SpanKindInternal
	}
	return trace.SpanKind(kind)
}

// statusOf: the package sends a message only with an error; the others' becomes a label, see appendStatus.
func statusOf(code int32, message []byte) sdktrace.Status {
	switch code {
	case otlp.StatusOK:
		return sdktrace.Status{Code: codes.Ok}
	case otlp.StatusError:
		return sdktrace.Status{Code: codes.Error, Description: valid(message)}
	}
	return sdktrace.Status{Code: codes.Unset}
}

// timeOf is exact for all of OTLP's times; as an int64 of nanoseconds those after 2262 would be before 1970.
func timeOf(ns uint64) time.Time { return time.Unix(int64(ns/1e9), int64(ns%1e9)) }
