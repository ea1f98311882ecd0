package otlp

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// tryEditor removes attributes whose key has an x, replaces values under keys with an s, puts <> for each t in texts, and removes
// what holds a text with a v. It is told of texts by the rule 1.
type tryEditor struct{ nothing bool }

func (tryEditor) Group(r Resource) {
	for _, v := range r.Attributes() {
		_ = v.String()
	}
}
func (tryEditor) Item([]byte) {}
func (tryEditor) EndItem()    {}

func (e tryEditor) Rules(Place) uint64 { return 1 }

func (e tryEditor) Attribute(_ Place, key []byte, _ bool, _ uint64) (Fate, uint64) {
	switch {
	case e.nothing:
		return LookInto, 1
	case strings.Contains(string(key), "x"):
		return Remove, 0
	case strings.Contains(string(key), "s"):
		return Replace, 0
	}
	return LookInto, 1
}

func (e tryEditor) Text(dst []byte, _ Place, text []byte, _ uint64, held bool) ([]byte, Fate) {
	switch {
	case e.nothing:
		return dst, Leave
	case held && bytes.Contains(text, []byte("v")):
		return dst, Remove
	case !bytes.Contains(text, []byte("t")):
		return dst, Leave
	}
	return append(dst, bytes.ReplaceAll(text, []byte("t"), []byte("<>"))...), Replace
}

func (e tryEditor) Value(dst []byte, v Value) ([]byte, bool) {
	if v.Kind() == Empty || v.String() == "R" {
		return dst, false
	}
	return append(dst, 'R'), true
}

// The same on decoded data.

func (e tryEditor) attributes(m pcommon.Map) {
	m.RemoveIf(func(k string, v pcommon.Value) bool {
		switch fate, _ := e.Attribute(0, []byte(k), false, 0); fate {
		case Remove:
			return true
		case Replace:
			e.replaced(v)
			return false
		}
		return e.value(v, true)
	})
}

func (e tryEditor) replaced(v pcommon.Value) {
	switch v.Type() {
	case pcommon.ValueTypeSlice:
		for _, el := range v.Slice().All() {
			e.replaced(el)
		}
	case pcommon.ValueTypeEmpty:
	default:
		v.SetStr("R")
	}
}

func (e tryEditor) value(v pcommon.Value, held bool) (remove bool) {
	switch v.Type() {
	case pcommon.ValueTypeStr:
		out, fate := e.Text(nil, 0, []byte(v.Str()), 1, held)
		if fate == Replace {
			v.SetStr(string(out))
		}
		return fate == Remove
	case pcommon.ValueTypeBytes:
		if !isText(v.Bytes().AsRaw()) {
			return false
		}
		out, fate := e.Text(nil, 0, v.Bytes().AsRaw(), 1, held)
		if fate == Replace {
			v.Bytes().FromRaw(out)
		}
		return fate == Remove
	case pcommon.ValueTypeMap:
		e.attributes(v.Map())
	case pcommon.ValueTypeSlice:
		v.Slice().RemoveIf(func(el pcommon.Value) bool { return e.value(el, true) })
	}
	return false
}

func isText(b []byte) bool { return strings.ToValidUTF8(string(b), "") == string(b) }

func (e tryEditor) text(get func() string, set func(string)) {
	if out, fate := e.Text(nil, 0, []byte(get()), 1, false); fate == Replace {
		set(string(out))
	}
}

func (e tryEditor) resource(r pcommon.Resource) { e.attributes(r.Attributes()) }

func (e tryEditor) scope(s pcommon.InstrumentationScope) {
	e.text(s.Name, s.SetName)
	e.text(s.Version, s.SetVersion)
	e.attributes(s.Attributes())
}

