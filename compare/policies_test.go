package compare

import (
	"fmt"
	"math/bits"
	"slices"

	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.yaml.in/yaml/v3"
)

// configuration is a tail_sampling block.
type configuration struct {
	policies     []policy
	firstMatch   bool
	maximumBytes int
}

// policy is one of the list, or a part of another.
type policy struct {
	name, kind string
	settings   map[string]any
	parts      []policy
}

// partsKey is the field of types that have parts.
var partsKey = map[string]string{"and": "and_sub_policy", "drop": "drop_sub_policy", "not": "not_sub_policy", "composite": "composite_sub_policy"}

func (p policy) tree() map[string]any {
	m := map[string]any{"name": p.name, "type": p.kind}
	settings := map[string]any{}
	for k, v := range p.settings {
		settings[k] = v
	}
	if key := partsKey[p.kind]; key != "" {
		parts := []any{}
		for _, part := range p.parts {
			parts = append(parts, part.tree())
		}
		settings[key] = parts
		if p.kind == "not" {
			settings[key] = parts[0]
		}
	}
	if len(settings) > 0 {
		m[p.kind] = settings
	}
	return m
}

// yaml is the configuration as a file with a tail_sampling block.
func (c configuration) yaml() []byte {
	list := []any{}
	for _, p := range c.policies {
		list = append(list, p.tree())
	}
	block := map[string]any{"policies": list}
	if c.firstMatch {
		block["sample_on_first_match"] = true
	}
	if c.maximumBytes > 0 {
		block["maximum_trace_size_bytes"] = c.maximumBytes
	}
	text, err := yaml.Marshal(map[string]any{"tail_sampling": block})
	if err != nil {
		panic(err)
	}
	return text
}

// all walks through the policies and their parts.
func (c configuration) all(yield func(policy) bool) { walk(c.policies, yield) }

func walk(list []policy, yield func(policy) bool) bool {
	for _, p := range list {
		if !yield(p) || !walk(p.parts, yield) {
			return false
		}
	}
	return true
}

// stateful says whether an answer depends on which traces were asked about before.
func (c configuration) stateful() bool {
	for p := range c.all {
		if slices.Contains([]string{"rate_limiting", "bytes_limiting", "composite"}, p.kind) {
			return true
		}
	}
	return false
}

// measures of a set of traces, for bounds at its exact edges.
type measures struct {
	lasting []int64 // ms
	counts  []int
	bytes   []int
}

func measure(payloads []ptrace.Traces) measures {
	var m measures
	traces, parts := byTrace(payloads), split(payloads)
	for _, id := range firstSeen(payloads) {
		m.counts = append(m.counts, len(traces[id]))
		m.bytes = append(m.bytes, size(parts[id]))
		from, to := uint64(1<<63), uint64(0)
		for _, s := range traces[id] {
			from, to = min(from, uint64(s.span.StartTimestamp())), max(to, uint64(s.span.EndTimestamp()))
		}
		if to > from && from > 0 {
			m.lasting = append(m.lasting, int64(to-from)/ms)
		}
	}
	if len(m.lasting) == 0 {
		m.lasting = []int64{5}
	}
	return m
}

// size is the trace's in the collector: it loses the schema URLs.
func size(parts []ptrace.Traces) int {
	n := 0
	for _, part := range parts {
		n += (&ptrace.ProtoMarshaler{}).TracesSize(part)
		for _, rs := range part.ResourceSpans().All() {
			with := (&ptrace.ProtoMarshaler{}).ResourceSpansSize(rs)
			bare := ptrace.NewResourceSpans()
			rs.CopyTo(bare)
			bare.SetSchemaUrl("")
			for _, ss := range bare.ScopeSpans().All() {
				ss.SetSchemaUrl("")
			}
			without := (&ptrace.ProtoMarshaler{}).ResourceSpansSize(bare)
			n -= with + varint(with) - without - varint(without)
		}
	}
	return n
}

