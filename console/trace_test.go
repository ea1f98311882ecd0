package console_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"tailweir/console"
	"tailweir/otlp"
)

// pageOf is the page of a trace with these spans and records.
func pageOf(t *testing.T, spans []spanSpec, logs []logSpec) string {
	t.Helper()
	id := otlp.TraceID{9}
	source := &memory{traces: map[otlp.TraceID]console.Trace{id: {Spans: traceOf(t, id, spans...), Logs: logsOf(t, id, logs...), Policy: "errors", Reason: "settled"}}}
	w := ask(t, console.New(source, console.Config{}), "GET", "/trace/"+id.String(), "localhost")
	if w.Code != 200 {
		t.Fatalf("page: %d %s", w.Code, w.Body)
	}
	return w.Body.String()
}

var (
	rowPattern  = regexp.MustCompile(`<details class="row( log)?[^"]*"><summary><span class="what d(\d+)">(?:<b class="sev">(\w+)</b>|<i[^>]*></i>)<span class="label">([^<]*)`)
	lanePattern = regexp.MustCompile(`<rect class="(?:c\d+|at)" x="([\d.]+%)" y="\d+" width="([\d.]+%?)"`)
)

// rowsOf lists the rows as "depth name x width", log records with their severity.
func rowsOf(page string) []string {
	var rows []string
	lanes := lanePattern.FindAllStringSubmatch(page, -1)
	for i, m := range rowPattern.FindAllStringSubmatch(page, -1) {
		name := strings.TrimSpace(m[3] + " " + strings.TrimSpace(m[4]))
		rows = append(rows, fmt.Sprintf("%s %s %s %s", m[2], name, lanes[i][1], lanes[i][2]))
	}
	return rows
}

func TestWaterfall(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spans []spanSpec
		logs  []logSpec
		want  []string
		says  []string
	}{
		{
			name: "nested, with a log record in its time",
			spans: []spanSpec{{id: 2, parent: 1, name: "charge", from: 500, to: 900, failed: true}, {id: 1, name: "checkout", from: 0, to: 1000, kind: ptrace.SpanKindServer},
				{id: 3, parent: 1, name: "cart", from: 100, to: 200}},
			logs: []logSpec{{span: 2, at: 750, body: "later", severity: plog.SeverityNumberError}, {span: 2, at: 600, body: "card refused", severity: plog.SeverityNumberWarn}},
			want: []string{"0 checkout 0% 100.00%", "1 cart 10.00% 10.00%", "1 charge 50.00% 40.00%", "2 WARN card refused 60.00% 4", "2 ERROR later 75.00% 4"},
			says: []string{"1.00 s", `<span class="pill bad">1 error</span>`, "kept by <span class=\"pill\">errors</span>", ">server<", "exception.message", "card &lt;refused&gt;", "&lt;b&gt;span 2&lt;/b&gt;", "&#43;600 ms"},
		},
		{
			name:  "missing parent, two roots, records without a span here",
			spans: []spanSpec{{id: 1, name: "a", from: 0, to: 100}, {id: 2, parent: 77, name: "orphan", from: 50, to: 100}, {id: 3, name: "b", from: 75, to: 100}},
			logs:  []logSpec{{at: 25, body: "no span"}, {span: 66, at: 10, body: "unknown span"}},
			want: []string{"0 a 0% 100.00%", "0 orphan 50.00% 50.00%", "0 b 75.00% 25.00%",
				"0 LOG unknown span 10.00% 4", "0 LOG no span 25.00% 4"},
			says: []string{"its parent was not received"},
		},
		{
			name:  "behind a proxy",
			spans: []spanSpec{{id: 3, parent: 66, name: "query", from: 0, to: 50}, {id: 1, parent: 77, name: "GET /cart", from: 0, to: 100, kind: ptrace.SpanKindServer}, {id: 2, parent: 78, name: "GET /pay", from: 50, to: 100, kind: ptrace.SpanKindServer}},
			want:  []string{"0 query 0% 50.00%", "0 GET /cart 0% 100.00%", "0 GET /pay 50.00% 50.00%"},
			says:  []string{"<title>GET /cart", "its parent was not received", "its parent is in another process"},
		},
		{
			name:  "cycle",
			spans: []spanSpec{{id: 1, parent: 2, name: "a", from: 0, to: 100}, {id: 2, parent: 1, name: "b", from: 50, to: 100}},
			want:  []string{"0 a 0% 100.00%", "1 b 50.00% 50.00%"},
			says:  []string{"its parents form a cycle"},
		},
		{
			name:  "clocks that differ, an end before the start",
			spans: []spanSpec{{id: 1, name: "root", from: 100, to: 200}, {id: 2, parent: 1, name: "early", from: 0, to: 50}, {id: 3, parent: 1, name: "backwards", from: 150, to: 120}},
			want:  []string{"0 root 50.00% 50.00%", "1 early 0% 25.00%", "1 backwards 75.00% 0.30%"},
			says:  []string{"1 span starts before its parent", "it ends before it starts"},
		},
		{
			name: "only log records",
			logs: []logSpec{{at: 0, body: "first"}, {at: 100, body: "last"}},
			want: []string{"0 LOG first 0% 4", "0 LOG last 99.70% 4"},
			says: []string{"Trace without spans"},
		},
		{name: "nothing", says: []string{"There is nothing to draw"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			page := pageOf(t, tt.spans, tt.logs)
			if diff := cmp.Diff(tt.want, rowsOf(page)); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
			for _, want := range tt.says {
				if !strings.Contains(page, want) {
					t.Errorf("page lacks %q", want)
				}
			}
			if strings.Contains(page, "ZgotmplZ") {
				t.Error("page has a value that the template refused")
			}
		})
	}
}

