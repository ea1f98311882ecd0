package service

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"time"

	"tailweir/exporter"
	"tailweir/exporter/cloudlogging"
	"tailweir/exporter/cloudtrace"
	"tailweir/exporter/gcp"
	"tailweir/exporter/telemetry"
	"tailweir/otlp"
	"tailweir/strictyaml"
)

// ExporterConfig is one destination of kept data. Which settings belong to which type is in settingsOf.
type ExporterConfig struct {
	Type           ExporterType      `yaml:"type,required"`
	Signals        []Signal          `yaml:"signals"` // default what the type takes; telemetry: traces
	Required       *bool             `yaml:"required"`
	MaxPending     strictyaml.Size   `yaml:"max_pending"`
	Endpoint       string            `yaml:"endpoint"`
	TracesEndpoint string            `yaml:"traces_endpoint"`
	LogsEndpoint   string            `yaml:"logs_endpoint"`
	MetricsURL     string            `yaml:"metrics_endpoint"`
	Headers        map[string]string `yaml:"headers"`
	Compression    Compression       `yaml:"compression"`
	Timeout        time.Duration     `yaml:"timeout"`
	Connections    int               `yaml:"connections"`
	TLS            TLSConfig         `yaml:"tls"`
	Dir            string            `yaml:"dir"`
	Sync           bool              `yaml:"sync"`
	Project        string            `yaml:"project"`
	Routes         []RouteConfig     `yaml:"routes"`
	QuotaProject   string            `yaml:"quota_project"`
	Insecure       bool              `yaml:"insecure"`
	LogName        string            `yaml:"log_name"`
	TraceProject   string            `yaml:"trace_project"`
	ResourceLabels []string          `yaml:"resource_labels"`
}

// settingsOf is which settings each type has beside type, signals, required and max_pending.
var settingsOf = map[ExporterType][]string{
	"otlp":         {"endpoint", "traces_endpoint", "logs_endpoint", "metrics_endpoint", "headers", "compression", "timeout", "connections", "tls"},
	"file":         {"dir", "sync"},
	"telemetry":    append(google, "compression"),
	"cloudtrace":   google,
	"cloudlogging": append(google, "compression", "log_name", "trace_project", "resource_labels"),
}

var google = []string{"project", "routes", "quota_project", "endpoint", "insecure", "timeout", "connections"}

// takes is the signals of each type; the first ones are the default. Metrics are nobody's by default, since few backends take all three.
var takes = map[ExporterType]struct{ usual, possible []Signal }{
	"otlp":         {[]Signal{"traces", "logs"}, []Signal{"traces", "logs", "metrics"}},
	"file":         {[]Signal{"traces", "logs"}, []Signal{"traces", "logs"}},
	"telemetry":    {[]Signal{"traces"}, []Signal{"traces", "logs", "metrics"}}, // logs are cloudlogging's
	"cloudtrace":   {[]Signal{"traces"}, []Signal{"traces"}},
	"cloudlogging": {[]Signal{"logs"}, []Signal{"logs"}},
}

// RouteConfig sends what has an attribute to a project of its own.
type RouteConfig struct {
	Attribute string `yaml:"attribute,required"`
	Value     string `yaml:"value,required"`
	Project   string `yaml:"project,required"`
}

// TLSConfig is for an otlp exporter whose server is not known to the system's roots, or asks for a certificate.
type TLSConfig struct {
	CAFile   string `yaml:"ca_file"`
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
	Insecure bool   `yaml:"insecure_skip_verify"`
}

// ExporterType is the setting exporters[].type.
type ExporterType string

// Values returns the legal settings.
func (ExporterType) Values() []string {
	return []string{"telemetry", "cloudtrace", "cloudlogging", "otlp", "file"}
}

// Signal is an element of the setting exporters[].signals.
type Signal string

// Values returns the legal settings.
func (Signal) Values() []string { return []string{"traces", "logs", "metrics"} }

func (s Signal) otlp() otlp.Signal {
	switch s {
	case "logs":
		return otlp.Logs
	case "metrics":
		return otlp.Metrics
	}
	return otlp.Traces
}

