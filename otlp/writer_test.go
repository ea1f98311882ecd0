package otlp

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

const writtenValue = "my-project"

// checkWriter holds what a Writer makes of all items of a payload to what pdata makes of the payload.
func checkWriter(t *testing.T, signal Signal, b []byte) {
	var p Payload
	if p.Scan(signal, b) != nil || usesDeprecated(b) {
		return
	}
	for _, key := range []string{"service.name", "k", "other"} {
		var w Writer
		w.Start([]byte("dst"), &p, key, writtenValue)
		for i := range int32(p.Len()) {
			before, need := w.Len(), w.Need(i)
			if w.Item(i, nil); w.Len()-before > need+4*len(b) {
				t.Fatalf("item takes %d bytes, Need says %d", w.Len()-before, need)
			}
		}
		out, ok := bytes.CutPrefix(w.Bytes(), []byte("dst"))
		if !ok {
			t.Fatal("what was there was changed")
		}
		q := scanned(t, signal, out)
		equal(t, "items", q.Len(), p.Len())
		for i := range int32(p.Len()) {
			if !bytes.Equal(p.body(i), q.body(i)) {
				t.Fatalf("item %d: %x, was %x", i, q.body(i), p.body(i))
			}
		}
		got, values := withoutKey(t, signal, out, key)
		want, _ := withoutKey(t, signal, b, key)
		equal(t, "payload without the attribute", fmt.Sprintf("%x", got), fmt.Sprintf("%x", want))
		for _, v := range values {
			equal(t, "values of the attribute", v, "["+writtenValue+"]")
		}
		equal(t, "resources with the attribute", len(values), p.Resources())
		for r := range p.resources {
			equal(t, "occurrences of a resource", occurrences(q, r), max(1, occurrences(&p, r)))
		}
	}
}

func occurrences(p *Payload, r int) (n int) {
	for _, part := range p.parts(&p.resources[r]) {
		f := fields{b: part}
		for tag, _, _, ok := f.next(); ok; tag, _, _, ok = f.next() {
			if tag == 1<<3|wireLen {
				n++
			}
		}
	}
	return n
}

// withoutKey is the payload as pdata writes it without empty groups and without the resources' attributes with the key, and
// the values that these had, by resource.
func withoutKey(t *testing.T, signal Signal, b []byte, key string) (out []byte, values []string) {
	t.Helper()
	take := func(m pcommon.Map) {
		var had []string
		m.RemoveIf(func(k string, v pcommon.Value) bool {
			if k == key {
				had = append(had, v.AsString())
			}
			return k == key
		})
		values = append(values, fmt.Sprint(had))
	}
	var err error
	if signal == Traces {
		td, _ := (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(b)
		td.ResourceSpans().RemoveIf(func(rs ptrace.ResourceSpans) bool {
			rs.ScopeSpans().RemoveIf(func(ss ptrace.ScopeSpans) bool { return ss.Spans().Len() == 0 })
			return rs.ScopeSpans().Len() == 0
		})
		for _, rs := range td.ResourceSpans().All() {
			take(rs.Resource().Attributes())
		}
		out, err = (&ptrace.ProtoMarshaler{}).MarshalTraces(td)
	} else {
		ld, _ := (&plog.ProtoUnmarshaler{}).UnmarshalLogs(b)
		ld.ResourceLogs().RemoveIf(func(rl plog.ResourceLogs) bool {
			rl.ScopeLogs().RemoveIf(func(sl plog.ScopeLogs) bool { return sl.LogRecords().Len() == 0 })
			return rl.ScopeLogs().Len() == 0
		})
		for _, rl := range ld.ResourceLogs().All() {
			take(rl.Resource().Attributes())
		}
		out, err = (&plog.ProtoMarshaler{}).MarshalLogs(ld)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out, values
}

func writerSeeds() [][]byte {
	return append(traceSeeds(), sampleTraces(60, 9), keyFirst(Traces, sampleTraces(30, 9)), oddTraces(), severalResources())
}

// severalResources has a group with the key in two resources that merge, on both sides of its span, and one group without resource.
func severalResources() []byte {
	attr := func(k, v string) []byte { return appendAttribute(nil, k, v) }
	span := field(2, field(2, field(5, []byte("n"))))
	return slices.Concat(
		field(1, slices.Concat(field(1, slices.Concat(attr("k", "1"), attr("a", "b"), attr("k", "2"))), span,
			field(1, slices.Concat(attr("k", "3"), attr("c", "d"))), field(3, []byte("url")))),
		field(1, span),
		field(1, slices.Concat(span, field(1, attr("k", "4")), span)),
	)
}

func TestWriter(t *testing.T) {
	for _, b := range writerSeeds() {
		checkWriter(t, Traces, b)
	}
	for _, b := range append(logSeeds(), sampleLogs(40)) {
		checkWriter(t, Logs, b)
	}
}

func TestWriterOfMutants(t *testing.T) {
	rnd := newMutants(t)
	for range 2000 {
		check(t, Traces, mutant(rnd, append(traceSeeds()[1:], severalResources())), func(t *testing.T, b []byte) { checkWriter(t, Traces, b) })
		check(t, Logs, mutant(rnd, logSeeds()[1:]), func(t *testing.T, b []byte) { checkWriter(t, Logs, b) })
	}
}

func FuzzWriter(f *testing.F) {
	for _, b := range writerSeeds() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) { checkWriter(t, Traces, b) })
}

