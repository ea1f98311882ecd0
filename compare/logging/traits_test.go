package logging

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
)

// place is where a record stands.
type place struct {
	resource plog.ResourceLogs
	scope    plog.ScopeLogs
	record   plog.LogRecord
}

// trait is one thing that a record can have. Traits of one group exclude each other.
type trait struct {
	name string
	set  func(p place)
}

// groups are all traits. A case is one of them on an ordinary record, a random record has one of some groups.
func groups(now time.Time) [][]trait {
	return [][]trait{
		severities(), severityTexts(), bodies(), attributes(), logNames(), sourceLocations(), httpRequests(), operations(), sampledMarks(),
		traceContexts(), times(now), resources(), scopes(),
	}
}

func severities() (all []trait) {
	for n := plog.SeverityNumber(-1); n <= 25; n++ {
		all = append(all, trait{fmt.Sprintf("severity %d", n), func(p place) { p.record.SetSeverityNumber(n) }})
	}
	return append(all, trait{"severity huge", func(p place) { p.record.SetSeverityNumber(math.MaxInt32) }},
		trait{"severity 5 text ERROR", func(p place) {
			p.record.SetSeverityNumber(5)
			p.record.SetSeverityText("ERROR")
		}})
}

// severityTexts come without a number, which severity -1 or 5 of the other group may still set.
func severityTexts() (all []trait) {
	texts := []string{"default", "notice", "warning", "critical", "alert", "emergency", "Error", "WARN", "information", "SEVERE", "FINE", "err", "panic",
		" warn", "E"}
	for _, word := range []string{"trace", "debug", "info", "warn", "error", "fatal"} {
		texts = append(texts, word, word+"2", word+"3", word+"4")
	}
	for _, text := range texts {
		all = append(all, trait{"text " + text, func(p place) {
			p.record.SetSeverityNumber(0)
			p.record.SetSeverityText(text)
		}})
	}
	return all
}

func body(name string, set func(v pcommon.Value)) trait {
	return trait{"body " + name, func(p place) { set(p.record.Body()) }}
}

func bodies() []trait {
	return []trait{
		body("none", func(v pcommon.Value) { pcommon.NewValueEmpty().CopyTo(v) }),
		body("empty text", func(v pcommon.Value) { v.SetStr("") }),
		body("lines", func(v pcommon.Value) { v.SetStr("one\ntwo\tthree ☃") }),
		body("JSON as text", func(v pcommon.Value) { v.SetStr(`{"a":1}`) }),
		body("bad UTF-8", func(v pcommon.Value) { v.SetStr("a\xffb") }),
		body("long text", func(v pcommon.Value) { v.SetStr(strings.Repeat("0123456789", 60_000)) }),
		body("long wide text", func(v pcommon.Value) { v.SetStr("a" + strings.Repeat("☃", 200_000)) }),
		body("bool", func(v pcommon.Value) { v.SetBool(true) }),
		body("int", func(v pcommon.Value) { v.SetInt(math.MaxInt64) }),
		body("double", func(v pcommon.Value) { v.SetDouble(1e21) }),
		body("small double", func(v pcommon.Value) { v.SetDouble(0.1) }),
		body("NaN", func(v pcommon.Value) { v.SetDouble(math.NaN()) }),
		body("bytes", func(v pcommon.Value) { v.SetEmptyBytes().FromRaw([]byte{0, 1, 0xff}) }),
		body("text as bytes", func(v pcommon.Value) { v.SetEmptyBytes().FromRaw([]byte("report")) }),
		body("JSON as bytes", func(v pcommon.Value) { v.SetEmptyBytes().FromRaw([]byte(`{"a":{"b":[1,"x",null]}}`)) }),
		body("no bytes", func(v pcommon.Value) { v.SetEmptyBytes() }),
		body("array", func(v pcommon.Value) {
			must(v.SetEmptySlice().FromRaw([]any{int64(1), 2.5, "x", true, nil, map[string]any{"k": "v"}}))
		}),
		body("empty array", func(v pcommon.Value) { v.SetEmptySlice() }),
		body("empty map", func(v pcommon.Value) { v.SetEmptyMap() }),
		bodyMap("map", map[string]any{"message": "m", "n": int64(3), "f": 0.5, "b": true, "nil": nil, "list": []any{"x", int64(1)},
			"map": map[string]any{"deep": map[string]any{"er": "x"}}}),
		bodyMap("map with a large int", map[string]any{"n": int64(9007199254740993)}),
		bodyMap("map with bytes", map[string]any{"b": []byte{0xff, 0}}),
		bodyMap("map with NaN", map[string]any{"f": math.NaN(), "inf": math.Inf(-1)}),
		bodyMap("map with bad UTF-8", map[string]any{"k": "a\xffb", "bad\xfe": "x"}),
		bodyMap("large map", map[string]any{"big": strings.Repeat("x", 300_000), "small": "y"}),
		bodyMap("map of a severity", map[string]any{"severity": "ERROR", "time": "2020-01-01T00:00:00Z", "@type": "x"}),
		bodyMap("map with a key twice", map[string]any{twin: "first", secondTwin: "second"}),
	}
}

