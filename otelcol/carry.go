package otelcol

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"tailweir/sampler"
	"tailweir/service"
	"tailweir/strictyaml"
)

// carried is what of Tailweir's configuration a collector's says.
type carried struct {
	Project   string                   `yaml:"project"`
	Queue     carriedQueue             `yaml:"queue"`
	Ingest    carriedIngest            `yaml:"ingest"`
	Window    service.WindowConfig     `yaml:"window"`
	Exporters []service.ExporterConfig `yaml:"exporters"`
	Compat    sampler.Compat           `yaml:"compat"`
	Policies  *yaml.Node               `yaml:"policies"`
	Block     *yaml.Node               `yaml:"tail_sampling"`
}

type carriedQueue struct {
	Subscription string `yaml:"subscription"`
}

type carriedIngest struct {
	Listen []string `yaml:"listen"`
}

// defaultWait is the collector's decision_wait.
const defaultWait = 30 * time.Second

// Carry returns Tailweir's configuration for the processor, and what of the file it does not say, in lines with their places. The
// error is strictyaml.Faults of the processor's settings.
func (s *Sampler) Carry(compat sampler.Compat) (document []byte, lost []string, err error) {
	policies, err := s.Policies(compat)
	if err != nil {
		return nil, nil, err
	}
	c := carried{Window: window(policies.Options())}
	c.Policies, c.Block, c.Compat = service.PoliciesOf(policies.Source())
	used := s.file.with("processors", s.ID)
	t := translation{File: s.file, out: &c, own: s.ID, used: used}
	if len(used) == 0 {
		t.lose(s.self.path(), "is in no pipeline: the collector does not start it")
	}
	t.receivers()
	t.processors()
	t.exporters()
	t.others()
	s.file.sayVariables(s.self.settings)
	lost = append(s.file.d.Warnings(), policies.Warnings()...)
	slices.SortStableFunc(lost, func(a, b string) int { return slices.Compare(s.file.place(a), s.file.place(b)) })
	return strictyaml.Encode(c, false), lost, nil
}

// place is the line and column that a warning begins with.
func (f *File) place(warning string) []int {
	var line, column int
	_, _ = fmt.Sscanf(strings.TrimPrefix(warning, f.name), ":%d:%d", &line, &column)
	return []int{line, column}
}

// window is what follows from the options, and nothing else.
func window(o sampler.Options) service.WindowConfig {
	o.Wait = cmp.Or(o.Wait, defaultWait)
	w := service.Default().Window
	w.Adopt(o, "", func(string) bool { return false })
	said := service.WindowConfig{Settle: w.Settle, Idle: w.Idle, MaxAge: w.MaxAge}
	if o.Traces != 0 {
		said.MaxTraces = w.MaxTraces
	}
	if o.Remembered != 0 {
		said.History = w.History
	}
	return said
}

// translation goes through a file for its processor own, which the pipelines used have.
type translation struct {
	*File
	out  *carried
	own  string
	used []pipeline
}

func (t *translation) lose(path, format string, args ...any) { t.d.Warnf(path, format, args...) }

// of is the components of a kind that the processor's pipelines use. The others are said to be lost.
func (t *translation) of(kind string) (found []component) {
	for _, c := range t.components[kind] {
		switch {
		case c.id == t.own && kind == "processors": // its place was said
		case slices.ContainsFunc(t.used, func(p pipeline) bool { return slices.Contains(p.uses[kind], c.id) }):
			found = append(found, c)
		case len(t.with(kind, c.id)) == 0:
			t.lose(c.path(), "is in no pipeline")
		default:
			t.lose(c.path(), "is in other pipelines than the processor: %s", signalsOf(t.with(kind, c.id)))
		}
	}
	return found
}

func signalsOf(ps []pipeline) string {
	var ids []string
	for _, p := range ps {
		ids = append(ids, p.id)
	}
	return strings.Join(ids, ", ")
}

// handled is why a processor has no counterpart.
var handled = map[string]string{
	"batch":          "batches are made by bytes, nothing is to be set",
	"memory_limiter": "memory is bounded by hold.max_bytes and window.max_bytes",
	"groupbytrace":   "traces are gathered in any case",
}

func (t *translation) processors() {
	for _, c := range t.of("processors") {
		t.lose(c.path(), "%s", cmp.Or(handled[c.typ], "Tailweir exports spans as they came: what changes or filters them has to stay in front of it"))
	}
}

func (t *translation) others() {
	for _, c := range t.of("connectors") {
		t.lose(c.path(), "Tailweir has no connectors")
	}
	for _, c := range t.components["extensions"] {
		t.lose(c.path(), "Tailweir has no extensions")
	}
	if t.telemetry {
		t.lose("service.telemetry", "Tailweir serves metrics at ingest.admin, worker.admin and console.listen, and logs to standard error")
	}
	for _, p := range t.pipelines {
		if p.signal != "traces" && p.signal != "logs" {
			t.lose("service.pipelines."+p.id, "Tailweir takes traces and logs")
		}
	}
}

func (t *translation) receivers() {
	for _, c := range t.of("receivers") {
		switch c.typ {
		case "otlp":
			t.ingest(&c)
		case "googlecloudpubsub":
			t.queue(&c)
		default:
			t.lose(c.path(), "Tailweir takes OTLP, at its ingest or from Pub/Sub")
		}
	}
}

