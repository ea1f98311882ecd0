package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestTelemetrygen sends a million spans and a hundred thousand log records from the collector project's generator, and
// wants every one of them accounted for.
func TestTelemetrygen(t *testing.T) {
	if os.Getenv("CI") != "true" && os.Getenv("TAILWEIR_E2E_ALL") != "1" {
		t.Skip("skipped: it builds and sends for minutes; set TAILWEIR_E2E_ALL=1")
	}
	generator := buildTelemetrygen(t)
	// Log records of a trace whose spans never come wait for max-age.
	l := startLocal(t, "--max-age", "10s")
	endpoint := strings.TrimPrefix(l.otlp, "http://")
	var sent counts
	begin := time.Now()
	for _, r := range telemetrygenRuns {
		args := append(strings.Fields(r.args), "--otlp-insecure", "--rate=0", "--otlp-endpoint="+endpoint)
		// The generator outruns any exporter, and the SDK inside it drops what its queue cannot hold: the queue holds it all.
		env := []string{"OTEL_BSP_MAX_QUEUE_SIZE=" + strconv.Itoa(max(1, r.sends.Spans))}
		start(t, env, generator, args...).finish(3 * time.Minute)
		sent = sent.plus(r.sends)
		s := l.stats()
		t.Logf("%-6v %s: received %+v, in flight %+v", time.Since(begin).Round(100*time.Millisecond), r.args, s.Received, s.InFlight)
	}
	s := l.settled(sent)
	t.Logf("%v for %d spans and %d log records, all decided", time.Since(begin).Round(100*time.Millisecond), sent.Spans, sent.Logs)
	if s.DeadLettered != (counts{}) || s.Returned != (counts{}) {
		t.Errorf("dead-lettered %+v, returned %+v, want none", s.DeadLettered, s.Returned)
	}
	if s.Kept.Logs != sent.Logs {
		t.Errorf("%d log records are kept, want all %d", s.Kept.Logs, sent.Logs)
	}
	if errors := s.ByPolicy["errors"].Kept.Spans; errors != failedSpans {
		t.Errorf("the errors policy kept %d spans, want %d", errors, failedSpans)
	}
	// One in ten of the 100,000 other traces, of 10 spans each; the bounds are more than 5 standard deviations wide.
	if rest := s.ByPolicy["rest"].Kept.Spans; rest < 95_000 || rest > 105_000 {
		t.Errorf("the 10 %% policy kept %d of 1,000,000 spans", rest)
	}
}

const failedSpans = 10_000

var telemetrygenRuns = []struct {
	args  string
	sends counts
}{
	{"traces --workers=2 --traces=12500 --child-spans=9 --status-code=Ok --batch-size=512", counts{Spans: 250_000}},
	{"traces --workers=2 --traces=12500 --child-spans=9 --status-code=Unset --otlp-http --batch-size=512", counts{Spans: 250_000}},
	{"traces --workers=2 --traces=500 --child-spans=9 --status-code=Error", counts{Spans: failedSpans}},
	{"logs --workers=2 --logs=25000 --batch-size=256", counts{Logs: 50_000}},
	{"traces --workers=1 --traces=25000 --child-spans=9 --status-code=Ok", counts{Spans: 250_000}},
	{"traces --workers=4 --traces=6250 --child-spans=9 --otlp-http --batch-size=1024", counts{Spans: 250_000}},
	{"logs --workers=1 --logs=50000 --batch-size=256 --otlp-http --trace-id=4bf92f3577b34da6a3ce929d0e0e4736 --span-id=00f067aa0ba902b7", counts{Logs: 50_000}},
}

func buildTelemetrygen(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "telemetrygen")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "github.com/open-telemetry/opentelemetry-collector-contrib/cmd/telemetrygen")
	build.Dir = "telemetrygen"
	begin := time.Now()
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build telemetrygen: %v\n%s", err, out)
	}
	t.Logf("built telemetrygen in %v", time.Since(begin).Round(time.Second))
	return program
}
