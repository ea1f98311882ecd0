package sampler

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"

	"tailweir/strictyaml"
)

// maxSource is the longest Source in bytes. Aliases that hold others make a small file long.
const maxSource = 1 << 20

// source is the document of a set that compiled, of the policies at items: aliases and merge keys resolved, one way to write
// each thing. It is cut short of its end once it is longer than maxSource. The library's own writer keeps styles, tags and
// anchors of the file, and what it writes of them is not always what it read.
func source(p *Policies, b *block, items []*yaml.Node) []byte {
	w := writer{d: strictyaml.NewDecoder("")}
	if p.strict {
		fmt.Fprintf(&w, "compat: %s\n", Strict)
	}
	if p.firstMatch {
		fmt.Fprintf(&w, "%s: true\n", keyFirstMatch)
	}
	if b.maxTrace > 0 {
		fmt.Fprintf(&w, "%s: %d\n", keyMaxTrace, b.maxTrace)
	}
	w.WriteString("policies:\n")
	for _, item := range items {
		w.WriteString("- ")
		w.node(item)
		w.WriteByte('\n')
	}
	return w.Bytes()
}

type writer struct {
	bytes.Buffer
	d *strictyaml.Decoder // resolves merge keys; its faults were found by the first that read the document
}

func (w *writer) node(n *yaml.Node) {
	if w.Len() > maxSource {
		return
	}
	switch n.Kind {
	case yaml.AliasNode:
		w.node(n.Alias)
	case yaml.MappingNode:
		w.mapping(n)
	case yaml.SequenceNode:
		w.WriteByte('[')
		for i, item := range n.Content {
			w.separate(i)
			w.node(item)
		}
		w.WriteByte(']')
	default:
		w.scalar(n)
	}
}

func (w *writer) mapping(n *yaml.Node) {
	pairs, _ := w.d.Mapping(n, "")
	pairs = slices.DeleteFunc(pairs, func(p strictyaml.Pair) bool { return p.Name == "always_sample" || p.Name == "trace_flags" }) // no settings: never read
	w.WriteByte('{')
	for i, p := range pairs {
		w.separate(i)
		w.text(p.Name)
		w.WriteString(": ")
		w.node(p.Value)
	}
	w.WriteByte('}')
}

// scalar writes numbers and truth values as they are: with the tag that they compiled with, and nothing in them to quote.
func (w *writer) scalar(n *yaml.Node) {
	if n.ShortTag() == "!!str" {
		w.text(n.Value)
		return
	}
	w.WriteString(n.Value)
}

// text writes s as YAML reads it in double quotes: its escapes include those of Go.
func (w *writer) text(s string) { w.WriteString(strconv.QuoteToASCII(s)) }

func (w *writer) separate(i int) {
	if i > 0 {
		w.WriteString(", ")
	}
}
