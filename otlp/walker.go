package otlp

import (
	"errors"
	"fmt"
	"math"
	"unicode/utf8"
)

// Fate is what becomes of an attribute or a text.
type Fate uint8

// The fates. An attribute is left as it is, its value is looked into, it is removed, or its value replaced.
const (
	Leave Fate = iota
	LookInto
	Remove
	Replace
)

// Editor says what a Walker changes. What it is given aliases the payload, is valid until it returns, and must not be changed.
//
// A set of 64 rules, one bit each, goes with every text: Attribute says which of them the texts in a value are for, what is
// nested in it too, and Rules which those without a key are for.
type Editor interface {
	// Group comes before all else of a resource and its items.
	Group(r Resource)
	// Item comes before, and EndItem after all else of a span, a log record or a metric; name is the span's.
	Item(name []byte)
	EndItem()
	// Rules are for the texts of a place that has no key.
	Rules(at Place) uint64
	// Attribute says what becomes of an attribute, or of an entry of a map in an attribute or a body; outer is for the texts in
	// that map, and nested says that it is an entry. rules counts with LookInto.
	Attribute(at Place, key []byte, nested bool, outer uint64) (fate Fate, rules uint64)
	// Text appends to dst what takes the place of text, with Replace. Remove takes away the attribute, entry or element that
	// holds it: held says whether there is one.
	Text(dst []byte, at Place, text []byte, rules uint64, held bool) ([]byte, Fate)
	// Value appends the text that takes the place of a value whose attribute is to be replaced: of a scalar, a map, or an
	// element of a list. false leaves it.
	Value(dst []byte, v Value) ([]byte, bool)
}

// ErrTooManyEdits is the error of a payload whose changes would take more memory than a multiple of it.
var ErrTooManyEdits = errors.New("otlp: changes take more than four times the payload's memory")

// Walker changes texts and attributes of export requests on the wire: one pass to find what changes, and a second one that
// copies, only if anything does. Ids, numbers and times are never touched, and of what is not changed not a byte. Messages
// around a change get new lengths; all else stays in its order, with fields that OTLP does not have, unless DropUnknown.
//
// It reads what Scan reads and metrics as well, and makes no payload malformed that was not, but finds only those faults that
// are in its way. Where a singular field comes several times all its occurrences are looked at, though a reader takes the last.
// It keeps memory for the next call, so it serves one at a time. The zero value is ready.
type Walker struct {
	// DropUnknown removes fields that OTLP does not have, whose bytes no rule can read, from all messages that are looked
	// into.
	DropUnknown bool

	editor Editor
	signal Signal
	b      []byte
	splice splice
	limit  int
}

// Rewrite returns payload as the editor changes it: the same slice when it changes nothing, else a new one. The error is a
// *ScanError or ErrTooManyEdits, and then nothing is returned.
func (w *Walker) Rewrite(signal Signal, payload []byte, e Editor) ([]byte, error) {
	if len(payload) > math.MaxInt32 {
		return nil, &ScanError{Signal: signal, What: fmt.Sprintf("%d bytes, at most %d can be read", len(payload), math.MaxInt32)}
	}
	w.editor, w.signal, w.b, w.limit = e, signal, payload, min(4*len(payload)+1<<20, math.MaxInt32)
	w.splice.reset()
	defer func() { w.editor, w.b = nil, nil }()
	err := w.message(requestShape, 0, len(payload), 0)
	switch {
	case err == errFull || w.splice.size() > w.limit:
		return nil, ErrTooManyEdits
	case err != nil:
		err.Signal = signal
		return nil, err
	}
	return w.splice.apply(payload), nil
}

// itemShape is what stands in field 2 of a scope group.
func (w *Walker) itemShape() shape {
	switch w.signal {
	case Traces:
		return spanShape
	case Logs:
		return recordShape
	}
	return metricShape
}

// errFull stands for ErrTooManyEdits on the way up.
var errFull = &ScanError{What: "too many edits"}

// bounded goes a little deeper than Scan, which says that a payload is too deep in its own words.
func (w *Walker) bounded(pos, depth int) *ScanError {
	switch {
	case depth > maxDepth+8:
		return &ScanError{Offset: pos, What: tooDeep}
	case w.splice.size() > w.limit:
		return errFull
	}
	return nil
}

