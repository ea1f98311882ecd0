package cloudlogging

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"tailweir/exporter"
	"tailweir/otlp"
)

// FuzzMapping: of any payload each record becomes entries within all limits or a refusal, and always the same.
func FuzzMapping(f *testing.F) {
	inputs, _ := filepath.Glob("testdata/*.json")
	for _, input := range inputs {
		in, err := os.ReadFile(input)
		if err != nil {
			f.Fatal(err)
		}
		ld, err := (&plog.JSONUnmarshaler{}).UnmarshalLogs(in)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(encodeLogs(f, ld))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		var p otlp.Payload
		if p.Scan(otlp.Logs, payload) == nil {
			checkMapping(t, batchOf(t, payload))
		}
	})
}

// TestAnyRecord maps records of random content, long and odd.
func TestAnyRecord(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 5))
		ld := plog.NewLogs()
		for range 1 + r.IntN(2) {
			rl := ld.ResourceLogs().AppendEmpty()
			fillMap(r, rl.Resource().Attributes(), 1)
			sl := rl.ScopeLogs().AppendEmpty()
			sl.Scope().SetName(anyString(r))
			for range 1 + r.IntN(4) {
				fillRecord(r, sl.LogRecords().AppendEmpty())
			}
		}
		checkMapping(t, batchOf(t, encodeLogs(t, ld)))
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func fillRecord(r *rand.Rand, rec plog.LogRecord) {
	if r.IntN(4) > 0 {
		rec.SetTimestamp(pcommon.Timestamp(clock.UnixNano() + (r.Int64N(80)-40)*int64(24*3600e9)))
	}
	rec.SetTraceID(pcommon.TraceID{byte(r.IntN(2))})
	rec.SetSpanID(pcommon.SpanID{byte(r.IntN(2))})
	rec.SetSeverityNumber(plog.SeverityNumber(r.IntN(30) - 2))
	rec.SetSeverityText(anyString(r))
	rec.SetEventName(anyString(r))
	fillValue(r, rec.Body(), 3)
	fillMap(r, rec.Attributes(), 2)
}

var oddKeys = []string{"", "gcp.log_name", "gcp.http_request", "gcp.operation", "gcp.source_location", "gcp.trace_sampled", "tailweir.kept",
	"exception.stacktrace", "code.file.path", "code.line.number", "http.request.method", "http.response.status_code", "url.path", "url.full",
	"service.name", "event.name", "k8s.cluster.name", "host.id", labelMore, labelShortened}

func fillMap(r *rand.Rand, m pcommon.Map, depth int) {
	for i := range r.IntN(90) {
		key := fmt.Sprint("key", i)
		switch r.IntN(8) {
		case 0:
			key = anyString(r)
		case 1, 2:
			key = oddKeys[r.IntN(len(oddKeys))]
		}
		fillValue(r, m.PutEmpty(key), depth-1)
	}
}

func fillValue(r *rand.Rand, v pcommon.Value, depth int) {
	switch n := r.IntN(12); {
	case n < 4:
		v.SetStr(anyString(r))
	case n == 4:
		v.SetInt(r.Int64() >> r.IntN(60))
	case n == 5:
		v.SetDouble([]float64{0.5, math.NaN(), math.Inf(-1), 1e300}[r.IntN(4)])
	case n == 6:
		v.SetBool(true)
	case n == 7:
		v.SetEmptyBytes().FromRaw([]byte(anyString(r)))
	case n == 8 && depth > 0:
		s := v.SetEmptySlice()
		for range r.IntN(20) {
			fillValue(r, s.AppendEmpty(), depth-1)
		}
	case n > 8 && depth > 0:
		fillMap(r, v.SetEmptyMap(), depth)
	}
}

// anyString is mostly short, at times longer than an entry, at times no UTF-8.
func anyString(r *rand.Rand) string {
	switch r.IntN(100) {
	case 0:
		return strings.Repeat("long é ", r.IntN(40_000))
	case 1:
		return strings.Repeat("k", r.IntN(1000))
	case 2:
		return "\xff\xfe" + strings.Repeat("\x80", r.IntN(10))
	case 3:
		return `{"json":` + strings.Repeat(`{"k":`, r.IntN(30)) + "1.5"
	case 4:
		return `{"requestMethod":"GET","message":"m"}`
	}
	return "short"
}

func checkMapping(t testing.TB, b *exporter.Batch) {
	t.Helper()
	m := mapped(t, testConfig(), b)
	seen := make([]int, b.Items) // entries of the record; -1 refused
	for i, d := range decoded(t, m) {
		e := m.entries[i]
		checkLimits(t, d)
		if seen[e.item]++; d.Split != nil && d.Split.Index != int32(seen[e.item]-1) {
			t.Errorf("record %d: split %v is entry %d", e.item, d.Split, seen[e.item])
		}
	}
	for _, r := range m.refused {
		if seen[r.Items[0]] != 0 || r.Err == nil {
			t.Errorf("record %d: %d entries and refused: %v", r.Items[0], seen[r.Items[0]], r.Err)
		}
		seen[r.Items[0]] = -1
	}
	for i, n := range seen {
		if n == 0 {
			t.Errorf("record %d is lost", i)
		}
	}
	checkSame(t, m, mapped(t, testConfig(), b))
}

// checkSame compares two mappings of a batch byte by byte; ids may not repeat.
func checkSame(t testing.TB, m, again *mapper) {
	t.Helper()
	ids := map[string]bool{}
	if len(m.entries) != len(again.entries) || len(m.refused) != len(again.refused) {
		t.Fatalf("%d entries, the second time %d", len(m.entries), len(again.entries))
	}
	for i, e := range decoded(t, m) {
		if !bytes.Equal(m.entries[i].encoded, again.entries[i].encoded) {
			t.Errorf("entry %d is another the second time", i)
		}
		if ids[e.InsertId] {
			t.Errorf("insertId %s comes twice", e.InsertId)
		}
		ids[e.InsertId] = true
	}
}
