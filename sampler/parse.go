package sampler

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"tailweir/strictyaml"
)

// Parse compiles the policies of a document, which is written as the collector's `tail_sampling` block: a mapping with the
// key `policies` and others beside it, or one with the key `tail_sampling` that holds them. `compat: strict` may stand at
// the top. The error is of type strictyaml.Faults and lists everything that is wrong; file is what it calls the document.
func Parse(file string, src []byte) (*Policies, error) { return ParseAs("", file, src) }

// ParseAs is Parse of a document to which compat is added; "" adds nothing.
func ParseAs(compat Compat, file string, src []byte) (*Policies, error) {
	d := strictyaml.NewDecoder(file)
	top := d.Document(src)
	switch {
	case d.Err() != nil:
		return nil, d.Err()
	case top == nil:
		d.Faultf("", "the document is empty, want a key policies")
		return nil, d.Err()
	}
	var doc document
	doc.Compat = compat
	d.Decode(top, "", &doc)
	if doc.TailSampling == nil {
		return compile(d, doc.Compat, &doc.block, "")
	}
	return compileBlock(d, doc.Section)
}

// document is what Parse reads: a block as the whole, or a part of it.
type document struct {
	Section
	block
}

// UnmarshalStrict implements strictyaml.Unmarshaler. A document is one or the other, and faults are those of one.
func (doc *document) UnmarshalStrict(d *strictyaml.Decoder, n *yaml.Node, path string) {
	pairs, ok := d.Mapping(n, path)
	if !ok {
		return
	}
	known := slices.Concat(blockKeys, []string{"tail_sampling", "compat"})
	inner := slices.ContainsFunc(pairs, func(p strictyaml.Pair) bool { return p.Name == "tail_sampling" })
	for _, p := range pairs {
		switch {
		case p.Name == "tail_sampling":
			doc.TailSampling = p.Value
			d.Mark(p.Name, p.Value)
		case p.Name == "compat":
			d.Decode(p.Value, p.Name, &doc.Compat)
		case !slices.Contains(blockKeys, p.Name):
			d.Unknown(p, path, known)
		case inner:
			d.Mark(p.Name, p.Key)
			d.Faultf(p.Name, "stands beside tail_sampling, want it in there")
		default:
			doc.block.take(d, p, path)
		}
	}
	if !inner && doc.block.Policies == nil {
		d.Faultf("policies", "required, but missing")
	}
}

// Section is the keys of a larger document that make a policy set: policies, or the collector's block with policies in it,
// and compat. It is for strictyaml's decoder.
type Section struct {
	Policies     *yaml.Node `yaml:"policies"`
	TailSampling *yaml.Node `yaml:"tail_sampling"`
	Compat       Compat     `yaml:"compat"`
}

// Given reports whether the document has policies.
func (s Section) Given() bool { return s.Policies != nil || s.TailSampling != nil }

// Compat is the setting compat: "" or strict.
type Compat string

// Strict is the collector's own answers, with its faults, wherever they do not hang on the order of arrival.
const Strict Compat = "strict"

// Values returns the legal settings.
func (Compat) Values() []string { return []string{string(Strict)} }

// Compile compiles the policies of s, which stands at the top of the document file. Errors are as those of Parse.
func (s Section) Compile(file string) (*Policies, error) {
	d := strictyaml.NewDecoder(file)
	if s.TailSampling == nil {
		return compile(d, s.Compat, &block{Policies: s.Policies}, "")
	}
	return compileBlock(d, s)
}

func compileBlock(d *strictyaml.Decoder, s Section) (*Policies, error) {
	const path = "tail_sampling"
	if s.Policies != nil {
		d.Mark(path, s.TailSampling)
		d.Faultf(path, "stands beside policies, want one of the two")
		return nil, d.Err()
	}
	var b block
	if pairs, ok := d.Mapping(s.TailSampling, path); ok {
		for _, p := range pairs {
			b.take(d, p, path+".")
		}
		if b.Policies == nil {
			d.Faultf(path+".policies", "required, but missing")
		}
	}
	return compile(d, s.Compat, &b, path+".")
}

// Options is what a tail_sampling block says beside its policies, for the window; zero where it says nothing.
type Options struct {
	Wait          time.Duration // decision_wait: from a trace's first span to its decision
	WaitAfterRoot time.Duration // decision_wait_after_root_received
	Traces        int           // num_traces: open at once
	Remembered    int           // decision_cache: decisions, of both kinds
}

// block is the collector's tail_sampling block.
type block struct {
	Policies   *yaml.Node
	options    Options
	firstMatch bool
	maxTrace   int64
}

const (
	keyFirstMatch = "sample_on_first_match"
	keyMaxTrace   = "maximum_trace_size_bytes"
)

// ignoredOptions is the options that have no effect here, and why.
var ignoredOptions = map[string]string{
	"sampling_strategy":               "traces are decided when they are complete",
	"block_on_overflow":               "a full worker hands messages back to Pub/Sub",
	"expected_new_traces_per_sec":     "nothing is preallocated",
	"drop_pending_traces_on_shutdown": "undecided traces stay in Pub/Sub",
	"num_shards":                      "traces need no shards",
	"mutates_data":                    "spans are never copied before a decision",
	"tail_storage":                    "spans stay in Pub/Sub until their trace is decided",
}

