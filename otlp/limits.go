package otlp

import "unicode/utf8"

// Limits are what a backend takes; 0 for what it does not limit. They bound what is read here cheaply: keys inside of arrays and
// maps are not measured.
type Limits struct {
	Key, Value, Name, EventName, URL int // bytes; Value of a string or bytes, or encoded of an array or a map; URL of a schema

	// Attributes is the most of a span or a record, and of a resource, a scope, an event and a link; Events and Links of a span.
	Attributes, Events, Links int

	// Text demands that strings are UTF-8, as protobuf does, but not OTLP's readers, and that keys are not empty.
	Text bool
}

// Span reports whether the span keeps within the limits, and how many attributes it has with its events and links.
func (l *Limits) Span(s Span) (attributes int, ok bool) {
	var events, links, inner int
	f := fields{b: s.body()}
	for {
		run, ok := l.attributeRun(&f, 9<<3|wireLen)
		attributes += run
		tag, _, body, more := f.next()
		if !more || !ok {
			return attributes + inner, ok && within(attributes, l.Attributes) && within(events, l.Events) && within(links, l.Links)
		}
		n := 0
		switch tag {
		case 9<<3 | wireLen:
			attributes++
			ok = l.attribute(body)
		case 5<<3 | wireLen:
			ok = within(len(body), l.Name) && l.text(body)
		case 11<<3 | wireLen:
			events++
			n, ok = l.group(body, 3<<3|wireLen, 2<<3|wireLen, l.EventName)
		case 13<<3 | wireLen:
			links++
			n, ok = l.group(body, 4<<3|wireLen, 3<<3|wireLen, 0)
		case 15<<3 | wireLen:
			ok = l.text(lastText(body, 2<<3|wireLen))
		case stateTag:
			ok = l.text(body)
		}
		if inner += n; !ok {
			return 0, false
		}
	}
}

// Record is Span for a log record. Its body is bounded by nothing here.
func (l *Limits) Record(r Record) (attributes int, ok bool) {
	f := fields{b: r.body()}
	for {
		run, ok := l.attributeRun(&f, 6<<3|wireLen)
		attributes += run
		tag, _, body, more := f.next()
		if !more || !ok {
			return attributes, ok && within(attributes, l.Attributes)
		}
		switch tag {
		case 6<<3 | wireLen:
			attributes++
			ok = l.attribute(body)
		case 5<<3 | wireLen:
			ok = !l.Text || decodeValue(body).isText()
		case 3<<3 | wireLen, 12<<3 | wireLen:
			ok = l.text(body)
		}
		if !ok {
			return 0, false
		}
	}
}

// attributeRun skips attributes of less than 128 bytes that are one key and one scalar, nearly all, and counts them. It reports
// whether all their strings are text: what stands between strings is ASCII, so a run without numbers is checked as one.
func (l *Limits) attributeRun(f *fields, tag byte) (n int, ok bool) {
	if !l.small() {
		return 0, true
	}
	b, at, from := f.b, f.pos, f.pos
	ok = true
	for ; at < len(b) && b[at] == tag && b[at+1] < 0x80; n++ {
		end := at + 2 + int(b[at+1])
		if l.Text {
			key, text, plain := l.plain(b[at+2 : end])
			if !plain {
				break
			}
			if !text {
				ok = ok && utf8.Valid(key) && utf8.Valid(b[from:at])
				from = end
			}
		}
		at = end
	}
	f.pos = at
	return n, ok && (!l.Text || utf8.Valid(b[from:at]))
}

// plain takes apart an attribute of less than 128 bytes: its key, and whether its value is a string or nothing. plain is false
// for what is not one key, which is not empty, and one scalar.
func (l *Limits) plain(kv []byte) (key []byte, text, plain bool) {
	mid := splitKeyValue(kv)
	if mid == 0 {
		return nil, false, false
	}
	key, v := kv[2:mid], kv[mid+2:]
	if kv[0] == valueTag {
		key, v = v, key
	}
	text = len(v) == 0 || len(v) > 1 && v[0] == 1<<3|wireLen && int(v[1]) == len(v)-2
	return key, text, len(key) > 0 && (text || plainScalar(v))
}

// Headers reports whether a scope, 0 <= scope < Payload.Scopes, and its resource keep within the limits, and how many attributes
// they have.
func (l *Limits) Headers(p *Payload, scope int32) (attributes int, ok bool) {
	s := &p.scopes[scope]
	n, ok1 := l.header(p.parts(&p.resources[s.resource]), 1<<3|wireLen, 0)
	m, ok2 := l.header(p.parts(s), 3<<3|wireLen, 1<<3|wireLen)
	return n + m, ok1 && ok2
}

// header checks a resource group's own fields or a scope group's; tags are of the attributes and the name in the resource or the scope.
func (l *Limits) header(parts [2][]byte, tag, nameTag uint64) (attributes int, ok bool) {
	for _, part := range parts {
		f := fields{b: part}
		for t, _, body, more := f.next(); more; t, _, body, more = f.next() {
			n, ok := 0, true
			switch t {
			case 1<<3 | wireLen:
				n, ok = l.group(body, tag, nameTag, 0)
			case 3<<3 | wireLen:
				ok = within(len(body), l.URL) && l.text(body)
			}
			if attributes += n; !ok {
				return 0, false
			}
		}
	}
	return attributes, within(attributes, l.Attributes)
}

// group checks the attributes of a message, and its name or another text where it has one.
func (l *Limits) group(b []byte, tag, nameTag uint64, name int) (attributes int, ok bool) {
	f := fields{b: b}
	for {
		run, ok := l.attributeRun(&f, byte(tag))
		attributes += run
		t, _, body, more := f.next()
		if !more || !ok {
			return attributes, ok && within(attributes, l.Attributes)
		}
		switch t {
		case tag:
			attributes++
			if !l.attribute(body) {
				return 0, false
			}
		case nameTag:
			if !within(len(body), name) || !l.text(body) {
				return 0, false
			}
		}
	}
}

func (l *Limits) attribute(kv []byte) bool {
	k, v := decodeKeyValue(kv)
	return within(len(k), l.Key) && within(len(v.b), l.Value) && (!l.Text || len(k) > 0 && utf8.Valid(k) && v.isText())
}

// small reports whether an attribute of less than 128 bytes keeps within the limits of size whatever it holds.
func (l *Limits) small() bool {
	return (l.Key == 0 || l.Key >= 0x80) && (l.Value == 0 || l.Value >= 0x80)
}

func (l *Limits) text(b []byte) bool { return !l.Text || utf8.Valid(b) }

// isText reports whether all strings in the value are UTF-8.
func (v Value) isText() bool {
	switch v.kind {
	case String:
		return utf8.Valid(v.b)
	case Array, Map:
		f := fields{b: v.b}
		for tag, _, body, ok := f.next(); ok; tag, _, body, ok = f.next() {
			if tag != 1<<3|wireLen {
				continue
			}
			var key []byte
			var inner Value
			if v.kind == Map {
				key, inner = decodeKeyValue(body)
			} else {
				inner = decodeValue(body)
			}
			if !utf8.Valid(key) || !inner.isText() {
				return false
			}
		}
	}
	return true
}

func within(n, limit int) bool { return limit == 0 || n <= limit }
