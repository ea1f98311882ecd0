package sampler

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"tailweir/strictyaml"
)

// composed is a composite policy: its parts are asked in their order, and share one bucket of spans. A part that has spent
// its share leaves the trace to the next; what parts leave unspent in a tick is lent to the others; see Decider.
type composed struct {
	ways   []way
	total  *limit
	strict bool
}

// way is one way in which a policy says yes: a part of a composite policy, or the whole of another.
type way struct {
	name   string
	when   condition // with share, when there is one
	part   condition // without it
	share  *limit
	limits uint64 // the limiters in when, a bit each
}

func (c composed) holds(x *view) (answer, uint64) {
	if c.strict {
		return c.first(x)
	}
	said, least, greatest := no, uint64(Unknown), uint64(0)
	gap := false // as in verdict
	for i := range c.ways {
		switch a, threshold := c.ways[i].when.holds(x); a {
		case yes:
			said, least = yes, min(least, threshold)
		case no:
			greatest = max(greatest, threshold)
			gap = gap || threshold > 0 && threshold < Unknown
		}
	}
	switch {
	case said == no:
		return no, greatest
	case gap && least > 0:
		return yes, Unknown
	}
	return yes, least
}

// first is the collector's reading: the first part that says yes has the word, whether it has something left or not, and a
// part that fails takes the others with it.
func (c composed) first(x *view) (answer, uint64) {
	for i := range c.ways {
		switch a, threshold := c.ways[i].part.holds(x); a {
		case yes:
			said, _ := c.ways[i].share.holds(x)
			return said, Unknown
		case failed:
			return failed, threshold
		}
	}
	return no, Unknown
}

func (c composed) canon(b *strings.Builder) {
	parts := []condition{c.total}
	for i := range c.ways {
		parts = append(parts, c.ways[i].when)
	}
	canonOf(b, "composite", parts)
}

// share is a line of rate_allocation.
type share struct {
	Policy  string `yaml:"policy,required"`
	Percent int64  `yaml:"percent,required"`
}

func (c *compiler) composite(n *yaml.Node, path string) condition {
	var s struct {
		Spans  int64      `yaml:"max_total_spans_per_second,required"`
		Order  []string   `yaml:"policy_order"`
		Parts  *yaml.Node `yaml:"composite_sub_policy,required"`
		Shares []share    `yaml:"rate_allocation"`
	}
	before := c.d.Count()
	c.d.Decode(n, path, &s)
	total := c.newLimit(path, spans, "max_total_spans_per_second", s.Spans, &s.Spans, mostSpans)
	names, ways := c.compositeParts(s.Parts, path+".composite_sub_policy")
	c.checkOrder(path+".policy_order", s.Order, names)
	percents := c.percents(path+".rate_allocation", s.Shares, names)
	if c.d.Count() > before || len(ways) == 0 {
		return nil
	}
	for i := range ways {
		w := &ways[i]
		w.share = shareOf(total, percents[w.name], len(ways))
		w.when = all{w.part, w.share}
	}
	c.limits += len(ways) + 1
	if !c.strict { // the collector runs them in the order of the list
		slices.SortStableFunc(ways, func(a, b way) int { return cmp.Compare(place(s.Order, a.name), place(s.Order, b.name)) })
	}
	return composed{ways, total, c.strict}
}

// place is where name stands in the order; those that are not in it come last.
func place(order []string, name string) int {
	if i := slices.Index(order, name); i >= 0 {
		return i
	}
	return len(order)
}

// shareOf is the limiter of one of a composite policy's parts: percent of the whole, an equal share without one. The whole
// spans that it comes to are the collector's bucket.
func shareOf(total *limit, percent int64, parts int) *limit {
	l := &limit{unit: spans, of: total, part: float64(percent) / 100}
	whole := l.part * float64(total.perSecond)
	if percent == 0 {
		l.part, whole = 1/float64(parts), float64(total.perSecond)/float64(parts)
	}
	l.perSecond = min(int64(whole), total.perSecond)
	l.burst = l.perSecond
	return l
}

func (c *compiler) compositeParts(n *yaml.Node, path string) (names []string, ways []way) {
	if n == nil {
		return nil, nil
	}
	items, ok := c.d.List(n, path)
	if ok && len(items) == 0 {
		c.d.Faultf(path, "is empty, want at least one policy")
	}
	for i, item := range items {
		at := fmt.Sprintf("%s[%d]", path, i)
		name, kind, when := c.policy(item, at, inComposite)
		if name != "" && slices.Contains(names, name) {
			c.d.Faultf(at+".name", "%q is the name of another part already", name)
		}
		names = append(names, name)
		if when != nil {
			c.checkLimits(when, kind, at)
			ways = append(ways, way{name: name, part: when})
		}
	}
	return names, ways
}

func (c *compiler) checkOrder(path string, order, names []string) {
	for i, name := range order {
		at := fmt.Sprintf("%s[%d]", path, i)
		switch {
		case !slices.Contains(names, name):
			c.unknownPart(at, name, names)
		case slices.Contains(order[:i], name):
			c.d.Faultf(at, "%q stands in the order already", name)
		}
	}
	if len(order) == 0 || c.d.Faulted(path) {
		return
	}
	for _, name := range names {
		if !slices.Contains(order, name) {
			c.d.Warnf(path, "does not name %q: it is asked last", name)
		}
	}
}

func (c *compiler) percents(path string, shares []share, names []string) map[string]int64 {
	percents := map[string]int64{}
	sum := int64(0)
	for i, s := range shares {
		at := fmt.Sprintf("%s[%d]", path, i)
		_, twice := percents[s.Policy]
		switch {
		case s.Policy == "": // missing, a fault already
		case !slices.Contains(names, s.Policy):
			c.unknownPart(at+".policy", s.Policy, names)
		case twice:
			c.d.Faultf(at+".policy", "%q has a share already", s.Policy)
		}
		switch {
		case s.Percent < 0 || s.Percent > 100:
			c.d.Faultf(at+".percent", "%d is outside 0..100", s.Percent)
		case s.Percent == 0 && c.d.Has(at+".percent"):
			c.d.Warnf(at+".percent", "0 is as if it were not there: an equal share")
		}
		percents[s.Policy] = s.Percent
		sum += s.Percent
	}
	if sum > 100 {
		c.d.Warnf(path, "adds up to %d percent: the parts asked first get theirs before the others", sum)
	}
	return percents
}

func (c *compiler) unknownPart(at, name string, names []string) {
	if near := strictyaml.Nearest(name, names); near != "" {
		c.d.Faultf(at, "%q is no part of this policy, did you mean %q?", name, near)
		return
	}
	c.d.Faultf(at, "%q is no part of this policy, its parts: %s", name, strings.Join(names, ", "))
}
