package otlp

import (
	"fmt"
	"slices"
)

// Stamp is a set of attributes as fields of a Resource, to be put on all resources of a payload: what NewStamp returns.
type Stamp []byte

// NewStamp encodes string attributes, in the order of their keys. Of none it is empty.
func NewStamp(attributes map[string]string) Stamp {
	var s Stamp
	keys := make([]string, 0, len(attributes))
	for k := range attributes {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		s = appendAttribute(s, k, attributes[k])
	}
	return s
}

// has reports whether the stamp sets the key.
func (s Stamp) has(key []byte) bool {
	f := fields{b: s}
	for _, _, kv, ok := f.next(); ok; _, _, kv, ok = f.next() {
		if k, _ := decodeKeyValue(kv); string(k) == string(key) {
			return true
		}
	}
	return false
}

const (
	groupTag    = 1<<3 | wireLen // resource_spans, resource_logs, resource_metrics of a request
	resourceTag = 1<<3 | wireLen // resource of such a group
	padding     = 1 + paddedLength
)

// Bound returns a size that Append does not exceed. It looks at the payload's resource groups without going into them.
func (s Stamp) Bound(payload []byte) (int, error) {
	groups := 0
	for pos := 0; pos < len(payload); {
		tag, end, _ := nextField(payload, pos)
		if end < 0 {
			return 0, stampFault(pos)
		}
		if pos = end; tag == groupTag {
			groups++
		}
	}
	return len(payload) + groups*(len(s)+2*padding), nil
}

// Append appends the payload, an export request of any signal, with the stamp on each resource: attributes of the same keys go, and
// what has no resource gets one. All else stays as it came, byte for byte and in its order, except that lengths of resource groups and
// resources take five bytes, as in Writer; neither scopes nor items are looked into. So equal payloads stay equal. The payload need
// not be valid: what is no protobuf down to the resources' attributes is an error, and the rest is for Scan.
func (s Stamp) Append(dst, payload []byte) ([]byte, error) {
	for pos := 0; pos < len(payload); {
		tag, end, body := nextField(payload, pos)
		switch {
		case end < 0:
			return nil, stampFault(pos)
		case tag != groupTag:
			dst = append(dst, payload[pos:end]...)
		default:
			start := len(dst)
			dst = append(dst, groupTag, 0, 0, 0, 0, 0)
			var ok bool
			if dst, ok = s.appendGroup(dst, body); !ok {
				return nil, stampFault(pos)
			}
			putPadded(dst[start+1:], len(dst)-start-padding)
		}
		pos = end
	}
	return dst, nil
}

// appendGroup appends a resource group. Of several occurrences of the resource, which merge, the first gets the stamp.
func (s Stamp) appendGroup(dst, group []byte) (_ []byte, ok bool) {
	done := false
	for pos := 0; pos < len(group); {
		tag, end, body := nextField(group, pos)
		switch {
		case end < 0:
			return nil, false
		case tag != resourceTag:
			dst = append(dst, group[pos:end]...)
		default:
			start := len(dst)
			dst = append(dst, resourceTag, 0, 0, 0, 0, 0)
			if dst, ok = s.appendOthers(dst, body); !ok {
				return nil, false
			}
			if !done {
				dst, done = append(dst, s...), true
			}
			putPadded(dst[start+1:], len(dst)-start-padding)
		}
		pos = end
	}
	if !done {
		dst = append(dst, resourceTag, 0, 0, 0, 0, 0)
		dst = append(dst, s...)
		putPadded(dst[len(dst)-len(s)-paddedLength:], len(s))
	}
	return dst, true
}

// appendOthers appends the fields of a Resource but for the attributes whose keys the stamp has.
func (s Stamp) appendOthers(dst, resource []byte) (_ []byte, ok bool) {
	from := 0
	for pos := 0; pos < len(resource); {
		tag, end, body := nextField(resource, pos)
		if end < 0 {
			return nil, false
		}
		if tag == resourceTag { // attributes have this number, too
			key, ok := keyOf(body)
			if !ok {
				return nil, false
			}
			if s.has(key) {
				dst = append(dst, resource[from:pos]...)
				from = end
			}
		}
		pos = end
	}
	return append(dst, resource[from:]...), true
}

// keyOf returns the key of a KeyValue: the last, where it has several, which is the one that readers take.
func keyOf(kv []byte) (key []byte, ok bool) {
	for pos := 0; pos < len(kv); {
		tag, end, body := nextField(kv, pos)
		if end < 0 {
			return nil, false
		}
		if pos = end; tag == keyTag {
			key = body
		}
	}
	return key, true
}

// nextField reads the field at pos of bytes that nobody has checked: its tag as field<<3|wire, where it ends, -1 if it is malformed, and
// what a length-delimited one holds.
func nextField(b []byte, pos int) (tag uint64, end int, body []byte) {
	tag, pos = readTag(b, pos)
	if pos < 0 {
		return 0, -1, nil
	}
	if tag&7 == wireLen {
		start, end := chunk(b, pos)
		if end < 0 {
			return 0, -1, nil
		}
		return tag, end, b[start:end]
	}
	return tag, skip(b, pos, tag&7), nil
}

func stampFault(pos int) error {
	return fmt.Errorf("%w: resource group at byte %d is cut off or malformed", ErrMalformed, pos)
}
