package sampler

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"tailweir/otlp"
	"tailweir/tracestate"
)

func TestThresholds(t *testing.T) {
	tests := []struct {
		percent float64
		want    uint64
	}{
		{100, 0},
		{0, never},
		{50, 0x80000000000000},
		{25, 0xc0000000000000},
		{10, 0xe6660000000000},
		{100.0 / 3, 0xaaab0000000000}, // the specification's table: 1/3, 1/10, 1/100, 1/1000
		{1, 0xfd70a000000000},
		{0.1, 0xffbe7700000000},
		{99, 0x028f6000000000},
		{99.99, 0x00068dc0000000},
		{leastPercent, never - 1},
	}
	for _, tt := range tests {
		if got := thresholdOf(tt.percent); got != tt.want {
			t.Errorf("thresholdOf(%v) = %014x, want %014x", tt.percent, got, tt.want)
		}
	}
	for p := 0.00001; p < 100; p *= 1.37 {
		kept := float64(never-thresholdOf(p)) / never
		if off := math.Abs(kept/(p/100) - 1); off > 1.0/(1<<12) {
			t.Errorf("%v %% is off by %v", p, off)
		}
	}
}

func TestExplicitRandomness(t *testing.T) {
	tests := []struct {
		state string
		want  uint64
		ok    bool
	}{
		{"ot=rv:0123456789abcd", 0x0123456789abcd, true},
		{"ot=th:8;rv:ffffffffffffff", never - 1, true},
		{"vendor=1, ot=rv:00000000000000;th:0 ,z=2", 0, true},
		{"ot=rv:0123456789ABCD", 0, false},
		{"ot=rv:0123456789abc", 0, false},
		{"ot=rv:0123456789abcde", 0, false},
		{"ot=rv:", 0, false},
		{"ot=th:8", 0, false},
		{"xot=rv:0123456789abcd", 0, false},
		{"ot=xrv:0123456789abcd", 0, false},
		{"rv:0123456789abcd", 0, false},
		{"ot=", 0, false},
		{",,", 0, false},
		{"", 0, false},
	}
	for _, tt := range tests {
		if got, ok := tracestate.Randomness([]byte(tt.state)); got != tt.want || ok != tt.ok {
			t.Errorf("tracestate.Randomness(%q) = %x, %v, want %x, %v", tt.state, got, ok, tt.want, tt.ok)
		}
	}
}

const ms = uint64(time.Millisecond)

func TestDecideOnCountsAndTimes(t *testing.T) {
	lasting := func(ns uint64) Facts { return Facts{Spans: 1, Start: 1000, End: 1000 + ns} }
	tests := []struct {
		policy string
		facts  Facts
		keep   bool
	}{
		{"type: always_sample", Facts{}, true},
		{"type: latency, latency: {threshold_ms: 100}", lasting(100 * ms), false},
		{"type: latency, latency: {threshold_ms: 100}", lasting(100*ms + 1), true},
		{"type: latency, latency: {threshold_ms: 100, upper_threshold_ms: 200}", lasting(200 * ms), true},
		{"type: latency, latency: {threshold_ms: 100, upper_threshold_ms: 200}", lasting(200*ms + 1), false},
		{"type: latency, latency: {threshold_ms: 0}", lasting(0), false},
		{"type: latency, latency: {threshold_ms: 0}", lasting(1), true},
		{"type: latency, latency: {threshold_ms: 100, upper_threshold_ms: 0}", lasting(math.MaxInt64), true},
		{"type: latency, latency: {upper_threshold_ms: 10}", lasting(10 * ms), true},
		{"type: latency, latency: {threshold_ms: 100}", Facts{End: 5000 * ms}, false},
		{"type: span_count, span_count: {min_spans: 2}", Facts{Spans: 1}, false},
		{"type: span_count, span_count: {min_spans: 2}", Facts{Spans: 2}, true},
		{"type: span_count, span_count: {min_spans: 2, max_spans: 3}", Facts{Spans: 3}, true},
		{"type: span_count, span_count: {min_spans: 2, max_spans: 3}", Facts{Spans: 4}, false},
		{"type: span_count, span_count: {max_spans: 3}", Facts{Spans: 0}, true},
		{"type: not, not: {not_sub_policy: {type: span_count, span_count: {min_spans: 2}}}", Facts{Spans: 1}, true},
		{"type: not, not: {not_sub_policy: {type: always_sample}}", Facts{Spans: 1}, false},
	}
	for _, tt := range tests {
		p := mustParse(t, one(tt.policy))
		if got := decideAlone(p, otlp.TraceID{1}, &tt.facts).Keep; got != tt.keep {
			t.Errorf("%s on %+v: keep %v, want %v", tt.policy, tt.facts, got, tt.keep)
		}
	}
}