// TestWriterOfSome writes random items with breaks and whole requests between them.
func TestWriterOfSome(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		p := scanned(t, Traces, sampleTraces(40, 7))
		var w Writer
		var want [][]byte
		w.Start(nil, p, "k", writtenValue)
		for i := range int32(p.Len()) {
			switch rnd.IntN(6) {
			case 0:
				w.Break()
				fallthrough
			case 1, 2:
				w.Item(i, nil)
				want = append(want, p.body(i))
			case 3:
				one := Select(p, func(j int32) bool { return i == j })
				w.Request(one)
				want = append(want, p.body(i))
			}
		}
		q := scanned(t, Traces, w.Bytes())
		equal(t, "items", q.Len(), len(want))
		for i, b := range want {
			if !bytes.Equal(q.body(int32(i)), b) {
				t.Fatalf("item %d: %x, want %x", i, q.body(int32(i)), b)
			}
		}
	}
}

func TestWriterWithSuffix(t *testing.T) {
	p := scanned(t, Logs, sampleLogs(20))
	var w Writer
	w.Start(nil, p, "k", writtenValue)
	for i := range int32(p.Len()) {
		flags := FlagsField(0xA1B2C3D4 + uint32(i))
		w.Item(i, flags[:])
	}
	q := scanned(t, Logs, w.Bytes())
	for i := range int32(p.Len()) {
		equal(t, "flags", q.Record(i).Flags(), 0xA1B2C3D4+uint32(i))
		if !bytes.HasPrefix(q.body(i), p.body(i)) {
			t.Fatalf("record %d: %x, was %x", i, q.body(i), p.body(i))
		}
	}
}

func TestWriterWithoutKey(t *testing.T) {
	for _, b := range writerSeeds() {
		p := scanned(t, Traces, b)
		var w Writer
		w.Start(nil, p, "", "")
		for i := range int32(p.Len()) {
			w.Item(i, nil)
		}
		got, _ := withoutKey(t, Traces, w.Bytes(), "-")
		want, _ := withoutKey(t, Traces, b, "-")
		equal(t, "payload", fmt.Sprintf("%x", got), fmt.Sprintf("%x", want))
	}
}

func TestWarmWriterDoesNotAllocate(t *testing.T) {
	p := scanned(t, Traces, benchPayload())
	var w Writer
	var out []byte
	if n := testing.AllocsPerRun(100, func() { out = writeAll(&w, out, p) }); n != 0 {
		t.Errorf("%g allocations", n)
	}
}

func writeAll(w *Writer, out []byte, p *Payload) []byte {
	w.Start(out[:0], p, "gcp.project_id", writtenValue)
	for i := range int32(p.Len()) {
		w.Item(i, nil)
	}
	return w.Bytes()
}

func BenchmarkWriter(b *testing.B) {
	bothOrders(b, func(b *testing.B, payload []byte) {
		p := scanned(b, Traces, payload)
		var w Writer
		var out []byte
		b.ReportAllocs()
		for b.Loop() {
			out = writeAll(&w, out, p)
		}
		perSpan(b, payload)
	})
}