func varint(n int) int { return (bits.Len64(uint64(n)|1) + 6) / 7 }

// configuration makes one for the traces measured.
func (g generator) configuration(m measures) configuration {
	c := configuration{firstMatch: g.chance(10)}
	if g.chance(6) {
		c.maximumBytes = max(1, pick(g, m.bytes...)+g.IntN(9)-4)
	}
	n := pick(g, 1, 1, 1, 2, 3, 4, 6)
	for i := range n {
		p := g.top(m)
		p.name = fmt.Sprintf("p%d", i)
		c.policies = append(c.policies, p)
	}
	if c.maximumBytes > 0 && slices.ContainsFunc(slices.Collect(c.all), func(p policy) bool { return p.kind == "bytes_limiting" }) {
		c.maximumBytes = 0 // strict warns that it has one measure for both
	}
	return c
}

func (g generator) top(m measures) policy {
	switch r := g.IntN(100); {
	case r < 60:
		return g.shared(m)
	case r < 70:
		return g.group("and", m)
	case r < 78:
		return g.not(m)
	case r < 89:
		return g.group("drop", m)
	}
	return g.composite(m)
}

func (g generator) not(m measures) policy {
	return policy{kind: "not", parts: []policy{g.named(g.shared(m))}}
}

// named gives a part a name, or none.
func (g generator) named(p policy) policy {
	p.name = pick(g, "", "part", "x")
	return p
}

func (g generator) group(kind string, m measures) policy {
	p := policy{kind: kind}
	for range pick(g, 1, 2, 2, 3) {
		part := g.shared(m)
		if g.chance(25) {
			part = g.not(m)
		}
		p.parts = append(p.parts, g.named(part))
	}
	return p
}

func (g generator) composite(m measures) policy {
	total := pick(g, 1, 3, 7, 10, 29, 50, 100, 1000)
	p := policy{kind: "composite", settings: map[string]any{"max_total_spans_per_second": total}}
	var order []string
	var allocations []any
	for i := range 1 + g.IntN(3) {
		part := g.shared(m)
		if g.chance(25) {
			part = g.group("and", m)
		}
		part.name = fmt.Sprintf("c%d", i)
		p.parts = append(p.parts, part)
		order = append(order, part.name)
		if g.chance(70) {
			allocations = append(allocations, map[string]any{"policy": part.name, "percent": pick(g, 1, 7, 10, 29, 33, 50, 58, 100)})
		}
	}
	g.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	p.settings["policy_order"] = order
	if len(allocations) > 0 {
		p.settings["rate_allocation"] = allocations
	}
	return p
}

// shared is a policy of a type that may stand anywhere.
func (g generator) shared(m measures) policy {
	kind := pick(g, "always_sample", "latency", "latency", "numeric_attribute", "numeric_attribute", "probabilistic", "probabilistic", "status_code",
		"string_attribute", "string_attribute", "string_attribute", "rate_limiting", "rate_limiting", "bytes_limiting", "bytes_limiting", "span_count",
		"trace_state", "trace_state", "trace_flags", "boolean_attribute", "ottl_condition", "ottl_condition", "ottl_condition")
	return policy{kind: kind, settings: g.settings(kind, m)}
}

func (g generator) settings(kind string, m measures) map[string]any {
	switch kind {
	case "latency":
		return g.latency(m)
	case "numeric_attribute":
		return g.numeric()
	case "probabilistic":
		return g.probabilistic()
	case "status_code":
		codes := pick(g, []string{"ERROR"}, []string{"OK"}, []string{"UNSET"}, []string{"OK", "ERROR"}, []string{"ERROR", "UNSET", "ERROR"})
		return map[string]any{"status_codes": codes}
	case "string_attribute":
		return g.text()
	case "rate_limiting":
		return g.limit("spans_per_second", []int{1, 3, 5, 10, 20, 50}, m.counts)
	case "bytes_limiting":
		return g.limit("bytes_per_second", []int{1, 100, 300, 1000, 3000, 10_000}, m.bytes)
	case "span_count":
		return g.spanCount(m)
	case "trace_state":
		return map[string]any{
			"key":    pick(g, "vendor", "vendor", "vendor", "other", "ot", "t1@vendor", "Vendor"),
			"values": pick(g, []string{"a"}, []string{"b", "a"}, []string{"1", ""}, []string{""}, []string{"rv:0123456789abcd"}, []string{" a"}, []string{"zzz"}),
		}
	case "boolean_attribute":
		s := map[string]any{"key": pick(g, "retried", "retried", "retried", "text", "nowhere"), "value": g.chance(50)}
		return g.maybe(s, 30, "invert_match", g.chance(80))
	case "ottl_condition":
		return g.ottl()
	}
	return nil
}

