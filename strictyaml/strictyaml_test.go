package strictyaml

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

type mode string

func (mode) Values() []string { return []string{"all", "with_trace"} }

type even int

func (e *even) UnmarshalStrict(d *Decoder, n *yaml.Node, path string) {
	var i int
	d.Decode(n, path, &i)
	if i%2 != 0 {
		d.Faultf(path, "%d is odd", i)
	}
	*e = even(i)
}

type window struct {
	Settle time.Duration `yaml:"settle,required"`
	Budget Size          `yaml:"budget"`
}

type config struct {
	Name    string            `yaml:"name,required"`
	Ratio   float64           `yaml:"ratio"`
	Small   int8              `yaml:"small"`
	Port    uint16            `yaml:"port"`
	On      bool              `yaml:"on"`
	Logs    mode              `yaml:"logs"`
	Window  window            `yaml:"window"`
	Headers map[string]string `yaml:"headers"`
	Hosts   []string          `yaml:"hosts"`
	Limit   *int64            `yaml:"limit"`
	Even    even              `yaml:"even"`
	Raw     *yaml.Node        `yaml:"raw"`
}

func decode(src string) (config, error) {
	d := NewDecoder("c.yaml")
	c := config{Logs: "all", Window: window{Budget: 1}}
	n := d.Document([]byte(src))
	if n != nil {
		d.Decode(n, "", &c)
	}
	return c, d.Err()
}

