package service

import (
	"log/slog"
	"strings"
	"testing"

	"tailweir/exporter"
)

func TestExporterFaults(t *testing.T) {
	for name, tt := range map[string]struct{ exporters, want string }{
		"google's own":        {"[{type: telemetry, dir: d}]", "exporters[0].dir: belongs to no telemetry exporter"},
		"a secret elsewhere":  {"[{type: cloudtrace, headers: {k: v}}]", "exporters[0].headers: belongs to no cloudtrace exporter"},
		"another's project":   {"[{type: otlp, endpoint: 'http://h', project: some-project}]", "exporters[0].project: belongs to no otlp exporter"},
		"spans for logging":   {"[{type: cloudlogging, signals: [traces]}]", "exporters[0].signals[0]: traces: a cloudlogging exporter takes logs only"},
		"logs for trace":      {"[{type: cloudtrace, signals: [traces, logs]}]", "exporters[0].signals[1]: logs: a cloudtrace exporter takes traces only"},
		"no signal":           {"[{type: telemetry, signals: [traces, log]}]", "exporters[0].signals[1]: unknown value \"log\", did you mean \"logs\"?"},
		"insecure":            {"[{type: telemetry, insecure: true}]", "insecure: only with an endpoint"},
		"no project id":       {"[{type: telemetry, project: 12}]", "exporters[0].project: is 12, want a string"},
		"bad project":         {"[{type: telemetry, project: Shop}]", "project \"Shop\""},
		"route":               {"[{type: telemetry, routes: [{attribute: tenant, value: acme}]}]", "exporters[0].routes[0].project: required, but missing"},
		"log name":            {"[{type: cloudlogging, log_name: 'a b'}]", "log_name \"a b\""},
		"nobody waits":        {"[{type: otlp, endpoint: 'http://h', required: false}]", "exporters: none that takes traces is required"},
		"nobody for logs":     {"[{type: telemetry}, {type: cloudlogging, required: false}]", "exporters: none that takes logs is required"},
		"pending":             {"[{type: telemetry, max_pending: 64MiB}]", "exporters[0].max_pending: stands without required: false"},
		"little pending":      {"[{type: telemetry}, {type: otlp, endpoint: 'http://h', required: false, signals: [traces], max_pending: 1KiB}]", "exporters[1].max_pending: 1KiB is out of bounds"},
		"no time":             {"[{type: cloudtrace, timeout: -5s}]", "timeout -5s"},
		"compression":         {"[{type: telemetry, compression: zstd}]", "compression \"zstd\""},
		"metrics to a file":   {"[{type: file, dir: d, signals: [metrics]}]", "exporters[0].signals[0]: metrics: a file exporter takes traces and logs only"},
		"metrics nowhere":     {"[{type: otlp, traces_endpoint: 'http://h/t', logs_endpoint: 'http://h/l', signals: [traces, metrics]}]", "exporters[0]: an otlp exporter needs endpoint"},
		"nobody for metrics":  {"[{type: telemetry}, {type: otlp, endpoint: 'http://h', required: false, signals: [metrics]}]", "exporters: none that takes metrics is required"},
		"unknown compression": {"[{type: otlp, endpoint: 'http://h', compression: br}]", "exporters[0].compression: "},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := Default()
			err := cfg.Parse("w.yaml", []byte("exporters: "+tt.exporters+"\n"))
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), ": : ") {
				t.Errorf("want %q in:\n%v", tt.want, err)
			}
		})
	}
}

// What can be written down is opened, with each setting where it belongs, also where the project comes from the environment.
func TestExportersOpen(t *testing.T) {
	src := `exporters:
- {type: telemetry, endpoint: 'localhost:1', insecure: true, routes: [{attribute: tenant, value: acme, project: acme-prod}], connections: 2, compression: gzip}
- {type: cloudtrace, endpoint: 'localhost:1', insecure: true, project: shop-traces, quota_project: shop-quota, timeout: 3s}
- {type: cloudlogging, endpoint: 'localhost:1', insecure: true, log_name: app, trace_project: shop-traces, resource_labels: [tenant]}
- {type: otlp, endpoint: 'grpc://localhost:1', compression: zstd, connections: 3}
- {type: file, dir: DIR, required: false, max_pending: 32MiB}
`
	cfg := Default()
	if err := cfg.Parse("w.yaml", []byte(strings.ReplaceAll(src, "DIR", t.TempDir()))); err != nil {
		t.Fatal(err)
	}
	var again Config = Default()
	if err := again.Parse("effective.yaml", cfg.Effective()); err != nil {
		t.Errorf("what counts is refused: %v\n%s", err, cfg.Effective())
	}
	cfg.Project = "shop-prod"
	for i, c := range cfg.Exporters {
		x, err := c.open(cfg.Project, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Errorf("exporters[%d]: %v", i, err)
			continue
		}
		if x.Name() != string(c.Type) || c.required() != (c.Type != "file") {
			t.Errorf("exporters[%d] %s is %s, required %v", i, c.Type, x.Name(), c.required())
		}
		if _, ok := exporter.StatsOf(x); ok != (c.Type != "file") {
			t.Errorf("%s keeps statistics: %v", c.Type, ok)
		}
		if closer, ok := x.(interface{ Close() error }); ok {
			if err := closer.Close(); err != nil {
				t.Errorf("close %s: %v", c.Type, err)
			}
		}
	}
	if r := cfg.Exporters[0].routes("shop-prod"); r.Project != "shop-prod" || len(r.Routes) != 1 || r.Routes[0].Project != "acme-prod" {
		t.Errorf("routes %+v", r)
	}
	if r := cfg.Exporters[1].routes("shop-prod"); r.Project != "shop-traces" {
		t.Errorf("routes %+v, want the exporter's own project", r)
	}
}

// The log says where the data goes, and no secrets.
func TestExporterIsShownWithoutSecrets(t *testing.T) {
	for want, c := range map[string]ExporterConfig{
		"otlp https://h:4318/otlp":               {Type: "otlp", Endpoint: "https://user:secret@h:4318/otlp?key=secret#secret"},
		"otlp https://h/traces https://h/logs":   {Type: "otlp", TracesEndpoint: "https://secret@h/traces", LogsEndpoint: "https://h/logs?key=secret"},
		"telemetry telemetry.googleapis.com:443": {Type: "telemetry", Endpoint: "telemetry.googleapis.com:443"},
		"cloudlogging":                           {Type: "cloudlogging"},
		"/var/kept":                              {Type: "file", Dir: "/var/kept"},
	} {
		if got := c.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
