package e2e_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// keptAttribute is on every exported log record that belongs to a trace.
const keptAttribute = "tailweir.kept"

// TestGoSDK sends traces of two services and their log records with the Go SDK, by each of its exporters.
func TestGoSDK(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := startLocal(t, "--out", dir)
	protocols := []string{"http/protobuf", "grpc"}
	sent, all := map[string][]sentTrace{}, counts{}
	for _, protocol := range protocols {
		sent[protocol] = newApp(t, l.otlp, protocol, "go "+protocol).traffic(t, 60)
		all = all.plus(countsOf(sent[protocol]))
	}
	s := l.settled(all)
	if s.Kept.Logs != all.Logs {
		t.Errorf("%d log records are kept, want all %d", s.Kept.Logs, all.Logs)
	}
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) { checkGo(t, l, "go "+protocol, sent[protocol]) })
	}
	t.Run("files", func(t *testing.T) { checkFiles(t, dir, append(sent["grpc"], sent["http/protobuf"]...)) })
}

func checkGo(t *testing.T, l *local, service string, sent []sentTrace) {
	for id, k := range l.keptExactly(service, sent) {
		if k.Root != "POST /checkout" || k.Spans != spansPerCheckout || k.Error != (k.Policy == "errors") {
			t.Errorf("trace %s: %+v", id, k)
		}
		if n := len(l.spans(id)); n != spansPerCheckout {
			t.Errorf("trace %s opens with %d spans, want %d", id, n, spansPerCheckout)
		}
		records := l.logs(id)
		if len(records) != 1 {
			t.Errorf("trace %s has %d log records, want 1", id, len(records))
			continue
		}
		if kept, ok := records[0].Attributes().Get(keptAttribute); !ok || !kept.Bool() {
			t.Errorf("trace %s: log record has no %s=true: %v", id, keptAttribute, records[0].Attributes().AsRaw())
		}
	}
}

// checkFiles holds --out to what must be kept: the spans of kept traces, and the log records of all with their verdict.
func checkFiles(t *testing.T, dir string, sent []sentTrace) {
	keep := expected(t, sent)
	spans := map[string]int{}
	for _, span := range spansInFile(t, dir) {
		spans[span.TraceID().String()]++
	}
	records := map[string]plog.LogRecord{}
	for _, r := range recordsInFile(t, dir) {
		records[r.TraceID().String()] = r
	}
	for _, s := range sent {
		_, kept := keep[s.ID]
		want := 0
		if kept {
			want = spansPerCheckout
		}
		if spans[s.ID] != want {
			t.Errorf("%s trace %s: %d spans in the file, want %d", s.Kind, s.ID, spans[s.ID], want)
		}
		r, ok := records[s.ID]
		if !ok {
			t.Errorf("%s trace %s: its log record is not in the file", s.Kind, s.ID)
			continue
		}
		if v, ok := r.Attributes().Get(keptAttribute); !ok || v.Bool() != kept {
			t.Errorf("%s trace %s: log record has %v, want %s=%v", s.Kind, s.ID, r.Attributes().AsRaw(), keptAttribute, kept)
		}
	}
}

func spansInFile(t *testing.T, dir string) (all []ptrace.Span) {
	t.Helper()
	for _, line := range linesOf(t, filepath.Join(dir, "traces.jsonl")) {
		traces, err := (&ptrace.JSONUnmarshaler{}).UnmarshalTraces(line)
		if err != nil {
			t.Fatalf("traces.jsonl: %v: %s", err, line)
		}
		all = append(all, spansOf(traces)...)
	}
	return all
}

func recordsInFile(t *testing.T, dir string) (all []plog.LogRecord) {
	t.Helper()
	for _, line := range linesOf(t, filepath.Join(dir, "logs.jsonl")) {
		logs, err := (&plog.JSONUnmarshaler{}).UnmarshalLogs(line)
		if err != nil {
			t.Fatalf("logs.jsonl: %v: %s", err, line)
		}
		all = append(all, recordsOf(logs)...)
	}
	return all
}

func linesOf(t *testing.T, file string) [][]byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return bytes.FieldsFunc(b, func(r rune) bool { return r == '\n' })
}
