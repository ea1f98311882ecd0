// Package otelcol reads configuration files of the OpenTelemetry Collector, as far as they say what Tailweir can do: the policies of
// a tail_sampling processor, and from where and to where it gets its spans. It depends on nothing of the collector's.
//
// What the collector would do to a text is done to it: "$$" is a "$". What it takes from elsewhere, ${env:NAME}, stays as it
// is written, and is said.
package otelcol

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"tailweir/sampler"
	"tailweir/strictyaml"
)

// File is a collector's configuration. Not safe for concurrent use.
type File struct {
	name       string
	d          *strictyaml.Decoder
	components map[string][]component // by kind
	pipelines  []pipeline
	telemetry  bool
	variables  map[*yaml.Node]bool // the texts with ${...} in them
	said       map[*yaml.Node]bool // those of what was looked at
}

// component is one entry of receivers, processors, exporters, connectors or extensions.
type component struct {
	kind     string // the section's name
	id, typ  string // of typ/name, or typ alone
	settings *yaml.Node
}

func (c *component) path() string { return c.kind + "." + c.id }

// pipeline is one entry of service.pipelines.
type pipeline struct {
	id, signal string
	uses       map[string][]string // kind → ids
}

var kinds = []string{"receivers", "processors", "exporters", "connectors", "extensions"}

// Is reports whether the keys at the top of a document are those of a collector's configuration.
func Is(keys []string) bool {
	return slices.Contains(keys, "processors") || slices.Contains(keys, "service") && slices.Contains(keys, "receivers")
}

// Parse reads the document src. The error is strictyaml.Faults.
func Parse(name string, src []byte) (*File, error) {
	f := &File{name: name, d: strictyaml.NewDecoder(name), components: map[string][]component{}, variables: map[*yaml.Node]bool{}, said: map[*yaml.Node]bool{}}
	top := f.d.Document(src)
	if top == nil {
		if f.d.Err() == nil {
			f.d.Faultf("", "the document is empty")
		}
		return nil, f.d.Err()
	}
	f.unescape(top)
	pairs, _ := f.d.Mapping(top, "")
	for _, p := range pairs {
		switch {
		case slices.Contains(kinds, p.Name):
			f.section(p)
		case p.Name == "service":
			f.service(p.Value)
		default:
			f.d.Unknown(p, "", append(slices.Clone(kinds), "service"))
		}
	}
	return f, f.d.Err()
}

// unescape does what the collector does to texts, and remembers those with variables in them.
func (f *File) unescape(n *yaml.Node) {
	if n.Kind == yaml.ScalarNode {
		text := strings.ReplaceAll(n.Value, "$$", "\x00")
		if strings.Contains(text, "${") {
			f.variables[n] = true
		}
		n.Value = strings.ReplaceAll(text, "\x00", "$")
	}
	for _, c := range n.Content { // aliases are of nodes that stand elsewhere
		f.unescape(c)
	}
}

// sayVariables says which values in what is carried over come from elsewhere, each once: aliases may go round.
func (f *File) sayVariables(n *yaml.Node) {
	if f.said[n] {
		return
	}
	f.said[n] = true
	if f.variables[n] {
		path := fmt.Sprintf("%q", n.Value)
		f.d.Mark(path, n)
		f.d.Warnf(path, "is kept as it is written: Tailweir reads no variables in its file")
	}
	for _, c := range n.Content {
		f.sayVariables(c)
	}
	if n.Alias != nil {
		f.sayVariables(n.Alias)
	}
}

func (f *File) section(p strictyaml.Pair) {
	if isNull(p.Value) {
		return
	}
	pairs, _ := f.d.Mapping(p.Value, p.Name)
	for _, c := range pairs {
		typ, _, _ := strings.Cut(c.Name, "/")
		one := component{kind: p.Name, id: c.Name, typ: typ, settings: c.Value}
		f.d.Mark(one.path(), c.Key)
		f.components[p.Name] = append(f.components[p.Name], one)
	}
}

func (f *File) service(n *yaml.Node) {
	pairs, _ := f.d.Mapping(n, "service")
	for _, p := range pairs {
		f.d.Mark("service."+p.Name, p.Key)
		switch p.Name {
		case "pipelines":
			f.readPipelines(p.Value)
		case "telemetry":
			f.telemetry = true
		}
	}
}

func (f *File) readPipelines(n *yaml.Node) {
	pairs, _ := f.d.Mapping(n, "service.pipelines")
	for _, p := range pairs {
		path := "service.pipelines." + p.Name
		one := pipeline{id: p.Name, uses: map[string][]string{}}
		one.signal, _, _ = strings.Cut(p.Name, "/")
		parts, _ := f.d.Mapping(p.Value, path)
		for _, part := range parts {
			if isNull(part.Value) {
				continue
			}
			var ids []string
			f.d.Decode(part.Value, path+"."+part.Name, &ids)
			one.uses[part.Name] = ids
		}
		f.d.Mark(path, p.Key)
		f.pipelines = append(f.pipelines, one)
	}
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// with is the pipelines that use the component.
func (f *File) with(kind, id string) (found []pipeline) {
	for _, p := range f.pipelines {
		if slices.Contains(p.uses[kind], id) {
			found = append(found, p)
		}
	}
	return found
}

// Sampler is a tail_sampling processor of the file.
type Sampler struct {
	ID string // tail_sampling or tail_sampling/NAME

	file *File
	self component
}

// Sampler returns the tail_sampling processor with the name, its id or what stands behind the slash; "" is the only one.
func (f *File) Sampler(name string) (*Sampler, error) {
	var all []component
	for _, c := range f.components["processors"] {
		if c.typ != "tail_sampling" {
			continue
		}
		if c.id == name || c.id == "tail_sampling/"+name {
			return &Sampler{c.id, f, c}, nil
		}
		all = append(all, c)
	}
	switch {
	case len(all) == 0:
		return nil, fmt.Errorf("%s: has no processor tail_sampling", f.name)
	case name != "":
		return nil, fmt.Errorf("%s: has no processor %q: want one of %s", f.name, name, f.list(all))
	case len(all) > 1:
		return nil, fmt.Errorf("%s: has several processors: choose one with --processor: %s", f.name, f.list(all))
	}
	return &Sampler{all[0].id, f, all[0]}, nil
}

func (f *File) list(all []component) string {
	var names []string
	for _, c := range all {
		if len(f.with(c.kind, c.id)) == 0 {
			c.id += " (in no pipeline)"
		}
		names = append(names, c.id)
	}
	return strings.Join(names, ", ")
}

// Policies compiles the processor's policies. Errors are as those of sampler.Parse, with the places in the collector's file.
func (s *Sampler) Policies(compat sampler.Compat) (*sampler.Policies, error) {
	return sampler.Section{TailSampling: s.self.settings, Compat: compat}.Compile(s.file.name)
}
