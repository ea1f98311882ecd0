package e2e_test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const workerConfig = `
window: {settle: 2s, idle: 3s, max_age: 20s, slack: 1s, start_delay: 0s}
exporters:
  - {type: otlp, endpoint: "%s"}
`

// TestGooglePubSub puts Google's emulator between cmd/ingest and cmd/worker, as Google's service is in production.
func TestGooglePubSub(t *testing.T) {
	t.Parallel()
	emulator := startEmulator(t)
	backend := newSink(t)
	config := filepath.Join(t.TempDir(), "tailweir.yaml")
	if err := os.WriteFile(config, fmt.Appendf(nil, workerConfig, backend.url), 0o644); err != nil {
		t.Fatal(err)
	}
	env := []string{"PUBSUB_EMULATOR_HOST=" + emulator, "GOOGLE_CLOUD_PROJECT=e2e", "TAILWEIR_CONFIG=" + config}
	door, console := freeAddr(t), freeAddr(t)
	_, port, _ := net.SplitHostPort(door)
	ingest := start(t, append(env, "PORT="+port), command("ingest"), "--create")
	ingest.answering(door)
	worker := start(t, append(env, "TAILWEIR_CONSOLE="+console), command("worker"), "--create")
	worker.answering(console)

	var sent []sentTrace
	for _, protocol := range []string{"http/protobuf", "grpc"} {
		a := newApp(t, "http://"+door, protocol, "shop "+protocol)
		for range 5 {
			sent = append(sent, a.traffic(t, 20)...)
		}
	}
	w := &local{process: worker, console: "http://" + console}
	s := w.settled(countsOf(sent))
	backend.hasExactly(t, sent)
	endWell(t, worker, "worker is done", "received_spans", s.Received.Spans)
	endWell(t, ingest, "ingest is done", "spans", countsOf(sent).Spans)
}

// hasExactly holds the backend to what it must have of the traces sent: each span of those that are kept, and each log record, once.
func (s *sink) hasExactly(t *testing.T, sent []sentTrace) {
	t.Helper()
	wantSpans, wantLogs := map[string]int{}, map[string]string{}
	keep := expected(t, sent)
	for _, trace := range sent {
		_, kept := keep[trace.ID]
		wantLogs[trace.ID] = fmt.Sprintf("1 records, kept=%v", kept)
		if kept {
			wantSpans[trace.ID] = spansPerCheckout
		}
	}
	if diff := cmp.Diff(wantSpans, s.spanCounts()); diff != "" {
		t.Errorf("spans of each trace at the backend (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(wantLogs, s.verdicts()); diff != "" {
		t.Errorf("log records of each trace at the backend (-want +got):\n%s", diff)
	}
	if s.copies > 0 {
		t.Errorf("%d spans came to the backend more than once", s.copies)
	}
}

// endWell ends a process as Cloud Run does, and holds its last line to what it did.
func endWell(t *testing.T, p *process, message, key string, want int) {
	t.Helper()
	p.signal(syscall.SIGTERM)
	if code := p.wait(patience); code != 0 {
		t.Errorf("%s: exit status %d after SIGTERM, want 0", p.name, code)
	}
	lines := p.err.lines()
	var last map[string]any
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil {
		t.Fatalf("%s: last line: %v: %s", p.name, err, lines[len(lines)-1])
	}
	if last["message"] != message || last[key] != float64(want) {
		t.Errorf("%s: last line %v, want %q with %s=%d", p.name, last, message, key, want)
	}
}

// startEmulator starts Google's Pub/Sub emulator and returns its host:port.
func startEmulator(t *testing.T) string {
	t.Helper()
	need(t, "a Java runtime, such as Debian's default-jre-headless", "java")
	gcloud := need(t, "see https://cloud.google.com/sdk/docs/install", "gcloud")
	root, err := exec.CommandContext(t.Context(), gcloud, "info", "--format=value(installation.sdk_root)").Output()
	if err != nil {
		t.Fatalf("find the Cloud SDK: %v", err)
	}
	program := filepath.Join(strings.TrimSpace(string(root)), "platform", "pubsub-emulator", "bin", "cloud-pubsub-emulator")
	if _, err := os.Stat(program); err != nil {
		missing(t, "Google's Pub/Sub emulator is not installed: gcloud components install pubsub-emulator")
	}
	addr := freeAddr(t)
	host, port, _ := net.SplitHostPort(addr)
	start(t, nil, program, "--host="+host, "--port="+port).answering(addr)
	return addr
}