func bodyMap(name string, m map[string]any) trait {
	return body(name, func(v pcommon.Value) { must(v.SetEmptyMap().FromRaw(m)) })
}

func attribute(name string, set func(m pcommon.Map)) trait {
	return trait{"attributes " + name, func(p place) { set(p.record.Attributes()) }}
}

func attributes() []trait {
	return []trait{
		attribute("of every kind", func(m pcommon.Map) {
			must(m.FromRaw(map[string]any{"s": "text", "b": true, "i": int64(-7), "d": 0.25, "e": 1e-9, "bytes": []byte{1, 2},
				"list": []any{"a", int64(1), nil}, "map": map[string]any{"z": int64(1), "a": "x"}, "none": nil, "": "no key", "empty": ""}))
		}),
		attribute("that are special floats", func(m pcommon.Map) {
			must(m.FromRaw(map[string]any{"nan": math.NaN(), "inf": math.Inf(1), "big": 1e300, "whole": 5.0}))
		}),
		attribute("in multitude", func(m pcommon.Map) {
			for i := range 100 {
				m.PutInt(fmt.Sprintf("key%02d", i), int64(i))
			}
		}),
		attribute("with a long key", func(m pcommon.Map) { m.PutStr(strings.Repeat("k", 600), "v") }),
		attribute("with a long value", func(m pcommon.Map) { m.PutStr("long", strings.Repeat("v", 70_000)) }),
		attribute("with bad UTF-8", func(m pcommon.Map) { m.PutStr("bad", "a\xffb") }),
		attribute("with a bad key", func(m pcommon.Map) { m.PutStr("bad\xff", "v") }),
		attribute("that the resource has", func(m pcommon.Map) {
			m.PutStr("service.name", "of the record")
			m.PutStr("instrumentation_source", "of the record")
		}),
		attribute("with a key twice", func(m pcommon.Map) {
			m.PutStr(twin, "first")
			m.PutStr(secondTwin, "second")
		}),
		attribute("of Google's own", func(m pcommon.Map) {
			m.PutStr("gcp.unknown", "x")
			m.PutStr("gcp", "y")
		}),
		attribute("of an HTTP request", func(m pcommon.Map) {
			must(m.FromRaw(map[string]any{"http.request.method": "GET", "url.full": "http://x/y", "http.response.status_code": int64(200),
				"user_agent.original": "curl"}))
		}),
		attribute("of a place in code", func(m pcommon.Map) {
			must(m.FromRaw(map[string]any{"code.file.path": "a.go", "code.line.number": int64(7), "code.function.name": "f"}))
		}),
		attribute("of an old place in code", func(m pcommon.Map) {
			must(m.FromRaw(map[string]any{"code.filepath": "A.java", "code.lineno": int64(7), "code.function": "f", "code.namespace": "A"}))
		}),
		attribute("of an exception", func(m pcommon.Map) {
			must(m.FromRaw(map[string]any{"exception.type": "E", "exception.message": "m", "exception.stacktrace": "E: m\n\tat f"}))
		}),
		{"event", func(p place) { p.record.SetEventName("order.placed") }},
		{"event and attribute", func(p place) {
			p.record.SetEventName("order.placed")
			p.record.Attributes().PutStr("event.name", "of the record")
		}},
		{"dropped attributes", func(p place) { p.record.SetDroppedAttributesCount(3) }},
	}
}

// special makes a trait of each form in which an attribute can come: a map, JSON as text and as bytes, and other things.
func special(key string, m map[string]any, others map[string]any) (all []trait) {
	text, err := json.Marshal(m)
	must(err)
	forms := map[string]any{"map": m, "text": string(text), "bytes": text, "no JSON": "{", "JSON of another kind": "[1]", "int": int64(4), "empty": "",
		"null": "null", "empty map": map[string]any{}}
	for name, v := range others {
		forms[name] = v
	}
	for _, name := range sorted(forms) {
		all = append(all, trait{key + " " + name, func(p place) { must(p.record.Attributes().PutEmpty(key).FromRaw(forms[name])) }})
	}
	return all
}

func logNames() (all []trait) {
	for name, v := range map[string]any{"plain": "orders", "with a slash": "a/b c%", "escaped": "a%2Fb", "empty": "", "of another type": int64(5),
		"long": strings.Repeat("n", 600), "bad UTF-8": "a\xff", "wide": "☃"} {
		all = append(all, trait{"gcp.log_name " + name, func(p place) { must(p.record.Attributes().PutEmpty("gcp.log_name").FromRaw(v)) }})
	}
	return byName(all)
}

