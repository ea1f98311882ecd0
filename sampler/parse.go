package sampler

import (
	"fmt"
	"maps"
	"slices"

	"go.yaml.in/yaml/v3"

	"tailweir/strictyaml"
)

// Parse compiles the policies of a document: a mapping with the key `policies`, or with the collector's `tail_sampling`
// block that holds it. The error is of type strictyaml.Faults and lists everything that is wrong; file is what it calls
// the document.
func Parse(file string, src []byte) (*Policies, error) {
	d := strictyaml.NewDecoder(file)
	top := d.Document(src)
	switch {
	case d.Err() != nil:
		return nil, d.Err()
	case top == nil:
		d.Faultf("", "the document is empty, want a key policies")
		return nil, d.Err()
	}
	list, path := policyList(d, top)
	if list == nil {
		return nil, d.Err()
	}
	return compile(d, list, path)
}

// ParseNode compiles the list of policies at node, the value of a top-level key `policies` in the larger document file.
// node must not be nil. Errors are as those of Parse.
func ParseNode(file string, node *yaml.Node) (*Policies, error) {
	return compile(strictyaml.NewDecoder(file), node, "policies")
}

// policyList finds the list of policies and where it stands; nil after a fault.
func policyList(d *strictyaml.Decoder, top *yaml.Node) (list *yaml.Node, path string) {
	var doc struct {
		Policies     *yaml.Node `yaml:"policies"`
		TailSampling *yaml.Node `yaml:"tail_sampling"`
	}
	d.Decode(top, "", &doc)
	switch {
	case doc.Policies != nil && doc.TailSampling != nil:
		d.Faultf("tail_sampling", "stands beside policies, want one of the two")
	case doc.TailSampling != nil:
		return collectorBlock(d, doc.TailSampling), "tail_sampling.policies"
	case doc.Policies == nil:
		d.Faultf("policies", "required, but missing")
	}
	return doc.Policies, "policies"
}

// ignoredOptions is the collector's options beside policies, and why they have no effect here.
var ignoredOptions = map[string]string{
	"sampling_strategy":                 "traces are decided when they are complete",
	"decision_wait":                     "the window's settle, idle and max_age say how long a trace waits",
	"decision_wait_after_root_received": "the window's settle says how long a trace waits after its root",
	"num_traces":                        "the window's budgets bound it",
	"block_on_overflow":                 "a full worker hands messages back to Pub/Sub",
	"expected_new_traces_per_sec":       "nothing is preallocated",
	"decision_cache":                    "decisions are always remembered",
	"sample_on_first_match":             "the first policy that matches is named in any case",
	"drop_pending_traces_on_shutdown":   "undecided traces stay in Pub/Sub",
	"maximum_trace_size_bytes":          "the window's byte budget bounds it",
	"num_shards":                        "traces need no shards",
	"mutates_data":                      "spans are never copied before a decision",
	"tail_storage":                      "spans stay in Pub/Sub until their trace is decided",
}

func collectorBlock(d *strictyaml.Decoder, block *yaml.Node) *yaml.Node {
	const path = "tail_sampling"
	known := append(slices.Sorted(maps.Keys(ignoredOptions)), "policies")
	pairs, ok := d.Mapping(block, path)
	if !ok {
		return nil
	}
	var list *yaml.Node
	for _, p := range pairs {
		reason, ignored := ignoredOptions[p.Name]
		switch {
		case p.Name == "policies":
			list = p.Value
		case ignored:
			d.Mark(path+"."+p.Name, p.Key)
			d.Warnf(path+"."+p.Name, "has no effect: %s", reason)
		default:
			d.Unknown(p, path, known)
		}
	}
	if list == nil {
		d.Faultf(path+".policies", "required, but missing")
	}
	return list
}

func compile(d *strictyaml.Decoder, list *yaml.Node, path string) (*Policies, error) {
	c := &compiler{d: d, set: &Policies{}, names: map[string]string{}}
	items, ok := d.List(list, path)
	if ok && len(items) == 0 {
		d.Faultf(path, "is empty, want at least one policy")
	}
	for i, item := range items {
		c.top(item, fmt.Sprintf("%s[%d]", path, i))
	}
	if c.set.leaves.overflow() {
		d.Faultf(path, "%d distinct conditions on spans, want at most %d", len(c.set.leaves.numbers), maxLeaves)
	}
	if c.limits > mostLimits {
		d.Faultf(path, "%d policies of type rate_limiting, want at most %d", c.limits, mostLimits)
	}
	if len(c.set.keeps) == 0 && len(items) > 0 {
		d.Warnf(path, "only drop policies: no trace is ever kept")
	}
	if err := d.Err(); err != nil {
		return nil, err
	}
	if c.set.source = source(items); len(c.set.source) > maxSource {
		d.Faultf(path, "is longer than %d bytes with its aliases written out", maxSource)
		return nil, d.Err()
	}
	c.set.warnings = d.Warnings()
	c.set.seal()
	return c.set, nil
}
