package cloudtrace

import (
	"iter"
	"slices"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"tailweir/otlp"
)

// mapper makes the package's spans of a payload's. It serves one goroutine and one payload. The same span is always made
// into the same, whatever else is in the payload.
type mapper struct {
	payload *otlp.Payload
	keys    map[string]key
	bases   map[string]*base // by the bytes of resource and scope: in a batch each trace brings its own copies
	scopes  []*base          // the same by the number of the scope
	buf     []byte

	// Of the span that is being made:
	details otlp.Details
	list    []attribute.KeyValue
	http    httpLabels
	notes   notes
	size    int
	skipped int // attributes that were not read, of the list that is being made

	blanks int // how many more elements of lists may be there only for the package to count

	// Where is room for what is made:
	attributesRoom []attribute.KeyValue
	eventsRoom     []sdktrace.Event
	linksRoom      []sdktrace.Link
}

// A payload can have an attribute, an event or a link in two bytes, and here each takes up to 88. So no more of them is made
// than can be of use, and the API's counts of what was left out, which the package makes of the lists' lengths, end where
// this does. What tailweir.shortened says is right all the same.
const (
	maxRead   = 4 * maxAttributes // attributes of a list that are read: some may come several times
	maxBlanks = 1 << 17           // of a payload
)

// blank returns how many of n elements may be made for counting alone.
func (m *mapper) blank(n int) int {
	n = min(n, m.blanks)
	m.blanks -= n
	return n
}

func newMapper(p *otlp.Payload) *mapper {
	m := &mapper{payload: p, keys: map[string]key{}, bases: map[string]*base{}, scopes: make([]*base, p.Scopes()), blanks: maxBlanks}
	m.details.Most = max(maxEvents, maxLinks)
	return m
}

// make makes span i and tells whether something of it had to be cut.
func (m *mapper) make(i int32, out *span) (shortened bool) {
	s := m.payload.Span(i)
	s.Details(&m.details)
	base := m.base(s)
	m.notes.copy(&base.notes)

	out.context, out.parent = contexts(s)
	out.name = m.name(s.Name(), ofSpan)
	out.kind = spanKind(s.Kind())
	out.start, out.end = timeOf(s.Start()), timeOf(s.End())
	out.status = statusOf(s.StatusCode(), m.details.StatusMessage)
	m.size = sizeOfSpan + len(out.name) + len(out.status.Description)
	out.events = m.makeEvents()
	out.links = m.makeLinks()
	out.attributes, out.shared = m.spanAttributes(s, base)
	m.size += len(out.shared)
	out.size = m.size
	return m.notes.any()
}

// makeEvents makes those that fit. The others are there without content, for the package to count.
func (m *mapper) makeEvents() []sdktrace.Event {
	n := m.details.EventCount
	events := m.details.Events[:min(n, maxEvents)]
	m.notes.left(n, len(events), "events", ofSpan)
	out := take(&m.eventsRoom, len(events)+m.blank(n-len(events)))
	for i, e := range events {
		where := place{"event", i}
		list := m.appendAll(m.list[:0], e.Attributes(), where)
		own := len(list)
		list = appendCount(list, droppedAttributes, e.Dropped())
		out[i] = sdktrace.Event{Name: m.name(e.Name(), where), Time: timeOf(e.Time()), Attributes: m.fit(list, own, maxAttributes, where)}
		m.size += sizeOfEvent + len(out[i].Name)
	}
	return out
}

// makeLinks is makeEvents for links. One without ids leads nowhere, and the API would refuse the span for it.
func (m *mapper) makeLinks() []sdktrace.Link {
	n, read := m.details.LinkCount, len(m.details.Links)
	links := slices.DeleteFunc(m.details.Links, func(l otlp.Link) bool { return l.TraceID().IsZero() || l.SpanID().IsZero() })
	m.notes.left(n, n-read+len(links), "links, without ids", ofSpan)
	n += len(links) - read
	links = links[:min(len(links), maxLinks)]
	m.notes.left(n, len(links), "links", ofSpan)
	out := take(&m.linksRoom, len(links)+m.blank(n-len(links)))
	for i, l := range links {
		where := place{"link", i}
		list := m.appendAll(m.list[:0], l.Attributes(), where)
		own := len(list)
		list = m.appendContext(list, l.TraceState(), l.Flags(), where)
		list = appendCount(list, droppedAttributes, l.Dropped())
		to := trace.SpanContextConfig{TraceID: trace.TraceID(l.TraceID()), SpanID: trace.SpanID(l.SpanID())}
		out[i] = sdktrace.Link{SpanContext: trace.NewSpanContext(to), Attributes: m.fit(list, own, maxAttributes, where)}
		m.size += sizeOfLink
	}
	return out
}

func (m *mapper) appendAll(list []attribute.KeyValue, all iter.Seq2[[]byte, otlp.Value], where place) []attribute.KeyValue {
	m.skipped = 0
	for k, v := range all {
		if len(list) < maxRead {
			list = append(list, m.attribute(k, v, where))
		} else {
			m.skipped++
		}
	}
	return list
}

// spanAttributes returns the span's own attributes, and those of the base encoded. Where keys are the same the later one
// counts: so the span's own stand after the others, and ours after those. If there are too many of them all are in the list.
func (m *mapper) spanAttributes(s otlp.Span, base *base) (out []attribute.KeyValue, shared []byte) {
	list := m.appendOwn(append(m.list[:0], base.agent), s)
	own := len(list)
	list = m.http.append(list)
	list = m.appendContext(list, s.TraceState(), s.Flags(), ofSpan)
	list = m.appendStatus(list, s.StatusCode(), m.details.StatusMessage)
	list = appendCount(list, droppedAttributes, m.details.DroppedAttributes)
	list = appendCount(list, droppedEvents, m.details.DroppedEvents)
	list = appendCount(list, droppedLinks, m.details.DroppedLinks)
	limit, shared := maxAttributes, base.encoded
	if n := len(base.attributes) + len(list); n > limit || n == limit && m.notes.any() {
		limit, shared, m.skipped = limit-1, nil, m.skipped+base.skipped
		list, own = slices.Concat(list[:1], base.attributes, list[1:]), own+len(base.attributes) // the agent first
	}
	out = m.fit(list, own, limit, ofSpan)
	if !m.notes.any() {
		return out, shared
	}
	told := attribute.String(Shortened, m.notes.text())
	m.size += sizeOf(told)
	return append(out, told), shared
}

func (m *mapper) appendOwn(list []attribute.KeyValue, s otlp.Span) []attribute.KeyValue {
	m.http, m.skipped = httpLabels{}, 0
	for k, v := range s.Attributes() {
		if len(list) >= maxRead {
			m.skipped++
			continue
		}
		key := m.key(k)
		kv := attribute.KeyValue{Key: key.name, Value: m.value(k, v, ofSpan)}
		if key.shorter {
			m.notes.add("key", k, ofSpan)
		}
		if key.source > 0 {
			m.http.found(key.source, kv.Value)
		}
		list = append(list, kv)
	}
	return list
}