func sourceLocations() []trait {
	return special("gcp.source_location", map[string]any{"file": "a.go", "line": int64(42), "function": "main.f"}, map[string]any{
		"line as text": map[string]any{"file": "a.go", "line": "42"}, "line bad": map[string]any{"file": "a.go", "line": "x"},
		"line as float": map[string]any{"line": 42.0},
		"unknown field": map[string]any{"file": "a.go", "column": int64(3)}, "file of another type": map[string]any{"file": int64(3)},
		"negative line": map[string]any{"line": int64(-3)},
		"bad UTF-8":     map[string]any{"file": "a\xff.go"}, "other case": map[string]any{"FILE": "a.go"},
	})
}

func httpRequests() []trait {
	full := map[string]any{"requestMethod": "POST", "requestUrl": "https://x/y?z", "requestSize": "12", "status": int64(503), "responseSize": int64(9),
		"userAgent": "curl",
		"remoteIp":  "203.0.113.7", "serverIp": "10.0.0.1", "referer": "https://r", "latency": "1.5s", "cacheLookup": true, "cacheHit": true,
		"cacheValidatedWithOriginServer": true, "cacheFillBytes": "77", "protocol": "HTTP/1.1"}
	return special("gcp.http_request", full, map[string]any{
		"latency bad": map[string]any{"requestMethod": "GET", "latency": "soon"}, "latency in ms": map[string]any{"latency": "35ms"},
		"latency as number": map[string]any{"latency": 0.5},
		"latency zero":      map[string]any{"latency": "0s"}, "latency negative": map[string]any{"latency": "-1s"},
		"status as text": map[string]any{"status": "404"}, "status bad": map[string]any{"status": "x", "requestMethod": "GET"},
		"size bad":    map[string]any{"requestSize": 1.5},
		"status huge": map[string]any{"status": int64(1) << 40}, "bool as text": map[string]any{"cacheHit": "true"},
		"bad UTF-8": map[string]any{"requestUrl": "/a\xff", "requestMethod": "GET"},
		"bad agent": map[string]any{"userAgent": "a\xff"},
	})
}

func operations() []trait {
	return special("gcp.operation", map[string]any{"id": "op1", "producer": "shop", "first": true, "last": false}, map[string]any{
		"bools as text": map[string]any{"id": "op1", "first": "true", "last": "no"}, "id of another type": map[string]any{"id": int64(3)},
		"first of another type": map[string]any{"id": "x", "first": int64(1)},
		"long id":               map[string]any{"id": strings.Repeat("i", 600)}, "bad UTF-8": map[string]any{"id": "a\xff"},
	})
}

func sampledMarks() (all []trait) {
	for name, v := range map[string]any{"true": true, "false": false, "text": "true", "int": int64(1)} {
		for _, flags := range []plog.LogRecordFlags{0, 1} {
			all = append(all, trait{fmt.Sprintf("gcp.trace_sampled %s, flags %d", name, flags), func(p place) {
				withTrace(p, flags)
				must(p.record.Attributes().PutEmpty("gcp.trace_sampled").FromRaw(v))
			}})
		}
	}
	return byName(all)
}

func withTrace(p place, flags plog.LogRecordFlags) {
	p.record.SetTraceID(pcommon.TraceID{0x4b, 0xf9, 15: 0x36})
	p.record.SetSpanID(pcommon.SpanID{0x00, 0xf0, 7: 0xb7})
	p.record.SetFlags(flags)
}

func traceContexts() []trait {
	return []trait{
		{"trace and span", func(p place) { withTrace(p, 0) }},
		{"trace and span, sampled", func(p place) { withTrace(p, 1) }},
		{"trace and span, other flags", func(p place) { withTrace(p, 0x302) }},
		{"trace alone", func(p place) { p.record.SetTraceID(pcommon.TraceID{1}) }},
		{"span alone", func(p place) { p.record.SetSpanID(pcommon.SpanID{1}) }},
		{"flags alone", func(p place) { p.record.SetFlags(1) }},
	}
}

func times(now time.Time) (all []trait) {
	observed := pcommon.NewTimestampFromTime(now.Add(-time.Second))
	for name, at := range map[string]time.Time{
		"a nanosecond": now.Add(1), "a week ago": now.AddDate(0, 0, -7), "in an hour": now.Add(time.Hour), "31 days ago": now.AddDate(0, 0, -31),
		"in two days": now.AddDate(0, 0, 2),
		"1970":        time.Unix(1, 0),
	} {
		all = append(all, trait{"time " + name, func(p place) { p.record.SetTimestamp(pcommon.Timestamp(at.UnixNano())) }})
	}
	return append(byName(all),
		trait{"time and observed", func(p place) { p.record.SetObservedTimestamp(observed) }},
		trait{"only observed", func(p place) {
			p.record.SetTimestamp(0)
			p.record.SetObservedTimestamp(observed)
		}},
		trait{"time after 2262", func(p place) { p.record.SetTimestamp(math.MaxInt64 + 1e9) }},
		trait{"no time", func(p place) { p.record.SetTimestamp(0) }})
}
