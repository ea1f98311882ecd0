package sampler

import (
	"fmt"
	"strings"
)

// condition is a compiled policy or a part of one. holds is pure: it sees the merged facts, the trace's randomness and
// which limiters can pay for it, a bit each, and answers with the threshold of OTEP-235 that the answer yes went through
// (0: yes for any randomness).
type condition interface {
	holds(f *Facts, random, can uint64) (yes bool, threshold uint64)
	canon(b *strings.Builder) // the canonical form, for Hash
}

type always struct{}

func (always) holds(*Facts, uint64, uint64) (bool, uint64) { return true, 0 }
func (always) canon(b *strings.Builder)                    { b.WriteString("always") }

// leaf is a condition on single spans, observed into a bit of Facts.Bits.
type leaf struct {
	bit  int
	name string // canonical form, which is also what leaves are deduplicated by
}

func (l leaf) holds(f *Facts, _, _ uint64) (bool, uint64) { return has(&f.Bits, l.bit), 0 }
func (l leaf) canon(b *strings.Builder)                   { b.WriteString(l.name) }

// latency is over < duration <= upTo, in ns; upTo 0 is no limit.
type latency struct{ over, upTo uint64 }

func (l latency) holds(f *Facts, _, _ uint64) (bool, uint64) {
	d := f.duration()
	return d > l.over && (l.upTo == 0 || d <= l.upTo), 0
}
func (l latency) canon(b *strings.Builder) { fmt.Fprintf(b, "latency(%d,%d)", l.over, l.upTo) }

// spanCount is least <= spans <= most; most 0 is no limit.
type spanCount struct{ least, most uint32 }

func (s spanCount) holds(f *Facts, _, _ uint64) (bool, uint64) {
	return f.Spans >= s.least && (s.most == 0 || f.Spans <= s.most), 0
}
func (s spanCount) canon(b *strings.Builder) { fmt.Fprintf(b, "spans(%d,%d)", s.least, s.most) }

type probability struct{ threshold uint64 }

func (p probability) holds(_ *Facts, random, _ uint64) (bool, uint64) {
	return random >= p.threshold, p.threshold
}
func (p probability) canon(b *strings.Builder) { fmt.Fprintf(b, "probability(%x)", p.threshold) }

// not has threshold 0 even around a probability: what it keeps has randomness below the threshold, which OTEP-235 cannot
// say. Parse warns of it.
type not struct{ of condition }

func (n not) holds(f *Facts, random, can uint64) (bool, uint64) {
	yes, _ := n.of.holds(f, random, can)
	return !yes, 0
}

func (n not) canon(b *strings.Builder) {
	b.WriteString("not(")
	n.of.canon(b)
	b.WriteByte(')')
}

// all holds when each part does. Its parts share one randomness, so the threshold of the whole is the greatest of them.
type all []condition

func (a all) holds(f *Facts, random, can uint64) (bool, uint64) {
	var threshold uint64
	for _, c := range a {
		yes, t := c.holds(f, random, can)
		if !yes {
			return false, 0
		}
		threshold = max(threshold, t)
	}
	return true, threshold
}

func (a all) canon(b *strings.Builder) {
	b.WriteString("all(")
	for i, c := range a {
		if i > 0 {
			b.WriteByte(',')
		}
		c.canon(b)
	}
	b.WriteByte(')')
}

func has(bits *[2]uint64, i int) bool { return bits[i>>6]&(1<<(i&63)) != 0 }
func set(bits *[2]uint64, i int)      { bits[i>>6] |= 1 << (i & 63) }
