package otlp

import "iter"

// Details are the fields of a span that Scan does not read. They alias the payload.
type Details struct {
	Most int // of events, and of links, in the lists: a span can have one in two bytes, and a list takes 24 for each

	StatusMessage []byte
	Events        []Event
	Links         []Link
	EventCount    int // with those that are not in the list
	LinkCount     int

	// How many the source had and left out.
	DroppedAttributes, DroppedEvents, DroppedLinks uint32
}

// Details reads them all in one walk over the span into d, whose memory it reuses. What asks for one of them alone is
// served by StatusMessage, Events and Links.
func (s Span) Details(d *Details) {
	*d = Details{Most: d.Most, Events: d.Events[:0], Links: d.Links[:0]}
	body, it := s.body(), s.item()
	if !it.attrsPlain {
		d.read(body)
		return
	}
	off := s.p.entries[s.i].off
	d.read(body[:it.attrs-off])
	d.read(body[it.attrsEnd-off:])
}

func (d *Details) read(b []byte) {
	f := fields{b: b}
	for tag, num, body, ok := f.next(); ok; tag, num, body, ok = f.next() {
		switch tag {
		case 10<<3 | wireVarint:
			d.DroppedAttributes = uint32(num)
		case 11<<3 | wireLen:
			if d.EventCount++; d.EventCount <= d.Most {
				d.Events = append(d.Events, Event{body})
			}
		case 12<<3 | wireVarint:
			d.DroppedEvents = uint32(num)
		case 13<<3 | wireLen:
			if d.LinkCount++; d.LinkCount <= d.Most {
				d.Links = append(d.Links, Link{body})
			}
		case 14<<3 | wireVarint:
			d.DroppedLinks = uint32(num)
		case 15<<3 | wireLen:
			if m := lastText(body, 2<<3|wireLen); m != nil {
				d.StatusMessage = m
			}
		}
	}
}

// Dropped returns how many attributes of the event the source left out.
func (e Event) Dropped() uint32 { return uint32(lastNumber(e.b, 4<<3|wireVarint)) }

// Dropped returns how many attributes of the link the source left out.
func (l Link) Dropped() uint32 { return uint32(lastNumber(l.b, 5<<3|wireVarint)) }

// Flags returns the W3C trace flags of the linked span and the bits OTLP adds to them.
func (l Link) Flags() uint32 { return uint32(lastNumber(l.b, 6<<3|wireI32)) }

// SchemaURL returns the schema URL of the resource's attributes.
func (r Resource) SchemaURL() []byte { return lastOf(r.parts, 3<<3|wireLen) }

// Dropped returns how many attributes of the resource the source left out.
func (r Resource) Dropped() uint32 { return droppedIn(r.parts, 2<<3|wireVarint) }

// Scope is a view of the instrumentation scope of a group of items.
type Scope struct{ parts [2][]byte } // the group's own fields before and after its children

// Scope returns scope s, 0 <= s < Scopes.
func (p *Payload) Scope(s int32) Scope { return Scope{p.parts(&p.scopes[s])} }

// SchemaURL returns the schema URL of the items in the scope.
func (s Scope) SchemaURL() []byte { return lastOf(s.parts, 3<<3|wireLen) }

// Dropped returns how many attributes of the scope the source left out.
func (s Scope) Dropped() uint32 { return droppedIn(s.parts, 4<<3|wireVarint) }

// Attributes iterates over keys and values in the order of the payload.
func (s Scope) Attributes() iter.Seq2[[]byte, Value] {
	return func(yield func([]byte, Value) bool) {
		for body := range ownMessages(s.parts) {
			for k, v := range attributesOf(body, 3<<3|wireLen) {
				if !yield(k, v) {
					return
				}
			}
		}
	}
}

// ownMessages iterates over the occurrences of a header's own message, a Resource or a Scope, which merge.
func ownMessages(parts [2][]byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for _, part := range parts {
			f := fields{b: part}
			for tag, _, body, ok := f.next(); ok; tag, _, body, ok = f.next() {
				if tag == 1<<3|wireLen && !yield(body) {
					return
				}
			}
		}
	}
}

func lastOf(parts [2][]byte, tag uint64) []byte {
	if text := lastText(parts[1], tag); text != nil {
		return text
	}
	return lastText(parts[0], tag)
}

func droppedIn(parts [2][]byte, tag uint64) (n uint32) {
	for body := range ownMessages(parts) {
		f := fields{b: body}
		for t, num, _, ok := f.next(); ok; t, num, _, ok = f.next() {
			if t == tag {
				n = uint32(num)
			}
		}
	}
	return n
}

// lastNumber returns the last field with the given tag in b, 0 without one.
func lastNumber(b []byte, tag uint64) (n uint64) {
	f := fields{b: b}
	for t, num, _, ok := f.next(); ok; t, num, _, ok = f.next() {
		if t == tag {
			n = num
		}
	}
	return n
}
