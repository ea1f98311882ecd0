// Package sampler decides which traces are kept. It works in two phases: an Observer folds the spans of a payload into
// Facts, a few dozen bytes per trace that merge in any order; Policies.Decide turns the merged facts into a Decision.
//
// Policies are written as in the collector's tail_sampling processor. A decision depends on nothing but the trace's facts,
// its id and the policies: the same spans get the same answer on every worker, at every replay.
package sampler

import (
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"tailweir/otlp"
)

// Policies is a compiled policy set: immutable and safe for concurrent use. Make one with Parse, ParseNode or Default.
type Policies struct {
	drops, keeps []policy // each in the order of the file
	names        []string // of all, in the order of the file
	leaves       leaves
	warnings     []string
	hash         uint64
}

type policy struct {
	name string
	when condition
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
// keep keeps the trace; otherwise it is dropped. Pure.
func (p *Policies) Decide(id otlp.TraceID, f *Facts) Decision {
	random := f.randomness(id)
	for _, d := range p.drops {
		if yes, _ := d.when.holds(f, random); yes {
			return Decision{Policy: d.name}
		}
	}
	var verdict Decision
	for _, k := range p.keeps {
		yes, threshold := k.when.holds(f, random)
		switch {
		case !yes:
		case !verdict.Keep:
			verdict = Decision{Keep: true, Policy: k.name, Threshold: threshold}
		default:
			verdict.Threshold = min(verdict.Threshold, threshold)
		}
	}
	return verdict
}

// Names is the policies' names in the order of the file.
func (p *Policies) Names() []string { return slices.Clone(p.names) }

// Warnings is what the file says that has no effect here or a surprising one, one line each with its place.
func (p *Policies) Warnings() []string { return slices.Clone(p.warnings) }

// Hash identifies the canonical form: equal for sets that decide and attribute alike by construction, whatever their
// comments, layout or settings without effect. Facts merge only between equal hashes.
func (p *Policies) Hash() uint64 { return p.hash }

// Default keeps traces with an error ("errors"), those longer than one second ("slow") and 10 % of all ("rest").
func Default() *Policies {
	p := &Policies{names: []string{"errors", "slow", "rest"}}
	p.keeps = []policy{
		{"errors", p.leaves.statusCode(statusError)},
		{"slow", latency{over: uint64(time.Second)}},
		{"rest", probability{thresholdOf(10)}},
	}
	p.seal()
	return p
}

// seal computes what depends on the finished set.
func (p *Policies) seal() {
	var b strings.Builder
	for _, group := range [][]policy{p.drops, p.keeps} {
		for _, one := range group {
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
