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

// limit says yes while its bucket can pay for the spans of the trace. The bucket is the Decider's.
type limit struct {
	perSecond int64 // spans
	bit       int
}

func (l *limit) holds(_ *Facts, _, can uint64) (bool, uint64) { return can&(1<<l.bit) != 0, 0 }
func (l *limit) canon(b *strings.Builder)                     { fmt.Fprintf(b, "limit(%d)", l.perSecond) }

func (c *compiler) rateLimiting(n *yaml.Node, path string) condition {
	var s struct {
		Spans int64  `yaml:"spans_per_second,required"`
		Burst *int64 `yaml:"burst_capacity"`
	}
	before := c.d.Count()
	c.d.Decode(n, path, &s)
	at := path + ".spans_per_second"
	if c.d.Has(at) && !c.d.Faulted(at) && (s.Spans < 1 || s.Spans > math.MaxInt32) {
		c.d.Faultf(at, "%d is outside 1..%d", s.Spans, math.MaxInt32)
	}
	if s.Burst != nil {
		c.d.Warnf(path+".burst_capacity", "has no effect: a burst is one second's worth")
	}
	if c.d.Count() > before {
		return nil
	}
	c.limits++
	return &limit{perSecond: s.Spans}
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
	}
	return nil
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
