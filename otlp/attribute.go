package otlp

// Two thirds of a span's bytes are attributes in one form: a key and a scalar value, all tags and lengths in
// one byte. What reads attributes takes that form apart by itself, in about 5 ns, and leaves every other,
// valid or not, to validate and to fields.

const (
	keyTag   = 1<<3 | wireLen
	valueTag = 2<<3 | wireLen
)

// attributeRun skips the run of attributes of that form that starts at pos: fields with the given one-byte
// tag. It stops at the first field that is anything else.
func attributeRun(b []byte, pos int, tag byte) int {
	for pos < len(b)-1 && b[pos] == tag && b[pos+1] < 0x80 {
		end := pos + 2 + int(b[pos+1])
		if end > len(b) {
			return pos
		}
		kv := b[pos+2 : end]
		mid := splitKeyValue(kv)
		if mid == 0 {
			return pos
		}
		v := kv[mid+2:]
		if kv[0] == valueTag {
			v = kv[2:mid]
		}
		if (len(v) < 2 || v[0] != 1<<3|wireLen || int(v[1]) != len(v)-2) && !plainScalar(v) {
			return pos
		}
		pos = end
	}
	return pos
}

// plainScalar reports whether v, of less than 128 bytes, is a valid AnyValue that is empty or one scalar.
func plainScalar(v []byte) bool {
	if len(v) < 2 {
		return len(v) == 0
	}
	switch v[0] {
	case 1<<3 | wireLen, 7<<3 | wireLen:
		return int(v[1]) == len(v)-2
	case 2<<3 | wireVarint, 3<<3 | wireVarint:
		_, next := varint(v, 1)
		return next == len(v)
	case 4<<3 | wireI64:
		return len(v) == 9
	}
	return false
}

// plainValue decodes an AnyValue for which plainScalar is true.
func plainValue(v []byte) (value Value) {
	if len(v) == 0 {
		return value
	}
	switch v[0] {
	case 1<<3 | wireLen:
		value.kind, value.b = String, v[2:len(v):len(v)]
	case 2<<3 | wireVarint:
		value.kind = Bool
		value.num, _ = varint(v, 1)
	case 3<<3 | wireVarint:
		value.kind = Int
		value.num, _ = varint(v, 1)
	case 4<<3 | wireI64:
		value.kind, value.num = Double, uint64At(v, 1)
	default:
		value.kind, value.b = Bytes, v[2:len(v):len(v)]
	}
	return value
}

// splitKeyValue returns where the second field of kv starts if kv is one key and one value in either order,
// and nothing else; otherwise 0. SDKs write the key first; pdata, and so every collector, writes all fields
// in reverse. Since kv has less than 128 bytes a length of more than one byte is one that does not fit.
func splitKeyValue(kv []byte) (mid int) {
	if len(kv) < 4 {
		return 0
	}
	mid = int(kv[1]) + 2
	if mid > len(kv)-2 || int(kv[mid+1]) != len(kv)-2-mid || kv[0]^kv[mid] != keyTag^valueTag ||
		kv[0] != keyTag && kv[0] != valueTag {
		return 0
	}
	return mid
}

// findInRun is findAttribute for b that is one run of attributes of that form and nothing else.
func findInRun(b []byte, key string) (Value, bool) {
	for len(b) > 1 {
		end := 2 + int(b[1])
		kv := b[2:end]
		k := kv
		if kv[0] == valueTag {
			k = kv[2+int(kv[1]):]
		}
		if int(k[1]) == len(key) && string(k[2:2+len(key)]) == key {
			v := kv[2 : 2+int(kv[1])]
			if kv[0] == keyTag {
				v = kv[4+len(key):]
			}
			return plainValue(v), true
		}
		b = b[end:]
	}
	return Value{}, false
}

// findAttribute returns the first attribute named key among the fields with the given tag in b.
func findAttribute(b []byte, tag uint64, key string) (Value, bool) {
	f := fields{b: b}
	for t, _, kv, ok := f.next(); ok; t, _, kv, ok = f.next() {
		if t != tag || otherKey(kv, key) {
			continue
		}
		if k, v := decodeKeyValue(kv); string(k) == key {
			return v, true
		}
	}
	return Value{}, false
}

// otherKey reports whether kv is of that form and its key is not key.
func otherKey(kv []byte, key string) bool {
	if len(kv) >= 0x80 {
		return false
	}
	mid := splitKeyValue(kv)
	if mid == 0 {
		return false
	}
	if kv[0] == keyTag {
		return string(kv[2:mid]) != key
	}
	return string(kv[mid+2:]) != key
}
