package receiver

import (
	"errors"

	"github.com/klauspost/compress/zstd"
)

// zstdWindow is the largest window that the content coding zstd may have: RFC 9659 asks encoders to stay within it.
const zstdWindow = 8 << 20

// newZstd makes the decoder that all calls share: no more of them decode at once than there are processors. It writes into what it
// is given, which is its window, too, and so takes no memory of its own that a sender could choose.
func newZstd() *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecodeAllCapLimit(true), zstd.WithDecoderMaxWindow(zstdWindow))
	if err != nil {
		panic(err) // of these options
	}
	return d
}

// unzstd unpacks c.wire into c.plain. What was zstd is published as gzip, which every reader of the topic knows. A bomb costs no
// more than Config.MaxInflated, and a third of it once more: a size that is not stated, or not believed, is found by trying.
func (c *call) unzstd() error {
	limit := c.r.cfg.MaxInflated
	for size := zstdHint(c.wire.b); ; size *= stepFactor {
		buf, err := c.buffer(min(size, limit))
		if err != nil {
			return err
		}
		room := buf.b[:0:min(cap(buf.b), limit)]
		out, err := c.r.zstd().DecodeAll(c.wire.b, room)
		switch {
		case err == nil:
			if len(out) > 0 && &out[0] != &room[:1][0] { // the decoder wanted a little more room than it then took
				out = append(room, out...)
			}
			buf.b = out[:len(out):cap(buf.b)]
			c.plain = buf
			c.gzip, c.edited = true, true
			c.r.counters.inflated.Add(uint64(len(out)))
			return nil
		case !errors.Is(err, zstd.ErrDecoderSizeExceeded):
			c.discard(buf)
			return faultf(Malformed, "zstd: %v", err)
		case cap(room) >= limit:
			c.discard(buf)
			return faultf(TooLarge, "request is over the limit of %d bytes", limit)
		}
		size = cap(room)
		c.discard(buf)
	}
}

// zstdHint is the size that a frame's header states, believed as far as inflatedHint believes, or else a guess.
func zstdHint(wire []byte) int {
	most := 16 * len(wire)
	var h zstd.Header
	if h.Decode(wire) == nil && h.HasFCS && h.FrameContentSize < uint64(most) {
		return max(int(h.FrameContentSize), 1)
	}
	return max(min(8*len(wire), 1<<20), 1)
}
