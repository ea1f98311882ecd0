package fleet

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tailweir/buffer"
	"tailweir/otlp"
	"tailweir/sampler"
)

const limitedPolicies = `
policies:
- {name: some, type: probabilistic, probabilistic: {sampling_percentage: 5}}
- {name: limit, type: rate_limiting, rate_limiting: {spans_per_second: 40}}
- name: mix
  type: composite
  composite:
    max_total_spans_per_second: 60
    composite_sub_policy:
    - {name: big, type: span_count, span_count: {min_spans: 4}}
    - {name: rest, type: always_sample}
`

func limitedSequencer(t *testing.T) *Sequencer {
	t.Helper()
	p, err := sampler.Parse("f", []byte(limitedPolicies))
	if err != nil {
		t.Fatal(err)
	}
	return NewSequencer(SequencerConfig{
		Policies: p,
		Window:   buffer.Config{Settle: 2 * time.Second, Idle: 3 * time.Second, MaxAge: 10 * time.Second},
		Decided:  func(otlp.TraceID) (sampler.Decision, bool) { return sampler.Decision{}, false },
	})
}

// randomMessages is a minute of traces that come in parts, in the order of their publish times.
func randomMessages(rng *rand.Rand) (all []Facts) {
	at := buffer.Stamp(1_700_000_000_123)
	for i := range 3000 {
		at += buffer.Stamp(rng.IntN(40))
		f := Facts{Message: uint64(i), Publish: at}
		for range 1 + rng.IntN(2) {
			var id otlp.TraceID
			id[0], id[9] = byte(i/10), byte(rng.IntN(12)*20)
			f.Fragments = append(f.Fragments, Fragment{id, sampler.Facts{Spans: 1 + rng.Uint32N(3), Root: rng.IntN(2) == 0}})
		}
		all = append(all, f)
	}
	return all
}

// However often event time is looked at, and in whatever pieces a backlog comes, the same traces compete: the decisions are
// the same, in the same order.
func TestLimitersDecideAReplayAsLive(t *testing.T) {
	now := time.Now()
	for seed := range uint64(5) {
		rng := rand.New(rand.NewPCG(seed, 1))
		all := randomMessages(rng)
		last := all[len(all)-1].Publish
		end := last + 20_000
		run := func(advance func(i int) bool) []Decision {
			s := limitedSequencer(t)
			for i := range all {
				s.Gather(&all[i], now)
				if advance(i) {
					s.Advance(all[i].Publish - 1)
				}
			}
			s.Advance(end)
			return s.Take(s.Waiting())
		}
		live := run(func(int) bool { return true })
		kept := 0
		for _, d := range live {
			if d.Keep {
				kept++
			}
		}
		if kept < len(live)/20 || kept > len(live)*19/20 {
			t.Fatalf("%d of %d kept: the limits were not put to the test", kept, len(live))
		}
		for name, advance := range map[string]func(int) bool{
			"at the end": func(int) bool { return false },
			"sometimes":  func(int) bool { return rng.IntN(20) == 0 },
		} {
			if diff := cmp.Diff(live, run(advance)); diff != "" {
				t.Errorf("seed %d: advanced %s (-live +replay):\n%.2000s", seed, name, diff)
			}
		}
	}
}

// What waits at the end is not one tick, of which limiters would keep a burst.
func TestLimitersDecideTheLastAsIfTimeWentOn(t *testing.T) {
	all := randomMessages(rand.New(rand.NewPCG(3, 3)))
	run := func(end func(*Sequencer)) (kept []otlp.TraceID) {
		s := limitedSequencer(t)
		for i := range all {
			s.Gather(&all[i], time.Now())
		}
		s.Advance(all[len(all)/2].Publish)
		end(s)
		for _, d := range s.Take(s.Waiting()) {
			if d.Keep {
				kept = append(kept, d.Trace)
			}
		}
		return kept
	}
	waited := run(func(s *Sequencer) { s.Advance(all[len(all)-1].Publish + 20_000) })
	if diff := cmp.Diff(waited, run((*Sequencer).Drain)); diff != "" {
		t.Errorf("kept (-after all deadlines +drained):\n%.1000s", diff)
	}
}

