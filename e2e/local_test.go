package e2e_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// local is a running tailweir local.
type local struct {
	*process
	console string   // http://host:port
	otlp    string   // http://host:port, HTTP and gRPC
	env     []string // what it tells an app to export
}

// startLocal runs tailweir local on free ports. Settle and idle are above the batch delay of 1 s that it recommends, so
// that no trace is decided between two batches of one SDK.
func startLocal(t *testing.T, flags ...string) *local {
	t.Helper()
	args := []string{"local", "--otlp", "127.0.0.1:0", "--otlp-grpc", "127.0.0.1:0", "--console", "127.0.0.1:0", "--settle", "2s", "--idle", "3s"}
	l := &local{process: start(t, nil, command("tailweir"), append(args, flags...)...)}
	exports := regexp.MustCompile(`(?m)^ *export (\S+)$`)
	await(t, "tailweir local says where it is", func() string {
		if why := l.exited(); why != "" {
			t.Fatal(why, l.err.String())
		}
		out := l.out.String()
		if !strings.Contains(out, "Ctrl-C") {
			return "no greeting yet: " + out
		}
		l.console = regexp.MustCompile(`console +(http://\S+)`).FindStringSubmatch(out)[1]
		for _, m := range exports.FindAllStringSubmatch(out, -1) {
			l.env = append(l.env, m[1])
		}
		return ""
	})
	for _, kv := range l.env {
		if v, ok := strings.CutPrefix(kv, "OTEL_EXPORTER_OTLP_ENDPOINT="); ok {
			l.otlp = v
		}
	}
	if l.otlp == "" {
		t.Fatalf("no OTEL_EXPORTER_OTLP_ENDPOINT among %q", l.env)
	}
	await(t, "the console answers", func() string { _, err := fetch(l.console + "/readyz"); return errorText(err) })
	return l
}

func fetch(url string) ([]byte, error) {
	answer, err := http.Get(url)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s: %s", url, answer.Status, body)
	}
	return body, err
}

func (l *local) get(path string) []byte {
	l.t.Helper()
	body, err := fetch(l.console + path)
	if err != nil {
		l.t.Fatal(err)
	}
	return body
}

func (l *local) decode(path string, into any) {
	l.t.Helper()
	if err := json.Unmarshal(l.get(path), into); err != nil {
		l.t.Fatalf("GET %s: %v", path, err)
	}
}

type counts struct{ Spans, Traces, Logs int }

func (c counts) plus(d counts) counts {
	return counts{c.Spans + d.Spans, c.Traces + d.Traces, c.Logs + d.Logs}
}

// stats is what tools may rely on in /api/stats.
type stats struct {
	Received     counts `json:"received"`
	Kept         counts `json:"kept"`
	Dropped      counts `json:"dropped"`
	DeadLettered counts `json:"deadlettered"`
	Returned     counts `json:"returned"`
	Duplicate    counts `json:"duplicate"`
	InFlight     counts `json:"in_flight"`
	ByPolicy     map[string]struct {
		Kept    counts `json:"kept"`
		Dropped counts `json:"dropped"`
	} `json:"by_policy"`
	Exporting int `json:"exporting"` // traces that wait for a backend
}

// stats asks for the counters and holds them to their sums, which must be right at any moment.
func (l *local) stats() stats {
	l.t.Helper()
	var s stats
	l.decode("/api/stats", &s)
	sum := s.Kept.plus(s.Dropped).plus(s.DeadLettered).plus(s.Returned).plus(s.Duplicate).plus(s.InFlight)
	if sum != s.Received {
		l.t.Fatalf("the counters do not add up: received %+v, the others %+v\n%+v", s.Received, sum, s)
	}
	var kept, dropped counts
	for _, p := range s.ByPolicy {
		kept, dropped = kept.plus(p.Kept), dropped.plus(p.Dropped)
	}
	if kept != s.Kept || dropped != s.Dropped {
		l.t.Fatalf("by_policy does not add up: kept %+v of %+v, dropped %+v of %+v", kept, s.Kept, dropped, s.Dropped)
	}
	return s
}

