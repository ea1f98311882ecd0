package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tailweir/golden"
	"tailweir/service"
)

// output runs a command and returns what it writes.
func output(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	out, errs := taken(t, &os.Stdout), taken(t, &os.Stderr)
	err = run(t.Context(), args, noEnv)
	return out(), errs(), err
}

// taken takes what is written to a stream, until the returned function gives it.
func taken(t *testing.T, stream **os.File) func() string {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	old := *stream
	*stream = w
	text := make(chan string)
	go func() {
		b, _ := io.ReadAll(r)
		text <- string(b)
	}()
	return func() string {
		*stream = old
		w.Close()
		return <-text
	}
}

func TestCommandsOfFiles(t *testing.T) {
	for name, args := range map[string][]string{
		"decide":         {"decide", "--config", "testdata/policies.yaml", "testdata/shop.jsonl"},
		"decide-strict":  {"decide", "testdata/shop.jsonl", "--config", "testdata/policies.yaml", "--compat", "strict", "--explain"},
		"decide-otelcol": {"decide", "--config", "../../otelcol/testdata/otelcol.yaml", "--processor", "tail_sampling", "testdata/shop.jsonl", "testdata/shop.jsonl"},
		"check":          {"check", "testdata/policies.yaml"},
		"check-otelcol":  {"check", "--from-collector", "../../otelcol/testdata/otelcol.yaml", "--processor", "old", "--compat", "strict"},
	} {
		t.Run(name, func(t *testing.T) {
			stdout, stderr, err := output(t, args...)
			if err != nil {
				t.Fatal(err)
			}
			got := "tailweir " + strings.Join(args, " ") + "\n" + stdout + "--- standard error\n" + stderr
			golden.Check(t, filepath.Join("testdata", name+".golden"), got)
		})
	}
}

// What is printed as effective is a configuration that says the same of itself, and so is what comes of a collector's.
func TestCheckTakesWhatItPrints(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tailweir.yaml")
	for _, args := range [][]string{
		{"check", "testdata/policies.yaml"},
		{"check", "--from-collector", "../../otelcol/testdata/otelcol.yaml", "--processor", "tail_sampling"},
	} {
		first, _, err := output(t, args...)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(first), 0o600); err != nil {
			t.Fatal(err)
		}
		second, _, err := output(t, "check", file)
		if err != nil {
			t.Fatalf("%v: what was printed is refused: %v", args, err)
		}
		if args[1] != "--from-collector" && second != first {
			t.Errorf("%v: effective of what is effective differs:\n%s", args, cmp.Diff(first, second))
		}
	}
}

// A fault in what is checked or read is an error, status 1; what is wrong with the call is a usage error, status 2.
func TestFaultsOfFiles(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	policies, shop := "testdata/policies.yaml", "testdata/shop.jsonl"
	typo := file("typo.yaml", "policies:\n- {name: slow, type: latency, latency: {treshold_ms: 10}}\n")
	bare := file("bare.yaml", "project: p\n")
	cut := file("cut.jsonl", `{"resourceSpans":[`)
	for name, tt := range map[string]struct {
		args  []string
		usage bool
		want  string
	}{
		"no config":              {[]string{"decide", shop}, true, "want --config"},
		"no traces":              {[]string{"decide", "--config", policies}, true, "no traces given"},
		"stdin twice":            {[]string{"decide", "--config", policies, "-", "-"}, true, "- is given twice"},
		"config is not there":    {[]string{"decide", "--config", dir + "/none", shop}, true, "none: no such file"},
		"config with a typo":     {[]string{"decide", "--config", typo, shop}, true, "typo.yaml:2:41: policies[0].latency.treshold_ms"},
		"traces are not there":   {[]string{"decide", "--config", policies, shop, dir + "/none"}, true, "none: no such file"},
		"traces are a directory": {[]string{"decide", "--config", policies, dir}, false, "is a directory"},
		"malformed traces":       {[]string{"decide", "--config", policies, shop, cut}, false, "cut.jsonl:1: the JSON value that begins in line 1 is cut off"},
		"compat of no kind":      {[]string{"decide", "--config", policies, "--compat", "srtict", shop}, true, "unknown value, want strict"},
		"compat of nothing":      {[]string{"decide", "--config", bare, "--compat", "strict", shop}, true, "there are none"},
		"processor of none":      {[]string{"decide", "--config", policies, "--processor", "x", shop}, true, "--processor is for a collector's file"},
		"several processors":     {[]string{"decide", "--config", "../../otelcol/testdata/otelcol.yaml", shop}, true, "choose one with --processor: tail_sampling, tail_sampling/old (in no pipeline)"},
		"window of no time":      {[]string{"check", file("wait.yaml", "decision_wait: 1us\npolicies: [{name: a, type: always_sample}]\n")}, false, "wait.yaml: window.settle (1µs) must be at least 1ms"},
		"check nothing":          {[]string{"check"}, true, "want one file"},
		"check two":              {[]string{"check", policies, typo}, true, "want one file"},
		"check what is absent":   {[]string{"check", dir + "/none"}, true, "none: no such file"},
		"check a typo":           {[]string{"check", typo}, false, `did you mean "threshold_ms"?`},
		"check a collector's":    {[]string{"check", "../../otelcol/testdata/otelcol.yaml"}, true, "want --from-collector ../../otelcol/testdata/otelcol.yaml"},
		"from no collector":      {[]string{"check", "--from-collector", policies}, false, "policies: unknown key"},
		"from one with a choice": {[]string{"check", "--from-collector", "../../otelcol/testdata/otelcol.yaml"}, false, "choose one with --processor"},
		"local with compat only": {[]string{"local", "--compat", "strict"}, true, "want --policies"},
	} {
		t.Run(name, func(t *testing.T) {
			stdout, _, err := output(t, tt.args...)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v, want one with %q", err, tt.want)
			}
			if errors.As(err, new(*service.UsageError)) != tt.usage {
				t.Errorf("usage error %t, want %t: %v", !tt.usage, tt.usage, err)
			}
			if stdout != "" {
				t.Errorf("writes %q", stdout)
			}
		})
	}
}