func TestDecideByRandomness(t *testing.T) {
	const half = "type: probabilistic, probabilistic: {sampling_percentage: 50}"
	low, high := otlp.TraceID{8: 0xff, 9: 0x7f, 15: 0xff}, otlp.TraceID{8: 0x00, 9: 0x80}
	tests := []struct {
		name, policy string
		id           otlp.TraceID
		facts        Facts
		keep         bool
	}{
		{"just below", half, low, Facts{}, false},
		{"at the threshold", half, high, Facts{}, true},
		{"rv wins", half, low, Facts{Random: 0x80000000000000, HasRandom: true}, true},
		{"rv wins, to drop", half, high, Facts{Random: 0x7fffffffffffff, HasRandom: true}, false},
		{"rv of zero is one", half, high, Facts{HasRandom: true}, false},
		{"all", "type: probabilistic, probabilistic: {sampling_percentage: 100}", otlp.TraceID{}, Facts{}, true},
		{"none", "type: probabilistic, probabilistic: {sampling_percentage: 0}", otlp.TraceID{}, Facts{Random: never - 1, HasRandom: true}, false},
	}
	for _, tt := range tests {
		p := mustParse(t, one(tt.policy))
		if got := decideAlone(p, tt.id, &tt.facts).Keep; got != tt.keep {
			t.Errorf("%s: keep %v, want %v", tt.name, got, tt.keep)
		}
	}
}

func TestProbabilityKeepsItsShare(t *testing.T) {
	p := mustParse(t, one("type: probabilistic, probabilistic: {sampling_percentage: 10}"))
	rng, kept := rand.New(rand.NewPCG(1, 2)), 0
	const traces = 100_000
	for range traces {
		var id otlp.TraceID
		for i := range id {
			id[i] = byte(rng.Uint32())
		}
		if decideAlone(p, id, &Facts{Spans: 1}).Keep {
			kept++
		}
	}
	if kept < 9_700 || kept > 10_300 {
		t.Errorf("kept %d of %d, want 10 %%", kept, traces)
	}
}

const combined = `
policies:
  - {name: half, type: probabilistic, probabilistic: {sampling_percentage: 50}}
  - {name: quarter-of-big, type: and, and: {and_sub_policy: [
      {type: span_count, span_count: {min_spans: 10}}, {type: probabilistic, probabilistic: {sampling_percentage: 25}},
      {type: probabilistic, probabilistic: {sampling_percentage: 75}}]}}
  - {name: slow, type: latency, latency: {threshold_ms: 1}}
  - {name: never-long, type: drop, drop: {drop_sub_policy: [
      {type: latency, latency: {threshold_ms: 100}}, {type: not, not: {not_sub_policy: {type: span_count, span_count: {min_spans: 20}}}}]}}
  - {name: never-huge, type: drop, drop: {drop_sub_policy: [{type: span_count, span_count: {min_spans: 1000}}]}}
`

