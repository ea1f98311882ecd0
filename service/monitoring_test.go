package service

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"tailweir/exporter/exportertest"
)

// watched is what the Terraform module watches with, and what it may refer to.
type watched struct {
	monitoring, alerts, dashboard string          // the files
	google                        map[string]bool // metrics that Google documents
	exported                      map[string]bool // our own, as /metrics has them: name/kind
	fields                        map[string]bool // of status lines
	source                        string          // all of the product's Go
	runbook                       string          // docs/operations.md
}

var (
	metricType   = regexp.MustCompile(`metric\.type=\\"(.*?)\\"`)
	literalType  = regexp.MustCompile(`"([a-z]+\.googleapis\.com/[a-z0-9_/]+)"`)
	ownMetric    = regexp.MustCompile(`\bmetric\.(\w+)`)
	figure       = regexp.MustCompile(`(?m)^    (\w+)\s+= \{ about = `)
	event        = regexp.MustCompile(`(?m)^    (\w+) = \{\n      about `)
	message      = regexp.MustCompile(`\.message=\(?((?:\\"[^"\\]+\\"(?: OR )?)+)`)
	quoted       = regexp.MustCompile(`\\"([^"\\]+)\\"`)
	alertKey     = regexp.MustCompile(`(?m)^    (\w+) = \{\n      title `)
	heading      = regexp.MustCompile(`(?m)^#+ (.+)$`)
	logCall      = regexp.MustCompile(`\.(?:Debug|Info|Warn|Error)\("([^"]+)"`)
	reservedKeys = regexp.MustCompile(`\.(?:Debug|Info|Warn|Error)\("[^\n]*, "(message|severity|time|level|msg)",`)
)

// faults are the references that lead nowhere, and what nothing refers to.
func (w watched) faults() (all []string) {
	fault := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	figures := keys(figure, w.monitoring)
	events := keys(event, w.monitoring)
	used := map[string]bool{}
	check := func(where, name string) {
		own, isOwn := strings.CutPrefix(name, "prometheus.googleapis.com/")
		switch {
		case isOwn:
			if !w.exported[own] {
				fault("%s: no process exports %s", where, name)
			}
		case !w.google[name]:
			fault("%s: %s is not in google-metrics.txt", where, name)
		default:
			used[name] = true
		}
	}
	for where, text := range map[string]string{"monitoring.tf": w.monitoring, "alerts.tf": w.alerts, "dashboard.json.tftpl": w.dashboard} {
		for _, m := range metricType.FindAllStringSubmatch(text, -1) {
			own := ownMetric.FindStringSubmatch(m[1])
			switch {
			case own != nil && !slices.Contains(figures, own[1]) && !slices.Contains(events, own[1]):
				fault("%s: no log-based metric %s", where, own[1])
			case own == nil && !strings.HasPrefix(m[1], "${"):
				check(where, m[1])
			}
		}
		for _, m := range literalType.FindAllStringSubmatch(text, -1) {
			if m[1] != "logging.googleapis.com/user/" { // of every log-based metric
				check(where, m[1])
			}
		}
	}
	for name := range w.google {
		if !used[name] {
			fault("google-metrics.txt: nothing uses %s", name)
		}
	}
	for _, f := range figures {
		if !w.fields[f] {
			fault("monitoring.tf: no status line has %s", f)
		}
	}
	for _, f := range append(figures, events...) {
		if !strings.Contains(w.alerts, "metric."+f+"}") && !strings.Contains(w.dashboard, "metric."+f+"}") {
			fault("monitoring.tf: neither alert nor dashboard uses %s", f)
		}
	}
	said := keys(logCall, w.source)
	for _, m := range message.FindAllStringSubmatch(w.monitoring, -1) {
		for _, text := range quoted.FindAllStringSubmatch(m[1], -1) {
			if !slices.Contains(said, text[1]) {
				fault("monitoring.tf: nothing logs %q", text[1])
			}
		}
	}
	var anchors []string
	for _, h := range keys(heading, w.runbook) {
		anchors = append(anchors, strings.ReplaceAll(strings.ToLower(h), " ", "-"))
	}
	for _, a := range keys(alertKey, w.alerts) {
		if !slices.Contains(anchors, strings.ReplaceAll(a, "_", "-")) {
			fault("alerts.tf: docs/operations.md has no heading for %s", a)
		}
	}
	if len(figures) < 10 || len(events) < 3 || len(said) < 30 || len(keys(alertKey, w.alerts)) < 10 {
		fault("this test cannot read the files any more: %d figures, %d events, %d log lines, %d alerts", len(figures), len(events), len(said), len(keys(alertKey, w.alerts)))
	}
	// slog writes these itself: whoever reads the line would see the attribute in their place.
	for _, m := range reservedKeys.FindAllStringSubmatch(w.source, -1) {
		fault("a log line has an attribute %q: %s", m[1], m[0])
	}
	slices.Sort(all)
	return all
}

func keys(r *regexp.Regexp, text string) (all []string) {
	for _, m := range r.FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}
	return all
}

