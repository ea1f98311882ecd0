package sink

import (
	"errors"

	"google.golang.org/protobuf/encoding/protowire"
)

var errMalformed = errors.New("export request malformed")

// itemFields are where an item has its ids.
type itemFields struct{ trace, span protowire.Number }

var (
	spanFields   = itemFields{trace: 1, span: 2}
	recordFields = itemFields{trace: 9, span: 10}
)

// scan calls add with the ids and the bytes of every span or log record of an export request.
// Requests nest alike for both signals: resources (1), scopes (2), items (2).
func scan(request []byte, fields itemFields, add func(trace, span, item []byte)) error {
	return each(request, 1, func(resource []byte) error {
		return each(resource, 2, func(scope []byte) error {
			return each(scope, 2, func(item []byte) error {
				trace, span, err := ids(item, fields)
				if err == nil {
					add(trace, span, item)
				}
				return err
			})
		})
	})
}

// each calls do with every message in the given field of b.
func each(b []byte, want protowire.Number, do func([]byte) error) error {
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errMalformed
		}
		b = b[n:]
		if field != want || kind != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(field, kind, b); n < 0 {
				return errMalformed
			}
			b = b[n:]
			continue
		}
		body, n := protowire.ConsumeBytes(b)
		if n < 0 {
			return errMalformed
		}
		b = b[n:]
		if err := do(body); err != nil {
			return err
		}
	}
	return nil
}

// ids stops at the second id: what follows is not the sink's business.
func ids(b []byte, fields itemFields) (trace, span []byte, err error) {
	for len(b) > 0 && (trace == nil || span == nil) {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil, nil, errMalformed
		}
		b = b[n:]
		n = protowire.ConsumeFieldValue(field, kind, b)
		if n < 0 {
			return nil, nil, errMalformed
		}
		if kind == protowire.BytesType && (field == fields.trace || field == fields.span) {
			value, _ := protowire.ConsumeBytes(b)
			if field == fields.trace {
				trace = value
			} else {
				span = value
			}
		}
		b = b[n:]
	}
	return trace, span, nil
}

// stateless is a span less its tracestate, of which the load gives none: what is there a sampler wrote.
func stateless(span []byte) (plain, state []byte) {
	for b := span; len(b) > 0; {
		field, kind, n := protowire.ConsumeField(b) // an item whose ids could be read is well-formed so far
		if n < 0 {
			return append(plain, b...), state
		}
		if field == 3 && kind == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(b[1:])
			state = append(state, value...)
		} else {
			plain = append(plain, b[:n]...)
		}
		b = b[n:]
	}
	return plain, state
}

// attrKept is what an exported log record says of its trace.
const attrKept = "tailweir.kept"

// kept reads the attribute of a log record; nil without one.
func kept(record []byte) (v *bool) {
	_ = each(record, 6, func(attribute []byte) error { // an item whose ids could be read is well-formed so far
		name, value := "", []byte(nil)
		_ = each(attribute, 1, func(b []byte) error { name = string(b); return nil })
		_ = each(attribute, 2, func(b []byte) error { value = b; return nil })
		if field, kind, n := protowire.ConsumeTag(value); name == attrKept && field == 2 && kind == protowire.VarintType {
			is, _ := protowire.ConsumeVarint(value[n:])
			v = new(is != 0)
		}
		return nil
	})
	return v
}