func TestLargeTrace(t *testing.T) {
	spans := make([]spanSpec, 10_000)
	for i := range spans {
		spans[i] = spanSpec{id: uint64(i + 1), parent: uint64(i / 4), name: "step", service: "s", from: i, to: i + 5}
	}
	logs := make([]logSpec, 2_500)
	for i := range logs {
		logs[i] = logSpec{span: 1, at: i, body: "line"}
	}
	page := pageOf(t, spans, logs)
	if n := len(rowsOf(page)); n != 4000 {
		t.Errorf("%d rows, want 2,000 spans and 2,000 records", n)
	}
	for _, want := range []string{"the first 2,000 spans are shown, 8,000 are not", "2,000 log records are shown, 500 are not"} {
		if !strings.Contains(page, want) {
			t.Errorf("page lacks %q", want)
		}
	}
}

func TestTraceJSON(t *testing.T) {
	source := example(t)
	c := console.New(source, console.Config{})
	id := otlp.TraceID{1}
	spans, err := (&ptrace.JSONUnmarshaler{}).UnmarshalTraces(ask(t, c, "GET", "/api/traces/"+checkoutID, "localhost").Body.Bytes())
	if err != nil || spans.SpanCount() != 3 || otlp.TraceID(spans.ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0).TraceID()) != id {
		t.Errorf("spans: %v, %d", err, spans.SpanCount())
	}
	logs, err := (&plog.JSONUnmarshaler{}).UnmarshalLogs(ask(t, c, "GET", "/api/traces/"+checkoutID+"/logs", "localhost").Body.Bytes())
	if err != nil || logs.LogRecordCount() != 1 {
		t.Errorf("logs: %v, %d", err, logs.LogRecordCount())
	}
	source.traces[id] = console.Trace{}
	for path, want := range map[string]string{"": `{"resourceSpans":[]}`, "/logs": `{"resourceLogs":[]}`} {
		if got := ask(t, c, "GET", "/api/traces/"+checkoutID+path, "localhost").Body.String(); got != want+"\n" {
			t.Errorf("empty%s: %s", path, got)
		}
	}
	source.traces[id] = console.Trace{Spans: []byte{0xff}, Logs: []byte{0xff}}
	for _, path := range []string{"/api/traces/" + checkoutID, "/api/traces/" + checkoutID + "/logs", "/trace/" + checkoutID} {
		if w := ask(t, c, "GET", path, "localhost"); w.Code != 500 {
			t.Errorf("%s of bytes that are no payload: %d", path, w.Code)
		}
	}
}
