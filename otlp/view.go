package otlp

import "iter"

// Codes of a span's status.
const (
	StatusUnset int32 = iota
	StatusOK
	StatusError
)

// view is an item of a payload. Views are small values to be passed by value.
type view struct {
	p *Payload
	i int32
}

func (v view) item() *item { return &v.p.items[v.i] }

func (v view) body() []byte { return v.p.body(v.i) }

// TraceID returns the id of the item's trace, zero for none.
func (v view) TraceID() TraceID { return v.item().trace }

// SpanID returns the id of the span, or of the span the log record belongs to; zero for none.
func (v view) SpanID() SpanID { return v.item().span }

// Flags returns the W3C trace flags and the bits OTLP adds to them.
func (v view) Flags() uint32 { return v.item().flags }

// Size returns the encoded size of the item in bytes.
func (v view) Size() int { return int(v.p.entries[v.i].size) }

// ResourceIndex returns the number of the item's resource, for Payload.Resource.
func (v view) ResourceIndex() int32 { return v.p.scopes[v.p.entries[v.i].scope].resource }

// Resource returns the item's resource.
func (v view) Resource() Resource { return v.p.Resource(v.ResourceIndex()) }

// ScopeName returns the name of the item's instrumentation scope.
func (v view) ScopeName() []byte { return v.scopeText(1<<3 | wireLen) }

// ScopeVersion returns the version of the item's instrumentation scope.
func (v view) ScopeVersion() []byte { return v.scopeText(2<<3 | wireLen) }

func (v view) scopeText(field uint64) (text []byte) {
	for _, part := range v.p.parts(&v.p.scopes[v.p.entries[v.i].scope]) {
		f := fields{b: part}
		for tag, _, body, ok := f.next(); ok; tag, _, body, ok = f.next() {
			if tag != 1<<3|wireLen {
				continue
			}
			if t := lastText(body, field); t != nil {
				text = t
			}
		}
	}
	return text
}

func (v view) attributes() []byte { return v.p.b[v.item().attrs:v.item().attrsEnd] }

func (v view) attribute(tag uint64, key string) (Value, bool) {
	it := v.item()
	b := v.p.b[it.attrs:it.attrsEnd]
	if it.attrsPlain {
		return findInRun(b, key)
	}
	return findAttribute(b, tag, key)
}

func (v view) text() []byte { return v.p.b[v.item().text:][:v.item().textLen] }

// Span is a view of a span of a traces payload.
type Span struct{ view }

// Span returns span i of a traces payload, 0 <= i < Len.
func (p *Payload) Span(i int32) Span { return Span{view{p, i}} }

// ParentSpanID returns the id of the parent span, zero for a root.
func (s Span) ParentSpanID() SpanID { return s.item().parent }

// Start returns the start time in unix nanoseconds.
func (s Span) Start() uint64 { return s.item().start }

// End returns the end time in unix nanoseconds.
func (s Span) End() uint64 { return s.item().end }

// Kind returns the span kind as OTLP numbers it: 1 internal, 2 server, 3 client, 4 producer, 5 consumer.
func (s Span) Kind() int32 { return s.item().kind }

// LocalRoot reports whether the span is where its process took part in the trace: it has no parent, or its parent is in
// another process. The flags say that (SpanFlags of opentelemetry-proto's trace.proto: HAS_IS_REMOTE, bit 8, and IS_REMOTE, bit
// 9); of SDKs that do not set them the kind is taken for it: SERVER and CONSUMER.
func (s Span) LocalRoot() bool { return s.item().localRoot() }

// StatusCode returns StatusUnset, StatusOK, StatusError, or whatever else the payload holds.
func (s Span) StatusCode() int32 { return s.item().statusCode }

// StatusMessage returns the description of the status.
func (s Span) StatusMessage() (message []byte) {
	f := fields{b: s.body()}
	for tag, _, body, ok := f.next(); ok; tag, _, body, ok = f.next() {
		if tag != 15<<3|wireLen {
			continue
		}
		if m := lastText(body, 2<<3|wireLen); m != nil {
			message = m
		}
	}
	return message
}

// Name returns the span's name.
func (s Span) Name() []byte { return s.text() }

// TraceState returns the W3C tracestate.
func (s Span) TraceState() []byte { return s.p.b[s.item().state:][:s.item().stateLen] }

// Valid reports whether the span has both a trace id and a span id, as OTLP demands.
func (s Span) Valid() bool { return !s.TraceID().IsZero() && !s.SpanID().IsZero() }

// Attribute returns the first attribute with the key.
func (s Span) Attribute(key string) (Value, bool) {
	return s.attribute(9<<3|wireLen, key)
}

// Attributes iterates over keys and values in the order of the payload.
func (s Span) Attributes() iter.Seq2[[]byte, Value] {
	return attributesOf(s.attributes(), 9<<3|wireLen)
}

// Events iterates over the span's events.
func (s Span) Events() iter.Seq[Event] {
	return func(yield func(Event) bool) {
		f := fields{b: s.body()}
		for tag, _, body, ok := f.next(); ok; tag, _, body, ok = f.next() {
			if tag == 11<<3|wireLen && !yield(Event{body}) {
				return
			}
		}
	}
}

