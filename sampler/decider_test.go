package sampler

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"tailweir/otlp"
)

// limited has a limiter in each place where one may stand; facts with the bits below match its leaves in this order.
const limited = `
policies:
- {name: errors, type: status_code, status_code: {status_codes: [ERROR]}}
- name: both
  type: and
  and:
    and_sub_policy:
    - {type: rate_limiting, rate_limiting: {spans_per_second: 10, burst_capacity: 10}}
    - {type: boolean_attribute, boolean_attribute: {key: b, value: true}}
    - {type: rate_limiting, rate_limiting: {spans_per_second: 20, burst_capacity: 20}}
- {name: rest, type: rate_limiting, rate_limiting: {spans_per_second: 5, burst_capacity: 5}}
- name: cap
  type: drop
  drop:
    drop_sub_policy:
    - {type: boolean_attribute, boolean_attribute: {key: c, value: true}}
    - {type: not, not: {not_sub_policy: {type: rate_limiting, rate_limiting: {spans_per_second: 8, burst_capacity: 8}}}}
`

func decideOne(d *Decider, id otlp.TraceID, f *Facts, at int64) Decision {
	return d.Decide(nil, []Candidate{{id, f}}, at)[0]
}

// decideAlone decides with full limiters.
func decideAlone(p *Policies, id otlp.TraceID, f *Facts) Decision {
	return decideOne(p.NewDecider(), id, f, 0)
}

const isError, isB, isC = 1, 2, 4

// Limiters in the order of the hash: cap's of 8, both's of 10 and 20, rest's of 5.
func TestOnlyTheLimiterThatKeepsPays(t *testing.T) {
	full := []int64{8, 10, 20, 5}
	for _, tc := range []struct {
		name   string
		spans  uint32
		bits   uint64
		has    []int64 // spans in the buckets before
		policy string
		keep   bool
		left   []int64
	}{
		{"kept without a limiter", 4, isError, full, "errors", true, full},
		{"kept by one", 4, 0, full, "rest", true, []int64{8, 10, 20, 1}},
		{"kept by two in and", 4, isB, full, "both", true, []int64{8, 6, 16, 5}},
		{"first of and refuses: the next policy pays", 4, isB, []int64{8, 3, 20, 5}, "rest", true, []int64{8, 3, 20, 1}},
		{"second of and refuses: the first does not pay", 4, isB, []int64{8, 10, 3, 5}, "rest", true, []int64{8, 10, 3, 1}},
		{"refused by all", 4, isB, []int64{8, 3, 3, 3}, "", false, []int64{8, 3, 3, 3}},
		{"saved from a drop", 4, isC | isError, full, "errors", true, []int64{4, 10, 20, 5}},
		{"saved from a drop and kept by a limiter", 4, isC, full, "rest", true, []int64{4, 10, 20, 1}},
		{"saved from a drop and not kept", 4, isC, []int64{8, 10, 20, 3}, "", false, []int64{8, 10, 20, 3}},
		{"dropped by the limit", 4, isC | isError, []int64{3, 10, 20, 5}, "cap", false, []int64{3, 10, 20, 5}},
		{"exactly what is there", 5, 0, full, "rest", true, []int64{8, 10, 20, 0}},
		{"one more than there is", 5, 0, []int64{8, 10, 20, 4}, "", false, []int64{8, 10, 20, 4}},
		{"larger than a full bucket leaves a debt", 50, 0, full, "rest", true, []int64{8, 10, 20, -45}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := mustParse(t, limited).NewDecider()
			for i := range tc.has {
				d.tokens[i] = tc.has[i] * grain
			}
			got := decideOne(d, otlp.TraceID{1}, &Facts{Spans: tc.spans, Bits: [2]uint64{tc.bits}}, 0)
			if got != (Decision{Keep: tc.keep, Policy: tc.policy}) {
				t.Errorf("decision %+v, want %v by %q", got, tc.keep, tc.policy)
			}
			for i := range tc.left {
				if d.tokens[i] != tc.left[i]*grain {
					t.Errorf("limiter %d has %d/1000 spans left, want %d", i, d.tokens[i], tc.left[i]*grain)
				}
			}
		})
	}
}

