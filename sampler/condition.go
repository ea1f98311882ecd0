package sampler

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"tailweir/otlp"
)

// answer is what a condition says of a trace. failed is an evaluation that broke, in OTTL: it is neither yes nor no, so
// that a not does not turn it into a yes.
type answer uint8

const (
	no answer = iota
	yes
	failed
)

// condition is a compiled policy or a part of one.
//
// holds answers for the merged facts of a trace, and says how far the answer hangs on its randomness R: the same answer is
// given iff R >= threshold (OTEP-235); 0 is certain, Unknown that it hangs on R in another way. So a probability says yes
// with its threshold, or no with Unknown.
type condition interface {
	holds(x *view) (a answer, threshold uint64)
	canon(b *strings.Builder) // the canonical form, for Hash
}

// view is a trace as conditions see it.
type view struct {
	id     otlp.TraceID
	facts  *Facts
	random uint64
	// Limiters say yes when they can pay, a bit each; or when the randomness reaches cut; or when spend lets them.
	can   uint64
	cut   func(l *limit, x *view) uint64
	spend func(l *limit, x *view) bool
}

type always struct{}

func (always) holds(*view) (answer, uint64) { return yes, 0 }
func (always) canon(b *strings.Builder)     { b.WriteString("always") }

// leaf is a condition on single spans, observed into a bit of Facts.Bits, and a second one for evaluations that failed.
type leaf struct {
	bit  int
	fail int    // 0: it cannot fail
	name string // canonical form, which is also what leaves are deduplicated by
}

func (l leaf) holds(x *view) (answer, uint64) {
	switch {
	case has(&x.facts.Bits, l.bit):
		return yes, 0
	case l.fail != 0 && has(&x.facts.Bits, l.fail):
		return failed, 0
	}
	return no, 0
}

func (l leaf) canon(b *strings.Builder) { b.WriteString(l.name) }

// latency is over < duration <= upTo; upTo 0 is no limit. In whole milliseconds it is what the collector compares: there
// a trace without a start lasts since 1970, and one that ends before it starts not at all.
type latency struct {
	over, upTo time.Duration
	whole      bool
}

func (l latency) holds(x *view) (answer, uint64) {
	d := x.facts.Duration()
	if l.whole {
		d = time.Unix(0, int64(x.facts.End)).Sub(time.Unix(0, int64(x.facts.Start))).Truncate(time.Millisecond)
	}
	return toAnswer(d > l.over && (l.upTo == 0 || d <= l.upTo)), 0
}

func (l latency) canon(b *strings.Builder) { fmt.Fprintf(b, "latency(%d,%d)", l.over, l.upTo) }

// spanCount is least <= spans <= most; most 0 is no limit.
type spanCount struct{ least, most uint32 }

func (s spanCount) holds(x *view) (answer, uint64) {
	n := x.facts.Spans
	return toAnswer(n >= s.least && (s.most == 0 || n <= s.most)), 0
}

func (s spanCount) canon(b *strings.Builder) { fmt.Fprintf(b, "spans(%d,%d)", s.least, s.most) }

type probability struct{ threshold uint64 }

func (p probability) holds(x *view) (answer, uint64) {
	if x.random >= p.threshold {
		return yes, p.threshold
	}
	if p.threshold == never {
		return no, 0
	}
	return no, Unknown
}

func (p probability) canon(b *strings.Builder) { fmt.Fprintf(b, "probability(%x)", p.threshold) }

// hashed is a probability by a hash of its own, which no threshold of OTEP-235 can express.
type hashed struct {
	salt string
	most uint64
}

func (h hashed) holds(x *view) (answer, uint64) {
	if h.most == math.MaxUint64 {
		return yes, 0
	}
	return toAnswer(fnv1a(h.salt, x.id) <= h.most), Unknown
}

func (h hashed) canon(b *strings.Builder) { fmt.Fprintf(b, "hashed(%q,%x)", h.salt, h.most) }

type not struct{ of condition }

func (n not) holds(x *view) (answer, uint64) {
	a, threshold := n.of.holds(x)
	switch a {
	case yes:
		return no, threshold
	case no:
		return yes, threshold
	}
	return a, threshold
}

func (n not) canon(b *strings.Builder) {
	b.WriteString("not(")
	n.of.canon(b)
	b.WriteByte(')')
}

// all says yes when each part does. The first part that says no or fails has the word, as in the collector. Its parts share
// one randomness: the yes stands from the greatest threshold on, a no from the smallest of those that say no.
type all []condition

func (a all) holds(x *view) (answer, uint64) {
	var greatest uint64
	for i, c := range a {
		switch said, threshold := c.holds(x); said {
		case yes:
			greatest = max(greatest, threshold)
		case no:
			return no, a[i+1:].certain(x, threshold)
		default:
			return failed, 0
		}
	}
	return yes, greatest
}

// certain is the threshold of a no that one part said with threshold, and the parts of a may say as well.
func (a all) certain(x *view, threshold uint64) uint64 {
	if threshold == 0 || x.spend != nil { // asking on would spend
		return threshold
	}
	for _, c := range a {
		if said, t := c.holds(x); said == no {
			threshold = min(threshold, t)
		}
	}
	return threshold
}

func (a all) canon(b *strings.Builder) {
	canonOf(b, "all", a)
}

// canonOf writes parts in their order, under a name.
func canonOf(b *strings.Builder, name string, parts []condition) {
	b.WriteString(name + "(")
	for i, c := range parts {
		if i > 0 {
			b.WriteByte(',')
		}
		c.canon(b)
	}
	b.WriteByte(')')
}

// blurs says whether c makes an answer hang on the trace's randomness so that no threshold can tell: yes or, inverted, no.
func blurs(c condition, inverted bool) bool {
	switch c := c.(type) {
	case probability:
		return inverted && c.threshold != 0 && c.threshold != never
	case hashed:
		return c.most != 0 && c.most != math.MaxUint64
	case not:
		return blurs(c.of, !inverted)
	case all:
		return slices.ContainsFunc(c, func(part condition) bool { return blurs(part, inverted) })
	}
	return false
}

// larger is a trace of more than so many bytes.
type larger struct{ than uint64 }

func (l larger) holds(x *view) (answer, uint64) { return toAnswer(x.facts.Bytes > l.than), 0 }
func (l larger) canon(b *strings.Builder)       { fmt.Fprintf(b, "larger(%d)", l.than) }

func toAnswer(b bool) answer {
	if b {
		return yes
	}
	return no
}

func has(bits *[2]uint64, i int) bool { return bits[i>>6]&(1<<(i&63)) != 0 }
func set(bits *[2]uint64, i int)      { bits[i>>6] |= 1 << (i & 63) }

func join(bits, more *[2]uint64) {
	bits[0] |= more[0]
	bits[1] |= more[1]
}