// Compression is the setting exporters[].compression.
type Compression string

// Values returns the legal settings.
func (Compression) Values() []string { return []string{"gzip", "zstd", "none"} }

// cloudExporters is where a worker sends what is kept, and metrics that it forwards, when its file names no exporter: all of it to Google
// Cloud.
func cloudExporters(metrics bool) []ExporterConfig {
	telemetry := ExporterConfig{Type: "telemetry"}
	if metrics {
		telemetry.Signals = []Signal{"traces", "metrics"}
	}
	return []ExporterConfig{telemetry, {Type: "cloudlogging"}}
}

func (c ExporterConfig) required() bool { return c.Required == nil || *c.Required }

func (c ExporterConfig) signals() []Signal {
	if len(c.Signals) > 0 {
		return c.Signals
	}
	return takes[c.Type].usual
}

// String says for people where the data goes, without what URLs may hold of passwords and keys.
func (c ExporterConfig) String() string {
	if c.Type == "file" {
		return c.Dir
	}
	where := []string{string(c.Type)}
	for _, e := range []string{c.Endpoint, c.TracesEndpoint, c.LogsEndpoint, c.MetricsURL} {
		if u, err := url.Parse(e); err == nil && u.Host != "" {
			u.User, u.RawQuery, u.Fragment = nil, "", ""
			e = u.String()
		}
		if e != "" {
			where = append(where, e)
		}
	}
	return strings.Join(where, " ")
}

// Validate reports whether a worker of the project would take the settings, files and credentials apart.
func (c ExporterConfig) Validate(project string) error {
	switch c.Type {
	case "otlp":
		return c.otlp(nil).Validate()
	case "file":
		return exporter.FileConfig{Dir: c.Dir}.Validate()
	case "telemetry":
		return c.telemetry(project, nil).Validate()
	case "cloudtrace":
		return c.cloudtrace(project, nil).Validate()
	}
	logging := c.cloudlogging(project, nil)
	return logging.Validate()
}

// open makes the exporter. What is wrong with the settings was said before.
func (c ExporterConfig) open(project string, log *slog.Logger) (exporter.Exporter, error) {
	ctx := context.Background()
	switch c.Type {
	case "otlp":
		return exporter.NewOTLP(c.otlp(log))
	case "file":
		return exporter.NewFile(exporter.FileConfig{Dir: c.Dir, Sync: c.Sync, Logger: log})
	case "telemetry":
		return telemetry.New(ctx, c.telemetry(project, log))
	case "cloudtrace":
		return cloudtrace.New(ctx, c.cloudtrace(project, log))
	case "cloudlogging":
		return cloudlogging.New(ctx, c.cloudlogging(project, log))
	}
	return nil, fmt.Errorf("type %q: want one of %s", c.Type, strings.Join(c.Type.Values(), ", "))
}

func (c ExporterConfig) otlp(log *slog.Logger) exporter.OTLPConfig {
	return exporter.OTLPConfig{
		Endpoint: c.Endpoint, TracesEndpoint: c.TracesEndpoint, LogsEndpoint: c.LogsEndpoint, MetricsEndpoint: c.MetricsURL, Headers: c.Headers,
		TLS:         exporter.TLSConfig{CAFile: c.TLS.CAFile, CertFile: c.TLS.CertFile, KeyFile: c.TLS.KeyFile, Insecure: c.TLS.Insecure},
		Compression: string(c.Compression), Timeout: c.Timeout, Connections: c.Connections, Logger: log,
	}
}

func (c ExporterConfig) dial() gcp.Dial {
	return gcp.Dial{Endpoint: c.Endpoint, Insecure: c.Insecure, QuotaProject: c.QuotaProject, Connections: c.Connections}
}

func (c ExporterConfig) routes(project string) gcp.Routes {
	r := gcp.Routes{Project: cmp.Or(c.Project, project)}
	for _, way := range c.Routes {
		r.Routes = append(r.Routes, gcp.Route(way))
	}
	return r
}

