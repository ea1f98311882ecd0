package cloudtrace

import (
	"encoding/binary"
	"strconv"

	"cloud.google.com/go/trace/apiv2/tracepb"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// sending is a request that the package made of spans, with the attributes that the package did not see. In the encoded form
// entries of a map follow each other, and of two with the same key the later one counts: so what many spans share is copied
// before each one's own.
type sending struct {
	*tracepb.BatchWriteSpansRequest
	spans []sdktrace.ReadOnlySpan // *span, as many as the request's
}

// codec encodes it. The protobuf library walks the maps of attributes by reflection and measures each message before it
// writes it, which takes three times as long as all that is done for a span before. Everything else is the library's.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2("proto")} }

func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	r, ok := v.(*sending)
	if !ok {
		return c.CodecV2.Marshal(v)
	}
	pool := mem.DefaultBufferPool()
	first := pool.Get(1 << 20)
	w := writer{b: (*first)[:0]}
	w.request(r)
	if cap(w.b) != cap(*first) {
		pool.Put(first)
	}
	return mem.BufferSlice{mem.NewBuffer(&w.b, pool)}, nil
}

// encode encodes attributes like the package's and codec's.
func encode(list []attribute.KeyValue) []byte {
	var w writer
	for _, kv := range list {
		w.entry(string(kv.Key), protoOf(kv.Value))
	}
	return w.b
}

func protoOf(v attribute.Value) *tracepb.AttributeValue {
	text := v.AsString()
	switch v.Type() {
	case attribute.BOOL:
		return &tracepb.AttributeValue{Value: &tracepb.AttributeValue_BoolValue{BoolValue: v.AsBool()}}
	case attribute.INT64:
		return &tracepb.AttributeValue{Value: &tracepb.AttributeValue_IntValue{IntValue: v.AsInt64()}}
	case attribute.FLOAT64:
		text = strconv.FormatFloat(v.AsFloat64(), 'f', -1, 64)
	}
	return &tracepb.AttributeValue{Value: &tracepb.AttributeValue_StringValue{StringValue: &tracepb.TruncatableString{Value: text}}}
}

// writer writes messages of the API as far as the package fills them: it knows neither stack traces, child counts nor
// message events. A field without content is not written, as in proto3.
type writer struct{ b []byte }

func (w *writer) request(r *sending) {
	w.text(1, r.Name)
	for i, s := range r.Spans {
		at := w.open(2)
		w.span(s, r.spans[i].(*span).shared)
		w.close(at)
	}
}

func (w *writer) span(s *tracepb.Span, shared []byte) {
	w.text(1, s.Name)
	w.text(2, s.SpanId)
	w.text(3, s.ParentSpanId)
	w.truncatable(4, s.DisplayName)
	w.time(5, s.StartTime)
	w.time(6, s.EndTime)
	w.attributes(7, s.Attributes, shared)
	w.timeEvents(s.TimeEvents)
	w.links(s.Links)
	if s.Status != nil {
		at := w.open(11)
		w.number(1, int64(s.Status.Code))
		w.text(2, s.Status.Message)
		w.close(at)
	}
	if s.SameProcessAsParentSpan != nil {
		at := w.open(12)
		w.bool(1, s.SameProcessAsParentSpan.Value)
		w.close(at)
	}
	w.number(14, int64(s.SpanKind))
}

func (w *writer) attributes(field byte, a *tracepb.Span_Attributes, shared []byte) {
	if a == nil {
		return
	}
	at := w.open(field)
	w.b = append(w.b, shared...)
	for key, v := range a.AttributeMap {
		w.entry(key, v)
	}
	w.number(2, int64(a.DroppedAttributesCount))
	w.close(at)
}

func (w *writer) entry(key string, v *tracepb.AttributeValue) {
	entry := w.open(1)
	w.text(1, key)
	value := w.open(2)
	switch v := v.Value.(type) {
	case *tracepb.AttributeValue_StringValue:
		w.truncatable(1, v.StringValue)
	case *tracepb.AttributeValue_IntValue:
		w.b = protowire.AppendVarint(append(w.b, 2<<3), uint64(v.IntValue))
	case *tracepb.AttributeValue_BoolValue:
		w.b = protowire.AppendVarint(append(w.b, 3<<3), protowire.EncodeBool(v.BoolValue))
	}
	w.close(value)
	w.close(entry)
}

func (w *writer) timeEvents(events *tracepb.Span_TimeEvents) {
	if events == nil {
		return
	}
	all := w.open(9)
	for _, e := range events.TimeEvent {
		event := w.open(1)
		w.time(1, e.Time)
		if a := e.GetAnnotation(); a != nil {
			at := w.open(2)
			w.truncatable(1, a.Description)
			w.attributes(2, a.Attributes, nil)
			w.close(at)
		}
		w.close(event)
	}
	w.number(2, int64(events.DroppedAnnotationsCount))
	w.close(all)
}

func (w *writer) links(links *tracepb.Span_Links) {
	if links == nil {
		return
	}
	all := w.open(10)
	for _, l := range links.Link {
		at := w.open(1)
		w.text(1, l.TraceId)
		w.text(2, l.SpanId)
		w.number(3, int64(l.Type))
		w.attributes(4, l.Attributes, nil)
		w.close(at)
	}
	w.number(2, int64(links.DroppedLinksCount))
	w.close(all)
}

func (w *writer) truncatable(field byte, s *tracepb.TruncatableString) {
	if s == nil {
		return
	}
	at := w.open(field)
	w.text(1, s.Value)
	w.number(2, int64(s.TruncatedByteCount))
	w.close(at)
}

func (w *writer) time(field byte, t *timestamppb.Timestamp) {
	if t == nil {
		return
	}
	at := w.open(field)
	w.number(1, t.Seconds)
	w.number(2, int64(t.Nanos))
	w.close(at)
}

func (w *writer) text(field byte, s string) {
	if s != "" {
		w.b = append(protowire.AppendVarint(append(w.b, field<<3|2), uint64(len(s))), s...)
	}
}

func (w *writer) number(field byte, n int64) {
	if n != 0 {
		w.b = protowire.AppendVarint(append(w.b, field<<3), uint64(n))
	}
}

func (w *writer) bool(field byte, v bool) { w.number(field, int64(protowire.EncodeBool(v))) }

// open begins a message; close writes its length, for which open leaves one byte. That is enough for most; the others are moved.
func (w *writer) open(field byte) (at int) {
	w.b = append(w.b, field<<3|2, 0)
	return len(w.b)
}

func (w *writer) close(at int) {
	n := len(w.b) - at
	if n < 0x80 {
		w.b[at-1] = byte(n)
		return
	}
	var length [binary.MaxVarintLen64]byte
	size := binary.PutUvarint(length[:], uint64(n))
	w.b = append(w.b, length[1:size]...)
	copy(w.b[at+size-1:], w.b[at:at+n])
	copy(w.b[at-1:], length[:size])
}
