package otlp

import (
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
)

var testBounds = Bounds{Attributes: 20, Events: 10, Links: 10, Depth: 5, Key: 50, Name: 60}

// fill puts n attributes.
func fill(m pcommon.Map, n int) {
	for i := range n {
		m.PutInt(strings.Repeat("k", i%7)+string(rune('a'+i)), int64(i))
	}
}

// nest makes v a value of so many arrays and maps, in turn, and a string in the last.
func nest(v pcommon.Value, levels int) {
	for i := range levels {
		if i%2 == 0 {
			v = v.SetEmptySlice().AppendEmpty()
		} else {
			v = v.SetEmptyMap().PutEmpty("k")
		}
	}
	v.SetStr("x")
}

// TestBounds puts each thing once at the bound and once over it, on the second of three spans.
func TestBounds(t *testing.T) {
	tests := []struct {
		bound string
		at    int
		put   func(ptrace.Span, int)
		say   string
	}{
		{"attributes", 20, func(s ptrace.Span, n int) { fill(s.Attributes(), n) }, "span has more than 20 attributes"},
		{"attributes", 20, func(s ptrace.Span, n int) { fill(s.Events().AppendEmpty().Attributes(), n) }, "event has more than 20 attributes"},
		{"attributes", 20, func(s ptrace.Span, n int) { fill(s.Links().AppendEmpty().Attributes(), n) }, "link has more than 20 attributes"},
		{"events", 10, func(s ptrace.Span, n int) {
			for range n {
				s.Events().AppendEmpty().SetName("e")
			}
		}, "span has more than 10 events"},
		{"links", 10, func(s ptrace.Span, n int) {
			for range n {
				s.Links().AppendEmpty()
			}
		}, "span has more than 10 links"},
		{"key", 50, func(s ptrace.Span, n int) { s.Attributes().PutStr(strings.Repeat("k", n), "") }, "attribute has a key of 51 bytes, at most 50 are taken"},
		{"key", 50, func(s ptrace.Span, n int) {
			s.Attributes().PutEmptyMap("m").PutEmptySlice("s").AppendEmpty().SetEmptyMap().PutStr(strings.Repeat("k", n), "")
		}, "attribute has a key of 51 bytes"},
		{"name", 60, func(s ptrace.Span, n int) { s.SetName(strings.Repeat("n", n)) }, "span has a name or text of 61 bytes, at most 60 are taken"},
		{"name", 60, func(s ptrace.Span, n int) { s.TraceState().FromRaw(strings.Repeat("n", n)) }, "span has a name or text"},
		{"name", 60, func(s ptrace.Span, n int) { s.Events().AppendEmpty().SetName(strings.Repeat("n", n)) }, "event has a name"},
		{"name", 60, func(s ptrace.Span, n int) { s.Links().AppendEmpty().TraceState().FromRaw(strings.Repeat("n", n)) }, "link has a name or text"},
		{"depth", 5, func(s ptrace.Span, n int) { nest(s.Attributes().PutEmpty("a"), n) }, "value has more than 5 arrays and maps within one another"},
		{"depth", 5, func(s ptrace.Span, n int) { nest(s.Events().AppendEmpty().Attributes().PutEmpty("a"), n) }, "value has more than 5"},
		{"", 0, func(s ptrace.Span, n int) { // what has no bound
			s.Attributes().PutStr("a", strings.Repeat("v", 1000))
			s.Attributes().PutEmptyBytes("b").FromRaw(make([]byte, 1000))
			s.Status().SetMessage(strings.Repeat("m", 1000))
		}, ""},
	}
	for _, test := range tests {
		for over := range 2 {
			td := ptrace.NewTraces()
			spans := td.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans()
			for i := range 3 {
				s := spans.AppendEmpty()
				s.SetTraceID([16]byte{1})
				s.SetSpanID([8]byte{byte(i + 1)})
			}
			test.put(spans.At(1), test.at+over)
			checkBounds(t, scannedRequest(t, Traces, ptraceotlp.NewExportRequestFromTraces(td)), test.bound, test.say, over == 1 && test.bound != "", []int32{1})
		}
	}
}