func (w *Walker) fault(at int, s shape, what string) *ScanError {
	return &ScanError{Signal: w.signal, Offset: at, What: shapes[s].name + " " + what}
}

// message walks the message that reaches from pos to end.
func (w *Walker) message(s shape, pos, end, depth int) *ScanError {
	if err := w.bounded(pos, depth); err != nil {
		return err
	}
	b := w.b[:end]
	for pos < end {
		at := pos
		tag, next := readTag(b, at)
		if next < 0 {
			return w.fault(at, s, "has a malformed field tag")
		}
		if pos = skip(b, next, tag&7); pos < 0 {
			return w.fault(at, s, "has a field that is cut off or malformed")
		}
		if err := w.field(s, spot{tag: tag, at: at, length: next, end: pos}, depth); err != nil {
			return err
		}
	}
	return nil
}

// spot is where a field stands: its tag, what follows it, and its end.
type spot struct {
	tag             uint64
	at, length, end int
}

func stepOf(s shape, number uint64) step {
	switch {
	case number < 17:
		return shapes[s].steps[number]
	case number == deprecatedScopes && s == groupShape:
		return to(scopeGroupShape)
	}
	return step{}
}

func (w *Walker) field(s shape, f spot, depth int) *ScanError {
	st := stepOf(s, f.tag>>3)
	switch {
	case st.do == doUnknown:
		if w.DropUnknown {
			w.splice.cut(f.at, f.end)
		}
		return nil
	case st.do == doPass:
		return nil
	case f.tag&7 != wireLen:
		return w.fault(f.at, s, fmt.Sprintf("field %d has wire type %d, want %d", f.tag>>3, f.tag&7, wireLen))
	}
	start, _ := chunk(w.b, f.length)
	switch st.do {
	case doLook:
		w.text(f, start, st.at, w.editor.Rules(st.at), false)
		return nil
	case doAttribute:
		return w.attribute(f, start, st.at, false, 0, depth+1)
	case doValue:
		mark := w.splice.open(f.length, start)
		_, err := w.value(start, f.end, st.at, w.editor.Rules(st.at), false, depth+1)
		w.splice.close(mark, f.end)
		return err
	case doItem:
		st.to = w.itemShape()
	}
	return w.descend(s, st, f, start, depth)
}

func (w *Walker) descend(s shape, st step, f spot, start, depth int) *ScanError {
	switch {
	case s == requestShape:
		if err := w.group(start, f.end); err != nil {
			return err
		}
	case st.do == doItem:
		w.editor.Item(w.spanName(start, f.end))
		defer w.editor.EndItem()
	}
	mark := w.splice.open(f.length, start)
	err := w.message(st.to, start, f.end, depth+1)
	w.splice.close(mark, f.end)
	return err
}

// group tells the editor the resource, which may stand behind the items: pdata writes all fields in reverse.
func (w *Walker) group(pos, end int) *ScanError {
	var own []byte
	b := w.b[:end]
	for pos < end {
		at := pos
		tag, next := readTag(b, at)
		if next < 0 {
			return w.fault(at, groupShape, "has a malformed field tag")
		}
		if pos = skip(b, next, tag&7); pos < 0 {
			return w.fault(at, groupShape, "has a field that is cut off or malformed")
		}
		if tag != 1<<3|wireLen {
			continue
		}
		start, _ := chunk(b, next)
		if err := validate(b[:pos], start, resource, 2); err != nil {
			return err
		}
		if own == nil {
			own = b[at:pos:pos]
		} else {
			own = append(own, b[at:pos]...)
		}
	}
	w.editor.Group(Resource{parts: [2][]byte{own}})
	return nil
}

// spanName is the name of the span that reaches from pos to end, as far as it can be read.
func (w *Walker) spanName(pos, end int) (name []byte) {
	if w.signal != Traces {
		return nil
	}
	b := w.b[:end]
	for pos < end {
		tag, next := readTag(b, pos)
		if next < 0 {
			break
		}
		if pos = skip(b, next, tag&7); pos < 0 {
			break
		}
		if tag == 5<<3|wireLen {
			start, _ := chunk(b, next)
			name = b[start:pos]
		}
	}
	return name
}