func TestRefillIsInEventTime(t *testing.T) {
	const start = 1_000_000
	d := mustParse(t, one("type: rate_limiting, rate_limiting: {spans_per_second: 10, burst_capacity: 10}")).NewDecider()
	for _, step := range []struct {
		at    int64
		spans uint32
		keep  bool
	}{
		{start, 10, true},
		{start, 1, false},
		{start + 99, 1, false},
		{start + 100, 1, true},
		{start - 5000, 1, false}, // a time before refills nothing
		{start + 200, 1, true},   // and none twice
		{start + 200, 1, false},
		{start + 1200, 35, true}, // full again: a debt of 25
		{start + 3699, 0, false},
		{start + 3700, 0, true},
		{start + 3800, 1, true},
		{start + 60_000, 11, true}, // never more than a second's worth
		{start + 60_000, 1, false},
		{start + 70_000, 5, true},
		{start + 69_000, 5, true}, // a time before takes nothing either
		{math.MaxInt64, 10, true},
	} {
		if got := decideOne(d, otlp.TraceID{1}, &Facts{Spans: step.spans}, step.at).Keep; got != step.keep {
			t.Errorf("%d spans at %+d ms: keep %v, want %v", step.spans, step.at-start, got, step.keep)
		}
	}
}

// Whatever comes, the spans kept in any interval are at most its share and one burst; a successor that begins with any
// state of the past, or with none, adds one burst.
func TestLimitHoldsOverEveryInterval(t *testing.T) {
	const rate, largest = 50, 2 * 50
	for _, tc := range []struct {
		name   string
		bursts int64
		state  func(rng *rand.Rand, past [][]byte) (state []byte, failover bool)
	}{
		{"one decider", 1, func(*rand.Rand, [][]byte) ([]byte, bool) { return nil, false }},
		{"latest state at every step", 1, func(_ *rand.Rand, past [][]byte) ([]byte, bool) { return past[len(past)-1], true }},
		{"any state of the past once", 2, func(rng *rand.Rand, past [][]byte) ([]byte, bool) {
			return past[rng.IntN(len(past))], len(past) == 500
		}},
		{"no state once", 2, func(_ *rand.Rand, past [][]byte) ([]byte, bool) { return nil, len(past) == 500 }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := mustParse(t, one("type: rate_limiting, rate_limiting: {spans_per_second: 50, burst_capacity: 50}"))
			for seed := range uint64(20) {
				rng := rand.New(rand.NewPCG(seed, 7))
				d, at := p.NewDecider(), int64(1_700_000_000_000)
				past := [][]byte{d.State()}
				type kept struct{ at, spans int64 }
				var all []kept
				excess := int64(0) // of the traces larger than a burst that were kept: two with a failover
				for range 1000 {
					if rng.IntN(10) == 0 {
						at += rng.Int64N(3000)
					}
					at += rng.Int64N(20)
					spans := 1 + rng.Int64N(rate/5)
					if rng.IntN(50) == 0 {
						spans = largest
					}
					if decideOne(d, otlp.TraceID{1}, &Facts{Spans: uint32(spans)}, at).Keep {
						all = append(all, kept{at, spans})
						excess = max(excess, spans-rate)
					}
					past = append(past, d.State())
					if state, failover := tc.state(rng, past); failover {
						if d = p.NewDecider(); state != nil && d.Restore(state) != nil {
							t.Fatal("a state of the past is refused")
						}
					}
				}
				excess *= tc.bursts
				for i := range all {
					sum := int64(0)
					for j := i; j < len(all); j++ {
						sum += all[j].spans
						if most := rate*(all[j].at-all[i].at)/1000 + tc.bursts*rate + excess; sum > most {
							t.Fatalf("seed %d: %d spans kept in %d ms, want at most %d", seed, sum, all[j].at-all[i].at, most)
						}
					}
				}
				if len(all) < 100 || len(all) > 900 {
					t.Fatalf("seed %d: %d of 1000 traces kept: the limit was not put to the test", seed, len(all))
				}
			}
		})
	}
}

// A successor with the state goes on as the predecessor would have.
func TestRestoredDecidesTheSame(t *testing.T) {
	p := mustParse(t, limited)
	rng := rand.New(rand.NewPCG(5, 5))
	a, at := p.NewDecider(), int64(1_700_000_000_000)
	keeps := 0
	for i := range 5000 {
		at += rng.Int64N(200)
		b := p.NewDecider()
		if err := b.Restore(a.State()); err != nil {
			t.Fatal(err)
		}
		f := Facts{Spans: 1 + rng.Uint32N(12), Bits: [2]uint64{rng.Uint64N(8)}}
		x, y := decideOne(a, otlp.TraceID{1}, &f, at), decideOne(b, otlp.TraceID{1}, &f, at)
		if x != y || string(a.State()) != string(b.State()) {
			t.Fatalf("step %d: successor says %+v, want %+v", i, y, x)
		}
		if x.Keep {
			keeps++
		}
		a = b
	}
	if keeps < 500 || keeps > 4500 {
		t.Errorf("%d of 5000 kept: too few of one kind to prove anything", keeps)
	}
	if n := len(a.State()); n > 40 {
		t.Errorf("state of four limiters has %d bytes", n)
	}
}

