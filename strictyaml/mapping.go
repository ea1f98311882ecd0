package strictyaml

import (
	"fmt"
	"maps"
	"slices"

	"go.yaml.in/yaml/v3"
)

// maxMerges bounds how deep merge keys (<<) may refer to mappings that merge others; YAML allows a mapping to merge itself.
const maxMerges = 8

// Pair is one key of a mapping with its value.
type Pair struct {
	Name  string
	Key   *yaml.Node // where the name stands, for faults about the key itself
	Value *yaml.Node
}

// Mapping is the keys of n in the order of the file, merge keys resolved. ok is false after the fault that n is not a
// mapping; keys that are not names, or given twice, are faults and left out.
func (d *Decoder) Mapping(n *yaml.Node, path string) (pairs []Pair, ok bool) {
	n, ok = d.enter(n, path)
	if !ok {
		return nil, false
	}
	if n.Kind != yaml.MappingNode {
		d.wrongType(n, path, "a mapping")
		return nil, false
	}
	m := merger{d: d, path: path, seen: map[string]bool{}}
	m.own(n, 0)
	return m.pairs, true
}

type merger struct {
	d     *Decoder
	path  string
	seen  map[string]bool
	pairs []Pair
}

// own takes the keys that stand in n itself first, because they win over merged ones.
func (m *merger) own(n *yaml.Node, depth int) {
	first := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := resolve(n.Content[i]), n.Content[i+1]
		switch {
		case k.Kind != yaml.ScalarNode:
			m.d.add(k, m.path, "a key is "+describe(k)+", want a name")
			continue
		case isMerge(k):
			continue
		}
		if line, twice := first[k.Value]; twice {
			m.d.add(n.Content[i], join(m.path, k.Value), fmt.Sprintf("given twice, first in line %d", line))
			continue
		}
		first[k.Value] = k.Line
		m.take(Pair{k.Value, n.Content[i], v})
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if isMerge(resolve(n.Content[i])) {
			m.merge(n.Content[i+1], depth+1)
		}
	}
}

func (m *merger) take(p Pair) {
	if !m.seen[p.Name] {
		m.seen[p.Name] = true
		m.pairs = append(m.pairs, p)
	}
}

func (m *merger) merge(v *yaml.Node, depth int) {
	n := resolve(v)
	m.d.nodes++
	switch {
	case depth > maxMerges || m.d.nodes > maxNodes:
		m.d.add(v, join(m.path, "<<"), fmt.Sprintf("merges nest deeper than %d", maxMerges))
	case n.Kind == yaml.MappingNode:
		m.own(n, depth)
	case n.Kind == yaml.SequenceNode:
		for _, one := range n.Content {
			m.merge(one, depth+1)
		}
	default:
		m.d.wrongType(n, join(m.path, "<<"), "a mapping")
	}
}

func isMerge(k *yaml.Node) bool { return k.Kind == yaml.ScalarNode && k.ShortTag() == "!!merge" }

// List is the items of n; ok is false after the fault that n is not a list.
func (d *Decoder) List(n *yaml.Node, path string) (items []*yaml.Node, ok bool) {
	n, ok = d.enter(n, path)
	if !ok {
		return nil, false
	}
	if n.Kind != yaml.SequenceNode {
		d.wrongType(n, path, "a list")
		return nil, false
	}
	return n.Content, true
}

// Unknown records a fault for the key p of the mapping at path, which is not one of known.
func (d *Decoder) Unknown(p Pair, path string, known []string) {
	d.add(p.Key, join(path, clip(p.Name)), "unknown key"+suggest(p.Name, known))
}

func (d *Decoder) wrongType(n *yaml.Node, path, want string) {
	if d.isNull(n) {
		d.add(n, path, "has no value, want "+want)
		return
	}
	d.add(n, path, fmt.Sprintf("is %s, want %s", describe(n), want))
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
