package sampler

import (
	"bytes"
	"cmp"
	"math/bits"
	"slices"
	"sort"
)

// tick is the scratch of a Decider for the traces that it decides together.
type tick struct {
	order   []int32    // of the batch, by descending randomness
	waiting []int32    // refused by a composite policy's part for its share alone
	pays    []uint64   // by trace: the limiters that pay for it
	cuts    []uint64   // by limiter: from which randomness on it said yes; 0 when it refused nothing
	shares  []int64    // by limiter of a composite policy's part: what is left of its share, in grains
	before  []int64    // by limiter: its tokens before the tick
	paid    [][]paying // by limiter: in descending order of randomness
	lending bool       // shares do not count any more: what is left is lent
	cut     func(*limit, *view) uint64
	spend   func(*limit, *view) bool
}

// paying is a trace that a limiter paid for; sum is what it has paid up to and with that one.
type paying struct {
	random uint64
	sum    int64
}

func newTick(d *Decider) tick {
	n := len(d.set.limits)
	return tick{cuts: make([]uint64, n), shares: make([]int64, n), before: make([]int64, n), paid: make([][]paying, n), cut: d.cut, spend: d.spend}
}

// decideTick admits traces in two rounds: in the first the parts of composite policies have their shares, in the second what
// is left of the whole is lent. Thresholds are known only after both.
func (d *Decider) decideTick(dst []Decision, batch []Candidate) []Decision {
	t := &d.tick
	dst = slices.Grow(dst, len(batch))[:len(dst)+len(batch)]
	verdicts := dst[len(dst)-len(batch):]
	d.beginTick(batch)
	for _, i := range t.order {
		d.admit(batch, verdicts, i)
	}
	t.lending = true
	for _, i := range t.waiting {
		d.admit(batch, verdicts, i)
	}
	for i, l := range d.set.limits {
		if l.of != nil {
			t.cuts[i] = min(t.cuts[i], t.cuts[l.of.bit])
		}
	}
	for i := range verdicts {
		if verdicts[i].Keep {
			d.setThreshold(&verdicts[i], &batch[i], t.pays[i])
		}
	}
	return dst
}

func (d *Decider) beginTick(batch []Candidate) {
	t := &d.tick
	t.lending = false
	t.waiting = t.waiting[:0]
	t.pays = slices.Grow(t.pays[:0], len(batch))[:len(batch)] // each is set when its trace is asked
	t.order = t.order[:0]
	for i := range batch {
		t.order = append(t.order, int32(i))
	}
	slices.SortFunc(t.order, func(i, j int32) int {
		a, b := &batch[i], &batch[j]
		return cmp.Or(cmp.Compare(b.Facts.randomness(b.Trace), a.Facts.randomness(a.Trace)), bytes.Compare(a.Trace[:], b.Trace[:]))
	})
	copy(t.before, d.tokens)
	for i, l := range d.set.limits {
		t.cuts[i], t.paid[i] = 0, t.paid[i][:0]
		if l.of != nil {
			t.shares[i] = int64(l.part * float64(max(0, d.tokens[l.of.bit])))
		}
	}
}

// admit decides trace i of the batch as far as limiters can pay, and has them pay.
func (d *Decider) admit(batch []Candidate, verdicts []Decision, i int32) {
	t := &d.tick
	d.look(&batch[i])
	x := &d.view
	x.can = d.able(x.facts)
	v, pay, refused := d.set.ask(x)
	waits := false
	for bits := refused; bits != 0; bits &= bits - 1 {
		waits = d.refuse(d.set.limits[trailing(bits)], x) || waits
	}
	if waits && !v.Keep {
		t.waiting = append(t.waiting, i)
	}
	for bits := pay; bits != 0; bits &= bits - 1 {
		d.pay(d.set.limits[trailing(bits)], x)
	}
	verdicts[i], t.pays[i] = v, pay
}

func trailing(mask uint64) int { return bits.TrailingZeros64(mask) }

// ask answers with the verdict, the limiters that have to pay for it, out of those that can, and those that were asked and
// could not.
func (p *Policies) ask(x *view) (v Decision, pay, refused uint64) {
	can := x.can
	for i := range p.drops {
		one := &p.drops[i]
		a, _ := one.when.holds(x)
		if a != yes {
			pay |= one.saves(x)
			continue
		}
		if one.limits != 0 {
			refused = p.missed(x, one)
		}
		return Decision{Policy: one.name}, 0, refused
	}
	if name, free := p.keptFree(x); free {
		return Decision{Keep: true, Policy: name}, pay, 0
	}
	for i := range p.keeps {
		for j := range p.keeps[i].ways {
			w := &p.keeps[i].ways[j]
			if w.limits == 0 {
				continue
			}
			if a, _ := w.when.holds(x); a == yes {
				return Decision{Keep: true, Policy: p.keeps[i].name}, pay | w.limits, refused
			}
			x.can = all64
			if a, _ := w.when.holds(x); a == yes {
				refused |= w.limits &^ can
			}
			x.can = can
		}
	}
	return Decision{}, 0, refused
}

