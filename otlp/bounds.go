package otlp

import "fmt"

// Bounds are what an item of a payload may be, and what is around it; all of them at least 1. They are meant to be far above what
// SDKs send: Check costs nothing for a payload whose items are small enough to break none of them, as nearly all are.
type Bounds struct {
	Attributes int // of a span, a record, a resource, a scope, an event, a link, a data point and an exemplar
	Events     int // of a span
	Links      int // of a span
	Depth      int // arrays and maps within one another, in a value
	Key        int // bytes of an attribute's key, also inside of maps
	Name       int // bytes of the name of a span, an event, a scope or a metric, of a trace state, a version, a severity, a unit, a description and a schema's URL
}

// Breach is how one item, or what is around it, breaks the bounds.
type Breach struct {
	Item  int32  // the first item that it concerns
	Bound string // the field of Bounds in lower case
	what  message
	have  int
	limit int
}

// String says what is too much and where, without what the item holds: "span has 5000 attributes, at most 4096 are taken".
func (b *Breach) String() string {
	of := schemas[b.what].name
	switch b.Bound {
	case "key":
		return fmt.Sprintf("%s has a key of %d bytes, at most %d are taken", of, b.have, b.limit)
	case "name":
		return fmt.Sprintf("%s has a name or text of %d bytes, at most %d are taken", of, b.have, b.limit)
	case "depth":
		return fmt.Sprintf("value has more than %d arrays and maps within one another", b.limit)
	}
	return fmt.Sprintf("%s has more than %d %s", of, b.limit, b.Bound)
}

// Check returns the items that break the bounds, in order, and the first breach; nil where all keep them. An item breaks them also
// by its resource or its scope. The payload's items stay as they are.
func (b *Bounds) Check(p *Payload) (bad []int32, first *Breach) {
	// A level of nesting takes two messages at least, and the first of them is the second message below an item.
	deep := p.nesting.most > 2+2*b.Depth
	least := min(b.Key, b.Name, 2*b.Attributes, 2*b.Events, 2*b.Links)
	if !deep && p.largest <= least {
		return nil, nil
	}
	w := boundsWalk{Bounds: b}
	scope, resource := int32(-1), int32(-1)
	okScope, okResource := true, true
	for i := range p.entries {
		e := &p.entries[i]
		if e.scope != scope {
			scope = e.scope
			h := &p.scopes[scope]
			if h.resource != resource {
				resource = h.resource
				r := &p.resources[resource]
				okResource = !deep && r.size() <= least || w.header(p, r, itemsOfResource)
			}
			okScope = okResource && (!deep && h.size() <= least || w.header(p, h, itemsOfScope))
		}
		if okScope && (!deep && int(e.size) <= least || w.item(p, int32(i))) {
			continue
		}
		if first == nil {
			first = &Breach{}
			*first = w.breach
			first.Item = int32(i)
		}
		bad = append(bad, int32(i))
	}
	return bad, first
}

// boundsWalk walks over messages that were validated, and keeps the last breach that it met.
type boundsWalk struct {
	*Bounds
	breach Breach
}

func (w *boundsWalk) item(p *Payload, i int32) (ok bool) {
	var n counts
	return w.walk(p.body(i), [...]message{Traces: span, Logs: record, Metrics: metric}[p.signal], 0, &n)
}

// header checks a group's own fields. Its resource or scope may occur several times, which merge.
func (w *boundsWalk) header(p *Payload, h *header, m message) (ok bool) {
	var n counts
	parts := p.parts(h)
	return w.walk(parts[0], m, 0, &n) && w.walk(parts[1], m, 0, &n)
}

// counts are of the repeated fields of one message.
type counts struct{ attributes, events, links int }

// walk checks the message m, whose repeated fields it adds to n.
func (w *boundsWalk) walk(b []byte, m message, depth int, n *counts) (ok bool) {
	f := fields{b: b}
	for tag, _, body, more := f.next(); more; tag, _, body, more = f.next() {
		if tag>>3 >= 17 || tag&7 != wireLen {
			continue
		}
		r := &schemas[m].rules[tag>>3]
		switch r.sub {
		case scalar:
			if !w.text(m, r, len(body)) {
				return false
			}
			continue
		case packed64, packedVarint:
			continue
		}
		inner, depth, ok := &counts{}, depth, true
		switch {
		case r.sub == arrayValue || r.sub == keyValueList:
			depth++
			ok = w.atMost("depth", m, depth, w.Depth)
		case r.sub == keyValue && m != keyValueList:
			n.attributes++
			ok = w.atMost("attributes", m, n.attributes, w.Attributes)
		case r.sub == event:
			n.events++
			ok = w.atMost("events", m, n.events, w.Events)
		case r.sub == link:
			n.links++
			ok = w.atMost("links", m, n.links, w.Links)
		case r.sub == resource || r.sub == scope:
			inner = n // several occurrences merge
		}
		if !ok || !w.walk(body, r.sub, depth, inner) {
			return false
		}
	}
	return true
}

// text checks the length of a scalar field that is a text. Values and messages of a status may be as long as a message of the queue.
func (w *boundsWalk) text(m message, r *rule, size int) (ok bool) {
	switch {
	case r.name == "" || r.id != 0 || m == anyValue || m == status:
		return true
	case m == keyValue:
		return w.atMost("key", m, size, w.Key)
	}
	return w.atMost("name", m, size, w.Name)
}

func (w *boundsWalk) atMost(bound string, m message, have, limit int) (ok bool) {
	if have > limit {
		w.breach = Breach{Bound: bound, what: m, have: have, limit: limit}
	}
	return have <= limit
}
