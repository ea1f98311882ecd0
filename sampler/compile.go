package sampler

import (
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"

	"tailweir/strictyaml"
)

// level is where a policy stands, a bit each: which types it may have hangs on that.
type level int

const (
	atTop       level = 1 << iota
	inGroup           // a part of and, drop
	inNot             // the part of not
	inComposite       // a part of composite

	anywhere = atTop | inGroup | inNot | inComposite
)

// compiler turns policies into conditions. Faults go to d; a policy with a fault compiles to nil.
type compiler struct {
	d     *strictyaml.Decoder
	set   *Policies
	names map[string]string // name → path of its first use

	strict bool // compat: strict
	limits int  // how many were compiled
	user   user // the policy of the list that is being compiled
}

// policyType is one value of `type`: how its settings, the block named like the type, become a condition.
type policyType struct {
	where   level // all levels where it may stand
	compile func(c *compiler, settings *yaml.Node, path string) condition
}

var allTypes = []string{
	"always_sample", "latency", "status_code", "probabilistic", "string_attribute", "numeric_attribute",
	"boolean_attribute", "span_count", "trace_state", "trace_flags", "ottl_condition", "rate_limiting", "bytes_limiting",
	"and", "not", "drop", "composite",
}

// typeNamed is a switch and not a table because the types that contain others would make a table refer to itself.
func typeNamed(name string) policyType {
	switch name {
	case "latency":
		return policyType{anywhere, (*compiler).latency}
	case "status_code":
		return policyType{anywhere, (*compiler).statusCode}
	case "probabilistic":
		return policyType{anywhere, (*compiler).probabilistic}
	case "string_attribute":
		return policyType{anywhere, (*compiler).stringAttribute}
	case "numeric_attribute":
		return policyType{anywhere, (*compiler).numericAttribute}
	case "boolean_attribute":
		return policyType{anywhere, (*compiler).booleanAttribute}
	case "span_count":
		return policyType{anywhere, (*compiler).spanCount}
	case "trace_state":
		return policyType{anywhere, (*compiler).traceState}
	case "ottl_condition":
		return policyType{anywhere, (*compiler).ottlCondition}
	case "rate_limiting":
		return policyType{anywhere, (*compiler).rateLimiting}
	case "bytes_limiting":
		return policyType{anywhere, (*compiler).bytesLimiting}
	case "not":
		return policyType{atTop | inGroup, (*compiler).not}
	case "and":
		return policyType{atTop | inComposite, (*compiler).and}
	case "drop":
		return policyType{atTop, (*compiler).drop}
	case "composite":
		return policyType{atTop, (*compiler).composite}
	}
	return policyType{where: anywhere} // no settings
}

type policyTypeName string

func (policyTypeName) Values() []string { return allTypes }

// top compiles a policy of the list itself.
func (c *compiler) top(n *yaml.Node, path string) {
	name, kind, when := c.policy(n, path, atTop)
	if name != "" {
		if first, twice := c.names[name]; twice {
			c.d.Faultf(path+".name", "%q is the name of %s already", name, first)
		} else {
			c.names[name] = path
		}
	}
	if when == nil {
		return
	}
	c.checkLimits(when, kind, path)
	c.set.names = append(c.set.names, name)
	if kind == "drop" {
		c.set.drops = append(c.set.drops, policy{name: name, when: when})
		return
	}
	c.set.keeps = append(c.set.keeps, policy{name: name, when: when})
}

// policy compiles the policy at n; when is nil after a fault.
func (c *compiler) policy(n *yaml.Node, path string, at level) (name string, kind policyTypeName, when condition) {
	pairs, ok := c.d.Mapping(n, path)
	if !ok {
		return "", "", nil
	}
	blocks := map[string]strictyaml.Pair{}
	for _, p := range pairs {
		switch p.Name {
		case "name":
			c.d.Decode(p.Value, path+".name", &name)
		case "type":
			c.d.Decode(p.Value, path+".type", &kind)
		default:
			blocks[p.Name] = p
		}
	}
	c.checkName(name, path, at)
	if at == atTop {
		c.user = user{name, kind == "drop"}
	}
	if !c.d.Has(path + ".type") {
		c.d.Faultf(path+".type", "required, but missing")
	}
	if kind == "" {
		return name, "", nil
	}
	return name, kind, c.ofType(string(kind), blocks, path, at)
}

