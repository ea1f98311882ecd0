package service

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

// Each fault is one line that begins with a place in the file.
var faultLine = regexp.MustCompile(`^f\.yaml:[1-9][0-9]*:[1-9][0-9]*: \S`)

const workerFile = `project: shop
queue: {topic: payloads, subscription: payloads-worker, dead_letter_topic: deadletters, log_topic: log, log_prefix: log-, facts_topic: facts, facts_subscription: facts-s}
fleet: pubsub
fleet_timing: {death: 14s, gap: 7s, open: 3s, delta: 1500ms, fence: 5s, replay: 20m}
ingest:
  listen: [":4318", "localhost:4317"]
  max_body: 20 MB
  max_bytes_in_flight: 256MiB
  publish_timeout: 8s
window: &w
  settle: 2s
  idle: 10s
  max_age: 1m30s
hold: {max_bytes: 512MiB, hand_back: 30s, lease: 10s}
logs: {keep: with_trace}
exporters:
- type: otlp
  endpoint: https://collector:4318
  headers: {authorization: "Bearer x", x-tenant: "1"}
  compression: none
  timeout: 5s
  tls: {ca_file: ca.pem, insecure_skip_verify: true}
- {type: file, dir: kept, sync: true}
console: {listen: "localhost:8080", allowed_hosts: [a.example], max_bytes: 64MiB}
shutdown: 8s
policies:
- {name: errors, type: status_code, status_code: {status_codes: [ERROR]}}
- name: no health checks
  type: drop
  drop:
    drop_sub_policy:
    - {name: health, type: string_attribute, string_attribute: {key: url.path, values: ["/healthz?"], enabled_regex_matching: true}}
- {name: rest, type: probabilistic, probabilistic: {sampling_percentage: 10}}
`

// FuzzConfig feeds the configuration file. Whatever stands in it, the answer comes soon, and is either faults with
// their places or a configuration that is within all bounds.
func FuzzConfig(f *testing.F) {
	f.Add([]byte(workerFile))
	if doc, err := os.ReadFile("../docs/policies.md"); err == nil {
		_, rest, _ := strings.Cut(string(doc), "```yaml\n")
		block, _, _ := strings.Cut(rest, "```")
		f.Add([]byte(block))
	}
	for _, s := range []string{
		"", "# nothing\n", "null", "- a", "project: x\n---\nproject: y", "project: x\n\tqueue: {}",
		"window: {settle: 20s, idle: 10s, sttle: 1s}", "hold: {max_bytes: 10KiB, lease: 1e9}", "shutdown: -1s",
		"exporters:\n- type: file\n- {type: otlp, dir: /tmp}\n- &e {<<: *e}",
		"window: &w {<<: *w}", "policies: &p [*p]", "policies: {}\nexporters: {}", "project: \"a\\nb\"\nqueue: \"c\\nd\"", "\"a\\nb\": 1", "project: [x", "project: \x00", "shutdown: !!int \"1\\n2\"",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(checkConfig)
}

func checkConfig(t *testing.T, src []byte) {
	slow := time.AfterFunc(20*time.Second, func() { panic("Parse hangs") })
	defer slow.Stop()
	cfg := Default()
	err := cfg.Parse("f.yaml", src)
	if err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			if !faultLine.MatchString(line) {
				t.Errorf("fault %q: want line and column", line)
			}
		}
		return
	}
	if faults := cfg.WindowConfig().Validate(); len(faults) > 0 {
		t.Errorf("an accepted window has faults: %q", faults)
	}
	if faults := cfg.Timing.Order().Validate(); len(faults) > 0 || cfg.Timing.Death < cfg.Hold.Lease+2*time.Second {
		t.Errorf("an accepted fleet_timing %+v has faults: %q", cfg.Timing, faults)
	}
	if cfg.Compiled == nil || len(cfg.Compiled.Names()) == 0 {
		t.Error("an accepted configuration has no policies")
	}
	for i, e := range cfg.Exporters {
		if e.Type != "otlp" && e.Type != "file" {
			t.Errorf("exporters[%d] has type %q", i, e.Type)
		}
	}
	again := Default()
	if err := again.Parse("f.yaml", src); err != nil || again.Compiled.Hash() != cfg.Compiled.Hash() {
		t.Errorf("a second Parse differs: %v", err)
	}
	again.Compiled, again.Policies, cfg.Compiled, cfg.Policies = nil, nil, nil, nil
	if !reflect.DeepEqual(again, cfg) {
		t.Errorf("a second Parse differs:\n%+v\n%+v", again, cfg)
	}
}

// The long seed must be accepted, or fuzzing would never get beyond its first fault.
func TestWorkerFileIsAccepted(t *testing.T) {
	cfg := Default()
	if err := cfg.Parse("f.yaml", []byte(workerFile)); err != nil || len(cfg.Exporters) != 2 {
		t.Errorf("%d exporters, %v", len(cfg.Exporters), err)
	}
}
