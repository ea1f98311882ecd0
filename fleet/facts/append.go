package facts

import (
	"encoding/binary"

	"tailweir/buffer"
	"tailweir/fleet"
	"tailweir/sampler"
)

// The wire form, version 1. Fixed-width numbers are little endian, the others varints, z those in zigzag:
//
//	batch    version 1 B, flags 1 B, fleet 8 B, policy 8 B, claim 16 B, worker 16 B,
//	         epoch, stream, seq, z newest in ms, z lag in ns, away in ms, number of messages, number of fragments, messages
//	message  hash 8 B, number of fragments × 4 + flags, z publish in ms since the message before, fragments
//	fragment trace id 16 B, flags 1 B, and by flag: spans and bytes; logs; z publish − start and end − start in ns;
//	         random 8 B; low bits; high bits
//
// Differences wrap, so every value survives, and the usual ones are short: 30 B for a fragment of five spans. More than
// half of that is the trace id, which must be whole: its low 56 bits are the randomness that policies sample by, and with
// a hash of 8 B the traces of two tenants would one day share a verdict. Times stay in nanoseconds, because a fleet's
// verdicts have to be those of one worker; in milliseconds they would save 6 B. A compressor saves 1 %: there is nothing
// left to find in random ids and low digits of times.
const version = 1

// The flags of a batch, and of a message.
const (
	flagBye = 1

	flagFirst = 1
	flagAgain = 2
)

// The flags of a fragment.
const (
	flagRoot byte = 1 << iota
	flagHasRandom
	flagRandom
	flagSpans
	flagLogs
	flagTimes
	flagLowBits
	flagHighBits
)

// The least bytes that a message and a fragment take: they bound what a count may make Parse allocate.
const (
	leastMessage  = 8 + 1 + 1
	leastFragment = 16 + 1
)

// Append appends the wire form of b to dst.
func (b *Batch) Append(dst []byte) []byte {
	fragments := 0
	for i := range b.Messages {
		fragments += len(b.Messages[i].Fragments)
	}
	dst = b.appendHeader(dst, len(b.Messages), fragments)
	var before buffer.Stamp
	for i := range b.Messages {
		dst = appendMessage(dst, &b.Messages[i], before)
		before = b.Messages[i].Publish
	}
	return dst
}

// appendHeader appends what precedes the messages: at most mostHeader bytes.
func (b *Batch) appendHeader(dst []byte, messages, fragments int) []byte {
	var flags byte
	if b.Bye {
		flags = flagBye
	}
	dst = append(dst, version, flags)
	dst = binary.LittleEndian.AppendUint64(dst, b.Fleet)
	dst = binary.LittleEndian.AppendUint64(dst, b.Policy)
	dst = append(append(dst, b.Claim[:]...), b.Worker[:]...)
	dst = binary.AppendUvarint(dst, uint64(b.Epoch))
	dst = binary.AppendUvarint(dst, b.Stream)
	dst = binary.AppendUvarint(dst, b.Seq)
	dst = binary.AppendVarint(dst, int64(b.Newest))
	dst = binary.AppendVarint(dst, int64(b.Lag))
	dst = binary.AppendUvarint(dst, uint64(b.Away.Milliseconds()))
	dst = binary.AppendUvarint(dst, uint64(messages))
	return binary.AppendUvarint(dst, uint64(fragments))
}

func appendMessage(dst []byte, m *fleet.Facts, before buffer.Stamp) []byte {
	head := uint64(len(m.Fragments)) << 2
	if m.First {
		head |= flagFirst
	}
	if m.Again {
		head |= flagAgain
	}
	dst = binary.LittleEndian.AppendUint64(dst, m.Message)
	dst = binary.AppendUvarint(dst, head)
	dst = binary.AppendVarint(dst, int64(m.Publish-before))
	for i := range m.Fragments {
		dst = appendFragment(dst, &m.Fragments[i], nanoseconds(m.Publish))
	}
	return dst
}

// nanoseconds is s in the unit of span times; what does not fit wraps, on both sides alike.
func nanoseconds(s buffer.Stamp) uint64 { return uint64(s) * 1e6 }

func appendFragment(dst []byte, x *fleet.Fragment, publish uint64) []byte {
	f, flags := &x.Facts, fragmentFlags(&x.Facts)
	dst = append(append(dst, x.Trace[:]...), flags)
	if flags&flagSpans != 0 {
		dst = binary.AppendUvarint(dst, uint64(f.Spans))
		dst = binary.AppendUvarint(dst, f.Bytes)
	}
	if flags&flagLogs != 0 {
		dst = binary.AppendUvarint(dst, uint64(f.Logs))
	}
	if flags&flagTimes != 0 {
		dst = binary.AppendVarint(dst, int64(publish-f.Start))
		dst = binary.AppendUvarint(dst, f.End-f.Start)
	}
	if flags&flagRandom != 0 {
		dst = binary.LittleEndian.AppendUint64(dst, f.Random)
	}
	if flags&flagLowBits != 0 {
		dst = binary.AppendUvarint(dst, f.Bits[0])
	}
	if flags&flagHighBits != 0 {
		dst = binary.AppendUvarint(dst, f.Bits[1])
	}
	return dst
}

func fragmentFlags(f *sampler.Facts) (flags byte) {
	for _, x := range [...]struct {
		flag byte
		on   bool
	}{
		{flagRoot, f.Root},
		{flagHasRandom, f.HasRandom},
		{flagRandom, f.Random != 0},
		{flagSpans, f.Spans != 0 || f.Bytes != 0},
		{flagLogs, f.Logs != 0},
		{flagTimes, f.Start != 0 || f.End != 0},
		{flagLowBits, f.Bits[0] != 0},
		{flagHighBits, f.Bits[1] != 0},
	} {
		if x.on {
			flags |= x.flag
		}
	}
	return flags
}
