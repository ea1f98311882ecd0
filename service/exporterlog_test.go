package service

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"tailweir/exporter"
	"tailweir/otlp"
)

// With several exporters each line about one says which, and a time to wait is one that people read.
func TestLogNamesTheExporter(t *testing.T) {
	cfg := Default()
	if err := cfg.Parse("w.yaml", []byte("exporters: [{type: otlp, endpoint: 'http://localhost:1/a'}, {type: otlp, endpoint: 'grpc://localhost:1'}]\n")); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := &Worker{cfg: cfg, opts: WorkerOptions{Log: CloudLog(&out)}}
	if err := w.openExporters(); err != nil {
		t.Fatal(err)
	}
	for _, x := range w.exporters {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		if err := x.Export(ctx, &exporter.Batch{Signal: otlp.Traces, Payload: spanPayload(1, 1, true, true), Items: 1}); err == nil {
			t.Error("an export to a closed port works")
		}
		cancel()
	}
	if err := w.closeExporters(); err != nil {
		t.Error(err)
	}
	retries := map[string]string{}
	for line := range strings.Lines(out.String()) {
		var l struct{ Message, Exporter, Wait string }
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Errorf("%v: %s", err, line)
		}
		if l.Message == "export is retried" {
			retries[l.Exporter] = l.Wait
		}
	}
	for _, name := range []string{"otlp http://localhost:1/a", "otlp grpc://localhost:1"} {
		if d, err := time.ParseDuration(retries[name]); err != nil || d <= 0 {
			t.Errorf("%s: wait %q (%v)\n%s", name, retries[name], err, out.String())
		}
	}
}

func TestCloudLogDurations(t *testing.T) {
	var out bytes.Buffer
	CloudLog(&out).Warn("m", "wait", 1234567890*time.Nanosecond, slog.Group("g", "wait", time.Hour))
	if got := out.String(); !strings.Contains(got, `"wait":"1.235s"`) || !strings.Contains(got, `"wait":"1h0m0s"`) {
		t.Error(got)
	}
}