func (e tryEditor) traces(td ptrace.Traces) {
	for _, rs := range td.ResourceSpans().All() {
		e.resource(rs.Resource())
		e.text(rs.SchemaUrl, rs.SetSchemaUrl)
		for _, ss := range rs.ScopeSpans().All() {
			e.scope(ss.Scope())
			e.text(ss.SchemaUrl, ss.SetSchemaUrl)
			for _, s := range ss.Spans().All() {
				e.text(s.Name, s.SetName)
				e.text(s.TraceState().AsRaw, s.TraceState().FromRaw)
				e.text(s.Status().Message, s.Status().SetMessage)
				e.attributes(s.Attributes())
				for _, ev := range s.Events().All() {
					e.text(ev.Name, ev.SetName)
					e.attributes(ev.Attributes())
				}
				for _, l := range s.Links().All() {
					e.text(l.TraceState().AsRaw, l.TraceState().FromRaw)
					e.attributes(l.Attributes())
				}
			}
		}
	}
}

func (e tryEditor) logs(ld plog.Logs) {
	for _, rl := range ld.ResourceLogs().All() {
		e.resource(rl.Resource())
		e.text(rl.SchemaUrl, rl.SetSchemaUrl)
		for _, sl := range rl.ScopeLogs().All() {
			e.scope(sl.Scope())
			e.text(sl.SchemaUrl, sl.SetSchemaUrl)
			for _, r := range sl.LogRecords().All() {
				e.text(r.SeverityText, r.SetSeverityText)
				e.text(r.EventName, r.SetEventName)
				e.value(r.Body(), false)
				e.attributes(r.Attributes())
			}
		}
	}
}

func TestWalker(t *testing.T) {
	for _, b := range [][]byte{tinyTraces(), smallTraces(), keyFirst(Traces, smallTraces())} {
		checkWalkTraces(t, b)
	}
	for _, b := range [][]byte{smallLogs(), keyFirst(Logs, smallLogs())} {
		checkWalkLogs(t, b)
	}
}

func FuzzWalkTraces(f *testing.F) {
	for _, b := range traceSeeds() {
		f.Add(b)
	}
	f.Fuzz(checkWalkTraces)
}

func FuzzWalkLogs(f *testing.F) {
	for _, b := range logSeeds() {
		f.Add(b)
	}
	f.Fuzz(checkWalkLogs)
}

// checkWalk holds for all bytes: nothing is changed where the editor changes nothing, what could be scanned can be, and
// unknown fields may be dropped.
func checkWalk(t *testing.T, signal Signal, b []byte) {
	t.Helper()
	var w Walker
	var p Payload
	fault := p.Scan(signal, b)
	same, err := w.Rewrite(signal, b, tryEditor{nothing: true})
	if err == nil && (len(same) != len(b) || len(b) > 0 && &same[0] != &b[0]) {
		t.Fatal("a payload in which nothing changes is another slice")
	}
	for _, w.DropUnknown = range []bool{false, true} {
		out, err := w.Rewrite(signal, bytes.Clone(b), tryEditor{})
		if errors.Is(err, ErrTooManyEdits) {
			t.Fatalf("%d bytes need too much memory", len(b))
		}
		if fault != nil {
			continue
		}
		items := p.Len()
		if err != nil {
			t.Fatalf("Rewrite: %v, but it can be scanned", err)
		}
		if err := new(Payload).Scan(signal, out); err != nil {
			t.Fatalf("the output is malformed: %v", err)
		}
		if q := scanned(t, signal, out); q.Len() != items {
			t.Fatalf("%d items, want %d", q.Len(), items)
		}
		again, err := w.Rewrite(signal, out, tryEditor{})
		if err != nil || !bytes.Equal(again, out) {
			t.Fatalf("changed again, or %v", err)
		}
	}
}

