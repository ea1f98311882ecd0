package otlp

import "encoding/binary"

// scanSpan reads and checks the Span from pos to the end of b. Fields it has no case for, and those in an
// unusual form, are checked by the schema.
func (it *item) scanSpan(b []byte, pos int, d *nesting) (err *ScanError) {
	for pos < len(b) {
		at := pos
		tag, pos2 := uint64(b[at]), at+1
		if tag >= 0x80 || tag < 8 {
			if tag, pos2 = readTag(b, at); pos2 < 0 {
				return badTag(at, span)
			}
		}
		if tag == 9<<3|wireLen {
			if pos, err = it.attributes(b, at, pos2, tag, span, d); err != nil {
				return err
			}
			continue
		}
		if pos = it.spanField(b, pos2, tag); pos < 0 {
			if pos, err = d.checkField(b, at, pos2, tag, span); err != nil {
				return err
			}
			if tag == 15<<3|wireLen {
				start, _ := chunk(b, pos2)
				it.mergeStatus(b[start:pos])
			}
		}
	}
	return nil
}

// attributes checks the attributes from the one whose tag stands at at, and its length at pos, as far as they
// come in a row or have an unusual form, and returns where they end.
func (it *item) attributes(b []byte, at, pos int, tag uint64, m message, d *nesting) (end int, err *ScanError) {
	end = attributeRun(b, at, byte(tag))
	it.attrsPlain = it.attrs == 0 && end > at
	if end == at {
		if end, err = d.checkField(b, at, pos, tag, m); err != nil {
			return 0, err
		}
	}
	if it.attrs == 0 {
		it.attrs = uint32(at)
	}
	it.attrsEnd = uint32(end)
	return end, nil
}

// spanField stores the field's value if it is one that item holds and returns where it ends; it returns -1
// for all others and for malformed ones.
func (it *item) spanField(b []byte, pos int, tag uint64) int {
	switch tag {
	case 1<<3 | wireLen:
		if end := pos + 17; end <= len(b) && b[pos] == 16 {
			it.trace = TraceID(b[pos+1 : end])
			return end
		}
		return readID(b, pos, it.trace[:])
	case 2<<3 | wireLen:
		if end := pos + 9; end <= len(b) && b[pos] == 8 {
			it.span = SpanID(b[pos+1 : end])
			return end
		}
		return readID(b, pos, it.span[:])
	case 3<<3 | wireLen:
		return readText(b, pos, &it.state, &it.stateLen)
	case 4<<3 | wireLen:
		if end := pos + 9; end <= len(b) && b[pos] == 8 {
			it.parent = SpanID(b[pos+1 : end])
			return end
		}
		return readID(b, pos, it.parent[:])
	case 5<<3 | wireLen:
		return readText(b, pos, &it.text, &it.textLen)
	case 6<<3 | wireVarint:
		return readInt32(b, pos, &it.kind)
	case 7<<3 | wireI64:
		return readFixed64(b, pos, &it.start)
	case 8<<3 | wireI64:
		return readFixed64(b, pos, &it.end)
	case 15<<3 | wireLen:
		return it.readPlainStatus(b, pos)
	case 16<<3 | wireI32:
		return readFixed32(b, pos, &it.flags)
	}
	return -1
}

// readPlainStatus reads a Status that is empty or a code of one byte and nothing else.
func (it *item) readPlainStatus(b []byte, pos int) int {
	if b := b[pos:]; len(b) >= 1 && b[0] == 0 {
		return pos + 1
	} else if len(b) >= 3 && b[0] == 2 && b[1] == 3<<3|wireVarint && b[2] < 0x80 {
		it.statusCode = int32(b[2])
		return pos + 3
	}
	return -1
}

func (it *item) mergeStatus(body []byte) {
	f := fields{b: body}
	for tag, num, _, ok := f.next(); ok; tag, num, _, ok = f.next() {
		if tag == 3<<3|wireVarint {
			it.statusCode = int32(num)
		}
	}
}

// scanRecord is scanSpan for a LogRecord.
func (it *item) scanRecord(b []byte, pos int, d *nesting) (err *ScanError) {
	for pos < len(b) {
		at := pos
		tag, pos2 := uint64(b[at]), at+1
		if tag >= 0x80 || tag < 8 {
			if tag, pos2 = readTag(b, at); pos2 < 0 {
				return badTag(at, record)
			}
		}
		if tag == 6<<3|wireLen {
			if pos, err = it.attributes(b, at, pos2, tag, record, d); err != nil {
				return err
			}
			continue
		}
		if pos = it.recordField(b, pos2, tag); pos < 0 {
			if pos, err = d.checkField(b, at, pos2, tag, record); err != nil {
				return err
			}
		}
	}
	return nil
}

func (it *item) recordField(b []byte, pos int, tag uint64) int {
	switch tag {
	case 1<<3 | wireI64:
		return readFixed64(b, pos, &it.start)
	case 2<<3 | wireVarint:
		return readInt32(b, pos, &it.kind)
	case 3<<3 | wireLen:
		return readText(b, pos, &it.text, &it.textLen)
	case 8<<3 | wireI32:
		return readFixed32(b, pos, &it.flags)
	case 9<<3 | wireLen:
		return readID(b, pos, it.trace[:])
	case 10<<3 | wireLen:
		return readID(b, pos, it.span[:])
	case 11<<3 | wireI64:
		return readFixed64(b, pos, &it.end)
	}
	return -1
}

// The readers store a field's value and return where it ends, or -1 if it is malformed.

func readID(b []byte, pos int, dst []byte) int {
	start, end := chunk(b, pos)
	switch {
	case end < 0:
	case end-start == len(dst):
		copy(dst, b[start:end])
		return end
	case end == start:
		clear(dst)
		return end
	}
	return -1
}

func readText(b []byte, pos int, off, size *uint32) int {
	start, end := chunk(b, pos)
	if end >= 0 {
		*off, *size = uint32(start), uint32(end-start)
	}
	return end
}

func readInt32(b []byte, pos int, dst *int32) int {
	v, next := varint(b, pos)
	*dst = int32(v)
	return next
}

func readFixed64(b []byte, pos int, dst *uint64) int {
	if pos > len(b)-8 {
		return -1
	}
	*dst = uint64At(b, pos)
	return pos + 8
}

func readFixed32(b []byte, pos int, dst *uint32) int {
	if pos > len(b)-4 {
		return -1
	}
	*dst = binary.LittleEndian.Uint32(b[pos:])
	return pos + 4
}
