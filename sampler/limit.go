package sampler

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// mostLimits is how many limiters a set can have: a bit each.
const mostLimits = 64

// unit is what a limiter counts.
type unit uint8

const (
	spans unit = iota
	byteCount
)

// limit says yes while its bucket can pay for the trace. The bucket is the Decider's.
type limit struct {
	unit             unit
	perSecond, burst int64
	bit              int
	// of is the bucket of a whole composite policy, for the limiter of one of its parts: it pays there as well. Its own is a
	// part of what is in that one, anew in each tick.
	of   *limit
	part float64
}

func (l *limit) holds(x *view) (answer, uint64) {
	switch {
	case x.spend != nil:
		return toAnswer(x.spend(l, x)), Unknown
	case x.cut != nil:
		return probability{x.cut(l, x)}.holds(x)
	}
	return toAnswer(x.can&(1<<l.bit) != 0), 0
}

func (l *limit) canon(b *strings.Builder) {
	if l.of != nil {
		fmt.Fprintf(b, "share(%g)", l.part)
		return
	}
	fmt.Fprintf(b, "limit(%d,%d,%d)", l.unit, l.perSecond, l.burst)
}

// cost is what the limiter takes for a trace, at most mostCost.
func (l *limit) cost(f *Facts) int64 {
	if l.unit == spans {
		return int64(f.Spans) * grain
	}
	return int64(min(f.Bytes, mostCost/grain)) * grain
}

// The limits of a limiter's settings: a burst in grains and the largest debt fit 64 bits by far.
const (
	mostSpans = math.MaxInt32
	mostBytes = 1 << 40 // a terabyte a second
)

func (c *compiler) rateLimiting(n *yaml.Node, path string) condition {
	var s struct {
		Spans int64  `yaml:"spans_per_second,required"`
		Burst *int64 `yaml:"burst_capacity"`
	}
	return c.limiter(n, path, &s, func() *limit {
		return c.newLimit(path, spans, "spans_per_second", s.Spans, s.Burst, mostSpans)
	})
}

func (c *compiler) bytesLimiting(n *yaml.Node, path string) condition {
	var s struct {
		Bytes int64  `yaml:"bytes_per_second,required"`
		Burst *int64 `yaml:"burst_capacity"`
	}
	return c.limiter(n, path, &s, func() *limit {
		if c.strict {
			c.set.leaves.sized = collected
		}
		return c.newLimit(path, byteCount, "bytes_per_second", s.Bytes, s.Burst, mostBytes)
	})
}

func (c *compiler) limiter(n *yaml.Node, path string, settings any, compile func() *limit) condition {
	before := c.d.Count()
	c.d.Decode(n, path, settings)
	l := compile()
	if c.d.Count() > before {
		return nil
	}
	c.limits++
	return l
}

// newLimit checks the settings of a bucket. Its burst is by default what comes in two seconds, as in the collector, where 0
// is the default as well.
func (c *compiler) newLimit(path string, u unit, name string, perSecond int64, burst *int64, most int64) *limit {
	if at := path + "." + name; c.d.Has(at) && !c.d.Faulted(at) && (perSecond < 1 || perSecond > most) {
		c.d.Faultf(at, "%d is outside 1..%d", perSecond, most)
	}
	l := &limit{unit: u, perSecond: perSecond, burst: 2 * perSecond}
	if given := c.atLeast(path+".burst_capacity", burst, 2*most); given != 0 {
		l.burst = given
	}
	return l
}

// limitsIn is the limiters in c, each once.
func limitsIn(c condition) []*limit {
	switch c := c.(type) {
	case *limit:
		return []*limit{c}
	case not:
		return limitsIn(c.of)
	case all:
		var found []*limit
		for _, part := range c {
			found = append(found, limitsIn(part)...)
		}
		return found
	case composed:
		found := []*limit{c.total}
		for i := range c.ways {
			found = append(found, limitsIn(c.ways[i].when)...)
		}
		return found
	}
	return nil
}

// checkLimits wants limiters where what they say can be meant; the collector takes them anywhere.
func (c *compiler) checkLimits(when condition, kind policyTypeName, path string) {
	if !c.strict && misplaced(when, kind == "drop") {
		c.d.Faultf(path, "a limiter says what is kept: it cannot be a part of not, or of drop but in a not")
	}
}

// misplaced says whether a limiter in c works against its purpose: its yes has to lead to a keep. inverted says that c
// itself leads to a drop.
func misplaced(c condition, inverted bool) bool {
	switch c := c.(type) {
	case *limit:
		return inverted
	case not:
		return misplaced(c.of, !inverted)
	case all:
		return slices.ContainsFunc(c, func(part condition) bool { return misplaced(part, inverted) })
	}
	return false
}