func (t *translation) ingest(c *component) {
	s := t.settings(c)
	protocols := s.sub("protocols")
	for _, protocol := range []struct{ name, at string }{{"grpc", "localhost:4317"}, {"http", "localhost:4318"}} { // the collector's defaults
		p := protocols.sub(protocol.name)
		if p == nil {
			continue
		}
		at := protocol.at
		if p.get("endpoint") != nil {
			at = p.literal("endpoint")
		}
		if at != "" && !slices.Contains(t.out.Ingest.Listen, at) {
			t.out.Ingest.Listen = append(t.out.Ingest.Listen, at)
		}
		p.loseRest("the ingest has no such setting")
	}
	protocols.loseRest("Tailweir has no such protocol")
	s.loseRest("the ingest has no such setting")
}

func (t *translation) queue(c *component) {
	s := t.settings(c)
	project, subscription := s.literal("project"), s.literal("subscription")
	if p, id, ok := strings.Cut(strings.TrimPrefix(subscription, "projects/"), "/subscriptions/"); ok {
		project, subscription = p, id
	}
	if subscription == "" {
		t.lose(c.path(), "set project and queue.subscription")
		return
	}
	if t.out.Queue.Subscription != "" {
		t.lose(c.path(), "Tailweir pulls from one subscription, and has %s", t.out.Queue.Subscription)
		return
	}
	t.out.Project, t.out.Queue.Subscription = project, subscription
	t.lose(c.path(), "carried over as queue.subscription: the ack deadline has to be %s, and the topics of docs/settings.md beside it", service.Default().Hold.Lease)
	s.loseRest("Tailweir finds it out from each message, or bounds it by hold.max_bytes")
}

// exportersLost is why an exporter has no counterpart.
var exportersLost = map[string]string{
	"debug":   "the console shows the latest kept traces",
	"logging": "the console shows the latest kept traces",
	"nop":     "it does nothing",
	"file":    "Tailweir's file exporter writes to a directory: exporters: [{type: file, dir: DIR}]",
}

func (t *translation) exporters() {
	for _, c := range t.of("exporters") {
		switch c.typ {
		case "otlp", "otlp_grpc":
			t.export(&c, t.grpc(&c))
		case "otlphttp", "otlp_http":
			t.export(&c, t.http(&c))
		case "googlecloud":
			t.google(&c)
		default:
			t.lose(c.path(), "%s", cmp.Or(exportersLost[c.typ], "Tailweir exports OTLP"))
		}
	}
}

// export takes an exporter over, if it would be accepted.
func (t *translation) export(c *component, e service.ExporterConfig) {
	if !t.serves(c, "logs") {
		e.Signals = []service.Signal{"traces"}
	}
	t.add(c, e)
}

func (t *translation) serves(c *component, signal string) bool {
	return slices.ContainsFunc(t.with(c.kind, c.id), func(p pipeline) bool { return p.signal == signal })
}

func (t *translation) add(c *component, e service.ExporterConfig) {
	if err := e.Validate(t.out.Project); err != nil {
		t.lose(c.path(), "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
		return
	}
	t.sayVariables(c.settings)
	t.out.Exporters = append(t.out.Exporters, e)
}

// google takes the collector's exporter to Google Cloud over as two: spans go out as OTLP, as Google recommends by now.
func (t *translation) google(c *component) {
	s := t.settings(c)
	project, timeout, logs := s.literal("project"), s.wait("timeout"), s.sub("log")
	name := logs.literal("default_log_name")
	logs.loseRest("Tailweir's exporters have no such setting")
	s.done()
	if t.serves(c, "traces") {
		t.lose(c.path(), "carried over as telemetry, another API of Cloud Trace's: enable telemetry.googleapis.com, and grant roles/telemetry.writer")
		t.add(c, service.ExporterConfig{Type: "telemetry", Project: project, Timeout: timeout})
	}
	if t.serves(c, "logs") {
		t.add(c, service.ExporterConfig{Type: "cloudlogging", Project: project, LogName: name, Timeout: timeout})
	}
}

func (t *translation) grpc(c *component) service.ExporterConfig {
	s := t.settings(c)
	e := s.common()
	scheme, address := "grpcs", s.literal("endpoint")
	if s.sub("tls").truth("insecure") || strings.HasPrefix(address, "http://") {
		scheme = "grpc"
	}
	for _, prefix := range []string{"https://", "http://", "dns:///", "dns://"} {
		address = strings.TrimPrefix(address, prefix)
	}
	e.Endpoint = fmt.Sprintf("%s://%s", scheme, address)
	s.done()
	return e
}

func (t *translation) http(c *component) service.ExporterConfig {
	s := t.settings(c)
	e := s.common()
	e.Endpoint, e.TracesEndpoint, e.LogsEndpoint = s.literal("endpoint"), s.literal("traces_endpoint"), s.literal("logs_endpoint")
	if e.Endpoint == "" && e.LogsEndpoint == "" { // an exporter of traces alone: there are no logs to send
		e.LogsEndpoint = e.TracesEndpoint
	}
	s.done()
	return e
}