var blockKeys = slices.Sorted(slices.Values(append(slices.Collect(maps.Keys(ignoredOptions)), "policies", "decision_wait",
	"decision_wait_after_root_received", "num_traces", "decision_cache", keyFirstMatch, keyMaxTrace)))

// IsOption reports whether key is one of the collector's tail_sampling block, other than policies.
func IsOption(key string) bool { return key != "policies" && slices.Contains(blockKeys, key) }

// take reads one key of the block; prefix is the block's path with a dot, or "".
func (b *block) take(d *strictyaml.Decoder, p strictyaml.Pair, prefix string) {
	path := prefix + p.Name
	whole := func(least int64) int64 {
		var v int64
		if d.Decode(p.Value, path, &v); v < least && !d.Faulted(path) {
			d.Faultf(path, "%d is below %d", v, least)
		}
		return v
	}
	switch p.Name {
	case "policies":
		b.Policies = p.Value
	case "decision_wait":
		b.options.Wait = duration(d, p.Value, path)
	case "decision_wait_after_root_received":
		b.options.WaitAfterRoot = duration(d, p.Value, path)
	case "num_traces":
		b.options.Traces = int(whole(1))
	case "decision_cache":
		b.options.Remembered = decisionCache(d, p.Value, path)
	case keyFirstMatch:
		d.Decode(p.Value, path, &b.firstMatch)
	case keyMaxTrace:
		b.maxTrace = whole(0)
	default:
		reason, known := ignoredOptions[p.Name]
		if !known {
			d.Unknown(p, trimDot(prefix), blockKeys)
			return
		}
		d.Mark(path, p.Key)
		d.Warnf(path, "has no effect: %s", reason)
	}
}

func trimDot(prefix string) string { return prefix[:max(0, len(prefix)-1)] }

func duration(d *strictyaml.Decoder, n *yaml.Node, path string) (v time.Duration) {
	if d.Decode(n, path, &v); v < 0 {
		d.Faultf(path, "%s is negative", v)
	}
	return v
}

func decisionCache(d *strictyaml.Decoder, n *yaml.Node, path string) int {
	var sizes struct {
		Sampled    int `yaml:"sampled_cache_size"`
		NonSampled int `yaml:"non_sampled_cache_size"`
	}
	if d.Decode(n, path, &sizes); sizes.Sampled < 0 || sizes.NonSampled < 0 {
		d.Faultf(path, "a size is negative")
	}
	return sizes.Sampled + sizes.NonSampled
}

func compile(d *strictyaml.Decoder, compat Compat, b *block, prefix string) (*Policies, error) {
	if b.Policies == nil {
		return nil, d.Err()
	}
	path := prefix + "policies"
	c := &compiler{d: d, set: &Policies{options: b.options, strict: compat == Strict}, names: map[string]string{}, strict: compat == Strict}
	c.set.leaves.loose = c.strict
	items, ok := d.List(b.Policies, path)
	if ok && len(items) == 0 {
		d.Faultf(path, "is empty, want at least one policy")
	}
	c.options(b, prefix)
	for i, item := range items {
		c.top(item, fmt.Sprintf("%s[%d]", path, i))
	}
	c.checkCounts(path)
	if b.maxTrace > 0 && c.set.leaves.sized == collected {
		d.Warnf(prefix+keyMaxTrace, "measures a trace as bytes_limiting does: the collector allows it 2 to 6 bytes more for each resource in a message")
	}
	if len(c.set.keeps) == 0 && len(items) > 0 {
		d.Warnf(path, "only drop policies: no trace is ever kept")
	}
	if err := d.Err(); err != nil {
		return nil, err
	}
	if c.set.source = source(c.set, b, items); len(c.set.source) > maxSource {
		d.Faultf(path, "is longer than %d bytes with its aliases written out", maxSource)
		return nil, d.Err()
	}
	c.set.warnings = d.Warnings()
	c.set.seal()
	return c.set, nil
}

func (c *compiler) checkCounts(path string) {
	if c.set.leaves.overflow() {
		c.d.Faultf(path, "%d distinct conditions on spans, want at most %d", len(c.set.leaves.numbers), maxLeaves)
	}
	if c.limits > mostLimits {
		c.d.Faultf(path, "%d limiters, counting one for each part of composite and one for the whole, want at most %d", c.limits, mostLimits)
	}
}

// options makes policies of the options that are such.
func (c *compiler) options(b *block, prefix string) {
	c.set.firstMatch = b.firstMatch && c.strict
	if b.firstMatch && !c.strict {
		c.d.Warnf(prefix+keyFirstMatch, "has no effect: the first policy that says keep is named in any case")
	}
	if b.maxTrace > 0 {
		c.names[keyMaxTrace] = prefix + keyMaxTrace
		if c.strict {
			c.set.leaves.sized = bare
		}
		c.set.names = append(c.set.names, keyMaxTrace)
		c.set.drops = append(c.set.drops, policy{name: keyMaxTrace, when: larger{uint64(b.maxTrace)}})
	}
}
