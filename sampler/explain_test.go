package sampler

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func reasonText(reasons []Reason) string {
	var lines []string
	for _, r := range reasons {
		lines = append(lines, fmt.Sprintf("%s: %s: %s", r.Policy, r.Says, r.Why))
	}
	return strings.Join(lines, "\n")
}

// One trace of 3 spans, 1.5 ms and 300 B, with an error; its randomness is 40 % of the whole.
func TestExplain(t *testing.T) {
	for name, tt := range map[string]struct{ policies, want string }{
		"facts": {`
- {name: errors, type: status_code, status_code: {status_codes: [ERROR, OK]}}
- {name: slow, type: latency, latency: {threshold_ms: 1, upper_threshold_ms: 2}}
- {name: slower, type: latency, latency: {threshold_ms: 2}}
- {name: large, type: span_count, span_count: {min_spans: 4}}
- {name: some, type: span_count, span_count: {min_spans: 1, max_spans: 3}}
- {name: any, type: always_sample}
- {name: ten, type: probabilistic, probabilistic: {sampling_percentage: 10}}
`, `errors: keep: a span or its resource has status OK or ERROR
slow: keep: lasted 1.5ms, want more than 1ms and at most 2ms
slower: no: lasted 1.5ms, want more than 2ms
large: no: 3 spans, want 4 or more
some: keep: 3 spans, want 1 to 3
any: keep: always
ten: no: randomness 66666666666658 < threshold e6660000000000`},
		"groups": {`
- {name: both, type: and, and: {and_sub_policy: [{type: always_sample}, {type: boolean_attribute, boolean_attribute: {key: k, value: true}}, {type: always_sample}]}}
- {name: none, type: not, not: {not_sub_policy: {type: span_count, span_count: {min_spans: 9}}}}
- {name: out, type: drop, drop: {drop_sub_policy: [{type: span_count, span_count: {min_spans: 9}}]}}
`, `out: no: and(no: 3 spans, want 9 or more)
both: no: and(yes: always; no: no span has attribute("k" is(true)))
none: keep: not(3 spans, want 9 or more)`},
		"dropped": {`
- {name: any, type: always_sample}
- {name: out, type: drop, drop: {drop_sub_policy: [{type: always_sample}]}}
`, `out: drop: and(yes: always)`},
		"failed": {`
- {name: any, type: not, not: {not_sub_policy: {type: ottl_condition, ottl_condition: {error_mode: propagate, span: ['span.attributes["n"] > 1']}}}}
`, `any: error: not(failed on a span, and held on none: ottl(ottl propagate span "span.attributes[\"n\"] > 1" spanevent))`},
		"limits": {`
- {name: costly, type: rate_limiting, rate_limiting: {spans_per_second: 1, burst_capacity: 2}}
- {name: paid, type: bytes_limiting, bytes_limiting: {bytes_per_second: 300}}
- {name: spared, type: rate_limiting, rate_limiting: {spans_per_second: 5}}
`, `costly: keep: limit of 1 spans/s, burst 2: costs 3, paid
paid: keep: limit of 300 bytes/s, burst 600: costs 300, had enough for all of the tick, and does not pay
spared: keep: limit of 5 spans/s, burst 10: costs 3, had enough for all of the tick, and does not pay`},
		"strict limits": {`
- {name: costly, type: rate_limiting, rate_limiting: {spans_per_second: 1, burst_capacity: 2}}
- {name: paid, type: bytes_limiting, bytes_limiting: {bytes_per_second: 300}}
- {name: hash, type: probabilistic, probabilistic: {sampling_percentage: 50, hash_salt: s}}
- {name: unasked, type: and, and: {and_sub_policy: [{type: span_count, span_count: {min_spans: 9}}, {type: rate_limiting, rate_limiting: {spans_per_second: 1}}]}}
- name: mix
  type: composite
  composite: {max_total_spans_per_second: 10, composite_sub_policy: [{name: a, type: span_count, span_count: {min_spans: 9}}, {name: b, type: always_sample}, {name: c, type: always_sample}], rate_allocation: [{policy: b, percent: 20}]}
`, `costly: no: limit of 1 spans/s, burst 2: costs 3, has less left
paid: keep: limit of 300 bytes/s, burst 600: costs 300, paid
hash: keep: hash 637dae5e7fbc606a with salt "s", kept up to 7fffffffffffffff
unasked: no: and(no: 3 spans, want 9 or more)
mix: no: composite(a: no: 3 spans, want 9 or more; b: yes: always; share of 2 spans/s: costs 3, has less left)`},
	} {
		t.Run(name, func(t *testing.T) {
			src := "policies:" + tt.policies
			if strings.HasPrefix(name, "strict") {
				src = "compat: strict\n" + src
			}
			p := mustParse(t, src)
			f := Facts{Spans: 3, Bytes: 300, Start: 1e9, End: 1e9 + 1.5e6}
			for i := range p.leaves.status {
				join(&f.Bits, &p.leaves.status[i])
			}
			for _, o := range p.leaves.ottl {
				set(&f.Bits, o.fail)
			}
			_, reasons := p.NewDecider().Explain([]Candidate{{traceOf(never / 100 * 40), &f}}, 0)
			if diff := cmp.Diff(strings.TrimSpace(tt.want), reasonText(reasons[0])); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// Explain decides as Decide does, in ticks that follow each other, and its reasons fit the decision.
func TestExplainDecidesTheSame(t *testing.T) {
	for _, compat := range []Compat{"", Strict} {
		for _, src := range []string{limited, parts} {
			p, err := ParseAs(compat, "p.yaml", []byte(src))
			if err != nil {
				t.Fatal(err)
			}
			rng := rand.New(rand.NewPCG(1, 2))
			explained, plain := p.NewDecider(), p.NewDecider()
			for tick := range int64(50) {
				var batch []Candidate
				for range 8 {
					batch = append(batch, Candidate{traceOf(rng.Uint64N(never)), &Facts{Spans: rng.Uint32N(6), Bits: [2]uint64{rng.Uint64N(8)}}})
				}
				got, reasons := explained.Explain(batch, tick*1000)
				if diff := cmp.Diff(plain.Decide(nil, batch, tick*1000), got); diff != "" {
					t.Fatalf("compat %q, tick %d: decisions differ (-Decide +Explain):\n%s", compat, tick, diff)
				}
				for i, v := range got {
					checkReasons(t, v, reasons[i])
				}
			}
		}
	}
}

func checkReasons(t *testing.T, v Decision, reasons []Reason) {
	t.Helper()
	said := map[string]string{}
	anybody := false
	for _, r := range reasons {
		said[r.Policy] = r.Says
		anybody = anybody || r.Says != "no"
	}
	switch {
	case v.Keep && said[v.Policy] == "keep":
	case !v.Keep && v.Policy != "" && said[v.Policy] == "drop":
	case !v.Keep && v.Policy == "" && !anybody:
	default:
		t.Errorf("decision %+v does not follow from\n%s", v, reasonText(reasons))
	}
}
