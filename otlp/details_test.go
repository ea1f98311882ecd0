package otlp

import (
	"encoding/json"
	"math/rand/v2"
	"testing"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

func TestDetailsOfRandom(t *testing.T) {
	rnd := rand.New(rand.NewPCG(6, 1))
	for range 200 {
		b, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(randomTraces(rnd))
		if err != nil {
			t.Fatal(err)
		}
		checkTraces(t, b)
		checkTraces(t, keyFirst(Traces, b))
	}
}

// compareDetails is called for each span that differ_test.go compares, so that mutants and fuzzing reach it.
func compareDetails(t *testing.T, want ptrace.Span, got Span) {
	t.Helper()
	d := Details{Most: 2}
	got.Details(&d)
	equal(t, "most events", len(d.Events), min(2, want.Events().Len()))
	equal(t, "most links", len(d.Links), min(2, want.Links().Len()))
	d.Most = 1 << 20
	got.Details(&d)
	equal(t, "event count", d.EventCount, want.Events().Len())
	equal(t, "link count", d.LinkCount, want.Links().Len())
	equal(t, "details status message", string(d.StatusMessage), want.Status().Message())
	equal(t, "dropped attributes", d.DroppedAttributes, want.DroppedAttributesCount())
	equal(t, "dropped events", d.DroppedEvents, want.DroppedEventsCount())
	equal(t, "dropped links", d.DroppedLinks, want.DroppedLinksCount())
	equal(t, "details events", len(d.Events), want.Events().Len())
	equal(t, "details links", len(d.Links), want.Links().Len())
	for i, e := range d.Events {
		equal(t, "details event name", string(e.Name()), want.Events().At(i).Name())
		equal(t, "event dropped", e.Dropped(), want.Events().At(i).DroppedAttributesCount())
	}
	for i, l := range d.Links {
		equal(t, "details link span", l.SpanID(), SpanID(want.Links().At(i).SpanID()))
		equal(t, "link dropped", l.Dropped(), want.Links().At(i).DroppedAttributesCount())
		equal(t, "link flags", l.Flags(), want.Links().At(i).Flags())
	}
}

func compareScope(t *testing.T, got Scope, want pcommon.InstrumentationScope, schema string) {
	t.Helper()
	equal(t, "scope schema", string(got.SchemaURL()), schema)
	equal(t, "scope dropped", got.Dropped(), want.DroppedAttributesCount())
	n := 0
	for key, v := range got.Attributes() {
		var wantKey string
		var wantValue pcommon.Value
		i := 0
		for k, w := range want.Attributes().All() {
			if i == n {
				wantKey, wantValue = k, w
			}
			i++
		}
		equal(t, "scope attribute", string(key), wantKey)
		compareValue(t, v, wantValue)
		n++
	}
	equal(t, "scope attributes", n, want.Attributes().Len())
}

// compareJSON reads the value back with the standard library.
func compareJSON(t *testing.T, got Value) {
	t.Helper()
	b := got.AppendJSON([]byte("x"))[1:]
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatalf("%q: %v", b, err)
	}
	if got.Kind() == String {
		quoted, err := json.Marshal(string(got.Str()))
		if err != nil {
			t.Fatal(err)
		}
		var want string
		if err := json.Unmarshal(quoted, &want); err != nil {
			t.Fatal(err)
		}
		equal(t, "JSON of a string", v.(string), want)
	}
}

func TestValueAsJSON(t *testing.T) {
	for _, c := range []struct {
		set  func(v pcommon.Value)
		want string
	}{
		{func(v pcommon.Value) {}, `null`},
		{func(v pcommon.Value) { v.SetStr("a\"\\\n\t\x01é\xff</") }, `"a\"\\\n\t\u0001é` + "\uFFFD" + `</"`},
		{func(v pcommon.Value) { v.SetBool(true) }, `true`},
		{func(v pcommon.Value) { v.SetInt(-1 << 63) }, `-9223372036854775808`},
		{func(v pcommon.Value) { v.SetDouble(1e21) }, `1e+21`},
		{func(v pcommon.Value) { v.SetDouble(0.1) }, `0.1`},
		{func(v pcommon.Value) { inf := 1e308; v.SetDouble(-10 * inf) }, `"-Infinity"`},
		{func(v pcommon.Value) { v.SetEmptyBytes().FromRaw([]byte{1, 2, 255}) }, `"AQL/"`},
		{func(v pcommon.Value) {
			s := v.SetEmptySlice()
			s.AppendEmpty().SetStr("a")
			s.AppendEmpty()
			s.AppendEmpty().SetEmptySlice()
			m := s.AppendEmpty().SetEmptyMap()
			m.PutInt("b", 2)
			m.PutEmptyMap("a")
		}, `["a",null,[],{"b":2,"a":{}}]`},
	} {
		td := ptrace.NewTraces()
		s := td.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans().AppendEmpty()
		c.set(s.Attributes().PutEmpty("v"))
		b, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(td)
		if err != nil {
			t.Fatal(err)
		}
		v, _ := scanned(t, Traces, b).Span(0).Attribute("v")
		equal(t, "JSON", string(v.AppendJSON(nil)), c.want)
		compareJSON(t, v)
	}
}
