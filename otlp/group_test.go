package otlp

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
)

// classedLogs makes records of four traces and of none, in any order, whose severities are their classes.
func classedLogs(rng *rand.Rand, records int) []byte {
	ld := plog.NewLogs()
	for i := range records {
		if i%7 == 0 {
			ld.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty()
		}
		r := ld.ResourceLogs().At(i / 7).ScopeLogs().At(0).LogRecords().AppendEmpty()
		r.SetTraceID(pcommon.TraceID{15: byte(rng.IntN(5))})
		r.SetSeverityNumber(plog.SeverityNumber(rng.IntN(4)))
		r.Body().SetStr(string(make([]byte, rng.IntN(30))))
	}
	b, _ := (&plog.ProtoMarshaler{}).MarshalLogs(ld)
	return b
}

// Partition puts each record in one group, that of its trace and class, in the payload's order; what is said of a group, and
// what is copied out by it, are its own records.
func TestPartition(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var p Payload
	for range 200 {
		payload := classedLogs(rng, rng.IntN(40))
		if err := p.Scan(Logs, payload); err != nil {
			t.Fatal(err)
		}
		whole := slices.Clone(p.Groups())
		p.Partition(func(r Record) uint8 { return uint8(r.SeverityNumber()) })
		var traces []TraceID // in order, neighbours joined
		seen := 0
		for at, g := range p.Groups() {
			var want []int32
			bytesOf := int32(0)
			for i := range int32(p.Len()) {
				if r := p.Record(i); r.TraceID() == g.Trace && r.SeverityNumber() == int32(g.Class) {
					want, bytesOf = append(want, i), bytesOf+int32(r.Size())
				}
			}
			var got []int32
			for i := g.First; i >= 0; i = p.Next(i) {
				got = append(got, i)
			}
			if !slices.Equal(got, want) || int(g.Items) != len(want) || g.Bytes != bytesOf {
				t.Fatalf("group %+v holds %v, want %v, %d bytes", g, got, want, bytesOf)
			}
			selected := Select(&p, func(i int32) bool { return slices.Contains(want, i) })
			if !bytes.Equal(p.Index().AppendGroup(nil, g.First, nil), selected) {
				t.Fatalf("group %+v is not copied out as its records", g)
			}
			if seen += len(got); at == 0 || g.Trace != traces[len(traces)-1] {
				traces = append(traces, g.Trace)
			} else if p.Groups()[at-1].First > g.First {
				t.Fatalf("group %+v stands after one that begins later", g)
			}
		}
		if seen != p.Len() || len(traces) != len(whole) {
			t.Fatalf("%d of %d records in groups, %d runs of a trace, want %d", seen, p.Len(), len(traces), len(whole))
		}
		if err := p.Scan(Logs, payload); err != nil || !slices.Equal(p.Groups(), whole) {
			t.Fatalf("scanned again: %v, groups %+v, want %+v", err, p.Groups(), whole)
		}
	}
}

func TestSeverity(t *testing.T) {
	for _, tt := range []struct {
		number int32
		text   string
		want   int32
	}{
		{0, "", 0}, {0, "WARN", 13}, {0, "warning", 13}, {0, "Error3", 19}, {0, "FATAL4", 24}, {0, "Notice", 10},
		{0, "Emergency", 21}, {0, "loud", 0}, {0, "off", 0}, {9, "ERROR", 9}, {25, "", 25},
	} {
		ld := plog.NewLogs()
		r := ld.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
		r.SetSeverityNumber(plog.SeverityNumber(tt.number))
		r.SetSeverityText(tt.text)
		b, _ := (&plog.ProtoMarshaler{}).MarshalLogs(ld)
		if got := scanned(t, Logs, b).Record(0).Severity(); got != tt.want {
			t.Errorf("number %d, text %q: severity %d, want %d", tt.number, tt.text, got, tt.want)
		}
	}
	for name, want := range map[string][2]int32{
		"TRACE": {1, 4}, "TRACE4": {4, 4}, "WARN": {13, 16}, "FATAL": {21, 24}, "FATAL4": {24, 24}, "": {}, "off": {}, "warn": {},
	} {
		if low, high := ParseSeverity(name); low != want[0] || high != want[1] {
			t.Errorf("%q is %d to %d, want %v", name, low, high, want)
		}
	}
}
