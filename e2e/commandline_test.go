package e2e_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestUsageErrors: what the user can mend is said in one line, with exit status 2, before anything is served.
func TestUsageErrors(t *testing.T) {
	t.Parallel()
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { busy.Close() }) // after the parallel subtests
	taken := busy.Addr().String()
	policies := filepath.Join(t.TempDir(), "policies.yaml")
	text := "policies:\n  - name: slow\n    type: latency\n    latency:\n      treshold_ms: 1000\n"
	if err := os.WriteFile(policies, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		flags []string
		want  []string
	}{
		{"otlp port taken", []string{"--otlp", taken}, []string{taken, "in use"}},
		{"grpc port taken", []string{"--otlp-grpc", taken}, []string{taken, "in use"}},
		{"console port taken", []string{"--console", taken}, []string{taken, "in use"}},
		{"console not on loopback", []string{"--console", "0.0.0.0:0"}, []string{"0.0.0.0:0", "loopback"}},
		{"misspelt policy key", []string{"--policies", policies}, []string{policies + ":5:7: ", "latency.treshold_ms", `"threshold_ms"`}},
		{"no policies file", []string{"--policies", policies + ".absent"}, []string{policies + ".absent", "no such file"}},
		{"unknown flag", []string{"--settel", "3s"}, []string{"settel"}},
		{"bad value", []string{"--settle", "soon"}, []string{"settle", `"soon"`}},
		{"impossible value", []string{"--settle", "-1s"}, []string{"--settle"}},
		{"stray argument", []string{"now"}, []string{`"now"`}},
		{"out is a file", []string{"--out", policies}, []string{policies}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			args := append([]string{"local", "--otlp", "127.0.0.1:0", "--otlp-grpc", "127.0.0.1:0", "--console", "127.0.0.1:0"}, tt.flags...)
			p := start(t, nil, command("tailweir"), args...)
			if code := p.wait(patience); code != 2 {
				t.Errorf("exit status %d, want 2", code)
			}
			if out := p.out.String(); out != "" {
				t.Errorf("writes to standard output: %s", out)
			}
			stderr := p.err.String()
			if strings.Count(stderr, "\n") != 1 || !strings.HasPrefix(stderr, "tailweir: ") {
				t.Errorf("standard error is not one line of tailweir's: %q", stderr)
			}
			for _, want := range tt.want {
				if !strings.Contains(stderr, want) {
					t.Errorf("standard error lacks %q: %q", want, stderr)
				}
			}
		})
	}
}

// TestInterrupt: Ctrl-C decides what waits in the window, says so, and ends well.
func TestInterrupt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := startLocal(t, "--settle", "60s", "--idle", "90s", "--max-age", "120s", "--out", dir)
	sent := newApp(t, l.otlp, "http/protobuf", "shop").traffic(t, 20)
	all := countsOf(sent)
	await(t, "all waits in the window", func() string {
		s := l.stats()
		if s.InFlight.Spans == all.Spans && s.InFlight.Logs == all.Logs {
			return ""
		}
		return fmt.Sprintf("in flight %+v of %+v", s.InFlight, all)
	})
	if kept := l.traces(); len(kept) > 0 {
		t.Fatalf("decided before the interrupt: %v", kept)
	}
	l.signal(syscall.SIGINT)
	if code := l.wait(patience); code != 0 {
		t.Errorf("exit status %d, want 0", code)
	}
	lines := l.out.lines()
	keep := expected(t, sent)
	want := fmt.Sprintf("Done. Received %d spans of %d traces and %d log records; kept %d traces (%d spans, %d log records), dropped %d traces (%d spans).",
		all.Spans, len(sent), all.Logs, len(keep), len(keep)*spansPerCheckout, all.Logs, len(sent)-len(keep), (len(sent)-len(keep))*spansPerCheckout)
	if last := lines[len(lines)-1]; last != want {
		t.Errorf("last line:\n%s\nwant\n%s", last, want)
	}
	checkFiles(t, dir, sent)
}

// TestSecondInterrupt: who cannot wait for a backend that is away ends the process at once.
func TestSecondInterrupt(t *testing.T) {
	t.Parallel()
	l := startLocal(t, "--otlp-endpoint", "http://"+freeAddr(t))
	newApp(t, l.otlp, "http/protobuf", "shop").traffic(t, 20)
	await(t, "something waits for the backend", func() string {
		if s := l.stats(); s.Exporting == 0 {
			return fmt.Sprintf("%+v", s)
		}
		return ""
	})
	l.signal(syscall.SIGINT)
	time.Sleep(time.Second) // it finishes what is decided
	if why := l.exited(); why != "" {
		t.Fatalf("did not wait for the backend: %s", why)
	}
	begun := time.Now()
	l.signal(syscall.SIGINT)
	if l.wait(patience); time.Since(begun) > 3*time.Second {
		t.Errorf("ended %v after the second signal", time.Since(begun))
	}
}