// text asks for a text and reports whether what holds it is to be removed.
func (w *Walker) text(f spot, start int, at Place, rules uint64, held bool) (remove bool) {
	if rules == 0 {
		return false
	}
	s := &w.splice
	from := len(s.text)
	out, fate := w.editor.Text(s.text, at, w.b[start:f.end:f.end], rules, held)
	switch fate {
	case Remove:
		return true
	case Replace:
		s.text = out
		s.prefixLength(from)
		s.put(f.length, f.end, from)
	}
	return false
}

// attribute asks for the KeyValue in f, whose message begins at start.
func (w *Walker) attribute(f spot, start int, at Place, nested bool, outer uint64, depth int) *ScanError {
	key, holds, err := w.key(start, f.end)
	if err != nil {
		return err
	}
	fate, rules := w.editor.Attribute(at, key, nested, outer)
	switch {
	case fate == Remove:
		w.splice.cut(f.at, f.end)
		return nil
	case fate == Leave && !w.DropUnknown, fate == LookInto && (holds == noText || holds == oneText && rules == 0):
		return nil
	case fate == Leave:
		rules = 0
	}
	mark := w.splice.open(f.length, start)
	remove, err := w.values(start, f.end, at, fate, rules, depth)
	if remove {
		w.splice.rollback(mark)
		w.splice.cut(f.at, f.end)
		return err
	}
	w.splice.close(mark, f.end)
	return err
}

// content is what is known of a value without looking into it.
type content uint8

const (
	anyContent content = iota
	noText             // a number, or nothing
	oneText
)

// key is the key of the KeyValue that reaches from pos to end, and what its value holds.
func (w *Walker) key(pos, end int) (key []byte, holds content, err *ScanError) {
	kv := w.b[pos:end:end]
	if len(kv) < 0x80 {
		if mid := splitKeyValue(kv); mid != 0 {
			k, v := kv[2:mid], kv[mid+2:]
			if kv[0] == valueTag {
				k, v = v, k
			}
			if !plainScalar(v) {
				return k, anyContent, nil
			}
			if len(v) == 0 || v[0]&7 != wireLen {
				return k, noText, nil
			}
			return k, oneText, nil
		}
	}
	b := w.b[:end]
	for pos < end {
		at := pos
		tag, next := readTag(b, at)
		if next < 0 {
			return nil, anyContent, &ScanError{Offset: at, What: "attribute has a malformed field tag"}
		}
		if pos = skip(b, next, tag&7); pos < 0 {
			return nil, anyContent, &ScanError{Offset: at, What: "attribute has a field that is cut off or malformed"}
		}
		if tag == keyTag {
			start, _ := chunk(b, next)
			key = b[start:pos]
		}
	}
	return key, anyContent, nil
}

// values walks the values of the KeyValue that reaches from pos to end, which key has walked.
func (w *Walker) values(pos, end int, at Place, fate Fate, rules uint64, depth int) (remove bool, err *ScanError) {
	for pos < end {
		f := spot{at: pos}
		f.tag, f.length = readTag(w.b[:end], pos)
		pos = skip(w.b[:end], f.length, f.tag&7)
		f.end = pos
		switch {
		case f.tag == valueTag:
			start, _ := chunk(w.b, f.length)
			mark := w.splice.open(f.length, start)
			var gone bool
			if fate == Replace {
				err = w.replace(start, f.end, depth+1)
			} else {
				gone, err = w.value(start, f.end, at, rules, true, depth+1)
			}
			w.splice.close(mark, f.end)
			remove = remove || gone
			if err != nil {
				return false, err
			}
		case w.DropUnknown && f.tag>>3 > 3:
			w.splice.cut(f.at, f.end)
		}
	}
	return remove, nil
}

