package receiver

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"os"

	"github.com/klauspost/compress/gzip"
)

// readBody reads the body of an OTLP/HTTP request into c.wire.
func (c *call) readBody(req *http.Request) error {
	limit := c.r.cfg.MaxBody
	if req.ContentLength > int64(limit) {
		return faultf(TooLarge, "body has %d bytes, the limit is %d", req.ContentLength, limit)
	}
	var err error
	if req.ContentLength >= 0 {
		err = c.readExactly(req.Body, int(req.ContentLength))
	} else {
		c.wire, err = c.fill(req.Body, 16<<10, limit)
	}
	return readFault("body", err)
}

// readFault is the fault for an error of reading what.
func readFault(what string, err error) error {
	if _, ok := err.(*fault); err == nil || ok {
		return err
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return faultf(Slow, "%s did not come in time; send smaller batches", what)
	}
	return faultf(Gone, "read %s: %v", what, err)
}

// A declared length costs memory only as it comes true: the first buffer holds at most firstStep, the next
// stepFactor times what has arrived. Doubling would bound the excess better, but copies twice as much; a first
// step of 64 KiB alone makes a 200 kB body copy a third of itself.
const (
	firstStep  = 64 << 10
	stepFactor = 4
)

// readExactly reads n bytes into c.wire. If there is no room for all of them now, none is read.
func (c *call) readExactly(src io.Reader, n int) (err error) {
	if !c.r.bytes.fits(int64(capacityFor(n))) {
		return errBytes
	}
	if c.wire, err = c.buffer(min(n, firstStep)); err != nil {
		return err
	}
	for {
		b := c.wire.b[:min(n, cap(c.wire.b))]
		have := len(c.wire.b)
		more, err := io.ReadFull(src, b[have:])
		c.wire.b = b[:have+more]
		if err != nil || len(b) == n {
			return err
		}
		if c.wire, err = c.enlarge(c.wire, min(n, stepFactor*cap(b))); err != nil {
			return err
		}
	}
}

// fill reads src to its end into a buffer that doubles from hint; more than limit bytes are a TooLarge fault,
// found before limit+1 bytes are exceeded by more than a buffer.
func (c *call) fill(src io.Reader, hint, limit int) (*buffer, error) {
	buf, err := c.buffer(min(hint, limit) + 1)
	for err == nil {
		if len(buf.b) == cap(buf.b) {
			if buf, err = c.enlarge(buf, 2*cap(buf.b)); err != nil {
				break
			}
		}
		var n int
		n, err = src.Read(buf.b[len(buf.b):cap(buf.b)])
		buf.b = buf.b[:len(buf.b)+n]
		if len(buf.b) > limit {
			err = faultf(TooLarge, "request is over the limit of %d bytes", limit)
		}
	}
	if err == io.EOF {
		return buf, nil
	}
	c.discard(buf)
	return nil, err
}

// enlarge moves the contents of buf to a buffer for size bytes. On error it returns buf.
func (c *call) enlarge(buf *buffer, size int) (*buffer, error) {
	bigger, err := c.buffer(size)
	if err != nil {
		return buf, err
	}
	bigger.b = append(bigger.b, buf.b...)
	c.discard(buf)
	return bigger, nil
}

// inflater is a gzip reader with its source, pooled: its window and tables are 40 KiB. It goes from member to member
// by itself: the library takes a second member whose header is cut short for the end, the standard library does
// not, and what is published must be readable by every gzip.
type inflater struct {
	src bytes.Reader
	gz  gzip.Reader
}

func (in *inflater) reset(wire []byte) error {
	in.src.Reset(wire)
	return in.nextMember()
}

func (in *inflater) nextMember() error {
	err := in.gz.Reset(&in.src)
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	in.gz.Multistream(false)
	return err
}

func (in *inflater) Read(p []byte) (int, error) {
	n, err := in.gz.Read(p)
	if err == io.EOF && in.src.Len() > 0 {
		err = in.nextMember()
	}
	return n, err
}

// inflate unpacks c.wire into c.plain. A bomb costs no more than Config.MaxInflated and a buffer.
func (c *call) inflate() error {
	wire := c.wire.b
	in := c.r.inflate.Get().(*inflater)
	err := in.reset(wire)
	if err == nil {
		c.plain, err = c.fill(in, inflatedHint(wire), c.r.cfg.MaxInflated)
	}
	in.src.Reset(nil)
	c.r.inflate.Put(in)
	if _, ok := err.(*fault); err != nil && !ok {
		return faultf(Malformed, "gzip: %v", err)
	}
	if err == nil {
		c.r.counters.inflated.Add(uint64(len(c.plain.b)))
	}
	return err
}

// inflatedHint is the size that a gzip trailer states, believed up to a factor of 16: enough for telemetry,
// and a small lie cannot make a large buffer.
func inflatedHint(wire []byte) int {
	if len(wire) < 4 {
		return 0
	}
	stated := int64(binary.LittleEndian.Uint32(wire[len(wire)-4:]))
	return int(min(stated, 16*int64(len(wire))))
}
