package sampler

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tailweir/otlp"
)

// traceOf is a trace id with this randomness.
func traceOf(random uint64) (id otlp.TraceID) {
	binary.BigEndian.PutUint64(id[:], random)
	binary.BigEndian.PutUint64(id[8:], random)
	return id
}

type asked struct {
	random uint64 // percent
	spans  uint32
	bits   uint64
}

// told is a decision as a test writes it: the policy, and the trace that the threshold is just above, in percent.
func told(v Decision) string {
	switch {
	case !v.Keep:
		return strings.TrimSpace("drop " + v.Policy)
	case v.Threshold == Unknown:
		return v.Policy + " ?"
	case v.Threshold == 0:
		return v.Policy
	}
	return fmt.Sprintf("%s >%d", v.Policy, (v.Threshold-1)/(never/100))
}

func decideAll(d *Decider, traces []asked, at int64) (out []string) {
	var batch []Candidate
	for _, a := range traces {
		batch = append(batch, Candidate{traceOf(a.random * (never / 100)), &Facts{Spans: a.spans, Bytes: uint64(a.spans) * 100, Bits: [2]uint64{a.bits}}})
	}
	for _, v := range d.Decide(nil, batch, at) {
		out = append(out, told(v))
	}
	return out
}

// parts has composite with three parts; bits 1, 2, 4 match them. policy_order is not the order of the list.
const parts = `
policies:
- {name: errors, type: status_code, status_code: {status_codes: [ERROR]}}
- name: mix
  type: composite
  composite:
    max_total_spans_per_second: 100
    policy_order: [b, a, c]
    composite_sub_policy:
    - {name: a, type: boolean_attribute, boolean_attribute: {key: a, value: true}}
    - {name: b, type: boolean_attribute, boolean_attribute: {key: b, value: true}}
    - {name: c, type: always_sample}
    rate_allocation: [{policy: a, percent: 50}, {policy: b, percent: 25}]
`

const isA, isB2 = 2, 4 // isError is 1

func TestTicks(t *testing.T) {
	const limiter = "policies: [{name: x, type: rate_limiting, rate_limiting: {spans_per_second: 10, burst_capacity: 10}}]"
	for _, tc := range []struct {
		name, policies string
		traces         []asked
		want           []string
	}{
		{"all fit", limiter, []asked{{10, 5, 0}, {90, 5, 0}}, []string{"x", "x"}},
		{"the highest randomness first", limiter, []asked{{10, 4, 0}, {90, 4, 0}, {50, 4, 0}, {70, 4, 0}}, []string{"drop", "x >50", "drop", "x >50"}},
		{"nothing below the cut, though it would fit", limiter, []asked{{90, 8, 0}, {50, 3, 0}, {10, 1, 0}}, []string{"x >50", "drop", "drop"}},
		{"larger than the bucket, first", limiter, []asked{{90, 80, 0}, {50, 1, 0}}, []string{"x >50", "drop"}},
		{"larger than the bucket, not first: refused alone", limiter, []asked{{90, 2, 0}, {70, 80, 0}, {50, 2, 0}}, []string{"x", "drop", "x"}},
		{"by bytes", "policies: [{name: x, type: bytes_limiting, bytes_limiting: {bytes_per_second: 1000, burst_capacity: 1000}}]",
			[]asked{{90, 6, 0}, {50, 5, 0}, {10, 4, 0}}, []string{"x >50", "drop", "drop"}},
		{"both in and", "policies: [{name: x, type: and, and: {and_sub_policy: [{type: rate_limiting, rate_limiting: {spans_per_second: 50}}, {type: bytes_limiting, bytes_limiting: {bytes_per_second: 350}}]}}]",
			[]asked{{90, 6, 0}, {50, 5, 0}, {10, 4, 0}}, []string{"x >50", "drop", "drop"}},
		{"a probability that keeps for nothing might have been paid",
			"policies: [{name: p, type: probabilistic, probabilistic: {sampling_percentage: 25}}, {name: x, type: rate_limiting, rate_limiting: {spans_per_second: 5, burst_capacity: 10}}]",
			[]asked{{90, 3, 0}, {70, 4, 0}, {50, 3, 0}, {30, 3, 0}, {10, 3, 0}}, []string{"p >30", "x >10", "x >10", "x >10", "drop"}},
		{"a limit on health checks", "policies: [{name: all, type: always_sample}, {name: cap, type: drop, drop: {drop_sub_policy: [{type: status_code, status_code: {status_codes: [ERROR]}}, {type: not, not: {not_sub_policy: {type: rate_limiting, rate_limiting: {spans_per_second: 5, burst_capacity: 5}}}}]}}]",
			[]asked{{90, 3, isError}, {70, 3, isError}, {50, 1, isError}, {30, 9, 0}}, []string{"all >70", "drop cap", "drop cap", "all"}},
		{"composite: what fits", parts, []asked{{90, 50, isA}, {80, 25, isB2}, {70, 25, 0}}, []string{"mix", "mix", "mix"}},
		{"composite: free for what others keep", parts, []asked{{90, 1000, isError | isA}, {80, 50, isA}}, []string{"errors", "mix"}},
		{"composite: the part that is asked first has spent its share: the next", parts,
			[]asked{{90, 25, isB2}, {80, 50, isA | isB2}, {70, 25, 0}, {60, 1, 0}}, []string{"mix >60", "mix", "mix >60", "drop"}},
		{"composite: what others leave is lent", parts, []asked{{90, 40, isA}, {80, 40, isA}, {70, 20, isA}, {60, 1, isA}}, []string{"mix >60", "mix >60", "mix >60", "drop"}},
		{"composite: lent last, and to the highest randomness", parts, []asked{{90, 60, isA}, {80, 20, isB2}, {70, 20, isB2}, {60, 20, 0}},
			[]string{"mix >60", "mix >60", "mix >60", "drop"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := mustParse(t, tc.policies).NewDecider()
			if diff := cmp.Diff(tc.want, decideAll(d, tc.traces, 1_000_000)); diff != "" {
				t.Errorf("decisions (-want +got):\n%s", diff)
			}
		})
	}
}

