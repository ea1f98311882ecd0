package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"tailweir/service"
)

func noEnv(string) string { return "" }

// Everything that is the user's to mend is a UsageError that says what, before anything has started.
func TestUsageErrors(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().String()
	free := []string{"local", "--otlp", "127.0.0.1:0", "--otlp-grpc", "127.0.0.1:0", "--console", "127.0.0.1:0"}
	local := func(more ...string) []string { return append(free[:len(free):len(free)], more...) }
	typo := file("typo.yaml", "policies:\n- {name: slow, type: latency, latency: {treshold_ms: 10}}\n")
	noYAML := file("no.yaml", "policies: [\n")
	for name, tc := range map[string]struct {
		args []string
		want string // in the text
	}{
		"no command":           {nil, "no command given"},
		"unknown command":      {[]string{"lcoal"}, `unknown command "lcoal"`},
		"unknown flag":         {local("--setle", "1s"), "setle"},
		"flag without value":   {local("--settle"), "settle"},
		"no duration":          {local("--settle", "soon"), `"soon"`},
		"stray argument":       {local("now"), `unexpected argument "now"`},
		"idle below settle":    {local("--settle", "5s", "--idle", "1s"), "--idle"},
		"max age below idle":   {local("--max-age", "1s"), "--max-age"},
		"settle of zero":       {local("--settle", "-1s"), "--settle"},
		"metrics to nowhere":   {local("--metrics"), "want --otlp-endpoint"},
		"no policies file":     {local("--policies", filepath.Join(dir, "none.yaml")), "none.yaml"},
		"policies with a typo": {local("--policies", typo), "typo.yaml:2:"},
		"no YAML":              {local("--policies", noYAML), "no.yaml:"},
		"taken OTLP port":      {local("--otlp", port), port},
		"taken gRPC port":      {local("--otlp-grpc", port), port},
		"taken console port":   {local("--console", port), port},
		"console for all":      {local("--console", "0.0.0.0:0"), "loopback"},
		"no address":           {local("--otlp", "4318"), "4318"},
		"endpoint of no kind":  {local("--otlp-endpoint", "ftp://localhost:1"), "ftp"},
		"out is a file":        {local("--out", typo), "typo.yaml"},
		"broker's port":        {[]string{"broker", "--listen", port}, port},
		"broker's flag":        {[]string{"broker", "--port", "1"}, "port"},
		"fleet's time":         {[]string{"fleet", "--since", "soon"}, `"soon"`},
		"fleet of no project":  {[]string{"fleet"}, "GOOGLE_CLOUD_PROJECT"},
		"ingest of no project": {[]string{"ingest"}, "GOOGLE_CLOUD_PROJECT"},
		"worker's flag":        {[]string{"worker", "--force"}, "worker --help"},
		"version of what":      {[]string{"version", "worker"}, `"worker"`},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			err := run(ctx, tc.args, noEnv)
			var usage *service.UsageError
			if !errors.As(err, &usage) {
				t.Fatalf("error %v, want a UsageError", err)
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %q does not say %q", err, tc.want)
			}
			if lines := strings.Count(err.Error(), "\n"); lines > 0 && !strings.Contains(tc.want, "command") {
				t.Errorf("error has %d lines, want one: %s", lines+1, err)
			}
		})
	}
}

func TestHelpIsNoError(t *testing.T) {
	for _, args := range [][]string{{"help"}, {"--help"}, {"local", "--help"}, {"broker", "-h"}, {"fleet", "--help"}} {
		out := capture(t)
		err := run(t.Context(), args, noEnv)
		if text := out.end(); err != nil || !strings.Contains(text, "usage: tailweir") {
			t.Errorf("%v: %v, %q", args, err, text)
		}
	}
}

// printed is what the command writes to standard output.
type printed struct {
	t    *testing.T
	old  *os.File
	w    *os.File
	done chan struct{}

	mu   sync.Mutex // guards text
	text bytes.Buffer
}

