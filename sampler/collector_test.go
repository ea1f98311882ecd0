package sampler

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"go.opentelemetry.io/collector/pdata/ptrace"

	"tailweir/otlp"
)

// said is a line of a case's answers.jsonl: what the collector's tail_sampling, v0.161.0, said of a trace, and by which
// row of docs/policies.md the default mode says something else.
type said struct {
	TraceID  string `json:"trace_id"`
	Decision string `json:"decision"`
	Policy   string `json:"policy"`
	Row      string `json:"row"`
}

// The corpus that the module compare leaves of the collector's answers: compat: strict gives all of them, the default mode
// those without a row.
func TestCollectorCorpus(t *testing.T) {
	dirs, err := filepath.Glob("testdata/collector/*")
	if err != nil || len(dirs) < 60 {
		t.Fatalf("%d cases (%v), want at least 60", len(dirs), err)
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			config, err := os.ReadFile(filepath.Join(dir, "config.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			strict := decideCorpus(t, dir, "compat: strict\n"+string(config))
			mended := decideCorpus(t, dir, string(config))
			for i, line := range corpusLines(t, dir, "answers.jsonl") {
				var want said
				if err := json.Unmarshal(line, &want); err != nil {
					t.Fatal(err)
				}
				row := want.Row
				want.Row = ""
				if strict[i] != want {
					t.Errorf("strict: got %+v, want %+v", strict[i], want)
				}
				if differs := mended[i] != want; differs != (row != "") {
					t.Errorf("default mode: got %+v, the collector %+v, row %q", mended[i], want, row)
				}
			}
		})
	}
}

func corpusLines(t *testing.T, dir, name string) [][]byte {
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Split(bytes.TrimSpace(text), []byte("\n"))
}

// decideCorpus decides the traces of a case in one tick, in order of first appearance.
func decideCorpus(t *testing.T, dir, config string) (verdicts []said) {
	p := mustParse(t, config)
	o, at, batch := p.NewObserver(), map[otlp.TraceID]int{}, []Candidate{}
	for _, line := range corpusLines(t, dir, "traces.jsonl") {
		pl := scanJSON(t, line)
		o.Reset(pl)
		for _, g := range pl.Groups() {
			f := o.Fold(g)
			if i, known := at[g.Trace]; known {
				batch[i].Facts.Merge(&f)
				continue
			}
			at[g.Trace] = len(batch)
			batch = append(batch, Candidate{g.Trace, &f})
		}
	}
	for i, d := range p.NewDecider().Decide(nil, batch, 1_000_000) {
		v := said{TraceID: batch[i].Trace.String(), Decision: "drop", Policy: d.Policy}
		if d.Keep {
			v.Decision = "keep"
		}
		if d.Policy == keyMaxTrace { // to the collector that is no policy
			v.Policy = ""
		}
		verdicts = append(verdicts, v)
	}
	return verdicts
}

func scanJSON(t *testing.T, line []byte) *otlp.Payload {
	td, err := (&ptrace.JSONUnmarshaler{}).UnmarshalTraces(line)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(td)
	if err != nil {
		t.Fatal(err)
	}
	pl := new(otlp.Payload)
	if err := pl.Scan(otlp.Traces, raw); err != nil {
		t.Fatal(err)
	}
	return pl
}
