package facts

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"time"

	"tailweir/buffer"
	"tailweir/fleet"
)

// Parse makes b the batch in data, which it does not keep. It reuses b's memory, so that a Batch which is parsed into
// again and again allocates nothing; what was taken from b before is overwritten. Memory is at most 10 times data. The
// error is an *Error or wraps ErrNewer; b is then undefined.
func (b *Batch) Parse(data []byte) error {
	if len(data) > 0 && data[0] > version {
		return fmt.Errorf("facts: parse batch of version %d, known is %d: %w", data[0], version, ErrNewer)
	}
	r := reader{b: data}
	messages, fragments := b.parseHeader(&r)
	b.parseMessages(&r, messages, fragments)
	if r.at < len(r.b) {
		r.fail("end", "is followed by more bytes")
	}
	if r.err != nil {
		return r.err
	}
	return nil
}

func (b *Batch) parseHeader(r *reader) (messages, fragments int) {
	if r.byte("version") != version {
		r.failAt(0, "version", "is 0")
	}
	flags := r.byte("flags")
	if flags&^flagBye != 0 {
		r.failAt(1, "flags", "have unknown bits")
	}
	b.Bye = flags&flagBye != 0
	b.Fleet = r.fixed64("fleet")
	b.Policy = r.fixed64("policy")
	copy(b.Claim[:], r.take(16, "claim"))
	copy(b.Worker[:], r.take(16, "worker"))
	b.Epoch = r.uint32("epoch")
	b.Stream = r.uvarint("stream")
	b.Seq = r.uvarint("seq")
	b.Newest = buffer.Stamp(r.varint("newest"))
	b.Lag = time.Duration(r.varint("lag"))
	b.Away = time.Duration(r.uvarint("away")) * time.Millisecond
	return r.count("messages", leastMessage), r.count("fragments", leastFragment)
}

func (b *Batch) parseMessages(r *reader, messages, fragments int) {
	b.Messages = slices.Grow(b.Messages[:0], messages)[:messages]
	b.fragments = slices.Grow(b.fragments[:0], fragments)[:fragments]
	left := b.fragments
	var before buffer.Stamp
	for i := range b.Messages {
		if left = r.message(&b.Messages[i], before, left); r.err != nil {
			return
		}
		before = b.Messages[i].Publish
	}
	if len(left) > 0 {
		r.fail("fragments", "are fewer than announced")
	}
}

// reader takes values off a batch. After the first fault err is set and what it returns is 0.
type reader struct {
	b   []byte
	at  int
	err *Error
}

// message reads m, with its fragments at the beginning of space, and returns the rest of space.
func (r *reader) message(m *fleet.Facts, before buffer.Stamp, space []fleet.Fragment) []fleet.Fragment {
	m.Message = r.fixed64("message")
	at := r.at
	head := r.uvarint("message fragments")
	if head>>2 > uint64(len(space)) {
		r.failAt(at, "message fragments", "are more than announced")
		return nil
	}
	n := int(head >> 2)
	m.First, m.Again = head&flagFirst != 0, head&flagAgain != 0
	m.Publish = before + buffer.Stamp(r.varint("publish"))
	m.Fragments = space[:n:n]
	for i := range m.Fragments {
		if r.fragment(&m.Fragments[i], nanoseconds(m.Publish)); r.err != nil {
			return nil
		}
	}
	return space[n:]
}

func (r *reader) fragment(x *fleet.Fragment, publish uint64) {
	*x = fleet.Fragment{}
	f := &x.Facts
	copy(x.Trace[:], r.take(len(x.Trace), "trace id"))
	flags := r.byte("fragment flags")
	f.Root = flags&flagRoot != 0
	f.HasRandom = flags&flagHasRandom != 0
	if flags&flagSpans != 0 {
		f.Spans = r.uint32("spans")
		f.Bytes = r.uvarint("bytes")
	}
	if flags&flagLogs != 0 {
		f.Logs = r.uint32("logs")
	}
	if flags&flagTimes != 0 {
		f.Start = publish - uint64(r.varint("start"))
		f.End = f.Start + r.uvarint("end")
	}
	if flags&flagRandom != 0 {
		f.Random = r.fixed64("random")
	}
	if flags&flagLowBits != 0 {
		f.Bits[0] = r.uvarint("low bits")
	}
	if flags&flagHighBits != 0 {
		f.Bits[1] = r.uvarint("high bits")
	}
}

func (r *reader) fail(field, fault string) { r.failAt(r.at, field, fault) }

func (r *reader) failAt(at int, field, fault string) {
	if r.err == nil {
		r.err = &Error{Offset: at, Field: field, Fault: fault}
	}
}

// take returns the next n bytes, or nil.
func (r *reader) take(n int, field string) []byte {
	if r.err != nil || len(r.b)-r.at < n {
		r.fail(field, "is cut off")
		return nil
	}
	r.at += n
	return r.b[r.at-n : r.at]
}

func (r *reader) byte(field string) byte {
	if b := r.take(1, field); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) fixed64(field string) uint64 {
	if b := r.take(8, field); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (r *reader) uvarint(field string) uint64 {
	if r.err != nil {
		return 0
	}
	v, n := binary.Uvarint(r.b[r.at:])
	switch {
	case n > 0:
		r.at += n
	case n == 0:
		r.fail(field, "is cut off")
	default:
		r.fail(field, "overflows 64 bits")
	}
	return v
}

func (r *reader) varint(field string) int64 {
	u := r.uvarint(field)
	return int64(u>>1) ^ -int64(u&1)
}

func (r *reader) uint32(field string) uint32 {
	at := r.at
	v := r.uvarint(field)
	if v > math.MaxUint32 {
		r.failAt(at, field, "overflows 32 bits")
		return 0
	}
	return uint32(v)
}

// count reads how many values of at least size bytes follow, and refuses more than the rest of the batch can hold.
func (r *reader) count(field string, size int) int {
	at := r.at
	n := r.uvarint(field)
	if n > uint64((len(r.b)-r.at)/size) {
		r.failAt(at, field, "are more than fit")
		return 0
	}
	return int(n)
}
