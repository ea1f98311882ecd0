package strictyaml

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Enum is a string type with a closed set of values.
type Enum interface{ Values() []string }

var (
	nodeType        = reflect.TypeFor[*yaml.Node]()
	durationType    = reflect.TypeFor[time.Duration]()
	sizeType        = reflect.TypeFor[Size]()
	unmarshalerType = reflect.TypeFor[Unmarshaler]()
	enumType        = reflect.TypeFor[Enum]()
)

// Decode fills the value that into points to from n, which stands at path. Struct fields are named by their tag
// (`yaml:"name"`, `yaml:"name,required"`, "-" is left alone); a field without a tag is a programming error and panics.
// Fields the file does not name keep their value, so defaults are set before. Kinds: string, bool, integers, floats
// (finite), time.Duration ("10s"), Size ("64MiB"), Enum strings, structs, slices, maps by string, *yaml.Node (the raw
// subtree), Unmarshaler (by pointer), and pointers to any of them, which stay nil when the file has no value.
func (d *Decoder) Decode(n *yaml.Node, path string, into any) {
	v := reflect.ValueOf(into)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		panic(fmt.Sprintf("strictyaml: Decode into %T, want a pointer", into))
	}
	d.value(n, path, v.Elem())
}

type field struct {
	value    reflect.Value
	required bool
}

func fieldsOf(v reflect.Value) map[string]field {
	out := map[string]field{}
	for i := range v.NumField() {
		name, opts, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
		switch name {
		case "-":
		case "":
			panic(fmt.Sprintf("strictyaml: field %s.%s has no yaml tag", v.Type(), v.Type().Field(i).Name))
		default:
			out[name] = field{v.Field(i), opts == "required"}
		}
	}
	return out
}

func (d *Decoder) structure(n *yaml.Node, path string, v reflect.Value) {
	pairs, ok := d.Mapping(n, path)
	if !ok {
		return
	}
	fields, given := fieldsOf(v), map[string]bool{}
	for _, p := range pairs {
		f, ok := fields[p.Name]
		if !ok {
			d.Unknown(p, path, sortedKeys(fields))
			continue
		}
		given[p.Name] = true
		d.value(p.Value, join(path, p.Name), f.value)
	}
	for _, name := range sortedKeys(fields) {
		if fields[name].required && !given[name] {
			d.add(n, join(path, name), "required, but missing")
		}
	}
}

func (d *Decoder) value(n *yaml.Node, path string, v reflect.Value) {
	if v.Type() == nodeType {
		d.places[path] = n
		v.Set(reflect.ValueOf(n))
		return
	}
	if v.CanAddr() && v.Addr().Type().Implements(unmarshalerType) {
		d.places[path] = n
		v.Addr().Interface().(Unmarshaler).UnmarshalStrict(d, n, path)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		fresh := reflect.New(v.Type().Elem())
		d.value(n, path, fresh.Elem())
		v.Set(fresh)
	case reflect.Struct:
		d.structure(n, path, v)
	case reflect.Slice:
		d.slice(n, path, v)
	case reflect.Map:
		d.dictionary(n, path, v)
	default:
		if n, ok := d.enter(n, path); ok {
			d.scalar(n, path, v)
		}
	}
}

func (d *Decoder) slice(n *yaml.Node, path string, v reflect.Value) {
	items, ok := d.List(n, path)
	if !ok {
		return
	}
	out := reflect.MakeSlice(v.Type(), len(items), len(items))
	for i, item := range items {
		d.value(item, fmt.Sprintf("%s[%d]", path, i), out.Index(i))
	}
	v.Set(out)
}

