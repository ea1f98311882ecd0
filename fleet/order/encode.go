package order

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// The encoding: version, kind, then the fields in the order of their structs. Ids, workers and hashes are fixed, numbers
// are varints of the shortest form, times zigzag varints, byte strings have their length in front. An entry's body begins
// with a byte that says which parts follow. Each message has one encoding, so equal bytes and equal contents are the same.
//
// All is of version 1, but for entries with a part that only version 2 has: the Firsts of decisions. Who writes those must
// know that everybody reads them.
const (
	version = 1
	newest  = 2

	kindClaim = 1
	kindEntry = 2
	kindProbe = 3

	partOpen     = 1 << 0
	partResign   = 1 << 1
	partMembers  = 1 << 2
	partDecide   = 1 << 3
	partPolicy   = 1 << 4
	partLimiters = 1 << 5
	partAway     = 1 << 6
	partFirsts   = 1 << 7 // how many, and for each how many decisions lie between it and the one before, and 4 bytes

	decideKeep      = 1 << 0
	decideThreshold = 1 << 1 // seven bytes of threshold follow, its lowest
	decideReason    = 2      // three bits
	decidePolicy    = 5      // the policy's index begins at this bit

	maxThreshold = 1 << 56 // written as 0, which needs no bytes of its own
	maxReason    = 7
)

// Append appends m's encoding to dst. It panics when m cannot be said: an Unknown, an Open in any place but entry 1, a
// threshold above 2^56, a reason of more than 3.
func Append(dst []byte, m Message) []byte {
	switch m := m.(type) {
	case Claim:
		dst = append(append(dst, version, kindClaim), m.ID[:]...)
		return binary.BigEndian.AppendUint64(dst, uint64(m.Worker))
	case Probe:
		dst = binary.BigEndian.AppendUint64(append(dst, version, kindProbe), uint64(m.Worker))
		return binary.BigEndian.AppendUint64(dst, m.Nonce)
	case Entry:
		return appendEntry(dst, m)
	}
	panic(fmt.Sprintf("order.Append: %T has no encoding", m))
}

func appendEntry(dst []byte, e Entry) []byte {
	if e.Seq == 0 || e.Body.Open != (e.Seq == 1) {
		panic(fmt.Sprintf("order.Append: entry %d, open %t: the open is entry 1", e.Seq, e.Body.Open))
	}
	has, v := parts(&e.Body), byte(version)
	if has&partFirsts != 0 {
		v = newest
	}
	dst = append(append(dst, v, kindEntry), e.ID[:]...)
	dst = binary.BigEndian.AppendUint64(dst, uint64(e.Worker))
	dst = binary.AppendVarint(dst, e.ClaimPublish)
	dst = binary.AppendUvarint(dst, e.Seq)
	dst = binary.AppendUvarint(dst, e.Cert.Seq)
	dst = binary.AppendVarint(dst, e.Cert.Publish)
	dst = binary.BigEndian.AppendUint64(dst, uint64(e.ChainHash))
	dst = binary.AppendVarint(dst, e.E)
	return appendBody(append(dst, has), &e.Body)
}

func appendBody(dst []byte, b *Body) []byte {
	if b.Members != nil {
		dst = binary.AppendUvarint(dst, uint64(len(b.Members)))
		for _, m := range b.Members {
			dst = binary.BigEndian.AppendUint64(dst, uint64(m.Worker))
			dst = binary.AppendUvarint(dst, m.Stream)
		}
	}
	if len(b.Decide) > 0 {
		dst = binary.AppendUvarint(dst, uint64(len(b.Decide)))
		for i := range b.Decide {
			dst = appendDecision(dst, &b.Decide[i])
		}
	}
	if p := b.Policy; p != nil {
		dst = binary.AppendUvarint(dst, p.Epoch)
		dst = binary.BigEndian.AppendUint64(dst, uint64(p.Hash))
		dst = appendBytes(dst, p.Config)
	}
	if len(b.Limiters) > 0 {
		dst = appendBytes(dst, b.Limiters)
	}
	if b.Away != 0 {
		dst = binary.AppendUvarint(dst, b.Away)
	}
	return appendFirsts(dst, b.Decide)
}

func hasFirst(d Decision) bool { return d.First != 0 }

func appendFirsts(dst []byte, all []Decision) []byte {
	n, next := 0, 0
	for i := range all {
		if hasFirst(all[i]) {
			n++
		}
	}
	if n == 0 {
		return dst
	}
	dst = binary.AppendUvarint(dst, uint64(n))
	for i := range all {
		if hasFirst(all[i]) {
			dst = binary.AppendUvarint(dst, uint64(i-next))
			dst = binary.BigEndian.AppendUint32(dst, all[i].First)
			next = i + 1
		}
	}
	return dst
}

func parts(b *Body) byte {
	var p byte
	for _, part := range []struct {
		there bool
		bit   byte
	}{
		{b.Open, partOpen}, {b.Resign, partResign}, {b.Members != nil, partMembers},
		{len(b.Decide) > 0, partDecide}, {b.Policy != nil, partPolicy}, {len(b.Limiters) > 0, partLimiters},
		{b.Away != 0, partAway}, {slices.ContainsFunc(b.Decide, hasFirst), partFirsts},
	} {
		if part.there {
			p |= part.bit
		}
	}
	return p
}

func appendDecision(dst []byte, d *Decision) []byte {
	if d.Threshold > maxThreshold {
		panic(fmt.Sprintf("order.Append: threshold %#x is above 2^56", d.Threshold))
	}
	if d.Reason > maxReason {
		panic(fmt.Sprintf("order.Append: reason %d has more than 3 bits", d.Reason))
	}
	head := uint64(d.Policy)<<decidePolicy | uint64(d.Reason)<<decideReason
	if d.Keep {
		head |= decideKeep
	}
	if d.Threshold != 0 {
		head |= decideThreshold
	}
	dst = append(binary.AppendUvarint(dst, head), d.Trace[:]...)
	if d.Threshold != 0 {
		b := binary.BigEndian.AppendUint64(nil, d.Threshold)
		dst = append(dst, b[1:]...)
	}
	return dst
}

func appendBytes(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}
