package strictyaml

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

type part struct {
	Name string `yaml:"name"`
	On   bool   `yaml:"on"`
	Logs mode   `yaml:"logs"`
}

type settings struct {
	Name    string            `yaml:"name"`
	On      bool              `yaml:"on"`
	Count   int               `yaml:"count"`
	Large   int64             `yaml:"large"`
	Logs    mode              `yaml:"logs"`
	Wait    time.Duration     `yaml:"wait"`
	Budget  Size              `yaml:"budget"`
	Part    part              `yaml:"part"`
	Parts   []part            `yaml:"parts"`
	Headers map[string]string `yaml:"headers"`
	Raw     *yaml.Node        `yaml:"raw"`
	Own     int               `yaml:"-"`
}

func TestEncode(t *testing.T) {
	for name, tt := range map[string]struct {
		whole bool
		v     settings
		want  string
	}{
		"nothing": {false, settings{Own: 7}, "{}\n"},
		"nothing, whole": {true, settings{}, `name: ""
on: false
count: 0
large: 0
wait: 0s
budget: 0B
part:
  name: ""
  on: false
parts: []
headers: {}
`},
		"all": {true, settings{
			Name: "yes", On: true, Count: -3, Large: 1 << 40, Logs: "all", Wait: 1500 * time.Millisecond, Budget: 3 << 20, Part: part{Name: "1"},
			Parts: []part{{On: true}, {Name: strings.Repeat("x", 100), Logs: "with_trace"}}, Headers: map[string]string{"b": "a: b # c", "a": "\u0001\n"},
		}, `name: yes
on: true
count: -3
large: 1099511627776
logs: all
wait: 1.5s
budget: 3MiB
part:
  name: "1"
  on: false
parts:
  - {on: true}
  - name: ` + strings.Repeat("x", 100) + `
    logs: with_trace
headers:
  a: "\x01\n"
  b: 'a: b # c'
`},
	} {
		t.Run(name, func(t *testing.T) {
			got := string(Encode(tt.v, tt.whole))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			d := NewDecoder("f")
			back := settings{Own: tt.v.Own}
			if d.Decode(d.Document([]byte(got)), "", &back); d.Err() != nil {
				t.Fatal(d.Err())
			}
			if again := string(Encode(back, tt.whole)); again != got {
				t.Errorf("read and written again:\n%s", again)
			}
		})
	}
}

// A raw subtree loses the styles, comments and order of nothing but its looks.
func TestEncodeSubtree(t *testing.T) {
	var n yaml.Node
	src := "raw: # why\n  - &a {\"k\": !!str 1, l: [0x10, ~, 'true']}\n"
	if err := yaml.Unmarshal([]byte(src), &n); err != nil {
		t.Fatal(err)
	}
	got := string(Encode(settings{Raw: n.Content[0].Content[1]}, false))
	if want := "raw:\n  - {k: \"1\", l: [0x10, ~, \"true\"]}\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