// settled waits until everything sent is received and nothing waits any more.
func (l *local) settled(sent counts) stats {
	l.t.Helper()
	var s stats
	await(l.t, "all is decided", func() string {
		s = l.stats()
		got := counts{Spans: s.Received.Spans - s.Duplicate.Spans, Logs: s.Received.Logs - s.Duplicate.Logs}
		if got.Spans == sent.Spans && got.Logs == sent.Logs && s.InFlight == (counts{}) {
			return ""
		}
		return fmt.Sprintf("sent %+v, received %+v, in flight %+v", sent, got, s.InFlight)
	})
	return s
}

// keptTrace is a line of /api/traces.
type keptTrace struct {
	ID         string  `json:"trace_id"`
	Root       string  `json:"root"`
	Service    string  `json:"service"`
	Spans      int     `json:"spans"`
	DurationMS float64 `json:"duration_ms"`
	Error      bool    `json:"error"`
	Policy     string  `json:"policy"`
	Reason     string  `json:"reason"`
}

func (l *local) traces() map[string]keptTrace {
	l.t.Helper()
	var list struct {
		Traces []keptTrace `json:"traces"`
	}
	l.decode("/api/traces?limit=10000", &list)
	byID := map[string]keptTrace{}
	for _, k := range list.Traces {
		if _, twice := byID[k.ID]; twice {
			l.t.Errorf("trace %s is listed twice", k.ID)
		}
		byID[k.ID] = k
	}
	return byID
}

func (l *local) spans(id string) []ptrace.Span {
	l.t.Helper()
	traces, err := (&ptrace.JSONUnmarshaler{}).UnmarshalTraces(l.get("/api/traces/" + id))
	if err != nil {
		l.t.Fatalf("spans of trace %s: %v", id, err)
	}
	return spansOf(traces)
}

func spansOf(traces ptrace.Traces) (all []ptrace.Span) {
	for _, r := range traces.ResourceSpans().All() {
		for _, s := range r.ScopeSpans().All() {
			for _, span := range s.Spans().All() {
				all = append(all, span)
			}
		}
	}
	return all
}

func (l *local) logs(id string) []plog.LogRecord {
	l.t.Helper()
	logs, err := (&plog.JSONUnmarshaler{}).UnmarshalLogs(l.get("/api/traces/" + id + "/logs"))
	if err != nil {
		l.t.Fatalf("log records of trace %s: %v", id, err)
	}
	return recordsOf(logs)
}

func recordsOf(logs plog.Logs) (all []plog.LogRecord) {
	for _, r := range logs.ResourceLogs().All() {
		for _, s := range r.ScopeLogs().All() {
			for _, record := range s.LogRecords().All() {
				all = append(all, record)
			}
		}
	}
	return all
}

// sentTrace is what a test knows of a trace that an app sent.
type sentTrace struct {
	ID   string `json:"trace_id"`
	Kind string `json:"kind"` // "error", "slow" or "fast"
}

// tenPercent is the threshold of OTEP-235 for 10 %, to the four digits that it recommends: kept are the traces whose last
// seven bytes are at least that.
const tenPercent = 0xe6660000000000

// expected is the policies by which the default set keeps the traces: the fast ones by their ids alone.
func expected(t *testing.T, sent []sentTrace) map[string]string {
	t.Helper()
	kept := map[string]string{}
	for _, s := range sent {
		random, err := strconv.ParseUint(s.ID[18:], 16, 64)
		if err != nil {
			t.Fatalf("trace id %q: %v", s.ID, err)
		}
		switch {
		case s.Kind == "error":
			kept[s.ID] = "errors"
		case s.Kind == "slow":
			kept[s.ID] = "slow"
		case random >= tenPercent:
			kept[s.ID] = "rest"
		}
	}
	return kept
}

// keptExactly holds the traces of one service to what the default policies must keep, and returns them.
func (l *local) keptExactly(service string, sent []sentTrace) map[string]keptTrace {
	l.t.Helper()
	got, ours := map[string]string{}, map[string]keptTrace{}
	for id, k := range l.traces() {
		if k.Service == service {
			got[id], ours[id] = k.Policy, k
		}
	}
	if diff := cmp.Diff(expected(l.t, sent), got); diff != "" {
		l.t.Errorf("kept traces of %s by policy (-want +got):\n%s", service, diff)
	}
	return ours
}

func ofKind(sent []sentTrace, kind string) string {
	return sent[slices.IndexFunc(sent, func(s sentTrace) bool { return s.Kind == kind })].ID
}