// checkName wants a name of policies in the list; parts of others are never named in a decision.
func (c *compiler) checkName(name, path string, at level) {
	switch {
	case name != "" || at != atTop:
	case c.d.Has(path + ".name"):
		c.d.Faultf(path+".name", "is empty, want a name that is unique in the list")
	default:
		c.d.Faultf(path+".name", "required, but missing")
	}
}

func (c *compiler) ofType(kind string, blocks map[string]strictyaml.Pair, path string, at level) condition {
	t := typeNamed(kind)
	if t.where&at == 0 {
		c.d.Faultf(path+".type", "%s cannot be a part of %s", kind, placeNames[at])
		return nil
	}
	c.checkBlocks(kind, blocks, path)
	if t.compile == nil {
		return c.bare(kind)
	}
	block, given := blocks[kind]
	if !given {
		c.d.Faultf(path+"."+kind, "required by type %s, but missing", kind)
		return nil
	}
	return t.compile(c, block.Value, path+"."+kind)
}

var placeNames = map[level]string{inGroup: "and, drop", inNot: "not", inComposite: "composite"}

// bare is a policy of a type without settings.
func (c *compiler) bare(kind string) condition {
	if kind == "trace_flags" {
		return c.set.leaves.sampledFlag()
	}
	return always{}
}

// checkBlocks wants no other key than name, type and the block of the type. The collector leaves the block of another
// type unread, and the writer believing in it.
func (c *compiler) checkBlocks(kind string, blocks map[string]strictyaml.Pair, path string) {
	for name, p := range blocks {
		switch {
		case name == kind:
		case slices.Contains(allTypes, name):
			c.d.Mark(path+"."+name, p.Key)
			c.d.Faultf(path+"."+name, "settings of another type: this policy's type is %s", kind)
		default:
			c.d.Unknown(p, path, []string{"name", "type", kind})
		}
	}
}

func (c *compiler) and(n *yaml.Node, path string) condition {
	var s struct {
		Parts *yaml.Node `yaml:"and_sub_policy,required"`
	}
	c.d.Decode(n, path, &s)
	return c.group(s.Parts, path+".and_sub_policy")
}

func (c *compiler) drop(n *yaml.Node, path string) condition {
	var s struct {
		Parts *yaml.Node `yaml:"drop_sub_policy,required"`
	}
	c.d.Decode(n, path, &s)
	when := c.group(s.Parts, path+".drop_sub_policy")
	if blurs(when, true) {
		c.d.Warnf(path, "drops by probability: the traces that remain carry no threshold, they cannot be counted")
	}
	return when
}

func (c *compiler) not(n *yaml.Node, path string) condition {
	var s struct {
		Part *yaml.Node `yaml:"not_sub_policy,required"`
	}
	c.d.Decode(n, path, &s)
	if s.Part == nil {
		return nil
	}
	_, _, of := c.policy(s.Part, path+".not_sub_policy", inNot)
	if of == nil {
		return nil
	}
	if !c.user.drop && blurs(of, true) {
		c.d.Warnf(path, "inverts a probability: the traces it keeps carry no threshold, they cannot be counted")
	}
	return not{of}
}

// group compiles the parts of and, drop; nil when n is absent, empty or one part has a fault.
func (c *compiler) group(n *yaml.Node, path string) condition {
	if n == nil {
		return nil
	}
	items, ok := c.d.List(n, path)
	if ok && len(items) == 0 {
		c.d.Faultf(path, "is empty, want at least one policy")
	}
	var parts all
	for i, item := range items {
		if _, _, when := c.policy(item, fmt.Sprintf("%s[%d]", path, i), inGroup); when != nil {
			parts = append(parts, when)
		}
	}
	if len(parts) < len(items) || len(parts) == 0 {
		return nil
	}
	return parts
}
