package compare

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/collector/pdata/pcommon"
)

// features is what of the policies and of their bounds a trace touches, in words.
func features(c configuration, spans []placed) []string {
	var found []string
	add := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	if c.firstMatch {
		add("sample_on_first_match")
	}
	if c.maximumBytes > 0 {
		add("maximum_trace_size_bytes")
	}
	var visit func(list []policy, within string)
	visit = func(list []policy, within string) {
		for _, p := range list {
			add("%s%s", within, p.kind)
			touched(p, spans, func(what string) { add("%s: %s", p.kind, what) })
			visit(p.parts, within+p.kind+" > ")
		}
	}
	visit(c.policies, "")
	return found
}

// touched is the features of one policy.
func touched(p policy, spans []placed, add func(string)) {
	for _, name := range []string{"hash_salt", "upper_threshold_ms", "max_spans", "burst_capacity", "invert_match", "rate_allocation", "enabled_regex_matching", "min_value", "max_value", "error_mode", "value", "status_codes", "sampling_percentage", "spans_per_second", "bytes_per_second", "max_total_spans_per_second"} {
		if v, given := p.settings[name]; given {
			switch name {
			case "hash_salt", "invert_match", "enabled_regex_matching", "error_mode", "value", "status_codes", "sampling_percentage", "spans_per_second", "bytes_per_second":
				add(fmt.Sprintf("%s %v", name, v))
			default:
				add(name)
			}
		}
	}
	switch p.kind {
	case "latency":
		touchedLatency(latencyOf(p), spans, add)
	case "span_count":
		near(add, "min_spans", int64(len(spans)), p.settings["min_spans"])
		near(add, "max_spans", int64(len(spans)), p.settings["max_spans"])
	case "numeric_attribute", "boolean_attribute", "string_attribute":
		touchedAttribute(p, spans, add)
	case "trace_state":
		for _, s := range spans {
			if p.settings["key"] == "vendor" {
				add(fmt.Sprintf("vendor of %q", s.span.TraceState().AsRaw()))
			}
		}
	case "rate_limiting":
		near(add, "burst_capacity", int64(len(spans)), p.settings["burst_capacity"])
	case "trace_flags":
		add(fmt.Sprintf("flags %x", spans[0].span.Flags()))
	case "status_code":
		add(fmt.Sprintf("%v, is %d", p.settings["status_codes"], spans[0].span.Status().Code()))
	case "ottl_condition":
		for _, list := range []string{"span", "spanevent"} {
			texts, _ := p.settings[list].([]string)
			for _, text := range texts {
				add(list + " " + text)
			}
		}
	}
}

// near says when v is at a bound or one beside it.
func near(add func(string), name string, v int64, bound any) {
	if bound == nil {
		return
	}
	var b int64
	if _, err := fmt.Sscan(fmt.Sprint(bound), &b); err != nil {
		panic(err)
	}
	if d := v - b; d >= -1 && d <= 1 {
		add(fmt.Sprintf("%s%+d", name, d))
	}
}

func touchedLatency(b latencyBounds, spans []placed, add func(string)) {
	from, to := spans[0].span.StartTimestamp(), spans[0].span.EndTimestamp()
	for _, s := range spans {
		from, to = min(from, s.span.StartTimestamp()), max(to, s.span.EndTimestamp())
	}
	switch {
	case from == 0:
		add("no start")
	case to == 0:
		add("no end")
	case to < from:
		add("reversed")
	default:
		d := int64(to - from)
		near(add, "threshold_ms", d/ms, b.threshold)
		if b.upper > 0 {
			near(add, "upper_threshold_ms", d/ms, b.upper)
		}
		add(fmt.Sprintf("part of a ms %t", d%ms != 0))
	}
}

func touchedAttribute(p policy, spans []placed, add func(string)) {
	key := p.settings["key"].(string)
	note := func(where string, m pcommon.Map) {
		n := 0
		for k, v := range m.All() {
			if k != key {
				continue
			}
			n++
			add(fmt.Sprintf("%s %s", where, v.Type()))
			switch {
			case p.kind == "numeric_attribute" && v.Type() == pcommon.ValueTypeInt:
				near(add, "min_value", v.Int(), p.settings["min_value"])
				near(add, "max_value", v.Int(), p.settings["max_value"])
			case p.kind == "string_attribute" && v.Type() == pcommon.ValueTypeStr:
				add(fmt.Sprintf("%s empty %t", where, v.Str() == ""))
			}
		}
		if n > 1 {
			add(where + " twice")
		}
	}
	for _, s := range spans {
		note("span", s.span.Attributes())
		note("resource", s.resource.Resource().Attributes())
		if _, ok := s.scope.Scope().Attributes().Get(key); ok {
			add("scope has it")
		}
	}
}

// The pairs reach all types in all places, all fields and all edges: a generator that loses one would prove nothing of it.
func TestGeneratorReaches(t *testing.T) {
	want := map[string]bool{}
	shared := []string{"always_sample", "latency", "numeric_attribute", "probabilistic", "status_code", "string_attribute", "rate_limiting", "bytes_limiting",
		"span_count", "trace_state", "trace_flags", "boolean_attribute", "ottl_condition"}
	for _, kind := range shared {
		for _, within := range []string{"", "and > ", "drop > ", "not > ", "composite > ", "and > not > ", "drop > not > ", "composite > and > "} {
			want[within+kind] = true
		}
	}
	for _, what := range []string{
		"sample_on_first_match", "maximum_trace_size_bytes", "composite: rate_allocation", "rate_limiting: burst_capacity", "bytes_limiting: burst_capacity",
		"latency: threshold_ms-1", "latency: threshold_ms+0", "latency: threshold_ms+1", "latency: upper_threshold_ms+0", "latency: upper_threshold_ms+1",
		"latency: part of a ms true", "latency: part of a ms false", "latency: no start", "latency: no end", "latency: reversed",
		"span_count: min_spans-1", "span_count: min_spans+0", "span_count: max_spans+0", "span_count: max_spans+1",
		"numeric_attribute: min_value-1", "numeric_attribute: min_value+0", "numeric_attribute: max_value+0", "numeric_attribute: max_value+1",
		"string_attribute: span empty true", "string_attribute: resource empty true", "string_attribute: span twice", "numeric_attribute: resource twice",
		"string_attribute: scope has it", "numeric_attribute: span Str", "numeric_attribute: span Double", "boolean_attribute: span Int", "string_attribute: resource Bytes",
	} {
		want[what] = true
	}
	for _, text := range slices.Concat(spanConditions, eventConditions) {
		list := "span "
		if !slices.Contains(spanConditions, text) {
			list = "spanevent "
		}
		want["ottl_condition: "+list+text] = true
	}
	for seed := range uint64(2000) {
		p := pairOf(seed)
		for _, spans := range byTrace(p.payloads) {
			for _, f := range features(p.config, spans) {
				delete(want, f)
			}
		}
	}
	missed := []string{}
	for f := range want {
		missed = append(missed, f)
	}
	slices.Sort(missed)
	if len(missed) > 0 {
		t.Errorf("2000 pairs do not reach:\n%s", strings.Join(missed, "\n"))
	}
}