func TestRestoreRefuses(t *testing.T) {
	p := mustParse(t, limited)
	good := p.NewDecider()
	decideOne(good, otlp.TraceID{1}, &Facts{Spans: 3}, 1_700_000_000_000)
	state := good.State()
	changed := func(i int, b byte) []byte {
		s := []byte(string(state))
		s[i] = b
		return s
	}
	for _, tc := range []struct {
		name  string
		state []byte
		want  string
	}{
		{"nothing", nil, "malformed"},
		{"another version", changed(0, 9), "version 9, want 2"},
		{"another set", changed(3, state[3]+1), "state of policies"},
		{"cut short", state[:len(state)-1], "malformed"},
		{"more than it needs", append([]byte(string(state)), 0), "malformed"},
		{"a debt beyond all traces", append([]byte(string(state[:len(state)-2])), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f), "malformed"},
		{"a time beyond all times", append([]byte(string(state[:stateHeader])), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0), "malformed"},
	} {
		d := p.NewDecider()
		decideOne(d, otlp.TraceID{1}, &Facts{Spans: 5}, 1)
		before := string(d.State())
		err := d.Restore(tc.state)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want an error with %q", tc.name, err, tc.want)
		}
		if string(d.State()) != before {
			t.Errorf("%s: the refused state changed the decider", tc.name)
		}
	}
	plain := Default().NewDecider()
	if plain.State() != nil || plain.Restore(nil) != nil {
		t.Error("a set without limiters has a state, or refuses none")
	}
	if plain.Restore(state) == nil {
		t.Error("a set without limiters took the state of another")
	}
}

func TestDecideAllocatesNothing(t *testing.T) {
	for name, p := range map[string]*Policies{"default": Default(), "limited": mustParse(t, limited)} {
		d, f := p.NewDecider(), Facts{Spans: 3, Bits: [2]uint64{isC}}
		batch, dst := []Candidate{{otlp.TraceID{1}, &f}, {otlp.TraceID{2}, &f}}, make([]Decision, 0, 2)
		if n := testing.AllocsPerRun(100, func() { d.Decide(dst, batch, 1) }); n != 0 {
			t.Errorf("%s: %v allocations per decision, want 0", name, n)
		}
	}
}

func TestMoreLimitersThanBits(t *testing.T) {
	many := func(n int) []byte {
		return []byte("policies: [{name: p, type: and, and: {and_sub_policy: [" +
			strings.Repeat("{type: rate_limiting, rate_limiting: {spans_per_second: 5}},", n) + "]}}]")
	}
	if _, err := Parse("f", many(mostLimits)); err != nil {
		t.Error(err)
	}
	_, err := Parse("f", many(mostLimits+1))
	if want := "f:1:11: policies: 65 limiters, counting one for each part of composite and one for the whole, want at most 64"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func FuzzRestore(f *testing.F) {
	p, err := Parse("f", []byte(limited))
	if err != nil {
		f.Fatal(err)
	}
	d := p.NewDecider()
	for i := range 4 {
		f.Add(d.State())
		decideOne(d, otlp.TraceID{1}, &Facts{Spans: uint32(i * 100)}, int64(i)*1000)
	}
	f.Fuzz(func(t *testing.T, state []byte) {
		d := p.NewDecider()
		before := string(d.State())
		if err := d.Restore(state); err != nil {
			if string(d.State()) != before {
				t.Errorf("refused with %v, and changed", err)
			}
			return
		}
		for i, l := range p.limits {
			if d.tokens[i] > l.full() {
				t.Errorf("limiter %d has %d tokens, more than full", i, d.tokens[i])
			}
		}
		if again := p.NewDecider(); again.Restore(d.State()) != nil || string(again.State()) != string(d.State()) {
			t.Error("its state does not restore to the same")
		}
		decideOne(d, otlp.TraceID{1}, &Facts{Spans: math.MaxUint32}, math.MaxInt64)
		if p.NewDecider().Restore(d.State()) != nil {
			t.Error("the state after the largest trace is refused")
		}
	})
}

func BenchmarkDecider(b *testing.B) {
	for name, p := range map[string]*Policies{"default": Default(), "limited": mustParse(b, limited)} {
		b.Run(name, func(b *testing.B) {
			d, f := p.NewDecider(), Facts{Spans: 19, Start: 1, End: 500 * ms, Random: 5, HasRandom: true}
			b.ReportAllocs()
			at := int64(0)
			for b.Loop() {
				at++
				decideOne(d, otlp.TraceID{1}, &f, at)
			}
		})
	}
}
