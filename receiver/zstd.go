package receiver

import (
	"bytes"
	"errors"

	"github.com/klauspost/compress/zstd"
)

// zstdWindow is the largest window that the content coding zstd may have: RFC 9659 asks encoders to stay within it.
const zstdWindow = 8 << 20

// zstdBlock is the most that one block unpacks to.
const zstdBlock = 128 << 10

// unzipper is a zstd reader with its source, pooled.
type unzipper struct {
	src bytes.Reader
	dec *zstd.Decoder
}

func newUnzipper() any {
	// Without concurrency there are no goroutines and no second window; and nothing is unpacked before it is asked for.
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecodeBuffersBelow(0),
		zstd.WithDecoderMaxWindow(zstdWindow))
	if err != nil {
		panic(err) // of these options
	}
	return &unzipper{dec: d}
}

// unzstd unpacks c.wire into c.plain. What was zstd is published as gzip, which every reader of the topic knows. A bomb costs no
// more than Config.MaxInflated and a buffer; the window of the decoder is the sender's choice, and so counts as memory of the call.
func (c *call) unzstd() error {
	wire := c.wire.b
	frames, err := readZstdFrames(wire)
	if err != nil {
		return faultf(Malformed, "zstd: %v", err)
	}
	work := int64(frames.window) + 2*zstdBlock
	if err := c.reserve(work); err != nil {
		return err
	}
	u := c.r.unzippers.Get().(*unzipper)
	u.src.Reset(wire)
	if err = u.dec.Reset(&u.src); err == nil {
		c.plain, err = c.fill(u.dec, frames.hint(len(wire)), c.r.cfg.MaxInflated)
	}
	u.src.Reset(nil)
	if frames.window <= 1<<20 && u.dec.Reset(nil) == nil {
		c.r.unzippers.Put(u)
	} else {
		u.dec.Close() // a large window would stay for nothing
	}
	c.r.bytes.give(work)
	c.reserved -= work
	if _, ok := err.(*fault); err != nil && !ok {
		return faultf(Malformed, "zstd: %v", err)
	}
	if err == nil {
		c.gzip, c.edited = true, true
		c.r.counters.inflated.Add(uint64(len(c.plain.b)))
	}
	return err
}

// zstdFrames is what the frames of a body say of themselves.
type zstdFrames struct {
	window uint64 // the largest
	size   uint64 // the first stated size of a content; 0: none is
}

// hint is the stated size, believed as inflatedHint believes it, or a guess.
func (f *zstdFrames) hint(wire int) int {
	if f.size == 0 {
		return 4 * wire
	}
	return int(min(f.size, 16*uint64(wire)))
}

var (
	errZstdCut    = errors.New("a frame is cut short")
	errZstdBlock  = errors.New("a block is of no known type")
	errZstdWindow = errors.New("a frame has a window of more than 8 MiB, which RFC 9659 does not allow for this coding")
)

// readZstdFrames walks over the frames and their blocks (RFC 8878, 3.1) without unpacking any.
func readZstdFrames(b []byte) (f zstdFrames, err error) {
	for len(b) > 0 {
		var h zstd.Header
		if err := h.Decode(b); err != nil {
			return f, err
		}
		if h.Skippable {
			if uint64(h.SkippableSize) > uint64(len(b)-h.HeaderSize) {
				return f, errZstdCut
			}
			b = b[h.HeaderSize+int(h.SkippableSize):]
			continue
		}
		window := h.WindowSize
		if h.SingleSegment {
			window = h.FrameContentSize
		}
		if window > zstdWindow {
			return f, errZstdWindow
		}
		f.window = max(f.window, window)
		if f.size == 0 && h.HasFCS {
			f.size = h.FrameContentSize
		}
		if b, err = skipZstdBlocks(b[h.HeaderSize:]); err != nil {
			return f, err
		}
		if h.HasCheckSum {
			if len(b) < 4 {
				return f, errZstdCut
			}
			b = b[4:]
		}
	}
	return f, nil
}

// skipZstdBlocks returns what follows a frame's blocks.
func skipZstdBlocks(b []byte) ([]byte, error) {
	for {
		if len(b) < 3 {
			return nil, errZstdCut
		}
		head := uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16
		size := int(head >> 3)
		switch head >> 1 & 3 {
		case 1: // one byte that is repeated
			size = 1
		case 3:
			return nil, errZstdBlock
		}
		if size > len(b)-3 {
			return nil, errZstdCut
		}
		if b = b[3+size:]; head&1 == 1 {
			return b, nil
		}
	}
}
