package compare

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/collector/pdata/pcommon"
)

// The rows of docs/policies.md, by which the default mode differs.
const (
	rowRandomness = "probabilistic follows OTEP-235"
	rowZeroBound  = "a bound of 0 is a bound"
	rowOtherType  = "values of other types do not match"
	rowEmptyText  = "patterns are not asked of empty text"
	rowNanosecond = "latency compares nanoseconds"
	rowTimes      = "times that are missing or reversed count as none"
	rowSchema     = "conditions see schema URLs"
	rowLimits     = "limiters and composite spend otherwise"
	rowFree       = "what another policy keeps is free for limiters"
	rowFailing    = "a part of composite that fails does not take the others with it"
	rowSize       = "maximum_trace_size_bytes counts the spans as they came"
)

var rows = []string{rowRandomness, rowZeroBound, rowOtherType, rowEmptyText, rowNanosecond, rowTimes, rowSchema, rowLimits, rowFree, rowFailing, rowSize}

func TestRowsAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../docs/policies.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		if !strings.Contains(strings.ReplaceAll(string(doc), "`", ""), "\n| "+row) {
			t.Errorf("docs/policies.md has no row %q", row)
		}
	}
}

// explanation finds the rows for the differences of a pair in the default mode, by taking the reasons away one by one: a
// difference that stays without limits and comes from no leaf of the policies alone has no row.
type explanation struct {
	p      pair
	order  []pcommon.TraceID
	calm   map[pcommon.TraceID][2]answer // collector's and ours without limits, where they differ
	unsize map[pcommon.TraceID][2]answer // without maximum_trace_size_bytes as well
	leaves []leafDifference
}

// leafDifference is a leaf that alone gets two answers.
type leafDifference struct {
	leaf policy
	on   map[pcommon.TraceID][2]answer
}

func explain(p pair) (*explanation, error) {
	e := &explanation{p: p, order: firstSeen(p.payloads)}
	calm := p.config
	calm.policies = generous(p.config.policies)
	var err error
	if e.calm, err = e.unlike(calm); err != nil {
		return nil, err
	}
	calm.maximumBytes = 0
	if e.unsize, err = e.unlike(calm); err != nil {
		return nil, err
	}
	for leaf := range p.config.all {
		if len(leaf.parts) > 0 || strings.HasSuffix(leaf.kind, "_limiting") {
			continue
		}
		leaf.name = "leaf"
		on, err := e.unlike(configuration{policies: []policy{leaf}})
		if err != nil {
			return nil, err
		}
		if len(on) > 0 {
			e.leaves = append(e.leaves, leafDifference{leaf, on})
		}
	}
	return e, nil
}

func (e *explanation) unlike(c configuration) (map[pcommon.TraceID][2]answer, error) {
	text := c.yaml()
	ours, err := askOurs(mended, text, e.p.payloads, e.order)
	if err != nil {
		return nil, fmt.Errorf("explain by our answer: %w", err)
	}
	theirs, err := askCollector(text, e.p.payloads, e.order)
	if err != nil {
		return nil, fmt.Errorf("explain by the collector's answer: %w", err)
	}
	unlike := map[pcommon.TraceID][2]answer{}
	for id, a := range theirs {
		if a != ours[id] {
			unlike[id] = [2]answer{a, ours[id]}
		}
	}
	return unlike, nil
}

// generous is the policies with limits that none of the traces reaches.
func generous(list []policy) []policy {
	out := slices.Clone(list)
	for i := range out {
		p := &out[i]
		p.parts = generous(p.parts)
		p.settings = maps.Clone(p.settings)
		switch p.kind {
		case "rate_limiting":
			p.settings = map[string]any{"spans_per_second": 1 << 30}
		case "bytes_limiting":
			p.settings = map[string]any{"bytes_per_second": 1 << 30}
		case "composite":
			p.settings["max_total_spans_per_second"] = 1 << 30
		}
	}
	return out
}

// row is the row for the difference on a trace, "" for none.
func (e *explanation) row(id pcommon.TraceID) string {
	if _, differs := e.calm[id]; !differs {
		return rowLimits
	}
	for _, l := range e.leaves {
		if _, on := l.on[id]; on {
			return rowOf(l.leaf, byTrace(e.p.payloads)[id])
		}
	}
	still, differs := e.unsize[id]
	if !differs {
		return rowSize
	}
	theirs, ours := e.policy(still[0].Policy), e.policy(still[1].Policy)
	switch {
	case still[0].Keep && still[1].Keep && limited(theirs) && !limited(ours):
		return rowFree
	case still[1].Keep && ours.kind == "composite" && propagates(ours):
		return rowFailing
	}
	return ""
}

func (e *explanation) policy(name string) policy {
	for _, p := range e.p.config.policies {
		if p.name == name {
			return p
		}
	}
	return policy{}
}

func limited(p policy) bool { return configuration{policies: []policy{p}}.stateful() }

func propagates(p policy) bool {
	found := false
	walk(p.parts, func(p policy) bool {
		found = found || p.settings["error_mode"] == "propagate"
		return !found
	})
	return found
}

// rowOf is the row by which one leaf answers otherwise on these spans.
func rowOf(leaf policy, spans []placed) string {
	key, _ := leaf.settings["key"].(string)
	switch leaf.kind {
	case "probabilistic":
		return rowRandomness
	case "numeric_attribute":
		if leaf.settings["min_value"] == 0 || leaf.settings["max_value"] == 0 {
			return rowZeroBound
		}
		return rowIf(hasType(spans, key, func(t pcommon.ValueType) bool { return t != pcommon.ValueTypeInt }), rowOtherType)
	case "boolean_attribute":
		return rowIf(hasType(spans, key, func(t pcommon.ValueType) bool { return t != pcommon.ValueTypeBool }), rowOtherType)
	case "string_attribute":
		return rowIf(leaf.settings["enabled_regex_matching"] == true && emptyOnResource(spans, key), rowEmptyText)
	case "latency":
		return latencyRow(latencyOf(leaf), spans)
	case "ottl_condition":
		return rowIf(strings.Contains(fmt.Sprint(leaf.settings["span"], leaf.settings["spanevent"]), "schema_url"), rowSchema)
	}
	return ""
}

func rowIf(holds bool, row string) string {
	if holds {
		return row
	}
	return ""
}

func hasType(spans []placed, key string, is func(pcommon.ValueType) bool) bool {
	return slices.ContainsFunc(spans, func(s placed) bool {
		for _, m := range []pcommon.Map{s.span.Attributes(), s.resource.Resource().Attributes()} {
			if v, ok := m.Get(key); ok && is(v.Type()) {
				return true
			}
		}
		return false
	})
}

func emptyOnResource(spans []placed, key string) bool {
	return slices.ContainsFunc(spans, func(s placed) bool {
		v, ok := s.resource.Resource().Attributes().Get(key)
		return ok && v.Str() == ""
	})
}

func latencyRow(b latencyBounds, spans []placed) string {
	for _, s := range spans {
		if from, to := s.span.StartTimestamp(), s.span.EndTimestamp(); from == 0 || to < from {
			return rowTimes
		}
	}
	from, to := spans[0].span.StartTimestamp(), spans[0].span.EndTimestamp()
	for _, s := range spans {
		from, to = min(from, s.span.StartTimestamp()), max(to, s.span.EndTimestamp())
	}
	edge := int64(to-from) / ms
	return rowIf(int64(to-from)%ms != 0 && (edge == b.threshold || edge == b.upper), rowNanosecond)
}
