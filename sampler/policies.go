// Package sampler decides which traces are kept. It works in two phases: an Observer folds the spans of a payload into
// Facts, a few dozen bytes per trace that merge in any order; a Decider turns the merged facts into Decisions.
//
// Policies are written as in the collector's tail_sampling processor. A decision depends on nothing but the trace's facts,
// its id and the policies: the same spans get the same answer on every worker, at every replay. Limiters are the exception:
// with them it depends on the decisions before as well, and on the traces that are decided with it.
package sampler

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
)

// Policies is a compiled policy set: immutable and safe for concurrent use. Make one with Parse, Section or Default.
type Policies struct {
	drops, keeps []policy // each in the order of the file
	names        []string // of all, in the order of the file
	leaves       leaves
	limits       []*limit // in the order of the hash
	strict       bool     // Strict
	firstMatch   bool     // with strict: the first policy that says keep has the word
	options      Options
	warnings     []string
	hash         uint64
	source       []byte
}

type policy struct {
	name   string
	when   condition
	limits uint64 // the limiters in it, a bit each
	ways   []way  // one, or those of a composite policy
}

// Decision is the verdict on one trace.
type Decision struct {
	Keep bool
	// First, unless 0, is the low 32 bits of the trace's earliest start in unix ns: the parent of the local root that starts
	// then is to be left out, since nobody will send it. It is not the policies' to say; see fleet.SequencerConfig.
	First uint32
	// Policy is the first policy, in the order of the file, that said keep, or the first drop policy that matched; "" when
	// the trace is dropped because no policy said keep.
	Policy string
	// Threshold is T of OTEP-235 (56 bits), the smallest among the policies that said keep: the trace stands for
	// 2^56 / (2^56 − T) traces. 0 means that it was kept with certainty, Unknown that nobody can tell. Meaningful when Keep.
	Threshold uint64
}

// verdict applies the policies: a drop policy that matches ends it; otherwise any policy that says keep keeps the trace;
// otherwise it is dropped. What it says of limiters is the view's affair.
func (p *Policies) verdict(x *view) (v Decision) {
	var saved uint64 // from which randomness on no drop policy matches
	for i := range p.drops {
		switch a, threshold := p.drops[i].when.holds(x); a {
		case yes:
			return Decision{Policy: p.drops[i].name}
		case no:
			saved = max(saved, threshold)
		}
	}
	v.Threshold = Unknown
	gap := false // between two ranges of randomness that are kept
	for i := 0; i < len(p.keeps) && !(v.Keep && p.firstMatch); i++ {
		switch a, threshold := p.keeps[i].when.holds(x); {
		case a == yes:
			v.Threshold = min(v.Threshold, threshold)
			if !v.Keep {
				v.Keep, v.Policy = true, p.keeps[i].name
			}
		case a == no && threshold > 0 && threshold < Unknown:
			gap = true
		}
	}
	switch {
	case !v.Keep:
		return Decision{}
	case gap && v.Threshold > 0:
		v.Threshold = Unknown
	}
	v.Threshold = max(v.Threshold, saved)
	return v
}

// Options is what the policies' document says for the window.
func (p *Policies) Options() Options { return p.options }

// Strict reports whether the policies were compiled with compat: strict.
func (p *Policies) Strict() bool { return p.strict }

// Names is the policies' names in the order of the file.
func (p *Policies) Names() []string { return slices.Clone(p.names) }

// Warnings is what the file says that has no effect here or a surprising one, one line each with its place.
func (p *Policies) Warnings() []string { return slices.Clone(p.warnings) }

// Hash identifies the canonical form: equal for sets that decide and attribute alike by construction, and number conditions
// and policies alike, whatever their comments, layout or settings without effect. Facts merge only between equal hashes.
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
	if p.strict {
		fmt.Fprintf(&b, "strict(%t)\n", p.firstMatch)
	}
	for _, group := range [][]policy{p.drops, p.keeps} {
		for i := range group {
			p.sealPolicy(&group[i])
			b.WriteString(quote(group[i].name) + "=")
			group[i].when.canon(&b)
			b.WriteByte('\n')
		}
		b.WriteString("--\n")
	}
	// Facts number the conditions and decisions the policies, both in the order of the file.
	fmt.Fprintf(&b, "%q\n%q\n", p.names, p.leaves.inOrder())
	h := fnv.New64a()
	h.Write([]byte(b.String()))
	p.hash = h.Sum64()
}

func (p *Policies) sealPolicy(one *policy) {
	for _, l := range limitsIn(one.when) {
		l.bit = len(p.limits)
		p.limits = append(p.limits, l)
	}
	one.limits = bitsOf(one.when)
	one.ways = []way{{when: one.when, limits: one.limits}}
	if c, ok := one.when.(composed); ok {
		one.ways = c.ways
		for i := range c.ways {
			c.ways[i].limits = bitsOf(c.ways[i].when)
		}
	}
}

func bitsOf(c condition) (bits uint64) {
	for _, l := range limitsIn(c) {
		bits |= 1 << l.bit
	}
	return bits
}