func (c ExporterConfig) telemetry(project string, log *slog.Logger) telemetry.Config {
	return telemetry.Config{Dial: c.dial(), Routes: c.routes(project), Compression: string(c.Compression), Timeout: c.Timeout, Logger: log}
}

func (c ExporterConfig) cloudtrace(project string, log *slog.Logger) cloudtrace.Config {
	return cloudtrace.Config{Dial: c.dial(), Routes: c.routes(project), Courier: exporter.CourierConfig{Timeout: c.Timeout, Logger: log}}
}

func (c ExporterConfig) cloudlogging(project string, log *slog.Logger) cloudlogging.Config {
	return cloudlogging.Config{
		Dial: c.dial(), Routes: c.routes(project), LogName: c.LogName, TraceProject: c.TraceProject, ResourceLabels: c.ResourceLabels,
		Compression: string(c.Compression), Timeout: c.Timeout, Logger: log,
	}
}

// check reports what is wrong with the exporter at path.
func (c ExporterConfig) check(d *strictyaml.Decoder, path, project string) {
	own, known := settingsOf[c.Type]
	if !known {
		return // the decoder has said so
	}
	for _, key := range exporterKeys() {
		if d.Has(path+"."+key) && !slices.Contains(own, key) {
			d.Faultf(path+"."+key, "belongs to no %s exporter", c.Type)
		}
	}
	for i, s := range c.Signals {
		if s != "" && !slices.Contains(takes[c.Type].possible, s) { // "": the decoder has said so
			d.Faultf(fmt.Sprintf("%s.signals[%d]", path, i), "%s: a %s exporter takes %s only", s, c.Type, join(takes[c.Type].possible))
		}
	}
	if c.MaxPending != 0 {
		within(d, path+".max_pending", c.MaxPending, 1<<20, 1<<40)
		if c.required() {
			d.Faultf(path+".max_pending", "stands without required: false: for a required exporter Pub/Sub keeps what is pending")
		}
	}
	switch {
	case c.Type == "otlp" && c.nowhere():
		d.Faultf(path, "an otlp exporter needs endpoint, such as https://collector:4318 or grpcs://collector:4317")
	case c.Type == "file" && c.Dir == "":
		d.Faultf(path, "a file exporter needs dir, the directory to write traces.jsonl and logs.jsonl to")
	default:
		// The project may come from the environment, which is read after the file.
		if err := c.Validate(cmp.Or(project, "to-be-set")); err != nil {
			d.Faultf(path, "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
		}
	}
}

// nowhere reports that nothing says where a signal of an otlp exporter goes.
func (c ExporterConfig) nowhere() bool {
	of := map[Signal]string{"traces": c.TracesEndpoint, "logs": c.LogsEndpoint, "metrics": c.MetricsURL}
	return c.Endpoint == "" && slices.ContainsFunc(c.signals(), func(s Signal) bool { return of[s] == "" })
}

func join(signals []Signal) string {
	all := make([]string, len(signals))
	for i, s := range signals {
		all[i] = string(s)
	}
	return strings.Join(all, " and ")
}

// exporterKeys are the settings that only some types have.
func exporterKeys() (all []string) {
	for _, own := range settingsOf {
		all = append(all, own...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// checkExporters reports what is wrong with them, and with all together.
func (c *Config) checkExporters(d *strictyaml.Decoder) {
	optional := map[Signal]bool{} // those for which only exporters were found that are not required
	for i, e := range c.Exporters {
		e.check(d, fmt.Sprintf("exporters[%d]", i), c.Project)
		for _, s := range e.signals() {
			only, found := optional[s]
			optional[s] = !e.required() && (only || !found)
		}
	}
	for _, s := range []Signal{"traces", "logs", "metrics"} {
		if optional[s] {
			d.Faultf("exporters", "none that takes %s is required: what is kept of them would be confirmed although no backend has it", s)
		}
	}
	if _, found := optional["metrics"]; c.Metrics.Forward && len(c.Exporters) > 0 && !found {
		d.Faultf("metrics.forward", "%v", errNoMetrics)
	}
}
