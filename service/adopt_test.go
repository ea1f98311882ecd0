package service

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tailweir/strictyaml"
)

// The window follows the options of a block, but for what the file says of it itself; whatever they are, it stays valid.
func TestWindowFollowsOptions(t *testing.T) {
	const policies = ", policies: [{name: all, type: always_sample}]}\n"
	for name, tt := range map[string]struct {
		file     string
		want     string // settle idle max_age max_traces history
		warnings []string
	}{
		"nothing said": {"tail_sampling: {num_shards: 1" + policies, "10s 15s 1m0s 500000 1000000", []string{
			"f.yaml:1:17: tail_sampling.num_shards: has no effect: traces need no shards"}},
		"wait": {"tail_sampling: {decision_wait: 20s" + policies, "20s 20s 20s 500000 1000000", []string{
			"f.yaml:1:16: tail_sampling: the window follows: window.settle = 20s, window.idle = 20s, window.max_age = 20s"}},
		"wait and root": {"tail_sampling: {decision_wait: 20s, decision_wait_after_root_received: 3s" + policies, "3s 20s 20s 500000 1000000", []string{
			"f.yaml:1:16: tail_sampling: the window follows: window.settle = 3s, window.idle = 20s, window.max_age = 20s"}},
		"root after the wait": {"tail_sampling: {decision_wait: 5s, decision_wait_after_root_received: 9s" + policies, "5s 5s 5s 500000 1000000", []string{
			"f.yaml:1:16: tail_sampling: the window follows: window.settle = 5s, window.idle = 5s, window.max_age = 5s"}},
		"root alone, above a default": {"tail_sampling: {decision_wait_after_root_received: 90s" + policies, "1m30s 1m30s 1m30s 500000 1000000", []string{
			"f.yaml:1:16: tail_sampling: the window follows: window.settle = 1m30s, window.idle = 1m30s, window.max_age = 1m30s"}},
		"the window wins": {"window: {settle: 8s, max_traces: 7}\ntail_sampling: {decision_wait: 5s, num_traces: 9" + policies, "8s 8s 8s 7 1000000", []string{
			"f.yaml:2:16: tail_sampling: the window follows: window.idle = 8s, window.max_age = 8s",
			"f.yaml:2:16: tail_sampling: decision_wait 5s does not count: window.settle is 8s",
			"f.yaml:2:16: tail_sampling: num_traces 9 does not count: window.max_traces is 7"}},
		"the last word is max_hold's": {"window: {max_hold: 20s}\ntail_sampling: {decision_wait: 40s" + policies, "20s 20s 20s 500000 1000000", []string{
			"f.yaml:2:16: tail_sampling: the window follows: window.settle = 20s, window.idle = 20s, window.max_age = 20s"}},
		"caches": {"tail_sampling: {decision_cache: {sampled_cache_size: 5, non_sampled_cache_size: 6}, num_traces: 3" + policies, "10s 15s 1m0s 3 11", []string{
			"f.yaml:1:16: tail_sampling: the window follows: window.max_traces = 3, window.history = 11"}},
		"a cache beyond the bound": {"tail_sampling: {decision_cache: {sampled_cache_size: 500000000}" + policies, "10s 15s 1m0s 500000 100000000", []string{
			"f.yaml:1:16: tail_sampling: the window follows: window.history = 100000000"}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := Default()
			if err := cfg.Parse("f.yaml", []byte(tt.file)); err != nil {
				t.Fatal(err)
			}
			got := windowText(cfg.Window)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("window (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.warnings, cfg.Warnings); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
		})
	}
}

func windowText(w WindowConfig) string {
	text := strings.Fields(string(strictyaml.Encode(w, true))) // key: value ...
	return strings.Join([]string{text[1], text[3], text[5], text[13], text[17]}, " ")
}

func TestCompatNeedsPolicies(t *testing.T) {
	cfg := Default()
	err := cfg.Parse("f.yaml", []byte("project: p\ncompat: strict\n"))
	if err == nil || !strings.Contains(err.Error(), "f.yaml:2:9: compat: stands without policies") {
		t.Errorf("error %v", err)
	}
	cfg = Default()
	if err := cfg.Parse("f.yaml", []byte("compat: strict\npolicies: [{name: all, type: always_sample}]\n")); err != nil || !cfg.Compiled.Strict() {
		t.Errorf("with policies: %v, strict %t", err, cfg.Compiled.Strict())
	}
}

// What is effective is a file with the same settings, which says so of itself.
func TestEffectiveIsAFile(t *testing.T) {
	for name, file := range map[string]string{
		"defaults": "",
		"block":    "compat: strict\ntail_sampling: {decision_wait: 20s, sample_on_first_match: true, maximum_trace_size_bytes: 5, policies: [{name: all, type: always_sample}]}\n",
		"all": `project: p
window: {settle: 1500ms, max_hold: 2h}
ingest: {max_body: 1kB, admin: ":9", auth: {keys: "k: 1.yaml", google: {audiences: ["https://x"], accounts: ["*@p.iam.gserviceaccount.com"], skew: 0s}}}
console: {listen: "", allowed_hosts: [a, "10"]}
traces: {clear_unseen_parent: true}
exporters:
- {type: otlp, endpoint: "https://b", headers: {X-Key: "yes", y: "a: b # c"}, signals: [traces], tls: {insecure_skip_verify: true}}
- {type: file, dir: d, sync: true}
policies:
- &e {name: "no", type: string_attribute, string_attribute: {key: "1", values: ["true", "null", "- a", "\u0001", "&x"], cache_max_size: 3}}
- {<<: *e, name: "0x1"}
- {name: p, type: probabilistic, probabilistic: {sampling_percentage: 1e1}}
`,
	} {
		t.Run(name, func(t *testing.T) {
			want := Default()
			if err := want.Parse("f.yaml", []byte(file)); err != nil {
				t.Fatal(err)
			}
			text := want.Effective()
			got := Default()
			if err := got.Parse("effective.yaml", text); err != nil {
				t.Fatalf("%v in\n%s", err, text)
			}
			if diff := cmp.Diff(string(text), string(got.Effective())); diff != "" {
				t.Errorf("what is effective of it differs:\n%s", diff)
			}
			if diff := cmp.Diff(string(want.Compiled.Source()), string(got.Compiled.Source())); diff != "" {
				t.Errorf("policies differ:\n%s", diff)
			}
			if got.Traces != want.Traces {
				t.Errorf("traces: %+v, want %+v", got.Traces, want.Traces)
			}
			want.Window.MaxHold = want.WindowConfig().Defaults().MaxHold
			if diff := cmp.Diff(want.Window, got.Window); diff != "" {
				t.Errorf("window differs:\n%s", diff)
			}
			if diff := cmp.Diff(want.Ingest, got.Ingest, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("ingest differs:\n%s", diff)
			}
			if diff := cmp.Diff(want.Console.AllowedHosts, got.Console.AllowedHosts); len(want.Console.AllowedHosts) > 0 && diff != "" {
				t.Errorf("console differs:\n%s", diff)
			}
			for i, e := range want.Exporters {
				if diff := cmp.Diff(e.Headers, got.Exporters[i].Headers); diff != "" {
					t.Errorf("headers differ:\n%s", diff)
				}
			}
		})
	}
}