func (g generator) maybe(s map[string]any, percent int, key string, v any) map[string]any {
	if g.chance(percent) {
		s[key] = v
	}
	return s
}

func (g generator) latency(m measures) map[string]any {
	least := max(0, pick(g, int64(0), 1, 5, pick(g, m.lasting...))+int64(g.IntN(3)-1))
	return g.maybe(map[string]any{"threshold_ms": least}, 40, "upper_threshold_ms", least+1+pick(g, int64(0), 4, 100, 1000, 100_000))
}

// numeric has at least one bound that is not 0: without, the collector crashes.
func (g generator) numeric() map[string]any {
	s := map[string]any{"key": pick(g, "http.status", "http.status", "http.status", "retried", "nowhere")}
	switch g.IntN(6) {
	case 0:
		s["min_value"] = pick(g, -5, 1, 200, 400)
	case 1:
		s["max_value"] = pick(g, -1, 1, 200, 499)
	case 2:
		s["min_value"], s["max_value"] = 0, pick(g, 1, 200, 499)
	case 3:
		s["min_value"], s["max_value"] = pick(g, -5, -1), 0
	case 4:
		s["min_value"], s["max_value"] = -6, pick(g, -6, -5, -1)
	default:
		s["min_value"], s["max_value"] = 400, pick(g, 400, 404, 499, 500)
	}
	return g.maybe(s, 30, "invert_match", g.chance(80))
}

func (g generator) probabilistic() map[string]any {
	s := map[string]any{"sampling_percentage": pick(g, 0, 100, 50, 10.0, 33.333, 1, 99.9, 0.001, 25)}
	return g.maybe(s, 40, "hash_salt", pick(g, "", "salt", "default-hash-seed", "é"))
}

func (g generator) text() map[string]any {
	s := map[string]any{"key": pick(g, "tenant", "tenant", "text", "text", "http.status", "nowhere")}
	if g.chance(50) {
		s["enabled_regex_matching"] = true
		s["values"] = pick(g, []string{"^a"}, []string{"hello"}, []string{"^$"}, []string{".*"}, []string{"x*"}, []string{"^b$", "wor+ld"}, []string{"nothing", "^[0-9]+$"})
		g.maybe(s, 20, "cache_max_size", pick(g, 1, 10))
	} else {
		s["values"] = pick(g, []string{"a"}, []string{"b", "acme"}, []string{"hello", ""}, []string{""}, []string{"200"}, []string{"zzz"})
	}
	return g.maybe(s, 30, "invert_match", g.chance(80))
}

// limit has a burst at, one below and one above what the first traces need.
func (g generator) limit(rate string, rates, needs []int) map[string]any {
	s := map[string]any{rate: pick(g, rates...)}
	if !g.chance(60) {
		return s
	}
	sum := 0
	for _, n := range needs[:1+g.IntN(len(needs))] {
		sum += n
	}
	s["burst_capacity"] = max(0, sum+g.IntN(3)-1)
	return s
}

func (g generator) spanCount(m measures) map[string]any {
	least := max(0, pick(g, m.counts...)+g.IntN(3)-1)
	return g.maybe(map[string]any{"min_spans": least}, 50, "max_spans", least+g.IntN(3))
}
