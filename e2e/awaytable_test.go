package e2e_test

import (
	"cmp"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
)

const awayDoc = "../docs/away.md"

const awayBegin, awayEnd = "<!-- tables: TestAway writes them from e2e/away.jsonl -->\n", "<!-- end of tables -->"

// TestAwayTables holds the tables of docs/away.md to the measurements that are on record.
func TestAwayTables(t *testing.T) {
	t.Parallel()
	before, tables, after := awayPage(t)
	if os.Getenv("TAILWEIR_AWAY") == "tables" { // draws them anew after a change of how they are drawn
		tables = awayTables(measured(t))
		if err := os.WriteFile(awayDoc, []byte(before+tables+after), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := gocmp.Diff(awayTables(measured(t)), tables); diff != "" {
		t.Errorf("%s is not what %s says (-want +got):\n%s", awayDoc, awayFile, diff)
	}
}

// awayPage is what stands before, in and after the tables, the marks with the former and the latter.
func awayPage(t *testing.T) (before, tables, after string) {
	t.Helper()
	b, err := os.ReadFile(awayDoc)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(b), awayBegin)
	tables, after, ok2 := strings.Cut(rest, awayEnd)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for its tables: %q and %q", awayDoc, awayBegin, awayEnd)
	}
	return before + awayBegin, tables, awayEnd + after
}

// awayTables is what is lost, and what it costs an app and what it says, a row for each fault and app.
func awayTables(cells map[string]outage) string {
	lost, cost := &strings.Builder{}, &strings.Builder{}
	fmt.Fprint(lost, "\n| away by | app | default: 1 s | 10 s | 60 s | recommended: 1 s | 10 s | 60 s |\n|---|---|---|---|---|---|---|---|\n")
	fmt.Fprint(cost, "\n| away by | app | p99 of its requests before → during, ms | memory, MB: had, grew by; recommended | lines it writes in 60 s, and the first |\n|---|---|---|---|---|\n")
	for i, fault := range faults {
		for _, l := range languages {
			at := func(settings string, seconds int) (outage, bool) {
				o, ok := cells[fmt.Sprintf("%02d %s %s %02d", i, l.name, settings, seconds)]
				return o, ok
			}
			fmt.Fprintf(lost, "| %s | %s |", awayNames[fault], awayApps[l.name])
			for _, settings := range []string{"default", "recommended"} {
				for _, seconds := range []int{1, 10, 60} {
					fmt.Fprintf(lost, " %s |", lostCell(at(settings, seconds)))
				}
			}
			lost.WriteByte('\n')
			o, ok := at("default", 60)
			r, ok2 := at("recommended", 60)
			if !ok || !ok2 {
				fmt.Fprintf(cost, "| %s | %s | not measured | | |\n", awayNames[fault], awayApps[l.name])
				continue
			}
			fmt.Fprintf(cost, "| %s | %s | %.0f → %.0f | %.0f + %.1f; %.0f + %.1f | %d%s |\n", awayNames[fault], awayApps[l.name],
				o.Before, o.During, o.Memory, o.Grown, r.Memory, r.Grown, o.Lines, shortened(o.Says))
		}
	}
	return lost.String() + cost.String() + "\n"
}

// lostCell is spans/log records, and of which requests: seconds since the outage began.
func lostCell(o outage, ok bool) string {
	switch {
	case !ok:
		return "not measured"
	case o.Spans+o.Records == 0:
		return fmt.Sprintf("0 of %d", o.Sent)
	}
	return fmt.Sprintf("**%d/%d** of %d, %.0f…%.0f s", o.Spans, o.Records, o.Sent, o.From, o.To)
}

var awayApps = map[string]string{"node": "Node", "kotlin": "Java agent", "python": "Python", "go": "Go"}

var awayNames = map[string]string{"refuse": "connections refused", "hang": "hangs", "401": "401", "413": "413", "429": "429", "429 Retry-After 2": "429, Retry-After: 2",
	"503": "503", "503 Retry-After 2": "503, Retry-After: 2", "cut": "answer cut off", "tls": "wrong certificate", "dns": "name unknown"}

var (
	saidAt    = regexp.MustCompile(`^\d{4}/\d\d/\d\d \S+ |\d{4}-\d\d-\d\d \S+ \+0000`)
	saidWhere = regexp.MustCompile(`(127\.\d+\.\d+\.\d+|ingest\.test)(:\d+)?`)
)

func shortened(says string) string {
	if says == "" {
		return ""
	}
	says = saidWhere.ReplaceAllString(saidAt.ReplaceAllString(says, ""), "INGEST")
	says = strings.NewReplacer("|", "/", "`", "'").Replace(says)
	if len(says) > 160 {
		says = says[:160] + "…"
	}
	return ": `" + strings.TrimSpace(cmp.Or(says, "-")) + "`"
}
