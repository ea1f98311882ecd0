package service

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestDefaultIsValid(t *testing.T) {
	cfg := Default()
	if err := cfg.Parse("empty.yaml", nil); err != nil {
		t.Errorf("the defaults are refused: %v", err)
	}
}

func TestParseReportsEveryFault(t *testing.T) {
	src := `ingest:
  cors: {allowed_origins: ["https://a.example", "a.example/x"], allowed_headers: ["a b"], max_age: 48h}
  limits: {depth: 0}
window:
  settle: 20s
  idle: 10s
  start_delay: 5s
  sttle: 1s
hold:
  max_bytes: 10KiB
logs:
  keep: some
fleet: on
fleet_timing: {death: 9s, gap: 3s, fence: 8s, replay: 10s}
exporters:
- type: file
- type: otlp
  dir: /tmp
  signals: [traces, log]
policies:
- {name: slow, type: latency, latency: {treshold_ms: 10}}
`
	cfg := Default()
	err := cfg.Parse("worker.yaml", []byte(src))
	if err == nil {
		t.Fatal("no fault was found")
	}
	for _, want := range []string{
		`worker.yaml:6:9: window.idle: `,
		`worker.yaml:8:3: window.sttle: unknown key, did you mean "settle"?`,
		`worker.yaml:10:14: hold.max_bytes: 10KiB is out of bounds, want 1MiB to`,
		`worker.yaml:12:9: logs.keep: `,
		`worker.yaml:13:8: fleet: `,
		`worker.yaml:14:23: fleet_timing.death: 9s is too short for the lease: want 12s`,
		`worker.yaml:14:32: fleet_timing.gap: gap (3s) must be more than open (2s)`,
		`worker.yaml:14:43: fleet_timing.fence: fence (8s) must be less than death (9s) - open (2s)`,
		`worker.yaml:14:55: fleet_timing.replay: 10s is out of bounds, want 1m0s to`,
		`worker.yaml:16:3: exporters[0]: a file exporter needs dir`,
		`worker.yaml:17:3: exporters[1]: an otlp exporter needs endpoint`,
		`worker.yaml:18:8: exporters[1].dir: belongs to no otlp exporter`,
		`worker.yaml:19:21: exporters[1].signals[1]: `,
		`worker.yaml:7:16: window.start_delay: 5s is too short for the lease: want 12s`,
		`worker.yaml:2:49: ingest.cors.allowed_origins[1]: origin "a.example/x" has no scheme: want scheme://host[:port]`,
		`worker.yaml:2:82: ingest.cors.allowed_headers: header "a b" is no name of a header`,
		`worker.yaml:2:100: ingest.cors.max_age: 48h0m0s is out of bounds`,
		`worker.yaml:3:19: ingest.limits.depth: 0 is out of bounds, want 1 to 10000`,
		`did you mean "threshold_ms"?`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no fault %q in:\n%v", want, err)
		}
	}
}

func TestLoadPrefersTheEnvironment(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tailweir.yaml")
	if err := os.WriteFile(file, []byte("project: from-file\nqueue: {topic: t1, subscription: s1}\nexporters:\n- {type: file, dir: d}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{
		"TAILWEIR_CONFIG": file, "TAILWEIR_TOPIC": "t2", "PORT": "9000", "PUBSUB_EMULATOR_HOST": "localhost:1",
		"TAILWEIR_FACTS_TOPIC": "f2", "TAILWEIR_FACTS_SUBSCRIPTION": "fs2", "TAILWEIR_LOG_TOPIC": "l2", "TAILWEIR_LOG_PREFIX": "l2-",
		"TAILWEIR_ADMIN": ":9001",
	}
	cfg, err := Load(func(k string) string { return env[k] })
	if err != nil {
		t.Fatal(err)
	}
	got := []string{cfg.Project, cfg.Queue.Topic, cfg.Queue.Subscription, cfg.Ingest.Listen[0], cfg.Emulator, string(cfg.Exporters[0].Type)}
	got = append(got, cfg.Queue.Facts, cfg.Queue.Sequencer, cfg.Queue.Log, cfg.Queue.LogPrefix, cfg.Ingest.Admin, cfg.Worker.Admin)
	if want := []string{"from-file", "t2", "s1", ":9000", "localhost:1", "file", "f2", "fs2", "l2", "l2-", ":9001", ":9001"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	delete(env, "TAILWEIR_CONFIG")
	if _, err := Load(func(k string) string { return env[k] }); err == nil || !strings.Contains(err.Error(), "GOOGLE_CLOUD_PROJECT") {
		t.Errorf("without a project: error %v, want one that names GOOGLE_CLOUD_PROJECT", err)
	}
}

// The table in docs/settings.md has a row for each key of the configuration and no other.
func TestSettingsTableIsComplete(t *testing.T) {
	doc, err := os.ReadFile("../docs/settings.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_.\\[\\]]+)` \\|").FindAllStringSubmatch(string(doc), -1) {
		documented = append(documented, m[1])
	}
	keys := settings("", reflect.TypeFor[Config]())
	for _, k := range keys {
		if !slices.Contains(documented, k) {
			t.Errorf("docs/settings.md has no row for %s", k)
		}
	}
	for _, k := range documented {
		if !slices.Contains(keys, k) {
			t.Errorf("docs/settings.md has a row for %s, which is no setting", k)
		}
	}
}

// settings lists the keys of a configuration type, as they are written in docs and faults.
func settings(prefix string, t reflect.Type) []string {
	var keys []string
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
		if name == "-" {
			continue
		}
		switch ft := t.Field(i).Type; {
		case ft.Kind() == reflect.Struct:
			keys = append(keys, settings(prefix+name+".", ft)...)
		case ft.Kind() == reflect.Slice && ft.Elem().Kind() == reflect.Struct:
			keys = append(keys, settings(prefix+name+"[].", ft.Elem())...)
		default:
			keys = append(keys, prefix+name)
		}
	}
	return keys
}

// An exporter takes the signals that it names, or those of its type.
func TestExporterSignals(t *testing.T) {
	for _, tt := range []struct {
		of   ExporterType
		set  []Signal
		want []Signal
	}{
		{"otlp", nil, []Signal{"traces", "logs"}},
		{"file", nil, []Signal{"traces", "logs"}},
		{"telemetry", nil, []Signal{"traces"}},
		{"telemetry", []Signal{"logs"}, []Signal{"logs"}},
		{"cloudtrace", nil, []Signal{"traces"}},
		{"cloudlogging", nil, []Signal{"logs"}},
		{"otlp", []Signal{"logs", "traces"}, []Signal{"logs", "traces"}},
	} {
		if got := (ExporterConfig{Type: tt.of, Signals: tt.set}).signals(); !slices.Equal(got, tt.want) {
			t.Errorf("%s with %v takes %v, want %v", tt.of, tt.set, got, tt.want)
		}
	}
}
