// Package sampler decides which traces are kept. It works in two phases: an Observer folds the spans of a payload into
// Facts, a few dozen bytes per trace that merge in any order; Policies.Decide turns the merged facts into a Decision.
//
// Policies are written as in the collector's tail_sampling processor. A decision depends on nothing but the trace's facts,
// its id and the policies: the same spans get the same answer on every worker, at every replay. Limiters are the exception:
// with them a Decider decides, on the decisions before as well.
package sampler

import (
	"hash/fnv"
	"math"
	"slices"
	"strings"

	"tailweir/otlp"
)

// Policies is a compiled policy set: immutable and safe for concurrent use. Make one with Parse, ParseNode or Default.
type Policies struct {
	drops, keeps []policy // each in the order of the file
	names        []string // of all, in the order of the file
	leaves       leaves
	limits       []*limit // in the order of the hash
	warnings     []string
	hash         uint64
	source       []byte
}

type policy struct {
	name   string
	when   condition
	limits uint64 // the limiters in it, a bit each
}

// Decision is the verdict on one trace.
type Decision struct {
	Keep bool
	// Policy is the first policy, in the order of the file, that said keep, or the first drop policy that matched; "" when
	// the trace is dropped because no policy said keep.
	Policy string
	// Threshold is T of OTEP-235 (56 bits), the smallest among the policies that said keep: the trace stands for
	// 2^56 / (2^56 − T) traces. 0 means that it was kept with certainty. Meaningful when Keep.
	Threshold uint64
}

// Decide applies the policies to the facts of trace id. A drop policy that matches ends it; otherwise any policy that says
// keep keeps the trace; otherwise it is dropped. Pure: for sets with limiters, which have no limit here, use a Decider.
func (p *Policies) Decide(id otlp.TraceID, f *Facts) Decision {
	d, _ := p.decide(id, f, math.MaxUint64)
	return d
}

// decide answers with the verdict and the limiters that have to pay for it, out of those that can; none for a drop.
//
// A limiter pays only for a trace that is kept because of its answer. Policies without limiters are asked first: what one
// of them keeps is free. Else the first policy with limiters that says keep has it paid by its own. A drop policy limits
// from the other side, with a limiter in a not: those pay that saved a kept trace from it.
func (p *Policies) decide(id otlp.TraceID, f *Facts, can uint64) (verdict Decision, pay uint64) {
	random := f.randomness(id)
	for i := range p.drops {
		d := &p.drops[i]
		if yes, _ := d.when.holds(f, random, can); yes {
			return Decision{Policy: d.name}, 0
		}
		if d.limits != 0 {
			if saved, _ := d.when.holds(f, random, 0); saved {
				pay |= d.limits & can
			}
		}
	}
	for i := range p.keeps {
		k := &p.keeps[i]
		switch yes, threshold := k.when.holds(f, random, 0); {
		case !yes: // so do all with limiters, none of which can pay here
		case !verdict.Keep:
			verdict = Decision{Keep: true, Policy: k.name, Threshold: threshold}
		default:
			verdict.Threshold = min(verdict.Threshold, threshold)
		}
	}
	if verdict.Keep {
		return verdict, pay
	}
	if len(p.limits) == 0 {
		return Decision{}, 0
	}
	return p.decideLimited(f, random, can, pay)
}

// decideLimited asks the keep policies with limiters, which are those that can say keep here. The threshold of such a
// keep, 0 but for a probability beside it, is not exact: how many traces it stands for follows from the traffic.
func (p *Policies) decideLimited(f *Facts, random, can, pay uint64) (Decision, uint64) {
	for i := range p.keeps {
		k := &p.keeps[i]
		if yes, threshold := k.when.holds(f, random, can); yes {
			return Decision{Keep: true, Policy: k.name, Threshold: threshold}, pay | k.limits
		}
	}
	return Decision{}, 0
}

// Names is the policies' names in the order of the file.
func (p *Policies) Names() []string { return slices.Clone(p.names) }

// Warnings is what the file says that has no effect here or a surprising one, one line each with its place.
func (p *Policies) Warnings() []string { return slices.Clone(p.warnings) }

// Hash identifies the canonical form: equal for sets that decide and attribute alike by construction, whatever their
// comments, layout or settings without effect. Facts merge only between equal hashes.
func (p *Policies) Hash() uint64 { return p.hash }

// Source is a document that Parse compiles to a set with the same Hash, Names and Source, on one line for each policy and
// without comments: it travels to workers that were started with another file. It is at most 1 MiB. It must not be changed.
func (p *Policies) Source() []byte { return p.source }

const defaultSource = `policies:
- {"name": "errors", "type": "status_code", "status_code": {"status_codes": ["ERROR"]}}
- {"name": "slow", "type": "latency", "latency": {"threshold_ms": 1000}}
- {"name": "rest", "type": "probabilistic", "probabilistic": {"sampling_percentage": 10}}
`

// Default keeps traces with an error ("errors"), those longer than one second ("slow") and 10 % of all ("rest").
func Default() *Policies {
	p, err := Parse("default", []byte(defaultSource))
	if err != nil {
		panic(err) // only for a fault in the constant
	}
	return p
}

// seal computes what depends on the finished set. Limiters are numbered in the order of the hash, in which their state
// travels: sets with equal hashes number them alike.
func (p *Policies) seal() {
	var b strings.Builder
	for _, group := range [][]policy{p.drops, p.keeps} {
		for i := range group {
			one := &group[i]
			for _, l := range limitsIn(one.when) {
				l.bit = len(p.limits)
				p.limits = append(p.limits, l)
				one.limits |= 1 << l.bit
			}
			b.WriteString(quote(one.name) + "=")
			one.when.canon(&b)
			b.WriteByte('\n')
		}
		b.WriteString("--\n")
	}
	h := fnv.New64a()
	h.Write([]byte(b.String()))
	p.hash = h.Sum64()
}
