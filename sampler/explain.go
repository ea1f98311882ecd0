package sampler

import (
	"fmt"
	"strings"
	"time"
)

// Reason is what one policy said of a trace, and why.
type Reason struct {
	Policy string `json:"policy"`
	Says   string `json:"says"` // keep, no, drop or error
	Why    string `json:"why"`  // one line, for people
}

// Explain is Decide that says for each of the batch what every policy said of it, in the order in which they are asked: drop
// policies first. It is for people: it costs many times what Decide does.
//
// In a tick a limiter says what its cut says; who pays for a trace that several would keep, see Decider.
func (d *Decider) Explain(batch []Candidate, at int64) ([]Decision, [][]Reason) {
	reasons := make([][]Reason, len(batch))
	if d.set.strict {
		return d.explainStrict(batch, at, reasons), reasons
	}
	decisions := d.Decide(nil, batch, at)
	for i := range batch {
		d.look(&batch[i])
		if d.set.Limited() {
			d.view.cut, d.view.can = d.tick.cut, d.tick.pays[i]
		}
		reasons[i] = d.set.explain(&d.view)
	}
	return decisions, reasons
}

// explainStrict notes what limiters said while they decided: asked again, they would spend again.
func (d *Decider) explainStrict(batch []Candidate, at int64, reasons [][]Reason) (decisions []Decision) {
	defer func(spend func(*limit, *view) bool) { d.tick.spend = spend }(d.tick.spend)
	var paid uint64
	spend := d.tick.spend
	d.tick.spend = func(l *limit, x *view) bool {
		said := spend(l, x)
		if said {
			paid |= 1 << l.bit
		}
		return said
	}
	for i := range batch {
		paid = 0
		decisions = d.Decide(decisions, batch[i:i+1], at)
		d.look(&batch[i])
		d.view.spend = func(l *limit, _ *view) bool { return paid&(1<<l.bit) != 0 }
		reasons[i] = d.set.explain(&d.view)
	}
	return decisions
}

// explain does not say what policies would have said that were not asked, because another had the last word.
func (p *Policies) explain(x *view) (reasons []Reason) {
	for i := range p.drops {
		a, why := explain(p.drops[i].when, x)
		reasons = append(reasons, Reason{p.drops[i].name, says(a, "drop"), why})
		if a == yes {
			return reasons
		}
	}
	for i := range p.keeps {
		a, why := explain(p.keeps[i].when, x)
		reasons = append(reasons, Reason{p.keeps[i].name, says(a, "keep"), why})
		if a == yes && p.firstMatch {
			break
		}
	}
	return reasons
}

func says(a answer, whenYes string) string {
	return [...]string{no: "no", yes: whenYes, failed: "error"}[a]
}

// explain is the condition's answer and why it was given.
func explain(c condition, x *view) (a answer, why string) {
	a, _ = c.holds(x)
	switch c := c.(type) {
	case leaf:
		return a, c.why(a)
	case latency:
		return a, c.why(x)
	case spanCount:
		return a, fmt.Sprintf("%d spans, want %s", x.facts.Spans, bounds(uint64(c.least), uint64(c.most)))
	case probability:
		return a, fmt.Sprintf("randomness %s %s threshold %s", hex(x.random), atLeastOr(a), hex(c.threshold))
	case hashed:
		return a, fmt.Sprintf("hash %016x with salt %q, kept up to %016x", fnv1a(c.salt, x.id), c.salt, c.most)
	case larger:
		return a, fmt.Sprintf("%d bytes, at most %d are kept", x.facts.Bytes, c.than)
	case *limit:
		return a, c.why(a, x)
	case not:
		_, of := explain(c.of, x)
		return a, "not(" + of + ")"
	case all:
		return a, "and(" + strings.Join(whyAll(c, x), "; ") + ")"
	case composed:
		return a, "composite(" + strings.Join(c.why(x), "; ") + ")"
	}
	return a, "always"
}

func (l leaf) why(a answer) string {
	name := l.name
	var codes int
	if n, _ := fmt.Sscanf(name, "status(%d)", &codes); n == 1 {
		name = "status " + strings.Join(statusNames(codes), " or ")
	}
	switch a {
	case yes:
		return "a span or its resource has " + name
	case failed:
		return "failed on a span, and held on none: " + name
	}
	return "no span has " + name
}

func statusNames(codes int) (names []string) {
	for _, name := range statusName("").Values() {
		if codes&statusBits[statusName(name)] != 0 {
			names = append(names, name)
		}
	}
	return names
}

func (l latency) why(x *view) string {
	took := x.facts.Duration()
	if l.whole {
		took = took.Truncate(time.Millisecond)
	}
	if l.upTo == 0 {
		return fmt.Sprintf("lasted %s, want more than %s", took, l.over)
	}
	return fmt.Sprintf("lasted %s, want more than %s and at most %s", took, l.over, l.upTo)
}

func bounds(least, most uint64) string {
	if most == 0 {
		return fmt.Sprintf("%d or more", least)
	}
	return fmt.Sprintf("%d to %d", least, most)
}

func atLeastOr(a answer) string {
	if a == yes {
		return ">="
	}
	return "<"
}

// hex is a randomness or threshold as OTEP-235 writes it, but for the threshold that nothing reaches.
func hex(v uint64) string { return fmt.Sprintf("%014x", v) }

// why of a limiter is its answer, and in a tick how far it went.
func (l *limit) why(a answer, x *view) string {
	name := fmt.Sprintf("limit of %d %s/s, burst %d", l.perSecond, [...]string{spans: "spans", byteCount: "bytes"}[l.unit], l.burst)
	if l.of != nil {
		name = fmt.Sprintf("share of %d spans/s", l.perSecond)
	}
	costs := fmt.Sprintf("%s: costs %d, ", name, l.cost(x.facts)/grain)
	switch {
	case x.spend != nil && a == yes:
		return costs + "paid"
	case x.spend != nil:
		return costs + "has less left"
	}
	cut := x.cut(l, x)
	switch {
	case x.can&(1<<l.bit) != 0:
		return costs + "paid"
	case a == yes && cut == 0:
		return costs + "had enough for all of the tick, and does not pay"
	case cut == never:
		return costs + "has less left"
	}
	return costs + fmt.Sprintf("randomness %s %s cut of the tick %s", hex(x.random), atLeastOr(a), hex(cut))
}

// whyAll goes as far as the evaluation does: to the first part that does not say yes.
func whyAll(parts []condition, x *view) (whys []string) {
	for _, part := range parts {
		a, why := explain(part, x)
		whys = append(whys, says(a, "yes")+": "+why)
		if a != yes {
			break
		}
	}
	return whys
}

// why of a composite policy names its parts, in their order; those of the collector after the first yes are not asked.
func (c composed) why(x *view) (whys []string) {
	for i := range c.ways {
		w := &c.ways[i]
		a, why := explain(w.when, x)
		if c.strict {
			if a, why = explain(w.part, x); a == yes {
				_, share := explain(w.share, x)
				why += "; " + share
			}
		}
		whys = append(whys, w.name+": "+says(a, "yes")+": "+why)
		if c.strict && a != no {
			break
		}
	}
	return whys
}
