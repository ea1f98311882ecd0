package member_test

import (
	"cmp"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"tailweir/sampler"
)

// limitedTo keeps so many spans a second of whatever comes.
const limitedTo = 20

// TestLimitersSurviveTheirLeader: the state of limiters rides on the entries, so that a fleet keeps the same whether its
// leaders live or die. Limiters that began full with each leader would let one burst more through each time.
func TestLimitersSurviveTheirLeader(t *testing.T) {
	// A bucket holds two seconds' worth, and a tick's deadlines count as its end.
	const lasts, burst, biggest = 5 * time.Minute, 3 * limitedTo, 8
	calm := limited(t, lasts, nil)
	killed := limited(t, lasts, killEach(12*time.Second, (*world).leader))
	for _, r := range []limitedRun{calm, killed} {
		rate := float64(r.kept) / r.took.Seconds()
		t.Logf("%d terms, %d of %d spans kept in %s of event time, %.1f a second; %.0f too many in an interval at most", r.terms, r.kept, r.spans, r.took, rate, r.excess)
		// Deadlines come in clumps, and a second without any fills no bucket beyond its burst.
		if rate < 0.75*limitedTo || r.spans < 2*r.kept {
			t.Errorf("%.1f spans of %d a second are kept", rate, limitedTo)
		}
		if r.excess > burst+biggest {
			t.Errorf("%.0f spans more than the rate are kept in some interval, want a burst at most", r.excess)
		}
	}
	if killed.terms < 10 {
		t.Errorf("%d terms", killed.terms)
	}
	if more := killed.kept - calm.kept; more > calm.kept/100 || -more > calm.kept/100 {
		t.Errorf("%d spans are kept when leaders die, and %d when not", killed.kept, calm.kept)
	}
}

type limitedRun struct {
	spans, kept, terms int
	took               time.Duration
	excess             float64 // of any interval over the rate
}

func limited(t *testing.T, lasts time.Duration, faults func(*world)) (r limitedRun) {
	set, err := sampler.Parse("policies.yaml", []byte("policies: [{name: some, type: rate_limiting, rate_limiting: {spans_per_second: 20}}]"))
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		var played *world
		s := setup{workers: 2, lasts: lasts, rate: 10, limited: true, old: set}
		r.terms = play(t, 4, s, func(w *world) {
			if played = w; faults != nil {
				faults(w)
			}
		}).terms
		r.judge(played)
	})
	return r
}

// judge looks at the verdicts in the log's order. Event time is their deadline's, and does not go back.
func (r *limitedRun) judge(w *world) {
	all := slices.Clone(w.load.traces)
	number := func(t *traceRun) int { return w.judge.verdicts[t.id].number }
	slices.SortFunc(all, func(a, b *traceRun) int { return cmp.Compare(number(a), number(b)) })
	var begin, now int64
	lowest := 0.0 // of kept − rate × time, at the beginning of the interval that is the worst
	for i, t := range all {
		_, deadline, inTime := t.ideal(0, time.Hour)
		if now = max(now, deadline); i == 0 {
			begin = now
		}
		spans := 0
		for _, s := range t.spans {
			if slices.Contains(inTime, s.in) {
				spans++
			}
		}
		due := float64(now-begin) / 1000 * limitedTo
		lowest = min(lowest, float64(r.kept)-due)
		if r.spans += spans; w.judge.verdicts[t.id].keep {
			r.kept += spans
		}
		r.excess = max(r.excess, float64(r.kept)-due-lowest)
	}
	r.took = time.Duration(now-begin) * time.Millisecond
}
