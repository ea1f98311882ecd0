package sampler

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"tailweir/otlp"
)

// Decider decides with the limiters of a policy set. Not safe for concurrent use.
//
// A limiter is a bucket of tokens, one a span. It fills at the rate of spans_per_second in event time, so that a replay
// decides like the live run, and holds one second's worth. A trace that is larger than that passes when the bucket is full
// and leaves a debt: refused for ever, as in the collector, the largest traces would never be seen. Over any time, the
// spans kept are at most rate × time + one burst, and the excess of one such trace.
type Decider struct {
	set    *Policies
	latest int64   // event time up to which the buckets are filled, unix ms; it never goes back
	tokens []int64 // by limiter, in 1/1000 span: the refill of a millisecond is whole; below 0 is debt
}

const (
	perSpan  = 1000 // tokens
	mostDebt = math.MaxUint32 * perSpan

	stateVersion = 1
	stateHeader  = 1 + 8 // version, hash of the policy set
)

// NewDecider returns a decider whose limiters have full buckets.
func (p *Policies) NewDecider() *Decider {
	d := &Decider{set: p, tokens: make([]int64, len(p.limits))}
	for i, l := range p.limits {
		d.tokens[i] = l.full()
	}
	return d
}

func (l *limit) full() int64 { return l.perSecond * perSpan }

// Decide is as Policies.Decide, and limited. at is the event time of the decision in unix ms: the trace's deadline, or the
// watermark where the trace leaves before it. A time ahead of the others fills the buckets, and then nothing does until
// they are there; a time before an earlier one refills nothing.
func (d *Decider) Decide(id otlp.TraceID, f *Facts, at int64) Decision {
	if len(d.tokens) == 0 {
		return d.set.Decide(id, f)
	}
	d.refill(at)
	cost := int64(f.Spans) * perSpan
	verdict, pay := d.set.decide(id, f, d.able(cost))
	for i := range d.tokens {
		if pay&(1<<i) != 0 {
			d.tokens[i] -= cost
		}
	}
	return verdict
}

func (d *Decider) refill(at int64) {
	if at <= d.latest {
		return
	}
	elapsed := at - d.latest
	d.latest = at
	for i, l := range d.set.limits {
		missing := l.full() - d.tokens[i]
		if elapsed > missing/l.perSecond { // also where the product would not fit
			d.tokens[i] = l.full()
			continue
		}
		d.tokens[i] += elapsed * l.perSecond
	}
}

// able is the limiters that can pay cost, a bit each.
func (d *Decider) able(cost int64) (can uint64) {
	for i, l := range d.set.limits {
		if d.tokens[i] >= cost || d.tokens[i] == l.full() {
			can |= 1 << i
		}
	}
	return can
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
	*d = restored
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
		missing, ok := next(l.full() + mostDebt)
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
