package sampler

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/collector/pdata/ptrace"

	"tailweir/otlp"
	"tailweir/tracestate"
)

// rule is a policy as text and as the plainest function over the whole trace that says the same.
type rule struct {
	yaml string
	says func(trace []sample) bool
}

func anySpan(match func(attributes map[string]any) bool, invert bool) func([]sample) bool {
	return func(trace []sample) bool {
		for _, s := range trace {
			if match(s.attributes) || match(s.resource) {
				return !invert
			}
		}
		return invert
	}
}

var ruleKeys = []string{"k", "l"}

// randomLeaf is a rule of any type that may stand in not.
func randomLeaf(rng *rand.Rand) rule {
	key, invert := ruleKeys[rng.IntN(2)], rng.IntN(2) == 0
	attribute := func(kind, settings string, match func(v any) bool) rule {
		yaml := fmt.Sprintf("type: %s, %s: {key: %s, %s, invert_match: %v}", kind, kind, key, settings, invert)
		return rule{yaml, anySpan(func(attributes map[string]any) bool { v, ok := attributes[key]; return ok && match(v) }, invert)}
	}
	switch rng.IntN(11) {
	case 8:
		return rule{"type: trace_flags", anyOf(func(s sample) bool { return s.flags&1 == 1 })}
	case 9:
		value := stateValues[rng.IntN(len(stateValues))]
		return rule{fmt.Sprintf("type: trace_state, trace_state: {key: v, values: [%s, none]}", value), anyOf(func(s sample) bool {
			return strings.Contains(s.state+",", "v="+value+",") && !strings.Contains(s.state, "!")
		})}
	case 10:
		mode := []string{"ignore", "silent", "propagate"}[rng.IntN(3)]
		return rule{fmt.Sprintf(`type: ottl_condition, ottl_condition: {error_mode: %s, span: ['attributes["%s"] == "a"', 'kind == 99']}`, mode, key),
			anyOf(func(s sample) bool { return s.attributes[key] == "a" })}
	case 0:
		return rule{"type: always_sample", func([]sample) bool { return true }}
	case 1:
		over := rng.Uint64N(4)
		return rule{fmt.Sprintf("type: latency, latency: {threshold_ms: %d, upper_threshold_ms: %d}", over, over+2), func(trace []sample) bool {
			d := lasted(trace)
			return d > over*ms && d <= (over+2)*ms
		}}
	case 2:
		code := ptrace.StatusCode(rng.IntN(3))
		name := []string{"UNSET", "OK", "ERROR"}[code]
		return rule{fmt.Sprintf("type: status_code, status_code: {status_codes: [%s]}", name), func(trace []sample) bool {
			for _, s := range trace {
				if s.status == code {
					return true
				}
			}
			return false
		}}
	case 3:
		least := rng.IntN(6)
		return rule{fmt.Sprintf("type: span_count, span_count: {min_spans: %d, max_spans: %d}", least, least+3), func(trace []sample) bool {
			return len(trace) >= least && len(trace) <= least+3
		}}
	case 4:
		return rule{"type: probabilistic, probabilistic: {sampling_percentage: 50}", func(trace []sample) bool {
			return rvOfTrace(trace) >= 1<<55
		}}
	case 5:
		regex := rng.IntN(2) == 0
		return attribute("string_attribute", fmt.Sprintf("values: [a, b], enabled_regex_matching: %v", regex), func(v any) bool {
			s, _ := v.(string)
			return s == "a" || s == "b" || regex && strings.ContainsAny(s, "ab")
		})
	case 6:
		least := rng.Int64N(3) - 1
		return attribute("numeric_attribute", fmt.Sprintf("min_value: %d, max_value: %d", least, least+1), func(v any) bool {
			n, isInt := v.(int64)
			return isInt && n >= least && n <= least+1
		})
	}
	truth := rng.IntN(2) == 0
	return attribute("boolean_attribute", fmt.Sprintf("value: %v", truth), func(v any) bool { return v == truth })
}

func anyOf(match func(sample) bool) func([]sample) bool {
	return func(trace []sample) bool { return slices.ContainsFunc(trace, match) }
}

var stateValues = []string{"one", "two"}

func lasted(trace []sample) uint64 {
	start, end := trace[0].start, uint64(0)
	for _, s := range trace {
		start, end = min(start, s.start), max(end, s.end, s.start)
	}
	return end - start
}

// rvOfTrace expects traces whose id has low randomness 0.
func rvOfTrace(trace []sample) (rv uint64) {
	for _, s := range trace {
		if r, ok := tracestate.Randomness([]byte(s.state)); ok {
			rv = max(rv, r)
		}
	}
	return rv
}

func negated(r rule) rule {
	return rule{"type: not, not: {not_sub_policy: {" + r.yaml + "}}", func(trace []sample) bool { return !r.says(trace) }}
}

// randomGroup is the list of parts of and, drop.
func randomGroup(rng *rand.Rand) rule {
	var parts []string
	var rules []rule
	for range 1 + rng.IntN(3) {
		r := randomLeaf(rng)
		if rng.IntN(3) == 0 {
			r = negated(r)
		}
		rules, parts = append(rules, r), append(parts, "{"+r.yaml+"}")
	}
	return rule{"[" + strings.Join(parts, ", ") + "]", func(trace []sample) bool {
		for _, r := range rules {
			if !r.says(trace) {
				return false
			}
		}
		return true
	}}
}

