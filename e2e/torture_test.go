package e2e_test

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The short form of make torture: processes are killed and stopped, the sequencer first, workers come and go, Pub/Sub fails,
// and every acknowledged span has its outcome, once. Which faults strike is a function of the seed.
func TestTorture(t *testing.T) {
	t.Parallel()
	torture(t, "2 rounds, 4 workers", "--rounds", "2", "--jobs", "2", "--workers", "4", "--length", "12s", "--seed", "4")
}

// The same with fakes of Google's APIs at the end, which have quotas, refuse entries, answer after the deed, and are restarted in
// the midst of requests.
func TestTortureGoogle(t *testing.T) {
	for seed, sinks := range map[string]string{"7": "telemetry,cloudlogging", "9": "cloudtrace,cloudlogging"} {
		t.Run(sinks, func(t *testing.T) {
			t.Parallel()
			torture(t, "1 rounds, 2 workers", "--rounds", "1", "--workers", "2", "--length", "12s", "--seed", seed, "--sink", sinks)
		})
	}
}

func torture(t *testing.T, what string, args ...string) {
	t.Helper()
	p := startIn(t, "..", bench(t), append([]string{"torture"}, args...)...)
	code := p.wait(12 * time.Minute)
	lines := p.out.lines()
	if len(lines) == 0 {
		t.Fatalf("exit status %d, and not a word", code)
	}
	last := lines[len(lines)-1]
	t.Log(p.out.String())
	if code != 0 || !regexp.MustCompile(`^torture: `+what+`, [1-9]\d* acked spans, [1-9]\d* kept traces, 0 lost, 0 split, 0 invented, \d+ duplicates, [1-9]\d* redelivered$`).MatchString(last) {
		t.Errorf("exit status %d, last line %q\n%s", code, last, p.err.String())
	}
}

// The backend is away for 60 s under load, and the worker has memory for a fraction of it.
func TestOutage(t *testing.T) {
	t.Parallel()
	program := bench(t)
	p := startIn(t, "..", program, "outage", "--rate", "3000", "--hold", "40")
	code := p.wait(8 * time.Minute)
	t.Log(p.out.String())
	if code != 0 || !strings.Contains(p.out.String(), ", 0 lost, 0 split, 0 invented, 0 unexpected, 0 duplicate spans") {
		t.Errorf("exit status %d\n%s", code, p.err.String())
	}
}

func bench(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "bench")
	build := startIn(t, "..", "go", "build", "-o", program, "./bench")
	build.finish(5 * time.Minute)
	return program
}
