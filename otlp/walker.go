package otlp

import (
	"errors"
	"fmt"
	"math"
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
		if err := (&nesting{now: 1}).validate(b[:pos], start, resource); err != nil {
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
