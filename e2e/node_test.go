package e2e_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace"
)

// TestNodeSDK sends what the OpenTelemetry SDK for Node.js makes of an HTTP server and client, by each of its exporters.
func TestNodeSDK(t *testing.T) {
	t.Parallel()
	node := need(t, "Node.js 20 from https://nodejs.org", "node")
	app := nodeApp(t)
	l := startLocal(t)
	protocols := []string{"http/protobuf", "http/json", "grpc"}
	running := map[string]*process{}
	for _, protocol := range protocols {
		running[protocol] = start(t, append([]string{
			"OTEL_EXPORTER_OTLP_PROTOCOL=" + protocol, "OTEL_SERVICE_NAME=shop " + protocol,
			"OTEL_LOGS_EXPORTER=otlp", "OTEL_METRICS_EXPORTER=none",
		}, l.env...), node, app)
	}
	sent, all := map[string][]sentTrace{}, counts{}
	for protocol, p := range running {
		p.finish(patience)
		for _, line := range p.out.lines() {
			var s sentTrace
			if err := json.Unmarshal([]byte(line), &s); err != nil {
				t.Fatalf("%s: %v: %s", protocol, err, line)
			}
			sent[protocol] = append(sent[protocol], s)
		}
		n := len(sent[protocol])
		all = all.plus(counts{Spans: 2 * n, Logs: n})
	}
	s := l.settled(all)
	if decided := s.Kept.Traces + s.Dropped.Traces; decided != all.Spans/2 {
		t.Errorf("%d traces are decided, want %d", decided, all.Spans/2)
	}
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) { checkNode(t, l, protocol, sent[protocol]) })
	}
}

func checkNode(t *testing.T, l *local, protocol string, sent []sentTrace) {
	kept := l.keptExactly("shop "+protocol, sent)
	for id, k := range kept {
		if k.Root != "GET" || k.Spans != 2 || k.Error != (k.Policy == "errors") || (k.DurationMS >= 1000) != (k.Policy == "slow") {
			t.Errorf("trace %s: %+v", id, k)
		}
		spans := l.spans(id)
		if len(spans) != 2 {
			t.Errorf("trace %s has %d spans, want the client's and the server's", id, len(spans))
			continue
		}
		client, server := spans[0], spans[1]
		if client.Kind() == ptrace.SpanKindServer {
			client, server = server, client
		}
		if client.Kind() != ptrace.SpanKindClient || server.Kind() != ptrace.SpanKindServer || server.ParentSpanID() != client.SpanID() {
			t.Errorf("trace %s: want a server's span under a client's, got %v under %v", id, server.Kind(), client.Kind())
		}
		if records := l.logs(id); len(records) != 1 || !strings.HasPrefix(records[0].Body().Str(), "serving ") {
			t.Errorf("trace %s: %d log records, want the one of the server", id, len(records))
		}
	}
}

// nodeApp installs the packages in a copy, so that the checkout stays as it is, and returns the script.
func nodeApp(t *testing.T) string {
	t.Helper()
	npm := need(t, "it comes with Node.js", "npm")
	dir := t.TempDir()
	for _, name := range []string{"app.js", "package.json", "package-lock.json", ".npmrc"} {
		b, err := os.ReadFile(filepath.Join("node", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	start(t, nil, npm, "ci", "--prefix", dir).finish(3 * time.Minute)
	return filepath.Join(dir, "app.js")
}
