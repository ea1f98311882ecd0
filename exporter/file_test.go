package exporter

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"tailweir/otlp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func openFile(t *testing.T, dir string) *File {
	t.Helper()
	f, err := NewFile(FileConfig{Dir: dir, Logger: silent})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func read(t *testing.T, path ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestFileGolden(t *testing.T) {
	dir := t.TempDir()
	for range 2 { // the second opening appends
		f := openFile(t, dir)
		for _, b := range []*Batch{traceBatch(t, 2, 1, 2), logBatch(t, 1, "line\nbreak", "ünï"), {Signal: otlp.Traces}} {
			if err := f.Export(t.Context(), b); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"traces.jsonl", "logs.jsonl"} {
		got := read(t, dir, name)
		golden := filepath.Join("testdata", name)
		if *update {
			if err := errors.Join(os.MkdirAll("testdata", 0o755), os.WriteFile(golden, got, 0o644)); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(string(read(t, golden)), string(got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// What pdata reads back from the golden files is what was exported.
func TestFileReadBack(t *testing.T) {
	lines := bytes.SplitAfter(read(t, "testdata", "traces.jsonl"), []byte("\n"))
	if len(lines) != 3 || len(lines[2]) != 0 {
		t.Fatalf("%d lines, want 2 with an end each", len(lines)-1)
	}
	for _, line := range lines[:2] {
		td, err := (&ptrace.JSONUnmarshaler{}).UnmarshalTraces(line)
		if err != nil {
			t.Fatal(err)
		}
		got, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(td)
		if err != nil || !bytes.Equal(got, traceBatch(t, 2, 1, 2).Payload) {
			t.Errorf("traces line reads back differently (%v)", err)
		}
	}
	for line := range bytes.Lines(read(t, "testdata", "logs.jsonl")) {
		ld, err := (&plog.JSONUnmarshaler{}).UnmarshalLogs(line)
		if err != nil {
			t.Fatal(err)
		}
		got, err := (&plog.ProtoMarshaler{}).MarshalLogs(ld)
		if err != nil || !bytes.Equal(got, logBatch(t, 1, "line\nbreak", "ünï").Payload) {
			t.Errorf("logs line reads back differently (%v)", err)
		}
	}
}

func TestFileTornLine(t *testing.T) {
	long := `{"a":"` + string(bytes.Repeat([]byte("x"), 200<<10)) // longer than a read of the search
	tests := []struct{ name, before, after string }{
		{"empty", "", ""},
		{"whole", "{}\n{}\n", "{}\n{}\n"},
		{"torn", "{}\n{\"resourceSpans\":[", "{}\n"},
		{"torn long", "{}\n" + long, "{}\n"},
		{"torn first", "{\"resou", ""},
		{"whole without an end", "{}\n{\"b\":1}", "{}\n{\"b\":1}\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "traces.jsonl"), []byte(tt.before), 0o644); err != nil {
				t.Fatal(err)
			}
			f := openFile(t, dir)
			defer f.Close()
			if got := string(read(t, dir, "traces.jsonl")); got != tt.after {
				t.Fatalf("after opening: %d bytes, want %d", len(got), len(tt.after))
			}
			if err := f.Export(t.Context(), traceBatch(t, 1, 1)); err != nil {
				t.Fatal(err)
			}
			got := read(t, dir, "traces.jsonl")
			if !bytes.HasPrefix(got, []byte(tt.after+"{\"resourceSpans\"")) || !bytes.HasSuffix(got, []byte("}\n")) {
				t.Errorf("after export: %.60q", got)
			}
		})
	}
}

func TestFileConcurrent(t *testing.T) {
	f, err := NewFile(FileConfig{Dir: filepath.Join(t.TempDir(), "new", "dir"), Sync: true, Logger: silent})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 20 {
		b := traceBatch(t, 3, i+1)
		wg.Go(func() {
			if err := f.Export(t.Context(), b); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for line := range bytes.Lines(read(t, f.traces.path)) {
		td, err := (&ptrace.JSONUnmarshaler{}).UnmarshalTraces(line)
		if err != nil {
			t.Fatal(err)
		}
		seen[td.ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0).TraceID().String()] = true
	}
	if len(seen) != 20 {
		t.Errorf("%d traces in the file, want 20", len(seen))
	}
}

func TestFileErrors(t *testing.T) {
	f := openFile(t, t.TempDir())
	var pe *PermanentError
	if err := f.Export(t.Context(), &Batch{Signal: otlp.Traces, Items: 1, Payload: []byte{1}}); !errors.As(err, &pe) {
		t.Errorf("malformed payload: %v, want a PermanentError", err)
	}
	if err := f.Export(t.Context(), &Batch{Signal: otlp.Metrics, Items: 1, Payload: []byte{10, 0}}); !errors.As(err, &pe) {
		t.Errorf("metrics: %v, want a PermanentError", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Export(context.Background(), traceBatch(t, 1, 1)); !errors.Is(err, os.ErrClosed) || errors.As(err, &pe) {
		t.Errorf("after Close: %v, want os.ErrClosed at once", err)
	}
	for _, c := range []FileConfig{{}, {Dir: "d", MaxBackoff: 1}, {Dir: filepath.Join("file_test.go", "d")}} {
		if _, err := NewFile(c); err == nil {
			t.Error(fmt.Sprintf("%+v", c), "was accepted")
		}
	}
}