func TestDecodeFillsEveryKind(t *testing.T) {
	got, err := decode(`
name: x
ratio: 2
small: -7
port: 8080
on: true
logs: with_trace
window: {settle: 1m30s, budget: 64MiB}
headers: {a: b}
hosts: [one, "2"]
limit: 0
even: 4
`)
	if err != nil {
		t.Fatal(err)
	}
	zero := int64(0)
	want := config{Name: "x", Ratio: 2, Small: -7, Port: 8080, On: true, Logs: "with_trace",
		Window: window{90 * time.Second, 64 << 20}, Headers: map[string]string{"a": "b"},
		Hosts: []string{"one", "2"}, Limit: &zero, Even: 4}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestDecodeKeepsDefaultsOfAbsentKeys(t *testing.T) {
	got, err := decode("name: x")
	if err != nil {
		t.Fatal(err)
	}
	if got.Logs != "all" || got.Window.Budget != 1 || got.Limit != nil || got.Raw != nil {
		t.Errorf("got %+v, want the defaults", got)
	}
}

func TestAnchorsAndMergeKeys(t *testing.T) {
	got, err := decode(`
window: &w
  settle: &s 3s
  budget: 1KiB
name: &n x
hosts: [*n, *n]
`)
	if err != nil || got.Hosts[1] != "x" {
		t.Fatalf("got %+v, %v", got, err)
	}
	got, err = decode("name: x\nheaders: &h {a: '1', b: '2'}\nwindow: {<<: {settle: 3s, budget: 9B}, budget: 5B}")
	if err != nil {
		t.Fatal(err)
	}
	if got.Window != (window{3 * time.Second, 5}) {
		t.Errorf("got %+v, want settle merged and budget its own", got.Window)
	}
}

// Every fault is one line with its place, and all faults of a document are reported at once.
func TestFaults(t *testing.T) {
	tests := []struct{ name, src, want string }{
		{"unknown key", "name: x\nwindow: {setle: 1s, settle: 1s}", `c.yaml:2:10: window.setle: unknown key, did you mean "settle"?`},
		{"unknown key, nothing near", "name: x\nwindow: {settle: 1s, zzzzzz: 1}", `c.yaml:2:22: window.zzzzzz: unknown key, known: budget, settle`},
		{"required", "ratio: 1", `c.yaml:1:1: name: required, but missing`},
		{"twice", "name: x\nratio: 1\nname: y", `c.yaml:3:1: name: given twice, first in line 1`},
		{"int for string", "name: 123", `c.yaml:1:7: name: is 123, want a string: write "123" with its quotes`},
		{"bool for string", "name: on\nhosts: [true]", `c.yaml:2:9: hosts[0]: is true, want a string: write "true" with its quotes`},
		{"string for bool", "name: x\non: 'yes'", `c.yaml:2:5: on: is "yes", want true or false`},
		{"list for mapping", "name: x\nwindow: []", `c.yaml:2:9: window: is a list, want a mapping`},
		{"mapping for list", "name: x\nhosts: {}", `c.yaml:2:8: hosts: is a mapping, want a list`},
		{"float for int", "name: x\nlimit: 1.5", `c.yaml:2:8: limit: is 1.5, want a whole number`},
		{"too large", "name: x\nsmall: 300", `c.yaml:2:8: small: is 300, which does not fit a whole number of 8 bits`},
		{"negative", "name: x\nport: -1", `c.yaml:2:7: port: is -1, which does not fit a whole number that is not negative`},
		{"nan", "name: x\nratio: .nan", `c.yaml:2:8: ratio: is .nan, want a finite number`},
		{"no value", "name:\nwindow:\n", "c.yaml:1:6: name: has no value, want a string\nc.yaml:2:8: window: has no value, want a mapping"},
		{"no unit", "name: x\nwindow: {settle: 10}", `c.yaml:2:18: window.settle: is 10, want a duration with its unit, such as 10s`},
		{"bad duration", "name: x\nwindow: {settle: soon}", `c.yaml:2:18: window.settle: is "soon", want a duration such as 10s`},
		{"bad size", "name: x\nwindow: {settle: 1s, budget: 64MX}", `c.yaml:2:30: window.budget: is "64MX", want a size such as 64MiB`},
		{"enum", "name: x\nlogs: with_tace", `c.yaml:2:7: logs: unknown value "with_tace", did you mean "with_trace"?`},
		{"hook", "name: x\neven: 3", `c.yaml:2:7: even: 3 is odd`},
		{"key is no name", "name: x\n[a]: 1", `c.yaml:2:1: a key is a list, want a name`},
		{"second document", "name: x\n---\nname: y", `c.yaml:2:1: a second document starts here, want one`},
		{"syntax", "name: x\n\tratio: 1", `c.yaml:2:1: not valid YAML: found a tab character that violates indentation`},
		{"syntax in line 1", "name: [x", `c.yaml:1:1: not valid YAML: did not find expected ',' or ']'`},
		{"control character", "name: x\nhosts: [ä, \x00]", `c.yaml:2:12: not valid YAML: control characters are not allowed`},
		{"not UTF-8", "name: x\n\thosts: \xff", `c.yaml:2:9: not valid YAML: invalid leading UTF-8 octet`},
		{"key of two lines", "name: x\n\"a\\nb\": 1", `c.yaml:2:1: a\nb: unknown key, known: even, headers, hosts, limit, logs, name, on, port, ratio, raw, small, window`},
		{"value of two lines", "name: x\nport: !!int \"1\\n2\"", `c.yaml:2:7: port: is 1\n2, which does not fit a whole number that is not negative`},
		{"not a mapping", "- a", `c.yaml:1:1: is a list, want a mapping`},
		{"merges itself", "name: x\nwindow: &w {settle: 1s, <<: *w}", `c.yaml:2:29: window.<<: merges nest deeper than 8`},
		{"merge of a text", "name: x\nwindow: {settle: 1s, <<: abc}", `c.yaml:2:26: window.<<: is "abc", want a mapping`},
		{"all at once, in order", "on: 1\nnam: x\nport: a", "c.yaml:1:1: name: required, but missing\nc.yaml:1:5: on: is 1, want true or false\n" +
			"c.yaml:2:1: nam: unknown key, did you mean \"name\"?\nc.yaml:3:7: port: is \"a\", want a whole number that is not negative"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := decode(tt.src)
			if err == nil {
				t.Fatal("no fault")
			}
			if diff := cmp.Diff(tt.want, err.Error()); diff != "" {
				t.Error(diff)
			}
			if _, ok := err.(Faults); !ok {
				t.Errorf("error is %T, want Faults", err)
			}
		})
	}
}

