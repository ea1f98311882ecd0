package compare

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

var update = flag.Bool("update", false, "choose the corpus in sampler/testdata/collector anew")

// corpus is a directory of cases, which sampler's own tests ask again without the collector. A case is a directory:
//
//	config.yaml    a tail_sampling block
//	traces.jsonl   the payloads as OTLP JSON, one a line, in the order of arrival
//	answers.jsonl  a verdict for each trace, in the order of first appearance
const corpus = "../sampler/testdata/collector"

// verdict is a line of answers.jsonl.
type verdict struct {
	TraceID  string `json:"trace_id"`
	Decision string `json:"decision"` // keep or drop: the collector's, and ours under compat: strict
	Policy   string `json:"policy,omitempty"`
	Row      string `json:"row,omitempty"` // why the default mode says something else; "" when it does not
}

const mostCases = 130

// TestGolden has the collector answer for the corpus again.
func TestGolden(t *testing.T) {
	if *update {
		synctest.Test(t, choose)
	}
	dirs, err := filepath.Glob(filepath.Join(corpus, "*"))
	if err != nil || len(dirs) < 60 {
		t.Fatalf("%d cases in %s (%v), want at least 60: make them with -run Golden -update", len(dirs), corpus, err)
	}
	synctest.Test(t, func(t *testing.T) {
		for _, dir := range dirs {
			config, payloads := readCase(t, dir)
			order := firstSeen(payloads)
			got, err := askCollector(config, payloads, order)
			if err != nil {
				t.Errorf("%s: %v", dir, err)
				continue
			}
			if diff := cmp.Diff(readVerdicts(t, dir), verdicts(order, got, nil), cmp.FilterPath(
				func(p cmp.Path) bool { return p.Last().String() == ".Row" }, cmp.Ignore())); diff != "" {
				t.Errorf("%s: corpus -, collector +\n%s", dir, diff)
			}
		}
	})
}

// choose takes pairs, in the order of their seeds, that show something which none before does, with each answer.
func choose(t *testing.T) {
	if err := os.RemoveAll(corpus); err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	perKind := map[string]int{}
	bytes, cases := 0, 0
	take := func(alone bool, seeds uint64, most int, want func(*goldenCase) bool) {
		for seed := uint64(1); seed <= seeds && cases < most; seed++ {
			c := caseOf(t, seed, alone)
			if c == nil || !want(c) {
				continue
			}
			kind := c.pair.config.policies[0].kind
			perKind[kind]++
			bytes += c.write(t, fmt.Sprintf("%s-%02d", kind, perKind[kind]))
			for _, what := range c.shows {
				shown[what] = true
			}
			cases++
		}
	}
	richer := func(least int) func(*goldenCase) bool {
		return func(c *goldenCase) bool { return c.news(shown) >= least }
	}
	for _, least := range []int{4, 2, 1} { // the richest first
		take(true, 6000, 90, richer(least))
	}
	for _, least := range []int{6, 4, 3} {
		take(false, 6000, mostCases, richer(least))
	}
	for _, row := range rows {
		if !shown[row+": keep"] && !shown[row+": drop"] {
			take(false, 60_000, cases+1, func(c *goldenCase) bool {
				return slices.ContainsFunc(c.verdicts, func(v verdict) bool { return v.Row == row })
			})
		}
	}
	t.Logf("%d cases, %d bytes, %d features with an answer", cases, bytes, len(shown))
}

// goldenCase is a pair that may be taken.
type goldenCase struct {
	pair     pair
	order    []pcommon.TraceID
	verdicts []verdict
	shows    []string
}

