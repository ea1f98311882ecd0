package sampler

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

// checkSource wants Source to be a fixed point that compiles to the same policies.
func checkSource(t *testing.T, p *Policies) {
	t.Helper()
	again, err := Parse("log", p.Source())
	if err != nil {
		t.Fatalf("Parse of Source: %v\n%s", err, p.Source())
	}
	if again.Hash() != p.Hash() {
		t.Errorf("Source has hash %x, want %x:\n%s", again.Hash(), p.Hash(), p.Source())
	}
	if diff := cmp.Diff(p.Names(), again.Names()); diff != "" {
		t.Errorf("names of Source (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(string(p.Source()), string(again.Source())); diff != "" {
		t.Errorf("Source of Source (-want +got):\n%s", diff)
	}
}

func TestSourceCompilesToTheSame(t *testing.T) {
	checkSource(t, Default())
	if got := string(Default().Source()); got != defaultSource {
		t.Errorf("the source of the default is written as\n%s", got)
	}
	for name, src := range map[string]string{
		"the collector's file": collectorFile,
		"anchors":              "policies: [&a {name: x, type: latency, latency: &l {threshold_ms: 5}}, {name: y, type: latency, latency: *l}, {<<: *a, name: z}]",
		"merges of merges":     "policies: [{name: x, type: latency, latency: &l {threshold_ms: 5, upper_threshold_ms: 9}}, {name: y, type: latency, latency: {<<: [{upper_threshold_ms: 7}, *l]}}]",
		"ways to write":        "policies:\n- name: !!str 5\n  type: 'probabilistic'\n  probabilistic: {sampling_percentage: !!float 1e1, hash_salt: \"\"}\n- {name: 0x, type: numeric_attribute, numeric_attribute: {key: \"true\", min_value: -0x1F, max_value: 1_000}}\n",
		"text of all kinds":    "policies:\n- name: \"a: #\\t\\x7f\\u0085\\uFEFF\\U0001F600\\0 \\\"'{}[]\"\n  type: string_attribute\n  string_attribute:\n    key: ключ\n    values:\n    - |\n      two\n      lines\n    - >-\n      folded\n      text\n    - 'yes'\n    - '~'\n    - '12'\n    - '\\d+'\n    enabled_regex_matching: True\n",
		"settings of none":     one("type: always_sample, always_sample: &a [*a, ~]"),
		"limiters":             limited,
	} {
		t.Run(name, func(t *testing.T) {
			checkSource(t, mustParse(t, src))
		})
	}
}

func TestSourceOfAPartOfALargerFile(t *testing.T) {
	var doc struct {
		Policies yaml.Node `yaml:"policies"`
	}
	if err := yaml.Unmarshal([]byte("x: &x {threshold_ms: 7}\npolicies:\n- {name: a, type: latency, latency: *x} # slow\n"), &doc); err != nil {
		t.Fatal(err)
	}
	p, err := Section{Policies: &doc.Policies}.Compile("worker.yaml")
	if err != nil {
		t.Fatal(err)
	}
	checkSource(t, p)
	want := "policies:\n- {\"name\": \"a\", \"type\": \"latency\", \"latency\": {\"threshold_ms\": 7}}\n"
	if diff := cmp.Diff(want, string(p.Source())); diff != "" {
		t.Error(diff)
	}
}

// Aliases make a small file long: the source is written out only so far.
func TestSourceIsBounded(t *testing.T) {
	var b strings.Builder
	fmt.Fprintf(&b, "policies:\n- name: first\n  type: string_attribute\n  string_attribute: &s {key: k, values: [%q]}\n", strings.Repeat("x", 64<<10))
	for i := range 15 {
		fmt.Fprintf(&b, "- {name: p%d, type: string_attribute, string_attribute: *s}\n", i)
	}
	_, err := Parse("f", []byte(b.String()))
	if want := "f:2:1: policies: is longer than 1048576 bytes with its aliases written out"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	long := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: strings.Repeat("x", 64<<10)}
	if n := len(source(&Policies{}, &block{}, slices.Repeat([]*yaml.Node{long}, 1000))); n > maxSource+len(long.Value)+1<<14 {
		t.Errorf("%d bytes were written of a document that is too long", n)
	}
	checkSource(t, mustParse(t, strings.Replace(b.String(), "- {name: p14, type: string_attribute, string_attribute: *s}\n", "", 1)))
}
