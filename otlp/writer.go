package otlp

// Writer writes export requests of items of a scanned payload, with one attribute set on each resource and all other
// bytes as they came. It looks neither ahead nor back: the lengths of the groups around the items take five bytes whatever
// they are, which protobuf allows, so items can be added until a request is large enough. The zero value is ready for Start. A
// Writer that is used again allocates nothing. It serves one at a time.
type Writer struct {
	p               *Payload
	key, value      string
	out             []byte
	resource, scope int32 // those that are open, -1 for none
	resourceAt      int   // where the length of the open resource's group stands
	scopeAt         int
	unset           bool // the attribute has yet to be set, behind the items: pdata writes all fields in reverse
}

// Start begins a request of items of p, which must not be scanned again before the last of them was added. Each resource
// gets the attribute, in place of all that it has with the key; with an empty key all stay as they are. dst, which may be nil, is
// appended to.
func (w *Writer) Start(dst []byte, p *Payload, key, value string) {
	*w = Writer{p: p, key: key, value: value, out: dst, resource: -1, scope: -1}
}

// Item adds item i, 0 <= i < Payload.Len, and within its message the suffix: whole fields, or nothing.
func (w *Writer) Item(i int32, suffix []byte) { w.put(i, w.p.body(i), suffix) }

// put adds an item with the headers of item i.
func (w *Writer) put(i int32, body, suffix []byte) {
	if s := w.p.entries[i].scope; s != w.scope {
		w.open(s)
	}
	w.out = appendField(w.out, 2<<3|wireLen, len(body)+len(suffix))
	w.out = append(append(w.out, body...), suffix...)
}

// Request adds a whole export request.
func (w *Writer) Request(b []byte) {
	w.Break()
	w.out = append(w.out, b...)
}

// Break makes the next item begin its resource anew.
func (w *Writer) Break() {
	w.closeScope()
	if w.resource < 0 {
		return
	}
	tail := w.p.parts(&w.p.resources[w.resource])[1]
	w.out, _ = w.appendResource(w.out, tail, w.unset)
	putPadded(w.out[w.resourceAt:], len(w.out)-w.resourceAt-paddedLength)
	w.resource = -1
}

// Bytes ends the request and returns it, behind what Start was given. It is the caller's.
func (w *Writer) Bytes() []byte {
	w.Break()
	return w.out
}

// Len returns the size of what Bytes would return, but for a few bytes of the open groups.
func (w *Writer) Len() int { return len(w.out) }

// Need returns by how much Item makes the request longer, without the suffix: a few bytes more or less.
func (w *Writer) Need(i int32) int {
	e := &w.p.entries[i]
	n := fieldSize(int(e.size))
	if e.scope == w.scope {
		return n
	}
	s := &w.p.scopes[e.scope]
	n += s.size() + 1 + paddedLength
	if s.resource != w.resource {
		n += w.p.resources[s.resource].size() + 2*(1+paddedLength) + attributeSize(w.key, w.value)
	}
	return n
}

func (w *Writer) open(scope int32) {
	h := &w.p.scopes[scope]
	if h.resource != w.resource {
		w.Break()
		w.resourceAt = w.begin(1<<3 | wireLen)
		parts := w.p.parts(&w.p.resources[h.resource])
		var set bool
		w.out, set = w.appendResource(w.out, parts[0], true)
		w.unset = !set && hasField(parts[1], 1<<3|wireLen)
		if !set && !w.unset {
			w.out = appendField(w.out, 1<<3|wireLen, attributeSize(w.key, w.value))
			w.out = appendAttribute(w.out, w.key, w.value)
		}
		w.resource = h.resource
	}
	w.closeScope()
	w.scopeAt = w.begin(2<<3 | wireLen)
	w.out = append(w.out, w.p.parts(h)[0]...)
	w.scope = scope
}

func (w *Writer) closeScope() {
	if w.scope < 0 {
		return
	}
	w.out = append(w.out, w.p.parts(&w.p.scopes[w.scope])[1]...)
	putPadded(w.out[w.scopeAt:], len(w.out)-w.scopeAt-paddedLength)
	w.scope = -1
}

func (w *Writer) begin(tag byte) (lengthAt int) {
	w.out = append(w.out, tag, 0, 0, 0, 0, 0)
	return len(w.out) - paddedLength
}

// appendResource appends fields of a resource group, the resource itself without its attributes with the key. The first of
// several occurrences of the resource, which merge, gets the new one if it is to be set.
func (w *Writer) appendResource(dst, header []byte, set bool) (out []byte, done bool) {
	if w.key == "" {
		return append(dst, header...), true
	}
	f := fields{b: header}
	for at := 0; at < len(header); at = f.pos {
		tag, _, body, _ := f.next()
		if tag != 1<<3|wireLen {
			dst = append(dst, header[at:f.pos]...)
			continue
		}
		dst = append(dst, 1<<3|wireLen, 0, 0, 0, 0, 0)
		start := len(dst)
		dst = appendWithoutKey(dst, body, w.key)
		if set && !done {
			dst, done = appendAttribute(dst, w.key, w.value), true
		}
		putPadded(dst[start-paddedLength:], len(dst)-start)
	}
	return dst, done
}

func hasField(b []byte, tag uint64) bool {
	f := fields{b: b}
	for t, _, _, ok := f.next(); ok; t, _, _, ok = f.next() {
		if t == tag {
			return true
		}
	}
	return false
}

// appendWithoutKey appends the fields of a Resource but for the attributes with the key.
func appendWithoutKey(dst, resource []byte, key string) []byte {
	f := fields{b: resource}
	from := 0
	for at := 0; at < len(resource); at = f.pos {
		tag, _, kv, _ := f.next()
		if tag != 1<<3|wireLen || otherKey(kv, key) {
			continue
		}
		if k, _ := decodeKeyValue(kv); string(k) == key {
			dst = append(dst, resource[from:at]...)
			from = f.pos
		}
	}
	return append(dst, resource[from:]...)
}

// attributeSize is the size of what appendAttribute appends.
func attributeSize(key, value string) int {
	return fieldSize(fieldSize(len(key)) + fieldSize(fieldSize(len(value))))
}

// appendAttribute appends a string attribute as a Resource has it.
func appendAttribute(dst []byte, key, value string) []byte {
	v := fieldSize(len(value))
	dst = appendField(dst, 1<<3|wireLen, fieldSize(len(key))+fieldSize(v))
	dst = append(appendField(dst, keyTag, len(key)), key...)
	dst = appendField(dst, valueTag, v)
	return append(appendField(dst, 1<<3|wireLen, len(value)), value...)
}

// FlagsField returns the encoded field that sets a log record's flags, whatever they were, for use as a suffix: the last
// occurrence counts.
func FlagsField(flags uint32) [5]byte {
	return [5]byte{8<<3 | wireI32, byte(flags), byte(flags >> 8), byte(flags >> 16), byte(flags >> 24)}
}