// randomPolicies is a document, and the verdict and the policy it gives.
func randomPolicies(rng *rand.Rand) (doc string, decide func([]sample) (keep bool, policy string)) {
	var b strings.Builder
	var drops, keeps []rule
	var dropNames, keepNames []string
	b.WriteString("policies:\n")
	for i := range 1 + rng.IntN(5) {
		name := fmt.Sprintf("p%d", i)
		r := randomLeaf(rng)
		switch rng.IntN(5) {
		case 0:
			r = randomGroup(rng)
			fmt.Fprintf(&b, "  - {name: %s, type: drop, drop: {drop_sub_policy: %s}}\n", name, r.yaml)
			drops, dropNames = append(drops, r), append(dropNames, name)
			continue
		case 1:
			r = randomGroup(rng)
			r.yaml = "type: and, and: {and_sub_policy: " + r.yaml + "}"
		case 2:
			r = negated(r)
		}
		fmt.Fprintf(&b, "  - {name: %s, %s}\n", name, r.yaml)
		keeps, keepNames = append(keeps, r), append(keepNames, name)
	}
	return b.String(), func(trace []sample) (bool, string) {
		for i, r := range drops {
			if r.says(trace) {
				return false, dropNames[i]
			}
		}
		for i, r := range keeps {
			if r.says(trace) {
				return true, keepNames[i]
			}
		}
		return false, ""
	}
}

func randomSamples(rng *rand.Rand, traces, n int) []sample {
	values := []any{"a", "b", "cab", "z", "", int64(0), int64(1), int64(7), int64(-1), true, false, 0.5}
	attributes := func() map[string]any {
		m := map[string]any{"noise": "a"}
		for _, k := range ruleKeys {
			if rng.IntN(4) == 0 {
				m[k] = values[rng.IntN(len(values))]
			}
		}
		return m
	}
	out := make([]sample, n)
	for i := range out {
		start := 1 + rng.Uint64N(4*ms)
		out[i] = sample{
			trace: otlp.TraceID{byte(1 + rng.IntN(traces))}, parent: byte(rng.IntN(4)), start: start, end: start + rng.Uint64N(3*ms),
			status: ptrace.StatusCode(rng.IntN(3)), attributes: attributes(), resource: attributes(),
		}
		if rng.IntN(3) == 0 {
			out[i].state = fmt.Sprintf("ot=rv:%014x", rng.Uint64N(1<<56))
		}
		switch rng.IntN(6) {
		case 0:
			out[i].state = strings.TrimPrefix(out[i].state+",v="+stateValues[rng.IntN(len(stateValues))], ",")
		case 1:
			out[i].state = "!," + out[i].state // breaks the rules
		case 2:
			out[i].flags = rng.Uint32N(4)
		}
	}
	return out
}

// However the spans of a trace are cut into payloads, and in whatever order and grouping those are merged, the decision is
// that of the whole, and that of the plain reading of the policies.
func TestFragmentsDecideAsTheWhole(t *testing.T) {
	rng := rand.New(rand.NewPCG(2026, 11))
	verdicts := map[bool]int{}
	for round := range 600 {
		doc, plain := randomPolicies(rng)
		p := mustParse(t, doc)
		checkSource(t, p)
		decider := p.NewDecider()
		samples := randomSamples(rng, 4, 1+rng.IntN(24))
		whole := observe(t, p.NewObserver(), otlp.Traces, encode(t, samples))
		parts := observeInFragments(t, rng, p, samples)
		if len(whole) != len(parts) {
			t.Fatalf("round %d: %d traces whole, %d in fragments", round, len(whole), len(parts))
		}
		for id, want := range whole {
			got := parts[id]
			if got != want {
				t.Fatalf("round %d: trace %s: facts of fragments %+v, of the whole %+v\n%s", round, id, got, want, doc)
			}
			d := decideAlone(p, id, &got)
			if again := decideOne(decider, id, &got, rng.Int64()); again != d {
				t.Fatalf("round %d: trace %s: a Decider without limiters says %+v, Decide %+v", round, id, again, d)
			}
			keep, policy := plain(ofTrace(samples, id))
			verdicts[keep]++
			if d.Keep != keep || d.Policy != policy {
				t.Fatalf("round %d: trace %s: decision %+v, want %v by %q\n%s%+v", round, id, d, keep, policy, doc, ofTrace(samples, id))
			}
		}
	}
	if verdicts[true] < 300 || verdicts[false] < 300 {
		t.Errorf("verdicts %v: too few of one kind to prove anything", verdicts)
	}
}

func ofTrace(samples []sample, id otlp.TraceID) (out []sample) {
	for _, s := range samples {
		if s.trace == id {
			out = append(out, s)
		}
	}
	return out
}

// observeInFragments spreads the samples over payloads and observers, then merges each trace's facts pairwise at random.
func observeInFragments(t *testing.T, rng *rand.Rand, p *Policies, samples []sample) map[otlp.TraceID]Facts {
	payloads := make([][]sample, 1+rng.IntN(6))
	for _, i := range rng.Perm(len(samples)) {
		at := rng.IntN(len(payloads))
		payloads[at] = append(payloads[at], samples[i])
	}
	observers := []*Observer{p.NewObserver(), p.NewObserver()}
	fragments := map[otlp.TraceID][]Facts{}
	for _, payload := range payloads {
		for id, f := range observe(t, observers[rng.IntN(2)], otlp.Traces, encode(t, payload)) {
			fragments[id] = append(fragments[id], f)
		}
	}
	merged := map[otlp.TraceID]Facts{}
	for id, fs := range fragments {
		for len(fs) > 1 {
			rng.Shuffle(len(fs), func(i, j int) { fs[i], fs[j] = fs[j], fs[i] })
			fs[0].Merge(&fs[1])
			fs = append(fs[:1], fs[2:]...)
		}
		merged[id] = fs[0]
	}
	return merged
}
