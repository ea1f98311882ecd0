package otlp

import "unicode/utf8"

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
	if err := (&nesting{now: 1}).validate(w.b[:f.end], f.at, anyValue); err != nil {
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
