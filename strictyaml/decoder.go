// Package strictyaml reads configuration files and reports every fault at once, each with file, line, column, path, the
// offending value and the nearest valid spelling. Nothing is guessed: an unknown key, a wrong type, a key given twice, a
// value left empty and a second document are all faults.
//
// A Decoder fills plain structs by their yaml tags. Subtrees that need hands of their own are fields of type *yaml.Node or
// types that implement Unmarshaler; checks of values use Faultf, which finds the place in the file by the path.
// Anchors, aliases and merge keys (<<) work.
package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// maxNodes bounds the values decoded from one document, so that nested aliases cannot make a small file take all memory.
const maxNodes = 100_000

// Decoder decodes one document and gathers its faults. Use one per file, from one goroutine.
type Decoder struct {
	file   string
	faults Faults
	warned Faults
	places map[string]*yaml.Node // path → node, for faults found after decoding
	nodes  int                   // values visited, against maxNodes
}

// Unmarshaler is implemented by types that decode themselves. path is where n stands in the document; faults go to d.
type Unmarshaler interface {
	UnmarshalStrict(d *Decoder, n *yaml.Node, path string)
}

// NewDecoder returns a decoder whose faults name file.
func NewDecoder(file string) *Decoder {
	return &Decoder{file: file, places: map[string]*yaml.Node{}}
}

// Document parses src as exactly one YAML document and returns its top value, or nil after a fault. An empty document is
// nil without a fault when nothing is required of it: the caller decides.
func (d *Decoder) Document(src []byte) *yaml.Node {
	dec := yaml.NewDecoder(bytes.NewReader(src))
	var doc, second yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if !errors.Is(err, io.EOF) {
			d.syntaxFault(src, err)
		}
		return nil
	}
	switch err := dec.Decode(&second); {
	case err == nil:
		d.add(&second, "", "a second document starts here, want one")
		return nil
	case !errors.Is(err, io.EOF):
		d.syntaxFault(src, err)
		return nil
	}
	if len(doc.Content) == 0 || d.isNull(doc.Content[0]) {
		return nil
	}
	d.places[""] = doc.Content[0]
	return doc.Content[0]
}

var syntaxLine = regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?`)

func (d *Decoder) syntaxFault(src []byte, err error) {
	m := syntaxLine.FindStringSubmatch(err.Error())
	f := Fault{File: d.file, Column: 1, Msg: "not valid YAML: " + strings.TrimPrefix(err.Error(), m[0])}
	if f.Line, _ = strconv.Atoi(m[1]); f.Line == 0 {
		f.Line, f.Column = unreadable(src)
	}
	d.faults = append(d.faults, f)
}

// unreadable is the place of the first character that YAML does not allow, or 1:1 when all are: the parser names no
// line for such a character, nor for what is wrong in the first line.
func unreadable(src []byte) (line, column int) {
	at := bytes.IndexFunc(src, func(r rune) bool {
		return r == utf8.RuneError || r == 0xFFFE || r == 0xFFFF || unicode.IsControl(r) && !strings.ContainsRune("\t\n\r\u0085", r)
	})
	before := src[:max(at, 0)]
	start := bytes.LastIndexByte(before, '\n') + 1
	return 1 + bytes.Count(before, []byte{'\n'}), 1 + utf8.RuneCount(before[start:])
}

// Faultf records a fault of the value at path, or of its nearest ancestor in the file when path is absent from it.
func (d *Decoder) Faultf(path, format string, args ...any) {
	d.add(d.place(path), path, fmt.Sprintf(format, args...))
}

// Warnf records that the value at path is accepted but not what the writer may think, for Warnings.
func (d *Decoder) Warnf(path, format string, args ...any) {
	n := d.place(path)
	d.warned = append(d.warned, Fault{d.file, n.Line, n.Column, path, fmt.Sprintf(format, args...)})
}

// Warnings is what Warnf recorded, one line each, in the order of the file.
func (d *Decoder) Warnings() []string {
	var lines []string
	for _, w := range d.warned.sorted() {
		lines = append(lines, w.String())
	}
	return lines
}

// place is the node at path or at its nearest ancestor; a node without line when there is none.
func (d *Decoder) place(path string) *yaml.Node {
	for {
		if n, ok := d.places[path]; ok {
			return n
		}
		if path == "" {
			return &yaml.Node{}
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
}

// Has says whether the file gave a value at path.
func (d *Decoder) Has(path string) bool {
	_, ok := d.places[path]
	return ok
}

// Faulted says whether the value at path itself has a fault already, so that checks need not complain of it twice.
func (d *Decoder) Faulted(path string) bool {
	return slices.ContainsFunc(d.faults, func(f Fault) bool { return f.Path == path })
}

// Count is the number of faults so far, to learn whether a subtree decoded without any.
func (d *Decoder) Count() int { return len(d.faults) }

// Mark makes n the place in the file of path, for faults and warnings about a value that was not decoded.
func (d *Decoder) Mark(path string, n *yaml.Node) { d.places[path] = n }

// Err is all faults so far in the order of the file, or nil. A non-nil error is of type Faults.
func (d *Decoder) Err() error {
	if len(d.faults) == 0 {
		return nil
	}
	return d.faults.sorted()
}

func (d *Decoder) add(n *yaml.Node, path, msg string) {
	d.faults = append(d.faults, Fault{File: d.file, Line: n.Line, Column: n.Column, Path: path, Msg: msg})
}

// enter registers n as the value at path, follows an alias, and says whether the document's size still allows to go on.
func (d *Decoder) enter(n *yaml.Node, path string) (*yaml.Node, bool) {
	d.places[path] = n
	d.nodes++
	if d.nodes > maxNodes {
		if d.nodes == maxNodes+1 {
			d.add(n, path, fmt.Sprintf("the document has more than %d values", maxNodes))
		}
		return n, false
	}
	return resolve(n), true
}

func resolve(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode && n.Alias != nil {
		n = n.Alias
	}
	return n
}

func (d *Decoder) isNull(n *yaml.Node) bool {
	n = resolve(n)
	return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// describe is a node as a person would name it: `"abc"`, `12`, `a list`.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	if n.ShortTag() == "!!str" {
		return strconv.Quote(clip(n.Value))
	}
	return onOneLine(clip(n.Value))
}

func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
