package telemetry

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"tailweir/otlp"
)

// What the API takes (docs.cloud.google.com/stackdriver/quotas, "Limits for ingestion of traces"). For records it names
// nothing of its own; what it writes are log entries, of which Cloud Logging takes 256 KB, here with some room for what the
// resource adds, and spans' limits are taken to hold for their attributes.
var limits = otlp.Limits{
	Key: 512, Value: 64 << 10, Name: 1024, EventName: 1024, URL: 8192,
	Attributes: 1024, Events: 256, Links: 128, Text: true,
}

// headerLimits leaves room for the project.
var headerLimits = func() otlp.Limits {
	l := limits
	l.Attributes--
	return l
}()

const (
	maxGroup  = 8192 // attributes of a resource with all that is under it
	maxRecord = 240_000

	// ShortenedAttribute is set on a span, a record, a resource or a scope that had to be cut, and names what was.
	ShortenedAttribute = "tailweir.shortened"
	maxNotes           = 1024
)

// cut returns the request, of one resource, with all of it cut to the limits.
func cut(signal otlp.Signal, request []byte) ([]byte, error) {
	if signal == otlp.Logs {
		return cutLogs(request)
	}
	return cutTraces(request)
}

func cutTraces(request []byte) ([]byte, error) {
	td, err := (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(request)
	if err != nil {
		return nil, err
	}
	for _, rs := range td.ResourceSpans().All() {
		cutResource(rs.Resource(), rs.SetSchemaUrl, rs.SchemaUrl())
		for _, ss := range rs.ScopeSpans().All() {
			cutScope(ss.Scope(), ss.SetSchemaUrl, ss.SchemaUrl())
			room := maxGroup - 1 - rs.Resource().Attributes().Len() - ss.Scope().Attributes().Len()
			for _, s := range ss.Spans().All() {
				cutSpan(s, room)
			}
		}
	}
	return (&ptrace.ProtoMarshaler{}).MarshalTraces(td)
}

func cutLogs(request []byte) ([]byte, error) {
	ld, err := (&plog.ProtoUnmarshaler{}).UnmarshalLogs(request)
	if err != nil {
		return nil, err
	}
	for _, rl := range ld.ResourceLogs().All() {
		cutResource(rl.Resource(), rl.SetSchemaUrl, rl.SchemaUrl())
		for _, sl := range rl.ScopeLogs().All() {
			cutScope(sl.Scope(), sl.SetSchemaUrl, sl.SchemaUrl())
			for _, r := range sl.LogRecords().All() {
				cutRecord(r)
			}
		}
	}
	return (&plog.ProtoMarshaler{}).MarshalLogs(ld)
}

func cutResource(r pcommon.Resource, setURL func(string), url string) {
	var c cutter
	setURL(c.url(url))
	r.SetDroppedAttributesCount(r.DroppedAttributesCount() + c.attributes("", r.Attributes(), headerLimits.Attributes, true))
}

func cutScope(s pcommon.InstrumentationScope, setURL func(string), url string) {
	var c cutter
	setURL(c.url(url))
	s.SetName(c.text("name", s.Name(), 0))
	s.SetVersion(c.text("version", s.Version(), 0))
	s.SetDroppedAttributesCount(s.DroppedAttributesCount() + c.attributes("", s.Attributes(), headerLimits.Attributes, true))
}

// cutSpan cuts a span; room is for its attributes with those of its events and links. What comes first stays.
func cutSpan(s ptrace.Span, room int) {
	var c cutter
	s.SetName(c.text("name", s.Name(), limits.Name))
	s.TraceState().FromRaw(c.text("trace_state", s.TraceState().AsRaw(), 0))
	s.Status().SetMessage(c.text("status", s.Status().Message(), 0))
	if n := s.Events().Len() - limits.Events; n > 0 {
		c.note("events")
		s.SetDroppedEventsCount(s.DroppedEventsCount() + uint32(n))
		at := 0
		s.Events().RemoveIf(func(ptrace.SpanEvent) bool { at++; return at > limits.Events })
	}
	if n := s.Links().Len() - limits.Links; n > 0 {
		c.note("links")
		s.SetDroppedLinksCount(s.DroppedLinksCount() + uint32(n))
		at := 0
		s.Links().RemoveIf(func(ptrace.SpanLink) bool { at++; return at > limits.Links })
	}
	inner := room - min(limits.Attributes, s.Attributes().Len()+1)
	for i, e := range s.Events().All() {
		where := fmt.Sprintf("events[%d].", i)
		e.SetName(c.text(where+"name", e.Name(), limits.EventName))
		e.SetDroppedAttributesCount(e.DroppedAttributesCount() + c.attributes(where, e.Attributes(), min(inner, limits.Attributes), false))
		inner -= e.Attributes().Len()
	}
	for i, l := range s.Links().All() {
		where := fmt.Sprintf("links[%d].", i)
		l.TraceState().FromRaw(c.text(where+"trace_state", l.TraceState().AsRaw(), 0))
		l.SetDroppedAttributesCount(l.DroppedAttributesCount() + c.attributes(where, l.Attributes(), min(inner, limits.Attributes), false))
		inner -= l.Attributes().Len()
	}
	s.SetDroppedAttributesCount(s.DroppedAttributesCount() + c.attributes("", s.Attributes(), limits.Attributes, true))
}

// cutRecord cuts a record: what its attributes leave of the size is for the body.
func cutRecord(r plog.LogRecord) {
	var c cutter
	r.SetSeverityText(c.text("severity_text", r.SeverityText(), limits.Name))
	r.SetEventName(c.text("event_name", r.EventName(), limits.EventName))
	room := maxRecord - 4*maxNotes - len(r.SeverityText()) - len(r.EventName())
	dropped := uint32(0)
	c.values("", r.Attributes())
	r.Attributes().RemoveIf(func(k string, v pcommon.Value) bool {
		n := len(k) + valueSize(v) + 16
		if n <= room {
			room -= n
			return false
		}
		c.note(k)
		dropped++
		return true
	})
	if !fits(r.Body(), max(1, room)) {
		c.note("body")
		shortenValue(r.Body(), max(1, room))
	}
	r.SetDroppedAttributesCount(r.DroppedAttributesCount() + dropped + c.attributes("", r.Attributes(), limits.Attributes, true))
}

// cutter cuts parts of one thing and notes which.
type cutter struct{ notes []string }

func (c *cutter) note(what string) {
	if !slices.Contains(c.notes, what) {
		c.notes = append(c.notes, what)
	}
}

// text returns s as UTF-8 of at most most bytes; 0 is any number.
func (c *cutter) text(what, s string, most int) string {
	out := clean(s, most)
	if out != s {
		c.note(what)
	}
	return out
}

func (c *cutter) url(s string) string {
	if len(s) <= limits.URL && utf8.ValidString(s) {
		return s
	}
	c.note("schema_url") // half of one says nothing
	return ""
}

// attributes cuts attributes and returns how many it dropped: at most most stay, and what was noted by then becomes one of them if
// there is something and mark says so. Keys are not cut, since they could become the same.
func (c *cutter) attributes(where string, m pcommon.Map, most int, mark bool) (dropped uint32) {
	m.RemoveIf(func(k string, _ pcommon.Value) bool {
		bad := k == "" || len(k) > limits.Key || !utf8.ValidString(k)
		if bad {
			dropped++
			c.note(where + "key " + clean(k, 32))
		}
		return bad
	})
	c.values(where, m)
	if m.Len() > most {
		c.note(where + "attributes")
	}
	if mark && len(c.notes) > 0 {
		m.Remove(ShortenedAttribute)
		most--
	}
	at := 0
	m.RemoveIf(func(string, pcommon.Value) bool {
		at++
		if at > most {
			dropped++
		}
		return at > most
	})
	if mark && len(c.notes) > 0 {
		m.PutStr(ShortenedAttribute, clean(strings.Join(c.notes, ", "), min(maxNotes, limits.Value)))
	}
	return dropped
}

func (c *cutter) values(where string, m pcommon.Map) {
	for k, v := range m.All() {
		if !fits(v, limits.Value) {
			c.note(where + clean(k, 64))
			shortenValue(v, limits.Value)
		}
	}
}

// fits reports whether a value has most bytes at most, and its strings are text.
func fits(v pcommon.Value, most int) bool {
	switch v.Type() {
	case pcommon.ValueTypeStr:
		return len(v.Str()) <= most && utf8.ValidString(v.Str())
	case pcommon.ValueTypeBytes:
		return v.Bytes().Len() <= most
	case pcommon.ValueTypeMap, pcommon.ValueTypeSlice:
		return valueSize(v) <= most && isText(v)
	}
	return true
}

// shortenValue cuts a string or bytes; an array or a map becomes the text that people read of it, cut.
func shortenValue(v pcommon.Value, most int) {
	if v.Type() == pcommon.ValueTypeBytes {
		raw := v.Bytes().AsRaw()[:most]
		v.SetEmptyBytes().FromRaw(raw)
		return
	}
	v.SetStr(clean(v.AsString(), most))
}

// valueSize is the encoded size of a value, and some bytes.
func valueSize(v pcommon.Value) int {
	switch v.Type() {
	case pcommon.ValueTypeStr:
		return len(v.Str())
	case pcommon.ValueTypeBytes:
		return v.Bytes().Len()
	case pcommon.ValueTypeMap, pcommon.ValueTypeSlice:
		ld := plog.NewLogs()
		v.CopyTo(ld.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty().Body())
		return (&plog.ProtoMarshaler{}).LogsSize(ld)
	}
	return 10
}

func isText(v pcommon.Value) bool {
	switch v.Type() {
	case pcommon.ValueTypeStr:
		return utf8.ValidString(v.Str())
	case pcommon.ValueTypeSlice:
		for _, e := range v.Slice().All() {
			if !isText(e) {
				return false
			}
		}
	case pcommon.ValueTypeMap:
		for k, e := range v.Map().All() {
			if !utf8.ValidString(k) || !isText(e) {
				return false
			}
		}
	}
	return true
}

// clean makes s UTF-8 of at most most bytes; 0 is any number.
func clean(s string, most int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if most == 0 || len(s) <= most {
		return s
	}
	for !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}