// capture takes standard output until end.
func capture(t *testing.T) *printed {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := &printed{t: t, old: os.Stdout, w: w, done: make(chan struct{})}
	os.Stdout = w
	go func() {
		defer close(p.done)
		_, _ = io.Copy(p, r)
	}()
	return p
}

func (p *printed) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(b)
}

func (p *printed) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

func (p *printed) end() string {
	os.Stdout = p.old
	p.w.Close()
	<-p.done
	return p.String()
}

var otlpLine = regexp.MustCompile(`OTEL_EXPORTER_OTLP_ENDPOINT=(http://\S+)`)
var consoleLine = regexp.MustCompile(`console +(http://\S+)`)

// The whole product in one process: spans in by HTTP, Ctrl-C, and what was in the window is decided, exported and
// reported.
func TestLocalDecidesItsWindowAtTheEnd(t *testing.T) {
	dir := t.TempDir()
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	out := capture(t)
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"local", "--otlp", "127.0.0.1:0", "--otlp-grpc", "127.0.0.1:0", "--console", "127.0.0.1:0",
			"--out", dir, "--settle", "1m", "--idle", "1m", "--max-age", "2m"}, noEnv)
	}()
	find := func(line *regexp.Regexp) string {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			if m := line.FindStringSubmatch(out.String()); m != nil {
				return m[1]
			}
		}
		t.Fatalf("not printed within 10s: %s in %q", line, out)
		return ""
	}
	endpoint, page := find(otlpLine), find(consoleLine)
	for n := byte(1); n <= 10; n++ {
		post(t, endpoint+"/v1/traces", tracePayload(t, n, n <= 3))
	}
	// Read is not decided: the window holds all ten for a minute.
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if stats := get(t, page+"/api/stats"); strings.Contains(stats, `"in_flight":{"spans":10,"traces":10,"logs":0}`) {
			break
		} else if time.Now().After(end) {
			t.Fatalf("the worker does not hold ten spans: %s", stats)
		}
	}
	interrupt()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("ended with %v", err)
		}
	case <-time.After(15 * time.Second):
		t.Fatal("did not end within 15s of the interrupt")
	}
	text := out.end()
	// Trace ids 1 to 10 have small randomness: the 10 % of the rest keeps none of them.
	if want := "Received 10 spans of 10 traces and 0 log records; kept 3 traces (3 spans, 0 log records), dropped 7 traces (7 spans)."; !strings.Contains(text, want) {
		t.Errorf("the report lacks %q:\n%s", want, text)
	}
	if strings.Contains(text, "Not everything") {
		t.Errorf("the report says that something was left:\n%s", text)
	}
	b, err := os.ReadFile(filepath.Join(dir, "traces.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= 10; n++ {
		if got := bytes.Contains(b, fmt.Appendf(nil, "%032x", n)); got != (n <= 3) {
			t.Errorf("trace %d in the file: %v, want %v", n, got, n <= 3)
		}
	}
	if _, err := net.DialTimeout("tcp", strings.TrimPrefix(endpoint, "http://"), time.Second); err == nil {
		t.Error("the OTLP port is still open")
	}
}

func post(t *testing.T, url string, body []byte) {
	t.Helper()
	resp, err := http.Post(url, "application/x-protobuf", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("POST %s: %s", url, resp.Status)
	}
}

func get(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func tracePayload(t *testing.T, n byte, bad bool) []byte {
	t.Helper()
	td := ptrace.NewTraces()
	s := td.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans().AppendEmpty()
	s.SetTraceID(pcommon.TraceID{15: n})
	s.SetSpanID(pcommon.SpanID{7: n})
	s.SetName("GET /")
	s.SetStartTimestamp(1_000_000)
	s.SetEndTimestamp(2_000_000)
	if bad {
		s.Status().SetCode(ptrace.StatusCodeError)
	}
	b, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(td)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
