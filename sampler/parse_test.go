package sampler

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"tailweir/golden"
	"tailweir/otlp"
	"tailweir/strictyaml"
)

func TestFaultMessages(t *testing.T) {
	src, err := os.ReadFile("testdata/faults.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, err = Parse("faults.yaml", src)
	var faults strictyaml.Faults
	if !errors.As(err, &faults) {
		t.Fatalf("Parse: %v, want strictyaml.Faults", err)
	}
	golden.Check(t, "testdata/faults.golden", faults.Error()+"\n")
}

func mustParse(t testing.TB, src string) *Policies {
	t.Helper()
	p, err := Parse("policies.yaml", []byte(src))
	if err != nil {
		t.Fatalf("Parse: %v\n%s", err, src)
	}
	return p
}

// one is a document with one policy, named p.
func one(rest string) string { return "policies: [{name: p, " + rest + "}]" }

// Each pattern compiles alone, at the library's limit; in a group it is beyond.
func TestPatternsThatCannotBeOne(t *testing.T) {
	deep := strings.Repeat("(", 999) + "a" + strings.Repeat(")", 999)
	_, err := Parse("f", []byte(one("type: string_attribute, string_attribute: {key: k, enabled_regex_matching: true, values: ["+deep+", b]}")))
	want := "f:1:111: policies[0].string_attribute.values: cannot be one regular expression: expression nests too deeply"
	if err == nil || err.Error() != want {
		t.Errorf("got %.200v, want %s", err, want)
	}
}

const collectorFile = `
tail_sampling:
  decision_wait: 10s
  num_traces: 100
  policies:
    - {name: all, type: always_sample}
    - {name: slow, type: latency, latency: {threshold_ms: 5000}}
    - {name: sizes, type: numeric_attribute, numeric_attribute: {key: key1, min_value: 50, max_value: 100}}
    - {name: some, type: probabilistic, probabilistic: {hash_salt: custom-salt, sampling_percentage: 0.1}}
    - {name: bad, type: status_code, status_code: {status_codes: [ERROR, UNSET]}}
    - {name: words, type: string_attribute, string_attribute: {key: key2, values: [value1, value2]}}
    - {name: routes, type: string_attribute, string_attribute: {key: http.url, values: [\/health, /metrics.*], enabled_regex_matching: true, cache_max_size: 10, invert_match: true}}
    - {name: flag, type: boolean_attribute, boolean_attribute: {key: key4, value: true}}
    - {name: big, type: span_count, span_count: {min_spans: 2, max_spans: 20}}
    - {name: limit, type: rate_limiting, rate_limiting: {spans_per_second: 35}}
    - name: both
      type: and
      and:
        and_sub_policy:
          - {name: sizes-again, type: numeric_attribute, numeric_attribute: {key: key1, min_value: 50, max_value: 100}}
          - {name: others, type: not, not: {not_sub_policy: {name: x, type: string_attribute, string_attribute: {key: key2, values: [value2, value1]}}}}
    - name: noise
      type: drop
      drop:
        drop_sub_policy:
          - {name: route, type: string_attribute, string_attribute: {key: http.route, values: [/live, /ready]}}
`

func TestParseTakesTheCollectorsFile(t *testing.T) {
	p := mustParse(t, collectorFile)
	want := []string{"all", "slow", "sizes", "some", "bad", "words", "routes", "flag", "big", "limit", "both", "noise"}
	if diff := cmp.Diff(want, p.Names()); diff != "" {
		t.Error(diff)
	}
	wantWarnings := []string{
		"policies.yaml:9:68: tail_sampling.policies[3].probabilistic.hash_salt: has no effect: the randomness is that of the trace id or of rv in its tracestate, the same on every worker",
	}
	if diff := cmp.Diff(wantWarnings, p.Warnings()); diff != "" {
		t.Error(diff)
	}
	if got := len(p.leaves.numbers); got != 6 {
		t.Errorf("%d leaf conditions, want 6: equal ones share a bit", got)
	}
}

func TestParseDocuments(t *testing.T) {
	tests := []struct{ name, src, want string }{
		{"empty", "", "f: the document is empty, want a key policies"},
		{"no policies", "a: 1", "f:1:1: a: unknown key, known: " + strings.Join(blockKeys, ", ") + ", tail_sampling, compat\nf:1:1: policies: required, but missing"},
		{"empty list", "policies: []", "f:1:11: policies: is empty, want at least one policy"},
		{"null list", "policies:", "f:1:10: policies: has no value, want a list"},
		{"both", "policies: [{name: a, type: always_sample}]\ntail_sampling: {policies: []}", "f:1:1: policies: stands beside tail_sampling, want it in there\nf:2:27: tail_sampling.policies: is empty, want at least one policy"},
		{"block without policies", "tail_sampling: {num_traces: 5}", "f:1:16: tail_sampling.policies: required, but missing"},
		{"not YAML", "policies: [", "f:1:1: not valid YAML: did not find expected node content"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := Parse("f", []byte(tt.src))
			if err == nil {
				t.Fatalf("Parse took it: %v", p.Names())
			}
			if diff := cmp.Diff(tt.want, err.Error()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSectionIsPartOfALargerFile(t *testing.T) {
	var doc struct {
		Other    int       `yaml:"other"`
		Policies yaml.Node `yaml:"policies"`
	}
	if err := yaml.Unmarshal([]byte("other: 1\npolicies:\n  - {name: a, type: always_sample}\n  - {name: a, type: latency}\n"), &doc); err != nil {
		t.Fatal(err)
	}
	_, err := Section{Policies: &doc.Policies}.Compile("worker.yaml")
	want := "worker.yaml:4:5: policies[1].latency: required by type latency, but missing\n" +
		"worker.yaml:4:12: policies[1].name: \"a\" is the name of policies[0] already"
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}

func TestMoreConditionsThanBits(t *testing.T) {
	src := func(n int) []byte {
		var b strings.Builder
		b.WriteString("policies:\n")
		for i := range n {
			fmt.Fprintf(&b, "  - {name: p%d, type: boolean_attribute, boolean_attribute: {key: k%d, value: true}}\n", i, i)
		}
		return []byte(b.String())
	}
	if _, err := Parse("f", src(maxLeaves)); err != nil {
		t.Error(err)
	}
	_, err := Parse("f", src(maxLeaves+1))
	if want := "f:2:3: policies: 129 distinct conditions on spans, want at most 128"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestWarnings(t *testing.T) {
	for src, want := range map[string]string{
		one("type: drop, drop: {drop_sub_policy: [{type: always_sample}]}"):                                                          "only drop policies",
		one("type: not, not: {not_sub_policy: {type: probabilistic, probabilistic: {sampling_percentage: 10}}}"):                     "inverts a probability",
		one("type: drop, drop: {drop_sub_policy: [{type: probabilistic, probabilistic: {sampling_percentage: 50}}]}"):                "drops by probability",
		one("type: probabilistic, probabilistic: {sampling_percentage: 50, hash_salt: x}"):                                           "has no effect",
		"tail_sampling: {sampling_strategy: span-ingest, policies: [{name: a, type: always_sample}]}":                                "has no effect",
		"tail_sampling: {sample_on_first_match: true, policies: [{name: a, type: always_sample}]}":                                   "has no effect",
		"tail_sampling: {policies: [{name: a, type: drop, drop: {drop_sub_policy: [{type: latency, latency: {threshold_ms: 0}}]}}]}": "only drop policies",
	} {
		if got := mustParse(t, src).Warnings(); len(got) == 0 || !strings.Contains(strings.Join(got, "\n"), want) {
			t.Errorf("%s\nwarnings %q, want one with %q", src, got, want)
		}
	}
	if got := mustParse(t, one("type: always_sample")).Warnings(); len(got) != 0 {
		t.Errorf("warnings %q, want none", got)
	}
	// The traces that remain have the threshold of the probability.
	p := mustParse(t, "policies: [{name: a, type: always_sample}, {name: d, type: drop, drop: {drop_sub_policy: [{type: not, not: {not_sub_policy: {type: probabilistic, probabilistic: {sampling_percentage: 10}}}}]}}]")
	if w := p.Warnings(); len(w) > 0 {
		t.Errorf("a drop of what a probability does not keep is warned of: %q", w)
	}
	p = mustParse(t, "compat: strict\npolicies: [{name: a, type: always_sample}, {name: d, type: drop, drop: {drop_sub_policy: [{type: not, not: {not_sub_policy: {type: probabilistic, probabilistic: {sampling_percentage: 10}}}}]}}]")
	if w := p.Warnings(); len(w) != 1 || !strings.Contains(w[0], "drops by probability") {
		t.Errorf("a drop by a hash is warned of so: %q", w)
	}
}

func TestHashIsOfTheCanonicalForm(t *testing.T) {
	base := one("type: string_attribute, string_attribute: {key: k, values: [a, b]}")
	same := []string{
		"# comment\npolicies:\n- type: string_attribute\n  name: p\n  string_attribute: {values: [b, a, a], key: k, invert_match: false}\n",
		"tail_sampling: {num_traces: 9, policies: [{name: p, type: string_attribute, string_attribute: {key: k, values: [a, b], cache_max_size: 5}}]}",
	}
	other := []string{
		one("type: string_attribute, string_attribute: {key: k, values: [a]}"),
		one("type: string_attribute, string_attribute: {key: j, values: [a, b]}"),
		one("type: string_attribute, string_attribute: {key: k, values: ['a, b']}"),
		one("type: string_attribute, string_attribute: {key: k, values: [a, b], invert_match: true}"),
		one("type: string_attribute, string_attribute: {key: k, values: [a, b], enabled_regex_matching: true}"),
		strings.Replace(base, "name: p", "name: q", 1),
		one("type: drop, drop: {drop_sub_policy: [{type: string_attribute, string_attribute: {key: k, values: [a, b]}}]}"),
	}
	if a, b := mustParse(t, limited), mustParse(t, strings.Replace(limited, "spans_per_second: 5", "spans_per_second: 6", 1)); a.Hash() == b.Hash() {
		t.Error("same hash for another limit")
	}
	want := mustParse(t, base).Hash()
	for _, s := range same {
		if got := mustParse(t, s).Hash(); got != want {
			t.Errorf("hash %x, want %x as of the same policies:\n%s", got, want, s)
		}
	}
	for _, s := range other {
		if got := mustParse(t, s).Hash(); got == want {
			t.Errorf("same hash for other policies:\n%s", s)
		}
	}
}

// Sets that decide alike and number their conditions or policies in another way must not be taken for each other.
func TestHashIsOfTheNumbering(t *testing.T) {
	const (
		keep = "{name: keep, type: trace_flags}"
		drop = "{name: drop, type: drop, drop: {drop_sub_policy: [{type: status_code, status_code: {status_codes: [ERROR]}}]}}"
		slow = "{name: drop, type: drop, drop: {drop_sub_policy: [{type: latency, latency: {threshold_ms: 5}}]}}"
		a, b = "{name: a, type: trace_flags}", "{name: b, type: status_code, status_code: {status_codes: [ERROR]}}"
	)
	mix := func(parts ...string) string {
		return one("type: composite, composite: {max_total_spans_per_second: 9, policy_order: [a, b], composite_sub_policy: [" + strings.Join(parts, ", ") + "]}")
	}
	list := func(policies ...string) string { return "policies: [" + strings.Join(policies, ", ") + "]" }
	for what, pair := range map[string][2]string{
		"conditions of keep and drop": {list(keep, drop), list(drop, keep)},
		"names of keep and drop":      {list(keep, slow), list(slow, keep)},
		"parts of composite":          {mix(a, b), mix(b, a)},
	} {
		if x, y := mustParse(t, pair[0]), mustParse(t, pair[1]); x.Hash() == y.Hash() {
			t.Errorf("%s: same hash for %v %v and %v %v", what, x.Names(), x.leaves.inOrder(), y.Names(), y.leaves.inOrder())
		}
	}
}

func TestDefaultIsWhatItSays(t *testing.T) {
	p := mustParse(t, `
policies:
  - {name: errors, type: status_code, status_code: {status_codes: [ERROR]}}
  - {name: slow, type: latency, latency: {threshold_ms: 1000}}
  - {name: rest, type: probabilistic, probabilistic: {sampling_percentage: 10}}
`)
	if d := Default(); d.Hash() != p.Hash() || !cmp.Equal(d.Names(), p.Names()) {
		t.Errorf("Default is %v %x, want %v %x", d.Names(), d.Hash(), p.Names(), p.Hash())
	}
}

func FuzzParse(f *testing.F) {
	if src, err := os.ReadFile("testdata/faults.yaml"); err == nil {
		f.Add(src)
	}
	for _, s := range []string{collectorFile, limited, parts, "compat: strict" + limited, "compat: strict" + parts, one("type: trace_flags"),
		one(`type: ottl_condition, ottl_condition: {error_mode: propagate, span: ['attributes["a"] == 1'], spanevent: ['IsMatch(name, "x")']}`),
		one("type: trace_state, trace_state: {key: v, values: [one]}"), one("type: bytes_limiting, bytes_limiting: {bytes_per_second: 9, burst_capacity: 0}"),
		"{sample_on_first_match: true, maximum_trace_size_bytes: 9, compat: strict, policies: [{name: x, type: always_sample}]}", one("type: always_sample"), "policies: &p [*p]", "policies: [&a {name: x, type: and, and: {and_sub_policy: [*a]}}]",
		one("type: not, not: &n {not_sub_policy: {type: not, not: *n}}"), "tail_sampling: &t {<<: *t}",
		one("type: drop, drop: {drop_sub_policy: [{type: not, not: {not_sub_policy: {type: rate_limiting, rate_limiting: {spans_per_second: 7}}}}]}"), one("type: always_sample, always_sample: &a [*a]")} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		p, err := Parse("f", src)
		if err != nil {
			if faults, ok := err.(strictyaml.Faults); !ok || len(faults) == 0 {
				t.Errorf("error is %T %v, want Faults", err, err)
			}
			return
		}
		checkSource(t, p)
		again, err := Parse("f", src)
		if err != nil || again.Hash() != p.Hash() || len(p.Names()) == 0 {
			t.Errorf("a second Parse differs: %v", err)
		}
		p.NewObserver()
		facts := Facts{Spans: 3, Start: 1, End: 5e9, Bits: [2]uint64{0x5555, 1}}
		d := decideAlone(p, otlp.TraceID{15: 1}, &facts)
		if d.Keep && (d.Policy == "" && len(p.Names()[0]) > 0 || d.Threshold > Unknown) {
			t.Errorf("decision %+v, want a named policy and a threshold", d)
		}
	})
}
