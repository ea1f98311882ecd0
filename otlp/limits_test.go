package otlp

import (
	"bytes"
	"iter"
	"math/rand/v2"
	"slices"
	"testing"
	"unicode/utf8"

	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// slowLimits is Limits by the views, one question after the other.
type slowLimits struct{ *Limits }

func (l slowLimits) attributes(all iter.Seq2[[]byte, Value]) (n int, ok bool) {
	ok = true
	for k, v := range all {
		n++
		ok = ok && within(len(k), l.Key) && within(len(v.b), l.Value) && l.texts(k, nil) && (!l.Text || len(k) > 0 && slowIsText(v))
	}
	return n, ok && within(n, l.Attributes)
}

func (l slowLimits) texts(all ...[]byte) (ok bool) {
	return !l.Text || !slices.ContainsFunc(all, func(b []byte) bool { return !utf8.Valid(b) })
}

func slowIsText(v Value) bool {
	switch v.Kind() {
	case String:
		return utf8.Valid(v.b)
	case Map:
		for k, inner := range attributesOf(v.b, 1<<3|wireLen) {
			if !utf8.Valid(k) || !slowIsText(inner) {
				return false
			}
		}
	case Array: // an array's elements are where a map's values are not: in the field itself
		for f := (fields{b: v.b}); f.pos < len(f.b); {
			if _, _, b, _ := f.next(); !slowIsText(decodeValue(b)) {
				return false
			}
		}
	}
	return true
}

func (l slowLimits) span(s Span) (attributes int, ok bool) {
	attributes, ok = l.attributes(s.Attributes())
	ok = ok && within(len(s.Name()), l.Name) && l.texts(s.Name(), s.TraceState(), s.StatusMessage())
	events, links := 0, 0
	for e := range s.Events() {
		n, fits := l.attributes(e.Attributes())
		ok = ok && fits && within(len(e.Name()), l.EventName) && l.texts(e.Name())
		attributes, events = attributes+n, events+1
	}
	for e := range s.Links() {
		n, fits := l.attributes(e.Attributes())
		ok = ok && fits && l.texts(e.TraceState())
		attributes, links = attributes+n, links+1
	}
	return attributes, ok && within(events, l.Events) && within(links, l.Links)
}

// TestLimits tries limits on random spans, from those that nothing keeps within to those that all do.
func TestLimits(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	some := func(most int) int { return []int{0, 1 + rnd.IntN(most), most * 2}[rnd.IntN(3)] }
	kept := [2]int{}
	for range 2000 {
		td := randomTraces(rnd)
		sprinkle(td, rnd)
		b, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(td)
		if err != nil {
			t.Fatal(err)
		}
		text := rnd.IntN(2) == 0
		for range rnd.IntN(3) {
			if at := bytes.Index(b, []byte("xyzzy")); at >= 0 && text {
				b[at] = 0xff
			}
		}
		p := scanned(t, Traces, b)
		l := &Limits{Text: text, Key: some(300), Value: some(300), Name: some(300), EventName: some(300), URL: some(300),
			Attributes: some(4), Events: some(3), Links: some(3)}
		for i := range int32(p.Len()) {
			n, ok := l.Span(p.Span(i))
			wantN, want := slowLimits{l}.span(p.Span(i))
			if ok != want || ok && n != wantN {
				t.Fatalf("%+v: span %x keeps within: %t with %d attributes, want %t with %d", l, p.body(i), ok, n, want, wantN)
			}
			if ok {
				kept[0]++
			}
			kept[1]++
		}
	}
	if kept[0] < kept[1]/10 || kept[0] > kept[1]*9/10 {
		t.Errorf("%d of %d spans keep within the limits: one of the two is hardly tested", kept[0], kept[1])
	}
}

// sprinkle puts a text into one place or none, for its "xyzzy" to be made something else.
func sprinkle(td ptrace.Traces, rnd *rand.Rand) {
	for _, rs := range td.ResourceSpans().All() {
		for _, ss := range rs.ScopeSpans().All() {
			for _, s := range ss.Spans().All() {
				switch rnd.IntN(24) {
				case 0:
					s.SetName("xyzzy")
				case 1:
					s.TraceState().FromRaw("xyzzy")
				case 2:
					s.Status().SetMessage("xyzzy")
				case 3:
					s.Attributes().PutStr("xyzzy", "")
				case 4:
					s.Attributes().PutStr("k", "xyzzy")
					s.Attributes().PutInt("n", 200)
				case 5:
					s.Attributes().PutEmptySlice("k").AppendEmpty().SetStr("xyzzy")
				case 6:
					s.Attributes().PutEmptyMap("k").PutStr("k", "xyzzy")
				case 7:
					s.Attributes().PutEmptyMap("k").PutInt("xyzzy", 300)
				case 8:
					s.Attributes().PutEmptyBytes("k").FromRaw([]byte{0xfe})
				case 9:
					s.Events().AppendEmpty().SetName("xyzzy")
				case 10:
					s.Events().AppendEmpty().Attributes().PutInt("xyzzy", 200)
				case 11:
					s.Links().AppendEmpty().TraceState().FromRaw("xyzzy")
				case 12:
					s.Attributes().PutInt("xyzzy", 200)
				case 13:
					s.Attributes().PutInt("k", 200)
				case 14:
					s.Attributes().PutStr("umlaut", "ä")
				}
			}
		}
	}
}

func TestLimitsOfRecords(t *testing.T) {
	for _, test := range []struct {
		limits Limits
		fill   func(r plog.LogRecord)
		ok     bool
	}{
		{Limits{Text: true, Key: 4, Value: 5, Attributes: 1}, func(plog.LogRecord) {}, true},
		{Limits{Text: true}, func(r plog.LogRecord) { r.Body().SetStr("\xff") }, false},
		{Limits{Text: true}, func(r plog.LogRecord) { r.Body().SetEmptyMap().PutStr("k", "\xff") }, false},
		{Limits{Text: true}, func(r plog.LogRecord) { r.Body().SetEmptyBytes().FromRaw([]byte("\xff")) }, true},
		{Limits{Text: true}, func(r plog.LogRecord) { r.SetSeverityText("\xff") }, false},
		{Limits{Text: true}, func(r plog.LogRecord) { r.SetEventName("\xff") }, false},
		{Limits{Text: true}, func(r plog.LogRecord) { r.Attributes().PutStr("", "v") }, false},
		{Limits{}, func(r plog.LogRecord) { r.Attributes().PutStr("", "\xff") }, true},
		{Limits{Attributes: 1}, func(r plog.LogRecord) { r.Attributes().PutStr("2", "v") }, false},
		{Limits{Key: 3}, func(plog.LogRecord) {}, false},
		{Limits{Value: 4}, func(plog.LogRecord) {}, false},
	} {
		ld := plog.NewLogs()
		r := ld.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
		r.Attributes().PutStr("key4", "value")
		test.fill(r)
		b, _ := (&plog.ProtoMarshaler{}).MarshalLogs(ld)
		n, ok := test.limits.Record(scanned(t, Logs, b).Record(0))
		if ok != test.ok || ok && n != r.Attributes().Len() {
			t.Errorf("%+v: record %x keeps within: %t with %d attributes, want %t", test.limits, b, ok, n, test.ok)
		}
	}
}

func TestLimitsOfHeaders(t *testing.T) {
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	rs.SetSchemaUrl("12345")
	rs.Resource().Attributes().PutStr("key", "1234567")
	rs.Resource().Attributes().PutInt("longer", 1)
	ss := rs.ScopeSpans().AppendEmpty()
	ss.SetSchemaUrl("1234")
	ss.Scope().SetName("a name is not limited")
	ss.Scope().Attributes().PutStr("scope", "12345678")
	ss.Spans().AppendEmpty()
	b, _ := (&ptrace.ProtoMarshaler{}).MarshalTraces(td)
	p := scanned(t, Traces, b)
	for _, test := range []struct {
		limits Limits
		ok     bool
	}{
		{Limits{}, true},
		{Limits{Name: 1, EventName: 1}, true},
		{Limits{Text: true}, true},
		{Limits{Key: 6, Value: 8, URL: 5, Attributes: 2}, true},
		{Limits{Key: 5}, false},
		{Limits{Value: 7}, false},
		{Limits{Value: 6}, false},
		{Limits{URL: 4}, false},
		{Limits{URL: 3}, false},
		{Limits{Attributes: 1}, false},
	} {
		if n, ok := test.limits.Headers(p, 0); ok != test.ok || ok && n != 3 {
			t.Errorf("%+v: headers keep within: %t with %d attributes, want %t with 3", test.limits, ok, n, test.ok)
		}
	}
}

func TestLimitsOfMutants(t *testing.T) {
	rnd := newMutants(t)
	l := &Limits{Text: true, Key: 1, Value: 1, Attributes: 3, Events: 1, Links: 1, Name: 2, EventName: 1, URL: 1}
	var p Payload
	for range 2000 {
		if b := mutant(rnd, traceSeeds()[1:]); p.Scan(Traces, b) == nil {
			check(t, Traces, b, func(t *testing.T, b []byte) {
				for i := range int32(p.Len()) {
					if _, ok := l.Span(p.Span(i)); ok {
						// The fields that count alone may keep within where one that does not count goes beyond, not the reverse.
						if _, ok := (slowLimits{l}).span(p.Span(i)); !ok {
							t.Fatalf("span %x goes beyond", p.body(i))
						}
					}
					l.Headers(&p, p.Span(i).ScopeIndex())
				}
			})
		}
	}
}

func TestEmptyKeyIsNoText(t *testing.T) {
	for _, kv := range [][]byte{
		appendAttribute(nil, "", "v")[2:], field(2, field(1, []byte("v"))), slices.Concat(field(2, field(1, []byte("v"))), field(1, nil)),
	} {
		b := field(1, field(2, field(2, field(9, kv))))
		if _, ok := (&Limits{Text: true}).Span(scanned(t, Traces, b).Span(0)); ok {
			t.Errorf("attribute %x keeps within", kv)
		}
	}
}

func BenchmarkLimits(b *testing.B) {
	l := &Limits{Key: 512, Value: 64 << 10, Name: 1024, EventName: 1024, URL: 8192, Attributes: 1024, Events: 256, Links: 128, Text: true}
	bothOrders(b, func(b *testing.B, payload []byte) {
		p := scanned(b, Traces, payload)
		b.ReportAllocs()
		for b.Loop() {
			for i := range int32(p.Len()) {
				if _, ok := l.Span(p.Span(i)); !ok {
					b.Fatal(i)
				}
			}
		}
		perSpan(b, payload)
	})
}
