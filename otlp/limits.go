package otlp

// Limits are what a backend takes; 0 for what it does not limit. They bound what is read here cheaply: keys and values inside
// of arrays and maps are not looked at.
type Limits struct {
	Key, Value, Name, EventName, URL int // bytes; Value of a string or bytes, or encoded of an array or a map; URL of a schema

	// Attributes is the most of a span, and of a resource, a scope, an event and a link; Events and Links of a span.
	Attributes, Events, Links int
}

// Span reports whether the span keeps within the limits, and how many attributes it has with its events and links.
func (l *Limits) Span(s Span) (attributes int, ok bool) {
	var events, links, inner int
	body, small := s.body(), l.small()
	for at := 0; at < len(body); {
		for small && at < len(body) && body[at] == 9<<3|wireLen && body[at+1] < 0x80 {
			attributes++ // nearly all, in a third of the time
			at += 2 + int(body[at+1])
		}
		if at == len(body) {
			break
		}
		c, field, end := body[at], []byte(nil), 0
		if c&7 == wireLen && c < 0x80 && body[at+1] < 0x80 {
			end = at + 2 + int(body[at+1])
			field = body[at+2 : end]
		} else {
			f := fields{b: body, pos: at}
			tag, _, b, _ := f.next()
			if end = f.pos; tag < 0x80 {
				c, field = byte(tag), b
			}
		}
		at = end
		switch c {
		case 9<<3 | wireLen:
			attributes++
			ok = l.attribute(field)
		case 5<<3 | wireLen:
			ok = within(len(field), l.Name)
		case 11<<3 | wireLen:
			events++
			var n int
			n, ok = l.group(field, 3<<3|wireLen, 2<<3|wireLen, l.EventName)
			inner += n
		case 13<<3 | wireLen:
			links++
			var n int
			n, ok = l.group(field, 4<<3|wireLen, 0, 0)
			inner += n
		default:
			ok = true
		}
		if !ok {
			return 0, false
		}
	}
	return attributes + inner, within(attributes, l.Attributes) && within(events, l.Events) && within(links, l.Links)
}

// Headers reports whether the item's resource and scope keep within the limits, and how many attributes they have.
func (l *Limits) Headers(p *Payload, scope int32) (attributes int, ok bool) {
	s := &p.scopes[scope]
	n, ok1 := l.header(p.parts(&p.resources[s.resource]), 1<<3|wireLen)
	m, ok2 := l.header(p.parts(s), 3<<3|wireLen)
	return n + m, ok1 && ok2
}

// header checks a resource group's own fields or a scope group's; tag is of the attributes in the resource or the scope.
func (l *Limits) header(parts [2][]byte, tag uint64) (attributes int, ok bool) {
	for _, part := range parts {
		f := fields{b: part}
		for t, _, body, more := f.next(); more; t, _, body, more = f.next() {
			switch t {
			case 1<<3 | wireLen:
				n, ok := l.group(body, tag, 0, 0)
				if attributes += n; !ok {
					return 0, false
				}
			case 3<<3 | wireLen:
				if !within(len(body), l.URL) {
					return 0, false
				}
			}
		}
	}
	return attributes, within(attributes, l.Attributes)
}

// group checks the attributes of a message, and its name where it has one.
func (l *Limits) group(b []byte, tag, nameTag uint64, name int) (attributes int, ok bool) {
	f := fields{b: b}
	for t, _, body, more := f.next(); more; t, _, body, more = f.next() {
		switch t {
		case tag:
			attributes++
			if !l.attribute(body) {
				return 0, false
			}
		case nameTag:
			if !within(len(body), name) {
				return 0, false
			}
		}
	}
	return attributes, within(attributes, l.Attributes)
}

func (l *Limits) attribute(kv []byte) bool {
	if len(kv) < 0x80 && l.small() {
		return true
	}
	k, v := decodeKeyValue(kv)
	return within(len(k), l.Key) && within(len(v.b), l.Value)
}

// small reports whether an attribute of less than 128 bytes keeps within the limits whatever it holds.
func (l *Limits) small() bool {
	return (l.Key == 0 || l.Key >= 0x80) && (l.Value == 0 || l.Value >= 0x80)
}

func within(n, limit int) bool { return limit == 0 || n <= limit }