func TestDecisionsCombine(t *testing.T) {
	p := mustParse(t, combined)
	const low, middle, high = 0, 0x80000000000000, 0xffffffffffffff
	tests := []struct {
		name  string
		facts Facts
		want  Decision
	}{
		{"nobody says keep", Facts{Spans: 1, Random: low}, Decision{}},
		{"first policy is named", Facts{Spans: 1, Random: high}, Decision{Keep: true, Policy: "half", Threshold: 0x80000000000000}},
		{"smallest threshold", Facts{Spans: 10, Random: high}, Decision{Keep: true, Policy: "half", Threshold: 0x80000000000000}},
		{"and needs each part", Facts{Spans: 10, Random: low}, Decision{}},
		{"certain keep has threshold 0", Facts{Spans: 1, Random: high, Start: 1, End: 1 + 2*ms}, Decision{Keep: true, Policy: "half", Threshold: 0}},
		{"later policy", Facts{Spans: 1, Random: low, Start: 1, End: 1 + 2*ms}, Decision{Keep: true, Policy: "slow", Threshold: 0}},
		{"drop wins over every keep", Facts{Spans: 1, Random: high, Start: 1, End: 1 + 101*ms}, Decision{Policy: "never-long"}},
		{"drop needs each part", Facts{Spans: 20, Random: middle, Start: 1, End: 1 + 101*ms}, Decision{Keep: true, Policy: "half", Threshold: 0}},
		{"second drop", Facts{Spans: 1000, Random: high, Start: 1, End: 1 + 101*ms}, Decision{Policy: "never-huge"}},
	}
	for _, tt := range tests {
		tt.facts.HasRandom = true
		if got := decideAlone(p, otlp.TraceID{1}, &tt.facts); got != tt.want {
			t.Errorf("%s: got %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

// The threshold of and is the strictest of its parts; here no other policy hides it.
func TestThresholdOfAnd(t *testing.T) {
	p := mustParse(t, one(`type: and, and: {and_sub_policy: [
		{type: probabilistic, probabilistic: {sampling_percentage: 50}}, {type: probabilistic, probabilistic: {sampling_percentage: 25}}, {type: always_sample}]}`))
	f := Facts{Random: 0xc0000000000000, HasRandom: true}
	if got, want := decideAlone(p, otlp.TraceID{}, &f), (Decision{Keep: true, Policy: "p", Threshold: 0xc0000000000000}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	f.Random--
	if got := decideAlone(p, otlp.TraceID{}, &f); got != (Decision{}) {
		t.Errorf("got %+v, want a drop", got)
	}
}

func TestMergeIsCommutativeAndAssociative(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	random := func() Facts {
		f := Facts{Spans: rng.Uint32() >> (rng.UintN(33)), Logs: rng.Uint32N(5), Bytes: rng.Uint64N(1e6), Root: rng.UintN(2) == 0,
			Start: rng.Uint64N(4), Bits: [2]uint64{rng.Uint64(), rng.Uint64()}}
		f.End = f.Start * rng.Uint64N(3)
		if rng.UintN(2) == 0 {
			f.Random, f.HasRandom = rng.Uint64N(3), true
		}
		return f
	}
	merged := func(fs ...Facts) (out Facts) {
		for i := range fs {
			out.Merge(&fs[i])
		}
		return out
	}
	for range 10_000 {
		a, b, c := random(), random(), random()
		if x, y := merged(a, b), merged(b, a); x != y {
			t.Fatalf("a+b = %+v, b+a = %+v", x, y)
		}
		if x, y := merged(merged(a, b), c), merged(a, merged(b, c)); x != y {
			t.Fatalf("(a+b)+c = %+v, a+(b+c) = %+v", x, y)
		}
		if x := merged(Facts{}, a); x != a {
			t.Fatalf("nothing + a = %+v, want %+v", x, a)
		}
		twice := merged(a, a)
		twice.Spans, twice.Logs, twice.Bytes = a.Spans, a.Logs, a.Bytes
		if twice != a {
			t.Fatalf("a+a = %+v, want %+v but for the sums", twice, a)
		}
	}
}

func TestHistory(t *testing.T) {
	h := NewHistory(2)
	a, b, c := otlp.TraceID{1}, otlp.TraceID{2}, otlp.TraceID{3}
	if !h.Put(a, Decision{Keep: true, Policy: "first"}) {
		t.Error("the first Put says it was not the first")
	}
	if h.Put(a, Decision{Policy: "second"}) {
		t.Error("the second Put says it was the first")
	}
	h.Put(b, Decision{})
	if d, ok := h.Get(a); !ok || d.Policy != "first" || !d.Keep {
		t.Errorf("Get(a) = %+v, %v, want the first decision", d, ok)
	}
	h.Put(c, Decision{}) // forgets b: a was used since
	if _, ok := h.Get(b); ok {
		t.Error("b is remembered, want the least recently used forgotten")
	}
	if _, ok := h.Get(a); !ok || h.Len() != 2 {
		t.Errorf("a remembered %v, Len %d, want true, 2", ok, h.Len())
	}
}

func BenchmarkDecide(b *testing.B) {
	p := Default()
	f := Facts{Spans: 19, Start: 1, End: 500 * ms, Random: 5, HasRandom: true}
	b.ReportAllocs()
	for b.Loop() {
		decideAlone(p, otlp.TraceID{1}, &f)
	}
}

// A threshold is said where the same answer would be given to all randomness above it, and to none below; else none is.
func TestThresholdsThatNobodyKnows(t *testing.T) {
	const (
		half, tenth  = "{type: probabilistic, probabilistic: {sampling_percentage: 50}}", "{type: probabilistic, probabilistic: {sampling_percentage: 10}}"
		lower        = "{type: not, not: {not_sub_policy: " + half + "}}"
		all          = "{name: all, type: always_sample}"
		from50       = uint64(0x80000000000000)
		from90       = uint64(0xe6660000000000)
		top          = never - 1
		drop, strict = "{name: d, type: drop, drop: {drop_sub_policy: [", "compat: strict\n"
	)
	named := func(name, p string) string { return "{name: " + name + ", " + p[1:] }
	inAnd := func(name, p string) string {
		return "{name: " + name + ", type: and, and: {and_sub_policy: [" + p + "]}}"
	}
	mix := func(parts string) string {
		return "{name: mix, type: composite, composite: {max_total_spans_per_second: 9, composite_sub_policy: [" + parts + "]}}"
	}
	for _, tt := range []struct {
		name, options, policies string
		random                  uint64
		want                    Decision
	}{
		{"what not makes of a probability", "", named("n", lower), 0, Decision{Keep: true, Policy: "n", Threshold: Unknown}},
		{"none of it", "", named("n", lower), top, Decision{}},
		{"beside what is certain", "", named("n", lower) + ", " + all, top, Decision{Keep: true, Policy: "all", Threshold: 0}},
		{"two ranges", "", named("n", lower) + ", " + named("p", tenth), top, Decision{Keep: true, Policy: "p", Threshold: Unknown}},
		{"two ranges in composite", "", mix(inAnd("n", lower) + ", " + named("p", tenth)), top, Decision{Keep: true, Policy: "mix", Threshold: Unknown}},
		{"the lower one in composite", "", mix(inAnd("n", lower) + ", " + named("p", tenth)), 0, Decision{Keep: true, Policy: "mix", Threshold: Unknown}},
		{"composite beside a certain part", "", mix(inAnd("n", lower) + ", " + "{name: c, type: always_sample}"), top, Decision{Keep: true, Policy: "mix", Threshold: 0}},
		{"what a probability leaves", "", drop + half + "]}}, " + all, 0, Decision{Keep: true, Policy: "all", Threshold: Unknown}},
		{"what a probability saves", "", drop + lower + "]}}, " + all, top, Decision{Keep: true, Policy: "all", Threshold: from50}},
		{"the stricter of a drop and a keep", "", drop + lower + "]}}, " + named("p", tenth), top, Decision{Keep: true, Policy: "p", Threshold: from90}},
		{"a drop that another part stops", "", drop + half + ", {type: latency, latency: {threshold_ms: 1}}]}}, " + all, 0, Decision{Keep: true, Policy: "all", Threshold: 0}},
		{"strict: hashed", strict, named("p", half), 1, Decision{Keep: true, Policy: "p", Threshold: Unknown}},
		{"strict: what a hash leaves", strict, drop + tenth + "]}}, " + all, 0, Decision{Keep: true, Policy: "all", Threshold: Unknown}},
		{"strict: the same, on the first match", strict + "sample_on_first_match: true\n", drop + tenth + "]}}, " + all, 0, Decision{Keep: true, Policy: "all", Threshold: Unknown}},
		{"strict: limited", strict, "{name: l, type: rate_limiting, rate_limiting: {spans_per_second: 9}}", 0, Decision{Keep: true, Policy: "l", Threshold: Unknown}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := mustParse(t, tt.options+"policies: ["+tt.policies+"]")
			if got := decideAlone(p, traceOf(tt.random), &Facts{Spans: 1}); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}