// A leader that dies with most of a backlog decided and not said has not spent its successor's budget.
func TestLimitersAreThoseOfWhatWasTaken(t *testing.T) {
	now := time.Now()
	all := randomMessages(rand.New(rand.NewPCG(9, 1)))
	end := all[len(all)-1].Publish + 20_000
	spans := map[otlp.TraceID]int{}
	for i := range all {
		for _, x := range all[i].Fragments {
			spans[x.Trace] += int(x.Facts.Spans)
		}
	}
	run := func(perTerm int) (kept int) {
		said := map[otlp.TraceID]bool{}
		var state []byte
		for len(said) < len(spans) {
			s := limitedSequencer(t)
			if state != nil {
				if err := s.Restore(state); err != nil {
					t.Fatal(err)
				}
			}
			s.cfg.Decided = func(id otlp.TraceID) (sampler.Decision, bool) { return sampler.Decision{}, said[id] }
			for i := range all {
				s.Gather(&all[i], now)
			}
			s.Advance(end)
			for _, d := range s.Take(perTerm) {
				if said[d.Trace] = true; d.Keep {
					kept += spans[d.Trace]
				}
			}
			state = s.Limiters()
		}
		return kept
	}
	one, many := run(len(spans)), run(len(spans)/6)
	burst := 80 + 60 // of both limiters
	t.Logf("%d spans kept by one leader, %d by a row of them", one, many)
	if many < one*95/100 || many > one+6*burst {
		t.Errorf("%d spans are kept where each leader says a part, %d where one says all", many, one)
	}
}

// Only what was kept, had its time and showed no root names its first span, and says so again to whoever asks later.
func TestSequencerNamesTheFirstSpan(t *testing.T) {
	policies, err := sampler.Parse("f", []byte("policies: [{name: some, type: span_count, span_count: {min_spans: 2}}]"))
	if err != nil {
		t.Fatal(err)
	}
	const start = 5<<32 + 77
	at := buffer.Stamp(1_700_000_000_000)
	early := sampler.Facts{Spans: 1, Start: start, End: start + 9}
	later := sampler.Facts{Spans: 1, Start: start + 1, End: start + 2}
	root := sampler.Facts{Spans: 1, Start: start + 5, Root: true}
	hour := sampler.Facts{Spans: 2, Start: 1}
	for name, c := range map[string]struct {
		on    bool
		facts []sampler.Facts
		end   func(*Sequencer)
		want  uint32
	}{
		"no root":              {true, []sampler.Facts{later, early}, nil, 77},
		"off":                  {false, []sampler.Facts{later, early}, nil, 0},
		"a root":               {true, []sampler.Facts{early, root}, nil, 0},
		"dropped":              {true, []sampler.Facts{early}, nil, 0},
		"no start":             {true, []sampler.Facts{{Spans: 2}}, nil, 0},
		"no start but in some": {true, []sampler.Facts{{Spans: 2}, hour}, nil, 1},
		"early, under pressure": {true, []sampler.Facts{later, early}, func(s *Sequencer) {
			s.Expire(time.Now().Add(time.Hour))
		}, 0},
		"early, at the end": {true, []sampler.Facts{later, early}, (*Sequencer).Drain, 0},
	} {
		history := sampler.NewHistory(10)
		s := NewSequencer(SequencerConfig{Policies: policies, Window: window, Decided: history.Get, ClearUnseenParent: c.on})
		gather := func(i int, f sampler.Facts) {
			s.Gather(&Facts{Message: uint64(i), Publish: at + buffer.Stamp(i), Fragments: []Fragment{{otlp.TraceID{1}, f}}}, time.Now())
		}
		for i, f := range c.facts {
			gather(i, f)
		}
		if c.end != nil {
			c.end(s)
		}
		s.Advance(at + 60_000)
		all := s.Take(10)
		if len(all) != 1 || all[0].First != c.want {
			t.Errorf("%s: decided %+v, want a first of %d", name, all, c.want)
			continue
		}
		history.Put(all[0].Trace, all[0].Decision)
		s.Confirm(all, time.Now())
		gather(9, root)
		s.SayAgain(time.Now())
		if again := s.Take(10); len(again) != 1 || again[0].Decision != all[0].Decision {
			t.Errorf("%s: again %+v, first %+v", name, again, all)
		}
	}
}
