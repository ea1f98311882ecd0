package compare

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestCommand has `tailweir decide --compat strict` decide the corpus, as a user would: its lines are the collector's answers.
func TestCommand(t *testing.T) {
	tailweir := filepath.Join(t.TempDir(), "tailweir")
	build := exec.Command("go", "build", "-o", tailweir, "./cmd/tailweir")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	cases, err := filepath.Glob(filepath.Join(corpus, "*"))
	if err != nil || len(cases) < 100 {
		t.Fatalf("%d cases in %s, want 100 and more (%v)", len(cases), corpus, err)
	}
	type line struct {
		TraceID  string `json:"trace_id"`
		Decision string `json:"decision"`
		Policy   string `json:"policy"`
	}
	for _, dir := range cases {
		want, err := os.ReadFile(filepath.Join(dir, "answers.jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		run := exec.Command(tailweir, "decide", "--compat", "strict", "--config", filepath.Join(dir, "config.yaml"), filepath.Join(dir, "traces.jsonl"))
		got, err := run.Output()
		if err != nil {
			t.Errorf("%s: %v", dir, err)
			continue
		}
		lines := func(text []byte) (all []line) {
			for dec := json.NewDecoder(bytes.NewReader(text)); dec.More(); {
				var l line
				if err := dec.Decode(&l); err != nil {
					t.Fatalf("%s: %v", dir, err)
				}
				if l.Policy == "maximum_trace_size_bytes" { // the collector names nobody
					l.Policy = ""
				}
				all = append(all, l)
			}
			return all
		}
		if diff := cmp.Diff(lines(want), lines(got)); diff != "" {
			t.Errorf("%s: -collector +tailweir\n%s", dir, diff)
		}
	}
}
