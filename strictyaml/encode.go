package strictyaml

import (
	"bytes"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Encode is the inverse of Decode: a document that decodes to the struct v. It takes texts, truth values, int, int64, durations,
// sizes, raw subtrees without aliases, and structs, slices and maps of them, and panics at others.
// With whole it names all settings, also those that are zero, but for Enums and subtrees, where zero is none; without, as in the
// elements of lists, those are left out. Mappings and lists are written on one line where that is short.
func Encode(v any, whole bool) []byte {
	n := encode(reflect.ValueOf(v), whole)
	for i := 1; i < len(n.Content); i += 2 {
		tidy(n.Content[i])
	}
	return marshal(n)
}

func marshal(n *yaml.Node) []byte {
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(n); err != nil {
		panic(fmt.Sprintf("strictyaml: encode: %v", err)) // of nodes made here
	}
	return b.Bytes()
}

func encode(v reflect.Value, whole bool) *yaml.Node {
	switch x := v.Interface().(type) {
	case *yaml.Node:
		return plain(x)
	case time.Duration:
		return text(x.String())
	case Size:
		return text(x.String())
	}
	switch v.Kind() {
	case reflect.Pointer:
		return encode(v.Elem(), whole)
	case reflect.Struct:
		return encodeStruct(v, whole)
	case reflect.Slice:
		n := &yaml.Node{Kind: yaml.SequenceNode}
		for i := range v.Len() {
			n.Content = append(n.Content, encode(v.Index(i), false))
		}
		return n
	case reflect.Map:
		n := &yaml.Node{Kind: yaml.MappingNode}
		m := map[string]reflect.Value{}
		for _, k := range v.MapKeys() {
			m[k.String()] = v.MapIndex(k)
		}
		for _, k := range sortedKeys(m) {
			n.Content = append(n.Content, text(k), encode(m[k], false))
		}
		return n
	case reflect.String:
		return text(v.String())
	case reflect.Bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: strconv.FormatBool(v.Bool())}
	case reflect.Int, reflect.Int64:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: strconv.FormatInt(v.Int(), 10)}
	}
	panic(fmt.Sprintf("strictyaml: cannot encode %s", v.Type()))
}

func encodeStruct(v reflect.Value, whole bool) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
		f := v.Field(i)
		empty := f.IsZero() && (!whole || f.Kind() == reflect.Pointer || f.Type().Implements(enumType))
		if name == "-" || empty {
			continue
		}
		n.Content = append(n.Content, text(name), encode(f, whole))
	}
	return n
}

// text is a string, which the writer quotes where it would be read as something else.
func text(s string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s} }

// plain is a copy of n without styles, comments and places. n has no aliases.
func plain(n *yaml.Node) *yaml.Node {
	out := &yaml.Node{Kind: n.Kind, Tag: n.ShortTag(), Value: n.Value}
	for _, c := range n.Content {
		out.Content = append(out.Content, plain(c))
	}
	return out
}

// lineWidth is up to where a mapping or list is written on one line.
const lineWidth = 100

// tidy chooses the styles below n, a value of the document's top mapping.
func tidy(n *yaml.Node) {
	if n.Kind == yaml.ScalarNode {
		return
	}
	n.Style = yaml.FlowStyle
	if len(n.Content) == 0 || n.Kind == yaml.SequenceNode && len(n.Content[0].Content) == 0 && len(marshal(n)) <= lineWidth {
		return
	}
	n.Style = 0
	for i, c := range n.Content {
		if n.Kind == yaml.SequenceNode || i%2 == 1 {
			tidyItem(c)
		}
	}
}

func tidyItem(n *yaml.Node) {
	if n.Kind == yaml.ScalarNode {
		return
	}
	if n.Style = yaml.FlowStyle; len(marshal(n)) > lineWidth {
		tidy(n)
	}
}
