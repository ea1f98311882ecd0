package sampler

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"tailweir/otlp"
)

// Decider decides traces. Not safe for concurrent use.
//
// A limiter is a bucket of tokens, one a span or a byte. It fills in event time, so that a replay decides like the live run,
// and holds a burst. A trace that is larger than that passes when the bucket is full and leaves a debt: refused for ever, as
// in the collector, the largest traces would never be seen. Over any time, what is kept is at most rate × time + one burst,
// and the excess of one such trace.
//
// Traces that are decided together are a tick. Limiters admit them in the descending order of their randomness, until one
// cannot pay: what is below is refused. So what they keep has a threshold, as if a probability had been chosen that fits
// the budget (D. Ting, Adaptive Threshold Sampling, 2017). Only a trace that is kept because of a limiter's answer pays:
// policies without limiters are asked first, and what one of them keeps is free. Else the first policy with limiters that
// says keep has it paid by its own. A drop policy limits from the other side, with a limiter in a not: those pay that saved
// a kept trace from it.
//
// Strict policies have their limiters asked for each trace in the order given, as the collector does, and paid when they say
// yes, whoever keeps the trace.
type Decider struct {
	set    *Policies
	latest int64   // event time up to which the buckets are filled, unix ms; it never goes back
	tokens []int64 // by limiter, in grains; below 0 is debt
	view   view    // of the trace in hand: conditions are called through an interface, and a local one would be allocated
	tick   tick
}

// Tick is how long deadlines are gathered that one call of Decide should decide, where the policies have limiters: the
// collector's own.
const Tick = time.Second

const (
	grain    = 1000 // tokens are counted in 1/1000: the refill of a millisecond is whole
	mostCost = 1 << 52

	stateVersion = 2
	stateHeader  = 1 + 8 // version, hash of the policy set
)

// Candidate is a trace to be decided.
type Candidate struct {
	Trace otlp.TraceID
	Facts *Facts
}

// Limited reports whether the policies have limiters: then the decision on a trace depends on the others of its tick.
func (p *Policies) Limited() bool { return len(p.limits) > 0 }

// NewDecider returns a decider whose limiters have full buckets.
func (p *Policies) NewDecider() *Decider {
	d := &Decider{set: p, tokens: make([]int64, len(p.limits))}
	for i, l := range p.limits {
		d.tokens[i] = l.full()
	}
	d.tick = newTick(d)
	return d
}

func (l *limit) full() int64 { return l.burst * grain }

// Decide appends to dst a decision for each of the batch, in its order. at is the event time of the decisions in unix ms: the
// end of their tick, or the watermark where traces leave before it. A time ahead of the others fills the buckets, and then
// nothing does until they are there; a time before an earlier one refills nothing.
func (d *Decider) Decide(dst []Decision, batch []Candidate, at int64) []Decision {
	if d.set.Limited() {
		d.refill(at)
	}
	if d.set.Limited() && !d.set.strict {
		return d.decideTick(dst, batch)
	}
	for i := range batch {
		d.look(&batch[i])
		if d.set.strict {
			d.view.spend = d.tick.spend
		}
		dst = append(dst, d.set.verdict(&d.view))
	}
	return dst
}

func (d *Decider) look(c *Candidate) {
	d.view = view{id: c.Trace, facts: c.Facts, random: c.Facts.randomness(c.Trace), can: math.MaxUint64}
}

func (d *Decider) refill(at int64) {
	if at <= d.latest {
		return
	}
	elapsed := at - d.latest
	anew := at/1000 != d.latest/1000
	d.latest = at
	for i, l := range d.set.limits {
		missing := l.full() - d.tokens[i]
		switch {
		case l.of != nil: // the collector counts each second from 0
			if anew {
				d.tokens[i] = l.full()
			}
		case elapsed > missing/l.perSecond: // also where the product would not fit
			d.tokens[i] = l.full()
		default:
			d.tokens[i] += elapsed * l.perSecond
		}
	}
}

// spend is the collector's limiter: it pays whenever it says yes.
func (d *Decider) spend(l *limit, x *view) bool {
	cost := l.cost(x.facts)
	if d.tokens[l.bit] < cost {
		return false
	}
	d.tokens[l.bit] -= cost
	return true
}

// State is the limiters' state for a successor's Restore, about 16 B and 4 more for each limiter; nil without limiters.
func (d *Decider) State() []byte {
	if len(d.tokens) == 0 {
		return nil
	}
	b := binary.BigEndian.AppendUint64([]byte{stateVersion}, d.set.hash)
	b = binary.AppendUvarint(b, uint64(d.latest))
	for i, l := range d.set.limits {
		b = binary.AppendUvarint(b, uint64(l.full()-d.tokens[i]))
	}
	return b
}

// Restore takes over the state of a decider of the same policy set; nil where there are no limiters. A state that is
// malformed or of another set is refused and changes nothing.
func (d *Decider) Restore(state []byte) error {
	if len(state) == 0 && len(d.tokens) == 0 {
		return nil
	}
	restored, err := d.parse(state)
	if err != nil {
		return fmt.Errorf("restore limiters: %w", err)
	}
	d.latest, d.tokens = restored.latest, restored.tokens
	return nil
}

var errMalformed = errors.New("malformed state")

func (d *Decider) parse(state []byte) (Decider, error) {
	out := Decider{set: d.set, tokens: make([]int64, len(d.tokens))}
	switch {
	case len(state) < stateHeader:
		return out, errMalformed
	case state[0] != stateVersion:
		return out, fmt.Errorf("state of version %d, want %d", state[0], stateVersion)
	}
	if hash := binary.BigEndian.Uint64(state[1:]); hash != d.set.hash {
		return out, fmt.Errorf("state of policies %016x, these are %016x", hash, d.set.hash)
	}
	next := func(most int64) (v int64, ok bool) {
		u, n := binary.Uvarint(state)
		if n <= 0 || u > uint64(most) {
			return 0, false
		}
		state = state[n:]
		return int64(u), true
	}
	state = state[stateHeader:]
	var ok bool
	if out.latest, ok = next(math.MaxInt64); !ok {
		return out, errMalformed
	}
	for i, l := range d.set.limits {
		missing, ok := next(l.full() + mostCost)
		if !ok {
			return out, errMalformed
		}
		out.tokens[i] = l.full() - missing
	}
	if len(state) > 0 {
		return out, errMalformed
	}
	return out, nil
}