// Alerts and the dashboard look at metrics that Google documents, that our processes export, or that come of lines that they log.
func TestMonitoringRefersToWhatIsThere(t *testing.T) {
	w := readWatched(t)
	for _, f := range w.faults() {
		t.Error(f)
	}
	if t.Failed() {
		return
	}
	// The same test notices each of these mistakes.
	for name, tt := range map[string]struct {
		change func(*watched)
		want   string
	}{
		"a metric that is not documented": {func(w *watched) {
			w.alerts = strings.Replace(w.alerts, "subscription/dead_letter_message_count", "subscription/dead_letters", 1)
		}, "pubsub.googleapis.com/subscription/dead_letters is not in google-metrics.txt"},
		"another in the dashboard": {func(w *watched) { w.dashboard = strings.Replace(w.dashboard, "request_count", "requests", 1) }, "run.googleapis.com/requests is not"},
		"and as a value":           {func(w *watched) { w.monitoring = strings.Replace(w.monitoring, "cpu/utilizations", "cpu/usage", 1) }, "cpu/usage is not"},
		"one that no process exports": {func(w *watched) {
			w.alerts = strings.Replace(w.alerts, "pubsub.googleapis.com/subscription/dead_letter_message_count", "prometheus.googleapis.com/tailweir_holds/gauge", 1)
		}, "no process exports prometheus.googleapis.com/tailweir_holds/gauge"},
		"one of another kind": {func(w *watched) {
			w.alerts = strings.Replace(w.alerts, "pubsub.googleapis.com/subscription/dead_letter_message_count", "prometheus.googleapis.com/tailweir_hold_messages/counter", 1)
		}, "no process exports prometheus.googleapis.com/tailweir_hold_messages/counter"},
		"a figure that no line has":       {func(w *watched) { w.monitoring = strings.ReplaceAll(w.monitoring, "    fences ", "    fence ") }, "no status line has fence"},
		"a log-based metric that is gone": {func(w *watched) { w.monitoring = strings.ReplaceAll(w.monitoring, "    anomalies ", "    breaches ") }, "no log-based metric anomalies"},
		"a line that nobody writes": {func(w *watched) {
			w.monitoring = strings.ReplaceAll(w.monitoring, "items dead-lettered", "items buried")
		}, `nothing logs "items buried"`},
		"a runbook without the alert": {func(w *watched) { w.runbook = strings.ReplaceAll(w.runbook, "Nobody leads", "No leader") }, "no heading for nobody_leads"},
		"a key twice in a line": {func(w *watched) {
			w.source = strings.ReplaceAll(w.source, `"payload dead-lettered", "message_id"`, `"payload dead-lettered", "message"`)
		}, `a log line has an attribute "message"`},
	} {
		t.Run(name, func(t *testing.T) {
			changed := w
			tt.change(&changed)
			if got := strings.Join(changed.faults(), "\n"); !strings.Contains(got, tt.want) {
				t.Errorf("want %q in:\n%s", tt.want, got)
			}
		})
	}
	// And takes what is there.
	w.alerts = strings.Replace(w.alerts, "pubsub.googleapis.com/subscription/dead_letter_message_count", "prometheus.googleapis.com/tailweir_hold_messages/gauge", 1)
	delete(w.google, "pubsub.googleapis.com/subscription/dead_letter_message_count")
	if got := w.faults(); len(got) > 0 {
		t.Errorf("%q", got)
	}
}

func readWatched(t *testing.T) watched {
	t.Helper()
	const module = "../terraform/modules/tailweir/"
	w := watched{
		monitoring: read(t, module+"monitoring.tf"), alerts: read(t, module+"alerts.tf"), dashboard: read(t, module+"dashboard.json.tftpl"),
		runbook: read(t, "../docs/operations.md"), google: map[string]bool{}, exported: map[string]bool{}, fields: map[string]bool{},
	}
	for line := range strings.Lines(read(t, module+"google-metrics.txt")) {
		if f := strings.Fields(line); len(f) == 5 && !strings.HasPrefix(line, "#") {
			w.google[f[0]] = true
		}
	}
	var source strings.Builder
	for _, dir := range []string{"../service", "../pipeline", "../exporter", "../fleet", "../receiver", "../queue", "../cmd"} {
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") {
				// Calls over several lines become one line.
				source.WriteString(regexp.MustCompile(`,\n\s*`).ReplaceAllString(read(t, path), ", "))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	w.source = source.String()

	p := newProcess(t)
	worker, _, say, _ := p.sayingWorker(exportertest.NewHTTP(t, nil).URL)
	p.sendTrace(4, true)
	poll(t, "it is kept", func() bool { s := worker.pipeline.State(); return s.Kept.Spans == 2 && s.InFlight.Spans == 0 })
	for field := range say() {
		w.fields[field] = true
	}
	r := &running{t: t, w: worker}
	for line := range strings.Lines(r.get("/metrics")) {
		if f := strings.Fields(line); len(f) == 4 && f[1] == "TYPE" {
			w.exported[f[2]+"/"+f[3]] = true
		}
	}
	return w
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
