package logging

import (
	"os"
	"strconv"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/plog"
)

const randomRecords = 2000

// TestEntries has both export the same records one by one. Each difference must be covered by a row, and each row must be
// needed.
func TestEntries(t *testing.T) {
	now := time.Now().Truncate(time.Microsecond)
	records := recorded(t, now)
	records = append(records, cases(now)...)
	records = append(records, random(now, uint64(setting(t, "SEED", 1)), setting(t, "RECORDS", randomRecords))...)
	th, us := startTheirs(t), startOurs(t)
	used, unlisted, mapped := map[string]int{}, 0, 0
	for _, r := range records {
		p := compare(t, th, us, r)
		for _, d := range unlike(p.theirs, p.ours) {
			row := rowOf(d, p)
			used[row]++
			if row == "" && unlisted < 20 {
				unlisted++
				t.Errorf("%s: %v is no row of docs/exporters.md", r.name, d)
			}
		}
		if p.theirs["sent"] == "yes" && p.ours["sent"] == "yes" {
			mapped++
		}
	}
	for _, row := range rows {
		if used[row.name] == 0 {
			t.Errorf("row %q covers no difference", row.name)
		}
	}
	t.Logf("%d records, %d of them sent by both; differences by row:", len(records), mapped)
	for _, name := range sorted(used) {
		t.Logf("%6d %s", used[name], name)
	}
}

// pair is what the two made of a record.
type pair struct {
	record
	theirs, ours fields
}

func compare(t *testing.T, th *theirs, us *ours, r record) pair {
	t.Helper()
	before := time.Now()
	theirEntries, theirErr := th.export(t.Context(), r.logs)
	ourEntries, ourErr := us.export(t.Context(), r)
	theirFields := flatten(theirEntries, theirErr)
	if p := r.place(); p.record.Timestamp() == 0 && p.record.ObservedTimestamp() == 0 && len(theirEntries) > 0 && !theirEntries[0].Timestamp.AsTime().Before(before) {
		theirFields["timestamp"] = "now"
	}
	return pair{r, theirFields, flatten(ourEntries, ourErr)}
}

func setting(t *testing.T, name string, otherwise int) int {
	t.Helper()
	s := os.Getenv("TAILWEIR_COMPARE_" + name)
	if s == "" {
		return otherwise
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatalf("TAILWEIR_COMPARE_%s: %v", name, err)
	}
	return n
}

// TestBadRecord has both export good records and a bad one together: theirs sends none of them, ours the good ones.
func TestBadRecord(t *testing.T) {
	now := time.Now().Truncate(time.Microsecond)
	th, us := startTheirs(t), startOurs(t)
	for _, bad := range []trait{
		{"severity", func(p place) { p.record.SetSeverityNumber(99) }},
		{"source location", func(p place) { p.record.Attributes().PutStr("gcp.source_location", "{") }},
		{"UTF-8", func(p place) { p.record.Attributes().PutStr("bad", "a\xff") }},
	} {
		t.Run(bad.name, func(t *testing.T) {
			records := []record{makeRecord(now, undecided), makeRecord(now, undecided, bad), makeRecord(now, undecided)}
			together := plog.NewLogs()
			for _, r := range records {
				r.logs.ResourceLogs().At(0).CopyTo(together.ResourceLogs().AppendEmpty())
			}
			if entries, err := th.export(t.Context(), together); len(entries) != 0 || err == nil {
				t.Errorf("theirs sent %d entries (%v), so docs/exporters.md wrongs it", len(entries), err)
			}
			if entries, err := us.export(t.Context(), records...); len(entries) != len(records) || err != nil {
				t.Errorf("ours sent %d entries (%v), want all %d", len(entries), err, len(records))
			}
		})
	}
}
