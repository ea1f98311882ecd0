package receiver

import (
	"github.com/klauspost/compress/gzip"

	"tailweir/otlp"
)

// Rewriter changes payloads before they are published. Rewrite is given a whole export request of the signal as
// protobuf, inflated and stamped, but not yet checked. It returns the same slice when it changes nothing, else one of its own, and leaves the
// request's bytes as they are. An error refuses the request as malformed, and its text goes to the sender. Rewrite must be safe for
// concurrent use.
type Rewriter interface {
	Rewrite(signal otlp.Signal, payload []byte) (out []byte, err error)
}

// rewrite puts the caller's stamp on the payload and has the Rewriter change it. The bytes pass untouched where there is nothing to
// do.
func (c *call) rewrite(payload []byte) ([]byte, error) {
	if len(c.caller.Stamp) > 0 {
		if err := c.stamp(payload); err != nil {
			return nil, err
		}
		payload, c.edited = c.stamped.b, true
	}
	if c.r.cfg.Rewriter != nil {
		out, err := c.r.cfg.Rewriter.Rewrite(c.signal, payload)
		if err != nil {
			return nil, faultf(Malformed, "%v", err)
		}
		if !same(out, payload) {
			if err := c.reserve(int64(cap(out))); err != nil {
				return nil, err
			}
			payload, c.edited = out, true
		}
	}
	if limit := c.r.cfg.MaxInflated; c.edited && len(payload) > limit { // workers refuse it
		return nil, faultf(TooLarge, "request is over the limit of %d bytes with what is added here", limit)
	}
	return payload, nil
}

// same reports whether a and b are one slice.
func same(a, b []byte) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// stamp writes the payload with the caller's stamp into c.stamped. A payload of millions of empty resources would grow to gigabytes,
// so that its size is reserved before.
func (c *call) stamp(payload []byte) error {
	size, err := c.caller.Stamp.Bound(payload)
	if err != nil {
		return faultf(Malformed, "%v", err)
	}
	if c.stamped, err = c.buffer(size); err != nil {
		return err
	}
	if c.stamped.b, err = c.caller.Stamp.Append(c.stamped.b, payload); err != nil {
		return faultf(Malformed, "%v", err)
	}
	return nil
}

// deflate compresses what was changed of a payload that came compressed, fast: 21 kB take about as long as to inflate them, and
// Pub/Sub is paid by the byte.
func (c *call) deflate(payload []byte) ([]byte, error) {
	var err error
	if c.packed, err = c.buffer(len(payload) / 4); err != nil {
		return nil, err
	}
	w := c.r.deflaters.Get().(*gzip.Writer)
	w.Reset((*packer)(c))
	if _, err = w.Write(payload); err == nil {
		err = w.Close()
	}
	w.Reset(nil)
	c.r.deflaters.Put(w)
	if err != nil {
		return nil, err
	}
	return c.packed.b, nil
}

// packer appends to call.packed, in memory that is reserved.
type packer call

func (p *packer) Write(b []byte) (int, error) {
	c := (*call)(p)
	if need := len(c.packed.b) + len(b); need > cap(c.packed.b) {
		var err error
		if c.packed, err = c.enlarge(c.packed, 2*need); err != nil {
			return 0, err
		}
	}
	c.packed.b = append(c.packed.b, b...)
	return len(b), nil
}
