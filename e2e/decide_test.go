package e2e_test

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// decided is a line of tailweir decide.
type decided struct {
	Trace    string  `json:"trace_id"`
	Decision string  `json:"decision"`
	Policy   string  `json:"policy"`
	Spans    int     `json:"spans"`
	Took     float64 `json:"duration_ms"`
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const asByDefault = `policies:
- {name: errors, type: status_code, status_code: {status_codes: [ERROR]}}
- {name: slow, type: latency, latency: {threshold_ms: 1000}}
- {name: rest, type: probabilistic, probabilistic: {sampling_percentage: 10}}
`

// TestDecideAgrees: what tailweir local kept, tailweir decide keeps, of the same file.
func TestDecideAgrees(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := startLocal(t, "--out", dir)
	sent := newApp(t, l.otlp, "http/protobuf", "shop").traffic(t, 60)
	l.signal(syscall.SIGINT)
	if code := l.wait(patience); code != 0 {
		t.Fatalf("exit status %d, want 0", code)
	}
	p := start(t, nil, command("tailweir"), "decide", "--config", writeFile(t, "p.yaml", asByDefault), filepath.Join(dir, "traces.jsonl"), filepath.Join(dir, "logs.jsonl"))
	if code := p.wait(patience); code != 0 {
		t.Fatalf("exit status %d, want 0: %s", code, p.err.String())
	}
	keep := expected(t, sent)
	lines := p.out.lines()
	if len(lines) != len(keep) {
		t.Errorf("%d lines, want one for each of the %d kept traces", len(lines), len(keep))
	}
	for _, line := range lines {
		var d decided
		if err := json.Unmarshal([]byte(line), &d); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if d.Decision != "keep" || d.Policy == "" || d.Spans != spansPerCheckout || d.Took <= 0 {
			t.Errorf("kept before, now %+v", d)
		}
	}
}

// manyTraces is n lines of OTLP JSON.
func manyTraces(w io.Writer, n int) {
	for i := range n {
		fmt.Fprintf(w, `{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"%032x","spanId":"%016x","startTimeUnixNano":"1","endTimeUnixNano":"2"}]}]}]}`+"\n", i+1, i+1)
	}
}

// TestDecideIsAFilter: standard input in any form, and a reader that has seen enough, is a good end.
func TestDecideIsAFilter(t *testing.T) {
	t.Parallel()
	const traces = 5000 // far more lines than a pipe holds
	cmd := exec.CommandContext(t.Context(), command("tailweir"), "decide", "--config", writeFile(t, "p.yaml", asByDefault), "-")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var errs strings.Builder
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(in)
	manyTraces(z, traces)
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	in.Close()
	first, err := bufio.NewReader(out).ReadString('\n')
	if want := fmt.Sprintf(`{"trace_id":"%032x","decision":"drop","policy":"","spans":1,"duration_ms":0.000001}`+"\n", 1); first != want || err != nil {
		t.Errorf("first line %q, %v, want %q", first, err, want)
	}
	out.Close()
	if err := cmd.Wait(); err != nil {
		t.Errorf("ends with %v", err)
	}
	if !strings.Contains(errs.String(), fmt.Sprintf("total                 %d", traces)) {
		t.Errorf("no summary of %d traces in:\n%s", traces, errs.String())
	}
}

// TestFileCommandsStatus: 0, 1 for a fault in what is checked or read, 2 for a call that cannot be.
func TestFileCommandsStatus(t *testing.T) {
	t.Parallel()
	good, bad := writeFile(t, "good.yaml", asByDefault), writeFile(t, "bad.yaml", "policies: [{name: x, type: latancy}]\n")
	for _, tt := range []struct {
		args []string
		code int
		want string // on standard error
	}{
		{[]string{"check", good}, 0, ""},
		{[]string{"check", bad}, 1, bad + ":1:28: policies[0].type: unknown value \"latancy\", did you mean \"latency\"?"},
		{[]string{"check"}, 2, "want one file"},
		{[]string{"decide", "--config", good, good}, 1, good + ": byte 0: neither OTLP JSON nor OTLP protobuf"},
		{[]string{"decide", "--config", bad, good}, 2, "latancy"},
	} {
		p := start(t, nil, command("tailweir"), tt.args...)
		if code := p.wait(patience); code != tt.code || !strings.Contains(p.err.String(), tt.want) {
			t.Errorf("%v: exit status %d, want %d and %q in:\n%s", tt.args, code, tt.code, tt.want, p.err.String())
		}
	}
}