func TestDecideStopsAtAnInterrupt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := run(ctx, []string{"decide", "--config", "testdata/policies.yaml", "testdata/shop.jsonl"}, noEnv)
	if err == nil || !strings.Contains(err.Error(), "testdata/shop.jsonl: interrupted") {
		t.Errorf("error %v", err)
	}
}

// The window of tailweir local follows the options in the file of --policies, but for the flags that are given.
func TestLocalFollowsOptions(t *testing.T) {
	o, err := localFlags([]string{"--policies", "testdata/policies.yaml", "--settle", "2s", "--compat", "strict"})
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := o.config()
	if err != nil {
		t.Fatal(err)
	}
	w := cfg.Window
	if got := []string{w.Settle.String(), w.Idle.String(), w.MaxAge.String()}; cmp.Diff([]string{"2s", "20s", "20s"}, got) != "" {
		t.Errorf("settle, idle and max_age %v, want 2s 20s 20s", got)
	}
	if !cfg.Compiled.Strict() {
		t.Error("the policies are not strict")
	}
	want := []string{"the window follows: window.idle = 20s, window.max_age = 20s", "decision_wait 20s does not count: window.settle is 2s"}
	if diff := cmp.Diff(want, cfg.Warnings); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
}

func TestProgressBar(t *testing.T) {
	var out bytes.Buffer
	p := &progress{out: &out, total: 2e6}
	p.add(1e6, 7)
	p.end()
	if got, want := out.String(), "\r\x1b[K[===============               ]  50 %, 1.0 MB, 7 traces\r\x1b[K"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := (&progress{done: 5e6}).bar(3), "5.0 MB, 3 traces"; got != want {
		t.Errorf("of unknown size %q, want %q", got, want)
	}
}

// docs/decide.md shows what is printed.
func TestDocsShowWhatIsPrinted(t *testing.T) {
	read := func(file string) string {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	doc := read("../../docs/decide.md")
	_, decided, _ := strings.Cut(read("testdata/decide.golden"), "\n")
	_, effective, _ := strings.Cut(read("testdata/check.golden"), "window:\n")
	effective, _, _ = strings.Cut(effective, "hold:")
	for name, text := range map[string]string{
		"policies": read("testdata/policies.yaml"), "decide": strings.Replace(decided, "--- standard error\n", "", 1),
		"collector": read("../../otelcol/testdata/otelcol.yaml"), "carried": read("../../otelcol/testdata/tailweir.golden"),
		"lost": read("../../otelcol/testdata/lost.golden"), "check": effective,
	} {
		if !strings.Contains(doc, text) {
			t.Errorf("docs/decide.md does not show %s:\n%s", name, text)
		}
	}
	stdout, _, err := output(t, "decide", "--config", "testdata/policies.yaml", "--explain", "testdata/shop.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	for _, why := range []string{
		`lasted 1.730000125s, want more than 1s`, `randomness ce929d0e0e4736 < threshold e6660000000000`,
		`and(yes: a span or its resource has attribute("http.route" in["/healthz"]))`,
	} {
		if !strings.Contains(doc, why) || !strings.Contains(strings.ReplaceAll(stdout, `\"`, `"`), why) {
			t.Errorf("docs/decide.md or --explain lacks %s", why)
		}
	}
}