func checkWalkTraces(t *testing.T, b []byte) {
	checkWalk(t, Traces, b)
	td, err := (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(b)
	if err != nil || tooDeepFor(Traces, b) {
		return
	}
	plain, _ := (&ptrace.ProtoMarshaler{}).MarshalTraces(td)
	out, err := new(Walker).Rewrite(Traces, plain, tryEditor{})
	if err != nil {
		t.Fatal(err)
	}
	tryEditor{}.traces(td)
	want, _ := (&ptrace.ProtoMarshaler{}).MarshalTraces(td)
	got, err := (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(out)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := (&ptrace.ProtoMarshaler{}).MarshalTraces(got); !bytes.Equal(got, want) {
		t.Fatalf("on the wire\n%q\ndecoded\n%q", got, want)
	}
}

func checkWalkLogs(t *testing.T, b []byte) {
	checkWalk(t, Logs, b)
	ld, err := (&plog.ProtoUnmarshaler{}).UnmarshalLogs(b)
	if err != nil || tooDeepFor(Logs, b) {
		return
	}
	plain, _ := (&plog.ProtoMarshaler{}).MarshalLogs(ld)
	out, err := new(Walker).Rewrite(Logs, plain, tryEditor{})
	if err != nil {
		t.Fatal(err)
	}
	tryEditor{}.logs(ld)
	want, _ := (&plog.ProtoMarshaler{}).MarshalLogs(ld)
	got, err := (&plog.ProtoUnmarshaler{}).UnmarshalLogs(out)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := (&plog.ProtoMarshaler{}).MarshalLogs(got); !bytes.Equal(got, want) {
		t.Fatalf("on the wire\n%q\ndecoded\n%q", got, want)
	}
}

// tooDeepFor reports whether pdata reads what Scan refuses.
func tooDeepFor(s Signal, b []byte) bool { return new(Payload).Scan(s, b) != nil }

// placeEditor writes down what it is shown.
type placeEditor struct {
	tryEditor
	seen map[Place][]string
	at   Place
}

func (e *placeEditor) Rules(at Place) uint64 { return 1 }

func (e *placeEditor) Attribute(at Place, key []byte, _ bool, outer uint64) (Fate, uint64) {
	e.at = at
	return LookInto, 1
}

func (e *placeEditor) Text(dst []byte, at Place, text []byte, _ uint64, _ bool) ([]byte, Fate) {
	e.seen[at] = append(e.seen[at], string(text))
	return append(dst, "****"...), Replace
}

// Every text of metrics is shown, with its place.
func TestWalkerMetrics(t *testing.T) {
	md := pmetric.NewMetrics()
	rm := md.ResourceMetrics().AppendEmpty()
	rm.Resource().Attributes().PutStr("k", "resource")
	sm := rm.ScopeMetrics().AppendEmpty()
	sm.Scope().Attributes().PutStr("k", "scope")
	metric := func(name string) pmetric.Metric {
		m := sm.Metrics().AppendEmpty()
		m.SetName(name)
		return m
	}
	exemplar := func(e pmetric.Exemplar, s string) { e.FilteredAttributes().PutStr("k", s) }
	m := metric("gauge")
	m.Metadata().PutStr("k", "metadata")
	p := m.SetEmptyGauge().DataPoints().AppendEmpty()
	p.SetIntValue(7)
	p.Attributes().PutStr("k", "gauge point")
	exemplar(p.Exemplars().AppendEmpty(), "gauge exemplar")
	p = metric("sum").SetEmptySum().DataPoints().AppendEmpty()
	p.Attributes().PutStr("k", "sum point")
	h := metric("histogram").SetEmptyHistogram().DataPoints().AppendEmpty()
	h.BucketCounts().FromRaw([]uint64{1, 2})
	h.ExplicitBounds().FromRaw([]float64{1})
	h.Attributes().PutStr("k", "histogram point")
	exemplar(h.Exemplars().AppendEmpty(), "histogram exemplar")
	x := metric("exponential").SetEmptyExponentialHistogram().DataPoints().AppendEmpty()
	x.Positive().BucketCounts().FromRaw([]uint64{3})
	x.Attributes().PutStr("k", "exponential point")
	exemplar(x.Exemplars().AppendEmpty(), "exponential exemplar")
	s := metric("summary").SetEmptySummary().DataPoints().AppendEmpty()
	s.QuantileValues().AppendEmpty().SetQuantile(0.5)
	s.Attributes().PutStr("k", "summary point")
	b, err := (&pmetric.ProtoMarshaler{}).MarshalMetrics(md)
	if err != nil {
		t.Fatal(err)
	}
	e := &placeEditor{seen: map[Place][]string{}}
	w := Walker{DropUnknown: true}
	out, err := w.Rewrite(Metrics, b, e)
	if err != nil {
		t.Fatal(err)
	}
	for place, want := range map[Place]int{InResource: 1, InScope: 1, InMetric: 9, OtherText: 5} {
		if len(e.seen[place]) != want {
			t.Errorf("place %d: %q, want %d", place, e.seen[place], want)
		}
	}
	got, err := (&pmetric.ProtoUnmarshaler{}).UnmarshalMetrics(out)
	if err != nil {
		t.Fatal(err)
	}
	if got.DataPointCount() != 5 {
		t.Errorf("%d points, want 5", got.DataPointCount())
	}
	js, _ := (&pmetric.JSONMarshaler{}).MarshalMetrics(got)
	for _, gone := range []string{"point", "exemplar\"", "metadata\"", "scope\"", "gauge\""} {
		if bytes.Contains(js, []byte(`:"`+gone)) {
			t.Errorf("%q is still in %s", gone, js)
		}
	}
}

func TestWalkerShowsPlaces(t *testing.T) {
	e := &placeEditor{seen: map[Place][]string{}}
	for signal, b := range map[Signal][]byte{Traces: smallTraces(), Logs: smallLogs()} {
		if _, err := new(Walker).Rewrite(signal, b, e); err != nil {
			t.Fatal(err)
		}
	}
	want := map[Place]bool{InResource: true, InSpan: true, InEvent: true, InRecord: true, SpanName: true, EventName: true, StatusMessage: true,
		Body: true, TraceState: true, OtherText: true}
	got := map[Place]bool{}
	for p := range e.seen {
		got[p] = true
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestWalkerDropsUnknownFields(t *testing.T) {
	b := append(tinyTraces(), 15<<3|wireLen, 6, 's', 'e', 'c', 'r', 'e', 't')
	w := Walker{DropUnknown: true}
	out, err := w.Rewrite(Traces, b, tryEditor{nothing: true})
	if err != nil || !bytes.Equal(out, tinyTraces()) {
		t.Errorf("got %q, %v", out, err)
	}
}

// A payload of nothing but what is removed takes no memory for it, and one of nothing but what is replaced is bounded.
func TestWalkerBounds(t *testing.T) {
	kv := []byte{9<<3 | wireLen, 3, 1<<3 | wireLen, 1, 'x'}
	build := func(kv []byte) []byte {
		s := bytes.Repeat(kv, 200_000)
		for _, tag := range []byte{2, 2, 1} {
			s = append(appendField(nil, tag<<3|wireLen, len(s)), s...)
		}
		return s
	}
	var w Walker
	out, err := w.Rewrite(Traces, build(kv), tryEditor{})
	if err != nil || len(out) > 16 || len(w.splice.edits) > 10 {
		t.Errorf("%d bytes with %d edits, %v", len(out), len(w.splice.edits), err)
	}
	out, err = w.Rewrite(Traces, build([]byte{9<<3 | wireLen, 8, 1<<3 | wireLen, 1, 'a', 2<<3 | wireLen, 3, 1<<3 | wireLen, 1, 't'}), tryEditor{})
	if !errors.Is(err, ErrTooManyEdits) || out != nil {
		t.Errorf("%d bytes, error %v, want ErrTooManyEdits", len(out), err)
	}
}

func TestWalkerAllocatesNothing(t *testing.T) {
	b := smallTraces()
	var w Walker
	e := Editor(tryEditor{nothing: true})
	_, _ = w.Rewrite(Traces, b, silent{e})
	if n := testing.AllocsPerRun(100, func() { _, _ = w.Rewrite(Traces, b, silent{e}) }); n > 1 { // silent's own
		t.Errorf("%v allocations", n)
	}
}

type silent struct{ Editor }

func (silent) Group(Resource) {}