// value looks into the AnyValue that reaches from pos to end. remove says that what holds it is to go.
func (w *Walker) value(pos, end int, at Place, rules uint64, held bool, depth int) (remove bool, err *ScanError) {
	if err := w.bounded(pos, depth); err != nil {
		return false, err
	}
	for pos < end {
		f, fault := w.next(pos, end)
		if fault != nil {
			return false, fault
		}
		pos = f.end
		switch f.tag {
		case 1<<3 | wireLen, 7<<3 | wireLen:
			start, _ := chunk(w.b, f.length)
			if f.tag>>3 == 1 || utf8.Valid(w.b[start:f.end]) {
				remove = w.text(f, start, at, rules, held) || remove
			}
		case 5<<3 | wireLen, 6<<3 | wireLen:
			if err := w.elements(f, at, rules, depth); err != nil {
				return false, err
			}
		default:
			if w.DropUnknown && f.tag>>3 > 8 {
				w.splice.cut(f.at, f.end)
			}
		}
	}
	return remove, nil
}

// next reads the field of a value at pos.
func (w *Walker) next(pos, end int) (f spot, err *ScanError) {
	b := w.b[:end]
	f.at = pos
	if f.tag, f.length = readTag(b, pos); f.length < 0 {
		return f, &ScanError{Offset: pos, What: "value has a malformed field tag"}
	}
	if f.end = skip(b, f.length, f.tag&7); f.end < 0 {
		return f, &ScanError{Offset: pos, What: "value has a field that is cut off or malformed"}
	}
	return f, nil
}

// elements looks into the list or the map in f.
func (w *Walker) elements(list spot, at Place, rules uint64, depth int) *ScanError {
	start, _ := chunk(w.b, list.length)
	outer := w.splice.open(list.length, start)
	for pos := start; pos < list.end; {
		f, err := w.next(pos, list.end)
		if err != nil {
			return err
		}
		pos = f.end
		if f.tag != 1<<3|wireLen {
			if w.DropUnknown && f.tag>>3 != 1 {
				w.splice.cut(f.at, f.end)
			}
			continue
		}
		start, _ := chunk(w.b, f.length)
		if list.tag>>3 == 6 {
			if err := w.attribute(f, start, at, true, rules, depth+2); err != nil {
				return err
			}
			continue
		}
		mark := w.splice.open(f.length, start)
		remove, err := w.value(start, f.end, at, rules, true, depth+2)
		if err != nil {
			return err
		}
		if remove {
			w.splice.rollback(mark)
			w.splice.cut(f.at, f.end)
		} else {
			w.splice.close(mark, f.end)
		}
	}
	w.splice.close(outer, list.end)
	return nil
}

// replace replaces each scalar and map in the AnyValue that reaches from pos to end; lists keep their length.
func (w *Walker) replace(pos, end, depth int) *ScanError {
	if err := w.bounded(pos, depth); err != nil {
		return err
	}
	for pos < end {
		f, err := w.next(pos, end)
		if err != nil {
			return err
		}
		pos = f.end
		switch {
		case f.tag == 5<<3|wireLen:
			if err := w.replaceElements(f, depth); err != nil {
				return err
			}
		case f.tag>>3 <= 8:
			if err := w.replaceOne(f); err != nil {
				return err
			}
		case w.DropUnknown:
			w.splice.cut(f.at, f.end)
		}
	}
	return nil
}

func (w *Walker) replaceElements(list spot, depth int) *ScanError {
	start, _ := chunk(w.b, list.length)
	outer := w.splice.open(list.length, start)
	for pos := start; pos < list.end; {
		f, err := w.next(pos, list.end)
		if err != nil {
			return err
		}
		pos = f.end
		if f.tag == 1<<3|wireLen {
			start, _ := chunk(w.b, f.length)
			mark := w.splice.open(f.length, start)
			if err := w.replace(start, f.end, depth+2); err != nil {
				return err
			}
			w.splice.close(mark, f.end)
		} else if w.DropUnknown && f.tag>>3 != 1 {
			w.splice.cut(f.at, f.end)
		}
	}
	w.splice.close(outer, list.end)
	return nil
}

// replaceOne puts a string in the place of a scalar or a map.
func (w *Walker) replaceOne(f spot) *ScanError {
	if err := validate(w.b[:f.end], f.at, anyValue, 1); err != nil {
		return err
	}
	s := &w.splice
	from := len(s.text)
	s.text = append(s.text, 1<<3|wireLen)
	out, changed := w.editor.Value(s.text, decodeValue(w.b[f.at:f.end]))
	if !changed {
		s.text = s.text[:from]
		return nil
	}
	s.text = out
	s.prefixLength(from + 1)
	s.put(f.at, f.end, from)
	return nil
}