// Links iterates over the span's links.
func (s Span) Links() iter.Seq[Link] {
	return func(yield func(Link) bool) {
		f := fields{b: s.body()}
		for tag, _, body, ok := f.next(); ok; tag, _, body, ok = f.next() {
			if tag == 13<<3|wireLen && !yield(Link{body}) {
				return
			}
		}
	}
}

// Event is a view of a span's event.
type Event struct{ b []byte }

// Time returns the event's time in unix nanoseconds.
func (e Event) Time() (t uint64) {
	f := fields{b: e.b}
	for tag, num, _, ok := f.next(); ok; tag, num, _, ok = f.next() {
		if tag == 1<<3|wireI64 {
			t = num
		}
	}
	return t
}

// Name returns the event's name.
func (e Event) Name() []byte { return lastText(e.b, 2<<3|wireLen) }

// Attribute returns the first attribute with the key.
func (e Event) Attribute(key string) (Value, bool) { return findAttribute(e.b, 3<<3|wireLen, key) }

// Attributes iterates over keys and values in the order of the payload.
func (e Event) Attributes() iter.Seq2[[]byte, Value] { return attributesOf(e.b, 3<<3|wireLen) }

// Link is a view of a span's link to another span.
type Link struct{ b []byte }

// TraceID returns the id of the linked trace, zero for none.
func (l Link) TraceID() (t TraceID) {
	copy(t[:], lastText(l.b, 1<<3|wireLen))
	return t
}

// SpanID returns the id of the linked span, zero for none.
func (l Link) SpanID() (s SpanID) {
	copy(s[:], lastText(l.b, 2<<3|wireLen))
	return s
}

// TraceState returns the tracestate of the linked span.
func (l Link) TraceState() []byte { return lastText(l.b, 3<<3|wireLen) }

// Attribute returns the first attribute with the key.
func (l Link) Attribute(key string) (Value, bool) { return findAttribute(l.b, 4<<3|wireLen, key) }

// Attributes iterates over keys and values in the order of the payload.
func (l Link) Attributes() iter.Seq2[[]byte, Value] { return attributesOf(l.b, 4<<3|wireLen) }

// Record is a view of a log record of a logs payload.
type Record struct{ view }

// Record returns log record i of a logs payload, 0 <= i < Len.
func (p *Payload) Record(i int32) Record { return Record{view{p, i}} }

// Time returns when the event occurred in unix nanoseconds, 0 if unknown.
func (r Record) Time() uint64 { return r.item().start }

// ObservedTime returns when the event was observed in unix nanoseconds.
func (r Record) ObservedTime() uint64 { return r.item().end }

// SeverityNumber returns 1 to 24 as OTLP numbers severities, 0 if unset.
func (r Record) SeverityNumber() int32 { return r.item().kind }

// SeverityText returns the severity as the source named it.
func (r Record) SeverityText() []byte { return r.text() }

// EventName returns the name of the event class the record is of, empty for an ordinary record.
func (r Record) EventName() []byte { return lastText(r.body(), 12<<3|wireLen) }

// Bytes returns the encoded record, which must not be changed.
func (r Record) Bytes() []byte { return r.body() }

// DroppedAttributes returns how many attributes the source left out.
func (r Record) DroppedAttributes() uint32 { return uint32(lastNumber(r.body(), 7<<3|wireVarint)) }

// Body returns the record's body.
func (r Record) Body() (v Value) {
	f := fields{b: r.body()}
	for tag, _, body, ok := f.next(); ok; tag, _, body, ok = f.next() {
		if tag == 5<<3|wireLen {
			v.merge(body)
		}
	}
	return v
}

// Attribute returns the first attribute with the key.
func (r Record) Attribute(key string) (Value, bool) {
	return r.attribute(6<<3|wireLen, key)
}

// Attributes iterates over keys and values in the order of the payload.
func (r Record) Attributes() iter.Seq2[[]byte, Value] {
	return attributesOf(r.attributes(), 6<<3|wireLen)
}

// Resource is a view of the resource of a group of items.
type Resource struct{ parts [2][]byte } // the group's own fields before and after its children

// Resource returns resource r, 0 <= r < Resources.
func (p *Payload) Resource(r int32) Resource { return Resource{p.parts(&p.resources[r])} }

// Attribute returns the first attribute with the key.
func (r Resource) Attribute(key string) (Value, bool) {
	for _, part := range r.parts {
		f := fields{b: part}
		for tag, _, body, ok := f.next(); ok; tag, _, body, ok = f.next() {
			if tag != 1<<3|wireLen {
				continue
			}
			if v, ok := findAttribute(body, 1<<3|wireLen, key); ok {
				return v, true
			}
		}
	}
	return Value{}, false
}

// Attributes iterates over keys and values in the order of the payload.
func (r Resource) Attributes() iter.Seq2[[]byte, Value] {
	return func(yield func([]byte, Value) bool) {
		for _, part := range r.parts {
			f := fields{b: part}
			for tag, _, body, ok := f.next(); ok; tag, _, body, ok = f.next() {
				if tag != 1<<3|wireLen {
					continue
				}
				for k, v := range attributesOf(body, 1<<3|wireLen) {
					if !yield(k, v) {
						return
					}
				}
			}
		}
	}
}