const all64 = ^uint64(0)

// saves is the limiters of a drop policy that keep it from matching; 0 when it would not match without them.
func (p *policy) saves(x *view) (pay uint64) {
	if p.limits == 0 {
		return 0
	}
	can := x.can
	x.can = 0
	if a, _ := p.when.holds(x); a == yes {
		pay = p.limits & can
	}
	x.can = can
	return pay
}

// missed is the limiters of the drop policy one that could have saved a trace which a keep policy would have kept then.
func (p *Policies) missed(x *view, one *policy) uint64 {
	can := x.can
	defer func() { x.can = can }()
	x.can = all64
	if a, _ := one.when.holds(x); a == yes {
		return 0 // with or without them
	}
	x.can = can
	if _, free := p.keptFree(x); free {
		return one.limits &^ can
	}
	for i := range p.keeps {
		for j := range p.keeps[i].ways {
			if a, _ := p.keeps[i].ways[j].when.holds(x); a == yes {
				return one.limits &^ can
			}
		}
	}
	return 0
}

// keptFree asks the keep policies without limiters.
func (p *Policies) keptFree(x *view) (name string, kept bool) {
	for i := range p.keeps {
		if p.keeps[i].limits != 0 {
			continue
		}
		if a, _ := p.keeps[i].when.holds(x); a == yes {
			return p.keeps[i].name, true
		}
	}
	return "", false
}

// able is the limiters that can pay for the trace, a bit each. A full bucket can pay anything.
func (d *Decider) able(f *Facts) (can uint64) {
	t := &d.tick
	for i, l := range d.set.limits {
		whole := l
		if l.of != nil {
			whole = l.of
		}
		cost, has := l.cost(f), d.tokens[whole.bit]
		open := t.cuts[i] == 0
		switch {
		case l.of != nil && t.lending:
			open = t.cuts[whole.bit] == 0
		case l.of != nil:
			open = open && t.shares[i] >= cost
		}
		if open && (has >= cost || has == whole.full()) {
			can |= 1 << i
		}
	}
	return can
}

// refuse has a limiter refuse all that follows in the tick, and reports whether it is for a share alone. A trace that is
// larger than the bucket can be paid by a full one only: it is refused alone, or one such would spoil tick after tick.
func (d *Decider) refuse(l *limit, x *view) (forShare bool) {
	t := &d.tick
	at := l.bit
	if l.of != nil {
		forShare = !t.lending
		if t.lending {
			l, at = l.of, l.of.bit
		}
	}
	if t.cuts[at] == 0 && (forShare || l.cost(x.facts) <= l.full()) {
		t.cuts[at] = x.random + 1
	}
	return forShare
}

func (d *Decider) pay(l *limit, x *view) {
	t := &d.tick
	cost := l.cost(x.facts)
	if l.of != nil {
		t.shares[l.bit] -= cost
		l = l.of
	}
	d.tokens[l.bit] -= cost
	t.paid[l.bit] = append(t.paid[l.bit], paying{x.random, t.before[l.bit] - d.tokens[l.bit]})
}

// setThreshold is for a kept trace, after the tick. What it would have been kept for with another randomness counts as well:
// a trace that a probability kept for nothing might have been paid by a limiter.
func (d *Decider) setThreshold(v *Decision, c *Candidate, pay uint64) {
	d.look(c)
	d.view.cut = d.tick.cut
	d.view.can = pay
	v.Threshold = 0
	switch again := d.set.verdict(&d.view); {
	case !again.Keep: // of several traces with one randomness a limiter admitted some
		v.Threshold = d.view.random
	case again.Threshold == Unknown:
		v.Threshold = Unknown
	default:
		v.Threshold = min(again.Threshold, d.view.random)
	}
}

// cut is from which randomness on the limiter says yes to a trace. One that it did not pay for would have moved the cut up
// by what it costs.
func (d *Decider) cut(l *limit, x *view) uint64 {
	t := &d.tick
	at := t.cuts[l.bit]
	if l.of != nil || x.can&(1<<l.bit) != 0 {
		return at
	}
	paid, left := t.paid[l.bit], t.before[l.bit]-l.cost(x.facts)
	if left < 0 && t.before[l.bit] < l.full() {
		return never
	}
	first := sort.Search(len(paid), func(i int) bool { return paid[i].sum > left })
	if first < len(paid) {
		return max(at, paid[first].random+1)
	}
	return at
}