func TestFaultfFindsThePlace(t *testing.T) {
	d := NewDecoder("c.yaml")
	var c config
	d.Decode(d.Document([]byte("name: x\nwindow:\n  settle: 1s\nhosts: [a, b]")), "", &c)
	d.Faultf("hosts[1]", "one")
	d.Faultf("window.budget", "two")
	d.Faultf("absent.key", "three")
	d.Warnf("window.settle", "four")
	want := "c.yaml:1:1: absent.key: three\nc.yaml:3:3: window.budget: two\nc.yaml:4:12: hosts[1]: one"
	if diff := cmp.Diff(want, d.Err().Error()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"c.yaml:3:11: window.settle: four"}, d.Warnings()); diff != "" {
		t.Error(diff)
	}
	if d.Has("window.budget") || !d.Has("hosts[1]") || !d.Faulted("hosts[1]") || d.Faulted("hosts[0]") || d.Count() != 3 {
		t.Error("Has, Faulted or Count is wrong")
	}
}

func TestEmptyDocument(t *testing.T) {
	for _, src := range []string{"", "# nothing\n", "---\n", "null"} {
		d := NewDecoder("c.yaml")
		if n := d.Document([]byte(src)); n != nil || d.Err() != nil {
			t.Errorf("%q: got %v, %v, want nil, nil", src, n, d.Err())
		}
	}
}

// Aliases of aliases would unfold to 10^9 values here.
func TestManyAliasesAreBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString("l0: &l0 [x,x,x,x,x,x,x,x,x,x]\n")
	for i := 1; i < 9; i++ {
		p, q := string(rune('0'+i-1)), string(rune('0'+i))
		b.WriteString("l" + q + ": &l" + q + " [" + strings.TrimSuffix(strings.Repeat("*l"+p+",", 10), ",") + "]\n")
	}
	d := NewDecoder("c.yaml")
	var into struct {
		L0 *yaml.Node             `yaml:"l0"`
		L1 *yaml.Node             `yaml:"l1"`
		L2 *yaml.Node             `yaml:"l2"`
		L3 *yaml.Node             `yaml:"l3"`
		L4 *yaml.Node             `yaml:"l4"`
		L5 *yaml.Node             `yaml:"l5"`
		L6 *yaml.Node             `yaml:"l6"`
		L7 *yaml.Node             `yaml:"l7"`
		L8 [][][][][][][][]string `yaml:"l8"`
	}
	d.Decode(d.Document([]byte(b.String())), "", &into)
	if d.Err() == nil || !strings.Contains(d.Err().Error(), "more than 100000 values") {
		t.Errorf("got %.200v, want the fault of too many values", d.Err())
	}
}

func TestSize(t *testing.T) {
	for s, want := range map[string]Size{"0": 0, "1024": 1024, "64MiB": 64 << 20, "1.5 GB": 1.5e9, "10kB": 10000, "7B": 7, "2 TiB": 2 << 40} {
		if got, err := ParseSize(s); err != nil || got != want {
			t.Errorf("ParseSize(%q) = %d, %v, want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"", "MiB", "-1", "1e30", "nan", "Inf", "1 2", "64mib"} {
		if got, err := ParseSize(s); err == nil {
			t.Errorf("ParseSize(%q) = %d, want an error", s, got)
		}
	}
	for size, want := range map[Size]string{0: "0B", 1023: "1023B", 1536: "1536B", 2048: "2KiB", 64 << 20: "64MiB", 3 << 40: "3TiB"} {
		if got := size.String(); got != want {
			t.Errorf("%d is %q, want %q", int64(size), got, want)
		}
	}
}

func TestNearest(t *testing.T) {
	known := []string{"threshold_ms", "upper_threshold_ms", "key", "values"}
	for s, want := range map[string]string{"treshold_ms": "threshold_ms", "kye": "key", "value": "values", "Threshold_MS": "threshold_ms", "zone": "", "x": ""} {
		if got := Nearest(s, known); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", s, got, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{"name: x", "name: &a [*a]", "a: &a {<<: *a}", "window: {settle: 1s}\nheaders: {<<: [{a: b}]}", "!!binary x: 1", "name: !!int x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, src string) {
		_, err := decode(src)
		if err != nil && err.Error() == "" {
			t.Error("an error without a message")
		}
	})
}