// TestBoundsAround breaks the bounds in what is around log records: all records in it are bad.
func TestBoundsAround(t *testing.T) {
	tests := []struct {
		bound string
		at    int
		put   func(plog.ResourceLogs, int)
		say   string
		bad   []int32
	}{
		{"attributes", 20, func(r plog.ResourceLogs, n int) { fill(r.Resource().Attributes(), n) }, "resource has more than 20 attributes", []int32{2, 3, 4, 5}},
		{"attributes", 20, func(r plog.ResourceLogs, n int) { fill(r.ScopeLogs().At(1).Scope().Attributes(), n) }, "scope has more than 20 attributes", []int32{4, 5}},
		{"name", 60, func(r plog.ResourceLogs, n int) { r.SetSchemaUrl(strings.Repeat("u", n)) }, "resource group has a name or text", []int32{2, 3, 4, 5}},
		{"name", 60, func(r plog.ResourceLogs, n int) { r.ScopeLogs().At(0).Scope().SetName(strings.Repeat("u", n)) }, "scope has a name", []int32{2, 3}},
		{"depth", 5, func(r plog.ResourceLogs, n int) { nest(r.Resource().Attributes().PutEmpty("a"), n) }, "value has more than 5", []int32{2, 3, 4, 5}},
		{"depth", 5, func(r plog.ResourceLogs, n int) { nest(r.ScopeLogs().At(0).LogRecords().At(1).Body(), n) }, "value has more than 5", []int32{3}},
		{"name", 60, func(r plog.ResourceLogs, n int) {
			r.ScopeLogs().At(0).LogRecords().At(1).SetSeverityText(strings.Repeat("u", n))
		}, "log record has a name or text", []int32{3}},
	}
	for _, test := range tests {
		for over := range 2 {
			ld := plog.NewLogs()
			for _, scopes := range []int{1, 2, 2} {
				r := ld.ResourceLogs().AppendEmpty()
				for range scopes {
					records := r.ScopeLogs().AppendEmpty().LogRecords()
					records.AppendEmpty()
					records.AppendEmpty()
				}
			}
			test.put(ld.ResourceLogs().At(1), test.at+over)
			checkBounds(t, scannedRequest(t, Logs, plogotlp.NewExportRequestFromLogs(ld)), test.bound, test.say, over == 1, test.bad)
		}
	}
}

func scannedRequest(t testing.TB, s Signal, r interface{ MarshalProto() ([]byte, error) }) *Payload {
	t.Helper()
	b, err := r.MarshalProto()
	if err != nil {
		t.Fatal(err)
	}
	p := new(Payload)
	if err := p.Scan(s, b); err != nil {
		t.Fatal(err)
	}
	return p
}

func checkBounds(t *testing.T, p *Payload, bound, say string, broken bool, want []int32) {
	t.Helper()
	bad, first := testBounds.Check(p)
	switch {
	case !broken && (bad != nil || first != nil):
		t.Errorf("%s: items %v, %v, want none: it is at the bound", bound, bad, first)
	case broken && (!slices.Equal(bad, want) || first == nil):
		t.Errorf("%s: items %v, want %v (%s)", bound, bad, want, say)
	case broken && (first.Bound != bound || first.Item != want[0] || !strings.HasPrefix(first.String(), say)):
		t.Errorf("%s: %+v says %q, want %q", bound, first, first, say)
	}
}

// TestBoundsCannotBeHidden breaks a bound in what readers take the last of, and in occurrences that merge.
func TestBoundsCannotBeHidden(t *testing.T) {
	deep := nested(valueTag, []byte{})
	for range 6 {
		deep = nested(valueTag, nested(5<<3|wireLen, nested(1<<3|wireLen, deep[2:])))
	}
	ids := append(nested(1<<3|wireLen, make([]byte, 16)), nested(2<<3|wireLen, make([]byte, 8))...)
	kv := nested(keyTag, []byte("k"))
	one := nested(1<<3|wireLen, kv)
	for name, payload := range map[string][]byte{
		"deep value before another": nested(groupTag, nested(2<<3|wireLen, nested(2<<3|wireLen, ids, nested(9<<3|wireLen, kv, deep, nested(valueTag, []byte{2 << 3, 1}))))),
		"attributes in two resources": nested(groupTag, nested(resourceTag, slices.Concat(slices.Repeat([][]byte{one}, 15)...)),
			nested(2<<3|wireLen, nested(2<<3|wireLen, ids)), nested(resourceTag, slices.Concat(slices.Repeat([][]byte{one}, 15)...))),
		"a long key before a short one": nested(groupTag, nested(2<<3|wireLen, nested(2<<3|wireLen, ids, nested(9<<3|wireLen, nested(keyTag, make([]byte, 51)), kv)))),
	} {
		var p Payload
		if err := p.Scan(Traces, payload); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if bad, _ := testBounds.Check(&p); len(bad) != 1 {
			t.Errorf("%s: items %v, want the only one", name, bad)
		}
	}
}

// FuzzBounds holds the quick look at sizes and depths to the walk over everything.
func FuzzBounds(f *testing.F) {
	td := ptrace.NewTraces()
	r := td.ResourceSpans().AppendEmpty()
	fill(r.Resource().Attributes(), 3)
	s := r.ScopeSpans().AppendEmpty().Spans().AppendEmpty()
	nest(s.Attributes().PutEmpty("a"), 5)
	s.Events().AppendEmpty().SetName("e")
	seed, err := ptraceotlp.NewExportRequestFromTraces(td).MarshalProto()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed, byte(3), byte(3))
	f.Fuzz(func(t *testing.T, payload []byte, sizes, depth byte) {
		n := int(sizes%30) + 1
		b := Bounds{Attributes: n, Events: n, Links: n, Depth: int(depth%8) + 1, Key: 2 * n, Name: 2 * n}
		for _, signal := range []Signal{Traces, Logs} {
			var p Payload
			if p.Scan(signal, payload) != nil {
				continue
			}
			quick, _ := b.Check(&p)
			p.nesting.most = maxDepth // all is walked
			slow, _ := b.Check(&p)
			if !slices.Equal(quick, slow) {
				t.Fatalf("%s: at a glance %v, in truth %v", signal, quick, slow)
			}
		}
	})
}
