package otlp

import (
	"bytes"
	"errors"
	"iter"
	"strings"
	"testing"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

func FuzzScanTraces(f *testing.F) {
	for _, b := range traceSeeds() {
		f.Add(b)
	}
	f.Fuzz(checkTraces)
}

func FuzzScanLogs(f *testing.F) {
	for _, b := range logSeeds() {
		f.Add(b)
	}
	f.Fuzz(checkLogs)
}

func traceSeeds() [][]byte {
	return [][]byte{nil, tinyTraces(), smallTraces(), keyFirst(Traces, smallTraces())}
}

func logSeeds() [][]byte { return [][]byte{nil, smallLogs(), keyFirst(Logs, smallLogs())} }

// checkTraces holds Scan and the views to pdata.
func checkTraces(t *testing.T, b []byte) {
	td, want := (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(b)
	var p Payload
	if !sameVerdict(t, p.Scan(Traces, b), want) || usesDeprecated(b) {
		return
	}
	compareTraces(t, td, &p)
	checkCopies(t, &p, compareTracesOf(td))
}

func compareTracesOf(td ptrace.Traces) func(*testing.T, *Payload) {
	return func(t *testing.T, p *Payload) { compareTraces(t, td, p) }
}

func checkLogs(t *testing.T, b []byte) {
	ld, want := (&plog.ProtoUnmarshaler{}).UnmarshalLogs(b)
	var p Payload
	if !sameVerdict(t, p.Scan(Logs, b), want) || usesDeprecated(b) {
		return
	}
	compareLogs(t, ld, &p)
	checkCopies(t, &p, func(t *testing.T, p *Payload) { compareLogs(t, ld, p) })
}

// sameVerdict reports whether the payload is valid, and fails if pdata and Scan do not agree on it.
func sameVerdict(t *testing.T, got, want error) bool {
	t.Helper()
	if got != nil && strings.Contains(got.Error(), tooDeep) {
		return false
	}
	if (got == nil) != (want == nil) {
		t.Fatalf("Scan: %v, pdata: %v", got, want)
	}
	if got != nil && !errors.Is(got, ErrMalformed) {
		t.Fatalf("%v is not ErrMalformed", got)
	}
	return got == nil
}

// usesDeprecated reports whether the valid payload has scopes in field 1000, which pdata drops.
func usesDeprecated(b []byte) bool {
	f := fields{b: b}
	for tag, _, body, ok := f.next(); ok; tag, _, body, ok = f.next() {
		if tag != 1<<3|wireLen {
			continue // unknown: not validated, so it cannot be walked
		}
		g := fields{b: body}
		for tag, _, _, ok := g.next(); ok && len(body) > 0; tag, _, _, ok = g.next() {
			if tag>>3 == deprecatedScopes {
				return true
			}
		}
	}
	return false
}

// checkCopies checks that copying everything out loses and changes nothing.
func checkCopies(t *testing.T, p *Payload, same func(*testing.T, *Payload)) {
	t.Helper()
	same(t, scanned(t, p.Signal(), Select(p, func(int32) bool { return true })))
	x := p.Index()
	var all []byte
	seen := make(map[int32]bool)
	for _, g := range p.Groups() {
		items, size := x.SizeGroup(g.First)
		if items != int(g.Items) || size != int(g.Bytes) {
			t.Fatalf("SizeGroup = %d, %d; group is %+v", items, size, g)
		}
		all = x.AppendGroup(all, g.First, nil)
		for i := g.First; i >= 0; i = p.Next(i) {
			if seen[i] || p.items[i].trace != g.Trace {
				t.Fatalf("item %d twice or in a wrong group %v", i, g)
			}
			seen[i] = true
		}
	}
	if q := scanned(t, p.Signal(), all); q.Len() != p.Len() || len(seen) != p.Len() {
		t.Fatalf("groups hold %d items, fragments %d, want %d", len(seen), q.Len(), p.Len())
	}
}

func compareTraces(t *testing.T, td ptrace.Traces, p *Payload) {
	t.Helper()
	i, r := int32(0), int32(-1)
	for _, rs := range td.ResourceSpans().All() {
		first := true
		for _, ss := range rs.ScopeSpans().All() {
			for _, s := range ss.Spans().All() {
				if first {
					r, first = r+1, false
				}
				compareSpan(t, s, p.Span(i))
				compareOwner(t, p.Span(i).view, r, rs.Resource(), ss.Scope())
				compareScope(t, p.Scope(p.Span(i).ScopeIndex()), ss.Scope(), ss.SchemaUrl())
				equal(t, "resource schema", string(p.Resource(r).SchemaURL()), rs.SchemaUrl())
				equal(t, "resource dropped", p.Resource(r).Dropped(), rs.Resource().DroppedAttributesCount())
				i++
			}
		}
	}
	if int(i) != p.Len() || int(r+1) != p.Resources() {
		t.Fatalf("%d spans, %d resources, want %d, %d", p.Len(), p.Resources(), i, r+1)
	}
}

func compareOwner(t *testing.T, v view, r int32, res pcommon.Resource, sc pcommon.InstrumentationScope) {
	t.Helper()
	equal(t, "resource", v.ResourceIndex(), r)
	equal(t, "scope", string(v.ScopeName()), sc.Name())
	equal(t, "scope version", string(v.ScopeVersion()), sc.Version())
	compareAttributes(t, v.Resource().Attributes(), v.Resource().Attribute, res.Attributes())
}

func compareSpan(t *testing.T, want ptrace.Span, got Span) {
	t.Helper()
	equal(t, "trace", got.TraceID(), TraceID(want.TraceID()))
	equal(t, "span", got.SpanID(), SpanID(want.SpanID()))
	equal(t, "parent", got.ParentSpanID(), SpanID(want.ParentSpanID()))
	equal(t, "start", got.Start(), uint64(want.StartTimestamp()))
	equal(t, "end", got.End(), uint64(want.EndTimestamp()))
	equal(t, "kind", got.Kind(), int32(want.Kind()))
	equal(t, "status", got.StatusCode(), int32(want.Status().Code()))
	equal(t, "status message", string(got.StatusMessage()), want.Status().Message())
	equal(t, "flags", got.Flags(), want.Flags())
	equal(t, "name", string(got.Name()), want.Name())
	equal(t, "trace state", string(got.TraceState()), want.TraceState().AsRaw())
	compareAttributes(t, got.Attributes(), got.Attribute, want.Attributes())
	compareDetails(t, want, got)
	n := 0
	for e := range got.Events() {
		w := want.Events().At(n)
		equal(t, "event time", e.Time(), uint64(w.Timestamp()))
		equal(t, "event name", string(e.Name()), w.Name())
		compareAttributes(t, e.Attributes(), e.Attribute, w.Attributes())
		n++
	}
	equal(t, "events", n, want.Events().Len())
	n = 0
	for l := range got.Links() {
		w := want.Links().At(n)
		equal(t, "link trace", l.TraceID(), TraceID(w.TraceID()))
		equal(t, "link span", l.SpanID(), SpanID(w.SpanID()))
		equal(t, "link state", string(l.TraceState()), w.TraceState().AsRaw())
		compareAttributes(t, l.Attributes(), l.Attribute, w.Attributes())
		n++
	}
	equal(t, "links", n, want.Links().Len())
}

func compareLogs(t *testing.T, ld plog.Logs, p *Payload) {
	t.Helper()
	i, r := int32(0), int32(-1)
	for _, rl := range ld.ResourceLogs().All() {
		first := true
		for _, sl := range rl.ScopeLogs().All() {
			for _, w := range sl.LogRecords().All() {
				if first {
					r, first = r+1, false
				}
				compareRecord(t, w, p.Record(i))
				compareOwner(t, p.Record(i).view, r, rl.Resource(), sl.Scope())
				i++
			}
		}
	}
	equal(t, "records", int(i), p.Len())
}

func compareRecord(t *testing.T, want plog.LogRecord, got Record) {
	t.Helper()
	equal(t, "trace", got.TraceID(), TraceID(want.TraceID()))
	equal(t, "span", got.SpanID(), SpanID(want.SpanID()))
	equal(t, "time", got.Time(), uint64(want.Timestamp()))
	equal(t, "observed", got.ObservedTime(), uint64(want.ObservedTimestamp()))
	equal(t, "severity", got.SeverityNumber(), int32(want.SeverityNumber()))
	equal(t, "severity text", string(got.SeverityText()), want.SeverityText())
	equal(t, "flags", got.Flags(), uint32(want.Flags()))
	equal(t, "event name", string(got.EventName()), want.EventName())
	equal(t, "dropped attributes", got.DroppedAttributes(), want.DroppedAttributesCount())
	compareValue(t, got.Body(), want.Body())
	compareAttributes(t, got.Attributes(), got.Attribute, want.Attributes())
}

func compareAttributes(t *testing.T, all iter.Seq2[[]byte, Value], get func(string) (Value, bool), want pcommon.Map) {
	t.Helper()
	var keys []string
	for k, v := range want.All() {
		keys = append(keys, k)
		first, _ := want.Get(k)
		got, ok := get(k)
		equal(t, "has "+k, ok, true)
		compareValue(t, got, first)
		_ = v
	}
	n := 0
	for k := range all {
		if n >= len(keys) {
			t.Fatalf("attribute %q is too many", k)
		}
		equal(t, "key", string(k), keys[n])
		n++
	}
	equal(t, "attributes", n, len(keys))
}

func compareValue(t *testing.T, got Value, want pcommon.Value) {
	t.Helper()
	compareJSON(t, got)
	switch want.Type() {
	case pcommon.ValueTypeEmpty:
		equal(t, "kind", got.Kind(), Empty)
	case pcommon.ValueTypeStr:
		equal(t, "string", got.Kind() == String && string(got.Str()) == want.Str(), true)
	case pcommon.ValueTypeBool:
		equal(t, "bool", got.Kind() == Bool && got.Bool() == want.Bool(), true)
	case pcommon.ValueTypeInt:
		equal(t, "int", got.Kind() == Int && got.Int() == want.Int(), true)
	case pcommon.ValueTypeDouble:
		g, w := got.Double(), want.Double()
		equal(t, "double", got.Kind() == Double && (g == w || g != g && w != w), true)
	case pcommon.ValueTypeBytes:
		equal(t, "bytes", got.Kind() == Bytes && bytes.Equal(got.Str(), want.Bytes().AsRaw()), true)
	case pcommon.ValueTypeSlice:
		equal(t, "kind", got.Kind(), Array)
		compareArray(t, got, want.Slice())
	case pcommon.ValueTypeMap:
		equal(t, "kind", got.Kind(), Map)
		find := func(key string) (Value, bool) { return findAttribute(got.b, 1<<3|wireLen, key) }
		compareAttributes(t, got.Entries(), find, want.Map())
	}
}

func compareArray(t *testing.T, got Value, want pcommon.Slice) {
	t.Helper()
	n := 0
	for e := range got.Elements() {
		compareValue(t, e, want.At(n))
		n++
	}
	equal(t, "elements", n, want.Len())
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Fatalf("%s = %v, want %v", what, got, want)
	}
}