func (d *Decoder) dictionary(n *yaml.Node, path string, v reflect.Value) {
	if v.Type().Key().Kind() != reflect.String {
		panic(fmt.Sprintf("strictyaml: map type %s, want string keys", v.Type()))
	}
	pairs, ok := d.Mapping(n, path)
	if !ok {
		return
	}
	out := reflect.MakeMapWithSize(v.Type(), len(pairs))
	for _, p := range pairs {
		item := reflect.New(v.Type().Elem()).Elem()
		d.value(p.Value, join(path, p.Name), item)
		out.SetMapIndex(reflect.ValueOf(p.Name).Convert(v.Type().Key()), item)
	}
	v.Set(out)
}

func (d *Decoder) scalar(n *yaml.Node, path string, v reflect.Value) {
	if n.Kind != yaml.ScalarNode || d.isNull(n) {
		d.wrongType(n, path, wanted(v))
		return
	}
	switch {
	case v.Type() == durationType:
		d.duration(n, path, v)
	case v.Type() == sizeType:
		d.size(n, path, v)
	case v.Kind() == reflect.String:
		d.text(n, path, v)
	case v.Kind() == reflect.Bool:
		if n.ShortTag() != "!!bool" || n.Decode(v.Addr().Interface()) != nil {
			d.wrongType(n, path, wanted(v))
		}
	default:
		d.number(n, path, v)
	}
}

func (d *Decoder) text(n *yaml.Node, path string, v reflect.Value) {
	switch tag := n.ShortTag(); {
	case tag == "!!str":
	case tag == "!!timestamp" || tag == "!!int" || tag == "!!float" || tag == "!!bool":
		d.add(n, path, fmt.Sprintf("is %s, want a string: write %q with its quotes", describe(n), clip(n.Value)))
		return
	default:
		d.wrongType(n, path, "a string")
		return
	}
	if v.Type().Implements(enumType) {
		values := v.Interface().(Enum).Values()
		if !slices.Contains(values, n.Value) {
			d.add(n, path, fmt.Sprintf("unknown value %s%s", describe(n), suggest(n.Value, values)))
			return
		}
	}
	v.SetString(n.Value)
}

func (d *Decoder) number(n *yaml.Node, path string, v reflect.Value) {
	tag := n.ShortTag()
	isFloat := v.Kind() == reflect.Float32 || v.Kind() == reflect.Float64
	if tag != "!!int" && (tag != "!!float" || !isFloat) {
		d.wrongType(n, path, wanted(v))
		return
	}
	if err := n.Decode(v.Addr().Interface()); err != nil {
		d.add(n, path, fmt.Sprintf("is %s, which does not fit %s", describe(n), wanted(v)))
		return
	}
	if isFloat && (math.IsNaN(v.Float()) || math.IsInf(v.Float(), 0)) {
		v.SetFloat(0)
		d.add(n, path, fmt.Sprintf("is %s, want a finite number", describe(n)))
	}
}

func (d *Decoder) duration(n *yaml.Node, path string, v reflect.Value) {
	got, err := time.ParseDuration(n.Value)
	if err != nil {
		if _, bare := strconv.ParseFloat(n.Value, 64); bare == nil {
			d.add(n, path, fmt.Sprintf("is %s, want a duration with its unit, such as %ss", describe(n), clip(n.Value)))
			return
		}
		d.wrongType(n, path, wanted(v))
		return
	}
	v.SetInt(int64(got))
}

func (d *Decoder) size(n *yaml.Node, path string, v reflect.Value) {
	got, err := ParseSize(n.Value)
	if err != nil {
		d.wrongType(n, path, wanted(v))
		return
	}
	v.SetInt(int64(got))
}

// wanted names what v holds, for messages.
func wanted(v reflect.Value) string {
	switch {
	case v.Type() == durationType:
		return "a duration such as 10s"
	case v.Type() == sizeType:
		return "a size such as 64MiB"
	}
	switch v.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.Int8, reflect.Int16, reflect.Int32:
		return fmt.Sprintf("a whole number of %d bits", v.Type().Bits())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number that is not negative"
	}
	panic(fmt.Sprintf("strictyaml: cannot decode into %s", v.Type()))
}