// Facts that say more than 56 bits of randomness make no threshold that cannot be written.
func TestRandomnessBeyondItsBits(t *testing.T) {
	d := mustParse(t, one("type: rate_limiting, rate_limiting: {spans_per_second: 1, burst_capacity: 1}")).NewDecider()
	f := Facts{Spans: 1, Random: 1 << 60, HasRandom: true}
	for _, v := range d.Decide(nil, []Candidate{{otlp.TraceID{1}, &f}, {otlp.TraceID{2}, &f}}, 1000) {
		if v.Threshold > Unknown {
			t.Errorf("decision %+v", v)
		}
	}
}

// A composite policy keeps no more than its whole allows, whatever its parts are entitled to.
func TestCompositeKeepsToItsTotal(t *testing.T) {
	p := mustParse(t, strings.ReplaceAll(parts, "percent: 25", "percent: 90"))
	rng := rand.New(rand.NewPCG(3, 3))
	d, kept, asking := p.NewDecider(), 0, 0
	const ticks = 300
	for tick := range int64(ticks) {
		var traces []asked
		for range rng.IntN(40) {
			traces = append(traces, asked{rng.Uint64N(100), 1 + rng.Uint32N(9), uint64(rng.IntN(4)) * 2})
		}
		for i, v := range decideAll(d, traces, 1_000_000+tick*1000) {
			if asking += int(traces[i].spans); !strings.HasPrefix(v, "drop") {
				kept += int(traces[i].spans)
			}
		}
	}
	if most := ticks * 100; kept > most || kept < most*7/10 {
		t.Errorf("%d of %d spans kept, want at most %d, and most of that", kept, asking, most)
	}
}

// The traces that a tick keeps stand for all that came: each is weighed by its threshold, and the sum is right on average.
// Over TAILWEIR_TICKS=60000 all are within 0.2 % but composite, which is 0.9 % low: a trace that several parts match may be kept by
// one of them below the cut of another.
func TestKeptTracesAreCountable(t *testing.T) {
	ticks := int64(3000)
	if more, err := strconv.ParseInt(os.Getenv("TAILWEIR_TICKS"), 10, 64); err == nil {
		ticks = more
	}
	limiter := "{name: x, type: rate_limiting, rate_limiting: {spans_per_second: 100}}"
	for name, policies := range map[string]string{
		"probability":             "{name: p, type: probabilistic, probabilistic: {sampling_percentage: 20}}",
		"limiter":                 limiter,
		"limiter and probability": "{name: p, type: probabilistic, probabilistic: {sampling_percentage: 5}}, " + limiter,
		"limiter by bytes":        "{name: x, type: bytes_limiting, bytes_limiting: {bytes_per_second: 9000}}",
		"limiter on one kind":     "{name: a, type: and, and: {and_sub_policy: [{type: boolean_attribute, boolean_attribute: {key: a, value: true}}, {type: rate_limiting, rate_limiting: {spans_per_second: 60}}]}}, {name: p, type: probabilistic, probabilistic: {sampling_percentage: 10}}",
		"cap":                     "{name: p, type: probabilistic, probabilistic: {sampling_percentage: 60}}, {name: cap, type: drop, drop: {drop_sub_policy: [{type: boolean_attribute, boolean_attribute: {key: a, value: true}}, {type: not, not: {not_sub_policy: {type: rate_limiting, rate_limiting: {spans_per_second: 60}}}}]}}",
		"composite":               strings.TrimPrefix(strings.TrimSpace(strings.ReplaceAll(parts, "policies:\n", "")), "- ")[len("{name: errors, type: status_code, status_code: {status_codes: [ERROR]}}\n"):],
	} {
		t.Run(name, func(t *testing.T) {
			doc := "policies: [" + policies + "]"
			if name == "composite" {
				doc = "policies:\n" + policies
			}
			p := mustParse(t, doc)
			leaf := uint64(1)
			rng := rand.New(rand.NewPCG(11, 4))
			d := p.NewDecider()
			came, counted, kept := 0.0, 0.0, 0
			for tick := range ticks {
				var batch []Candidate
				for range 60 + rng.IntN(60) {
					batch = append(batch, Candidate{traceOf(rng.Uint64N(never)), &Facts{Spans: 1 + rng.Uint32N(4), Bytes: 100 + rng.Uint64N(400), Bits: [2]uint64{leaf * rng.Uint64N(4)}}})
				}
				for i, v := range d.Decide(nil, batch, 1_000_000+tick*1000) {
					came += float64(batch[i].Facts.Spans)
					if !v.Keep {
						continue
					}
					if r := batch[i].Facts.randomness(batch[i].Trace); r < v.Threshold {
						t.Fatalf("kept with randomness %x below its threshold %x", r, v.Threshold)
					}
					kept++
					counted += float64(batch[i].Facts.Spans) / (1 - float64(v.Threshold)/never)
				}
			}
			t.Logf("%d traces kept; %.0f spans came, %.0f counted: %.4f", kept, came, counted, counted/came)
			if off := math.Abs(counted/came - 1); off > 0.02 {
				t.Errorf("%.0f spans came, %.0f are counted", came, counted)
			}
		})
	}
}