// caseOf is nil for pairs that are not all comparable, or not taken by the default mode, or large; and where alone wants
// one policy without parts, for others.
func caseOf(t *testing.T, seed uint64, alone bool) *goldenCase {
	g := newGenerator(10_000_000 + seed)
	c := &goldenCase{}
	c.pair.payloads = without(g.fewTraces(), func(ptrace.Span) bool { return false })
	c.pair.config = g.configuration(measure(c.pair.payloads))
	if n := len(c.pair.config.policies); n > 2 || alone != (n == 1 && len(c.pair.config.policies[0].parts) == 0) {
		return nil
	}
	c.order = firstSeen(c.pair.payloads)
	got, err := askCollector(c.pair.config.yaml(), c.pair.payloads, c.order)
	if err != nil {
		t.Fatal(err)
	}
	if _, why, err := judged(c.pair); err != nil {
		t.Fatal(err)
	} else if len(why) > 0 {
		return nil
	}
	rows, ok := rowsOf(t, c.pair)
	if !ok {
		return nil
	}
	c.verdicts = verdicts(c.order, got, rows)
	for i, id := range c.order {
		for _, f := range features(c.pair.config, byTrace(c.pair.payloads)[id]) {
			c.shows = append(c.shows, f+": "+c.verdicts[i].Decision)
		}
		if row := c.verdicts[i].Row; row != "" {
			c.shows = append(c.shows, row+": "+c.verdicts[i].Decision)
		}
	}
	return c
}

// rowsOf is the rows for the traces on which the default mode differs; not ok when it refuses the configuration.
func rowsOf(t *testing.T, p pair) (map[pcommon.TraceID]string, bool) {
	quiet := &report{counts: map[string]int{}}
	found, err := differences(p, mended, quiet)
	if err != nil {
		t.Fatal(err)
	}
	for what := range quiet.counts {
		if strings.HasPrefix(what, "refused") {
			return nil, false
		}
	}
	rows := map[pcommon.TraceID]string{}
	if len(found) == 0 {
		return rows, true
	}
	e, err := explain(p)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range found {
		if rows[d.id] = e.row(d.id); rows[d.id] == "" {
			t.Errorf("no row of docs/policies.md says why\n%s", describe(p, d))
		}
	}
	return rows, true
}

// news counts what the case shows that is not shown yet.
func (c *goldenCase) news(shown map[string]bool) int {
	fresh := map[string]bool{}
	for _, what := range c.shows {
		if !shown[what] {
			fresh[what] = true
		}
	}
	return len(fresh)
}

func verdicts(order []pcommon.TraceID, got answers, rows map[pcommon.TraceID]string) []verdict {
	out := make([]verdict, 0, len(order))
	for _, id := range order {
		v := verdict{TraceID: id.String(), Decision: "drop", Policy: got[id].Policy, Row: rows[id]}
		if got[id].Keep {
			v.Decision = "keep"
		}
		out = append(out, v)
	}
	return out
}

func (c *goldenCase) write(t *testing.T, name string) (size int) {
	dir := filepath.Join(corpus, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	var traces, answers bytes.Buffer
	for _, pl := range c.pair.payloads {
		text, err := (&ptrace.JSONMarshaler{}).MarshalTraces(pl)
		if err != nil {
			t.Fatal(err)
		}
		traces.Write(append(text, '\n'))
	}
	for _, v := range c.verdicts {
		line, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		answers.Write(append(line, '\n'))
	}
	files := map[string][]byte{"config.yaml": c.pair.config.yaml(), "traces.jsonl": traces.Bytes(), "answers.jsonl": answers.Bytes()}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := os.WriteFile(filepath.Join(dir, name), files[name], 0o644); err != nil {
			t.Fatal(err)
		}
		size += len(files[name])
	}
	return size
}

func readCase(t *testing.T, dir string) ([]byte, []ptrace.Traces) {
	config, err := os.ReadFile(filepath.Join(dir, "config.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var payloads []ptrace.Traces
	for _, line := range readLines(t, dir, "traces.jsonl") {
		pl, err := (&ptrace.JSONUnmarshaler{}).UnmarshalTraces(line)
		if err != nil {
			t.Fatalf("%s: %v", dir, err)
		}
		payloads = append(payloads, pl)
	}
	return config, payloads
}

func readVerdicts(t *testing.T, dir string) (list []verdict) {
	for _, line := range readLines(t, dir, "answers.jsonl") {
		var v verdict
		if err := json.Unmarshal(line, &v); err != nil {
			t.Fatalf("%s: %v", dir, err)
		}
		list = append(list, v)
	}
	return list
}

func readLines(t *testing.T, dir, name string) [][]byte {
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Split(bytes.TrimSpace(text), []byte("\n"))
}
