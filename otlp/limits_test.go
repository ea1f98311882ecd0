package otlp

import (
	"iter"
	"math/rand/v2"
	"testing"

	"go.opentelemetry.io/collector/pdata/ptrace"
)

// slowLimits is Limits by the views, one question after the other.
type slowLimits struct{ *Limits }

func (l slowLimits) attributes(all iter.Seq2[[]byte, Value]) (n int, ok bool) {
	ok = true
	for k, v := range all {
		n++
		ok = ok && within(len(k), l.Key) && within(len(v.b), l.Value)
	}
	return n, ok && within(n, l.Attributes)
}

func (l slowLimits) span(s Span) (attributes int, ok bool) {
	attributes, ok = l.attributes(s.Attributes())
	ok = ok && within(len(s.Name()), l.Name)
	events, links := 0, 0
	for e := range s.Events() {
		n, fits := l.attributes(e.Attributes())
		ok = ok && fits && within(len(e.Name()), l.EventName)
		attributes, events = attributes+n, events+1
	}
	for e := range s.Links() {
		n, fits := l.attributes(e.Attributes())
		ok = ok && fits
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
		b, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(randomTraces(rnd))
		if err != nil {
			t.Fatal(err)
		}
		p := scanned(t, Traces, b)
		l := &Limits{Key: some(300), Value: some(300), Name: some(300), EventName: some(300), URL: some(300),
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
	l := &Limits{Key: 1, Value: 1, Attributes: 3, Events: 1, Links: 1, Name: 2, EventName: 1, URL: 1}
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

func BenchmarkLimits(b *testing.B) {
	l := &Limits{Key: 512, Value: 64 << 10, Name: 1024, EventName: 1024, URL: 8192, Attributes: 1024, Events: 256, Links: 128}
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
