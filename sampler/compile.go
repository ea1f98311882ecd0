package sampler

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"tailweir/strictyaml"
)

// level is where a policy stands, which limits the types it may have.
type level int

const (
	atTop   level = iota
	inGroup       // a part of and, drop
	inNot         // the part of not
)

// compiler turns policies into conditions. Faults go to d; a policy with a fault compiles to nil.
type compiler struct {
	d     *strictyaml.Decoder
	set   *Policies
	names map[string]string // name → path of its first use

	limits int // how many were compiled
}

// policyType is one value of `type`: how its settings, the block named like the type, become a condition.
type policyType struct {
	deepest level // where it may stand: this level and those above
	compile func(c *compiler, settings *yaml.Node, path string) condition
}

// unsupportedTypes are the collector's types that are not built.
var unsupportedTypes = []string{"bytes_limiting", "trace_state", "trace_flags", "ottl_condition", "composite"}

var supportedTypes = []string{
	"always_sample", "latency", "status_code", "probabilistic", "string_attribute", "numeric_attribute",
	"boolean_attribute", "span_count", "rate_limiting", "and", "not", "drop",
}

var allTypes = slices.Concat(supportedTypes, unsupportedTypes)

// typeNamed is a switch and not a table because the types that contain others would make a table refer to itself.
func typeNamed(name string) policyType {
	switch name {
	case "latency":
		return policyType{inNot, (*compiler).latency}
	case "status_code":
		return policyType{inNot, (*compiler).statusCode}
	case "probabilistic":
		return policyType{inNot, (*compiler).probabilistic}
	case "string_attribute":
		return policyType{inNot, (*compiler).stringAttribute}
	case "numeric_attribute":
		return policyType{inNot, (*compiler).numericAttribute}
	case "boolean_attribute":
		return policyType{inNot, (*compiler).booleanAttribute}
	case "span_count":
		return policyType{inNot, (*compiler).spanCount}
	case "rate_limiting":
		return policyType{inNot, (*compiler).rateLimiting}
	case "not":
		return policyType{inGroup, (*compiler).not}
	case "and":
		return policyType{atTop, (*compiler).and}
	case "drop":
		return policyType{atTop, (*compiler).drop}
	}
	return policyType{deepest: inNot} // always_sample: no settings
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
	if misplaced(when, kind == "drop") {
		c.d.Faultf(path, "rate_limiting says what is kept: it cannot be a part of not, or of drop but in a not")
	}
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
	if slices.Contains(unsupportedTypes, kind) {
		c.d.Faultf(path+".type", "%s is not supported yet, supported: %s", kind, strings.Join(supportedTypes, ", "))
		return nil
	}
	t := typeNamed(kind)
	switch {
	case t.deepest >= at:
	case t.deepest == atTop:
		c.d.Faultf(path+".type", "%s cannot be a part of another policy", kind)
		return nil
	default:
		c.d.Faultf(path+".type", "%s cannot be a part of not", kind)
		return nil
	}
	c.checkBlocks(kind, blocks, path)
	if t.compile == nil {
		return always{}
	}
	block, given := blocks[kind]
	if !given {
		c.d.Faultf(path+"."+kind, "required by type %s, but missing", kind)
		return nil
	}
	return t.compile(c, block.Value, path+"."+kind)
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
	if random(when) {
		c.d.Warnf(path, "drops by probability: the traces that remain carry no threshold that says so, counts of them are too low")
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
	if random(of) {
		c.d.Warnf(path, "inverts a probability: the traces it keeps carry no threshold that says so, counts of them are too low")
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

// random says whether c depends on the trace's randomness.
func random(c condition) bool {
	switch c := c.(type) {
	case probability:
		return c.threshold != 0 && c.threshold != never
	case not:
		return random(c.of)
	case all:
		return slices.ContainsFunc(c, random)
	}
	return false
}
