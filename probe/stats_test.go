package probe

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Quantiles are the sorted list's, and at most 1.6 % above it.
func TestHistogram(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	var h, other histogram
	var all []time.Duration
	for i := range 10_000 {
		d := time.Duration(rng.Int64N(int64(10 * time.Second >> (i % 24))))
		all = append(all, d)
		if i%2 == 0 {
			h.add(d)
		} else {
			other.add(d)
		}
	}
	h.merge(&other)
	slices.Sort(all)
	for _, q := range []float64{0, 0.01, 0.5, 0.9, 0.99, 0.9999, 1} {
		want := all[max(int(q*10_000)-1, 0)]
		if got := h.quantile(q); got < want-time.Microsecond || got > want+want/60+time.Microsecond {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	var over int64
	for _, d := range all {
		if d > resend {
			over++
		}
	}
	if h.n != 10_000 || h.over1400 != over || h.over4000 >= over || h.over4000 == 0 || h.max != all[9999] {
		t.Errorf("n %d, over 1.4s %d of %d, over 4s %d, max %v", h.n, h.over1400, over, h.over4000, h.max)
	}
	if h := new(histogram); h.quantile(0.5) != 0 {
		t.Error("an empty histogram has a median")
	}
}

// ms is a time of a scenario.
func ms(n int64) int64 { return n * 1000 }

// scenario is a log of two publishers, which publish in turn each 10 ms, read by two subscriptions.
type scenario struct {
	*tracker
	entries []entry
	times   []int64
}

func newScenario(n int) scenario {
	s := scenario{tracker: newTracker(2, 2, 2)}
	s.begin(ms(1000))
	for i := range n {
		e := s.send(i % 2)
		at := ms(1000 + 10*int64(i))
		s.answered(e, at, at+ms(1), nil)
		s.entries, s.times = append(s.entries, e), append(s.times, at)
	}
	return s
}

// reads lets the subscription read the entries in this order, each 2 ms after it was published.
func (s scenario) reads(sub int, order ...int) {
	for _, i := range order {
		s.read(sub, s.entries[i], s.times[i], s.times[i], s.times[i]+ms(2))
	}
}

func TestTrackerSeesEachFault(t *testing.T) {
	t.Parallel()
	type seen struct {
		Differ, Inversion time.Duration
		Inversions        int64
		Breaks            int64
		Lost              int
		Repeated, Unequal int64
	}
	const step = 10 * time.Millisecond
	for name, tt := range map[string]struct {
		play func(scenario)
		want seen
	}{
		"nothing": {func(s scenario) { s.reads(0, 0, 1, 2, 3, 4, 5); s.reads(1, 0, 1, 2, 3, 4, 5) }, seen{}},
		"other order": {
			func(s scenario) { s.reads(0, 0, 1, 2, 3, 4, 5); s.reads(1, 0, 1, 2, 4, 3, 5) },
			seen{Differ: step, Inversion: step, Inversions: 1},
		},
		"other order, further apart, the first subscription wrong": {
			func(s scenario) { s.reads(0, 1, 3, 0, 2, 4, 5); s.reads(1, 0, 1, 2, 3, 4, 5) },
			seen{Differ: 3 * step, Inversion: 3 * step, Inversions: 2},
		},
		"the same wrong order everywhere": {
			func(s scenario) { s.reads(0, 1, 3, 0, 2, 4, 5); s.reads(1, 1, 3, 0, 2, 4, 5) },
			seen{Inversion: 3 * step, Inversions: 4},
		},
		"a publisher's order broken": {
			func(s scenario) { s.reads(0, 0, 1, 2, 3, 4, 5); s.reads(1, 2, 0, 1, 3, 4, 5) },
			seen{Differ: 2 * step, Inversion: 2 * step, Inversions: 2, Breaks: 1},
		},
		"lost for one":      {func(s scenario) { s.reads(0, 0, 1, 2, 3, 4, 5); s.reads(1, 0, 1, 3, 4, 5) }, seen{Lost: 1}},
		"lost for everyone": {func(s scenario) { s.reads(0, 0, 1, 2, 4, 5); s.reads(1, 0, 1, 2, 4, 5) }, seen{Lost: 2}},
		"delivered again, all of a key": {
			func(s scenario) { s.reads(0, 0, 1, 2, 3, 1, 2, 3, 4, 5); s.reads(1, 0, 1, 2, 3, 4, 5) },
			seen{Repeated: 3},
		},
		"another publish time": {
			func(s scenario) {
				s.reads(0, 0, 1, 2, 3, 4, 5)
				s.times[5] += 7
				s.reads(1, 0, 1, 2, 3, 4, 5)
			}, seen{Unequal: 1},
		},
		"no answer, not there": {
			func(s scenario) {
				s.answered(s.send(0), 0, 0, errors.New("no answer"))
				s.reads(0, 0, 1, 2, 3, 4, 5)
				s.reads(1, 0, 1, 2, 3, 4, 5)
			}, seen{},
		},
		"no answer, comes late": {
			func(s scenario) {
				first := s.send(0)
				s.answered(first, 0, 0, errors.New("no answer"))
				next := s.send(0)
				s.answered(next, ms(2000), ms(2001), nil)
				for sub := range 2 {
					s.reads(sub, 0, 1, 2, 3, 4, 5)
					s.read(sub, next, ms(2000), ms(2000), ms(2002))
					s.read(sub, first, ms(2001), ms(1900), ms(2003))
				}
			}, seen{},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScenario(6)
			tt.play(s)
			got := seen{Differ: s.window.worst, Unequal: s.unequal}
			for i, r := range s.subs {
				got.Inversion = max(got.Inversion, micros(r.inversion))
				got.Inversions += r.inversions
				got.Breaks += r.breaks
				got.Repeated += r.repeated
				got.Lost += s.missing(i)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if s.worst() != max(got.Inversion, got.Differ) || s.behind() != (got.Lost > 0) {
				t.Errorf("worst %v, behind %t", s.worst(), s.behind())
			}
		})
	}
}

// The window finds what comparing all pairs would, over random shuffles of near neighbours.
func TestWindowIsExact(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		const n, subs = 40, 3
		w := newWindow(subs)
		publish, place := make([]int64, n), [subs][]int{}
		for i := range publish {
			publish[i] = ms(int64(i) + rng.Int64N(3))
			w.answered(entry{0, uint32(i)}, publish[i], publish[i])
		}
		for sub := range subs {
			order := rng.Perm(n)
			if rng.IntN(4) > 0 {
				slices.SortStableFunc(order, func(a, b int) int { return a/5 - b/5 })
			}
			place[sub] = make([]int, n)
			newest := int64(0)
			for at, i := range order {
				place[sub][i] = at
				w.read(sub, entry{0, uint32(i)}, publish[i], uint32(at+1), publish[i] < newest)
				newest = max(newest, publish[i])
			}
		}
		var want time.Duration
		for a := range n {
			for b := range a {
				for i := range subs {
					for j := range i {
						if (place[i][a] < place[i][b]) != (place[j][a] < place[j][b]) {
							want = max(want, micros(abs(publish[a]-publish[b])))
						}
					}
				}
			}
		}
		if w.worst != want {
			t.Fatalf("furthest pair in different order %v, want %v", w.worst, want)
		}
	}
}

// An entry that is never complete does not stay for ever.
func TestWindowIsBounded(t *testing.T) {
	t.Parallel()
	w := newWindow(2)
	for i := range 2 * openRows {
		w.read(0, entry{0, uint32(i)}, int64(i), uint32(i+1), false)
		if i%10 == 0 {
			w.read(1, entry{0, uint32(i)}, int64(i), uint32(i+1), false)
			w.answered(entry{0, uint32(i)}, int64(i), int64(i))
		}
	}
	if len(w.open) > openRows || len(w.queue) > openRows || len(w.done) != comparedRows {
		t.Errorf("%d open, %d queued, %d done rows; want %d, %d and %d at most", len(w.open), len(w.queue), len(w.done), openRows, openRows, comparedRows)
	}
}

func TestClock(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		offset      func(i int64) int64 // of the server's clock, µs
		spread      int64
		first, last int64
	}{
		"none":           {func(int64) int64 { return 0 }, 0, 0, 0},
		"ahead":          {func(int64) int64 { return ms(700) }, 0, ms(700), ms(700)},
		"slow drift":     {func(i int64) int64 { return -i * 100 }, 0, -ms(3), -ms(27)},
		"several clocks": {func(i int64) int64 { return ms(300) * (i % 2) }, ms(280), ms(150), ms(150)},
	} {
		var c clock
		for i := range int64(300) { // an entry each second, answered after 20 ms
			at := i * time.Second.Microseconds()
			c.add(at+ms(10)+tt.offset(i), at, at+ms(20))
		}
		c.close()
		near := func(got, want int64) bool { return abs(got-want) < ms(2) }
		if !near(c.spread, tt.spread) || !near(c.first, tt.first) || !near(c.last, tt.last) {
			t.Errorf("%s: spread %d, offset %d to %d; want %d, %d, %d", name, c.spread, c.first, c.last, tt.spread, tt.first, tt.last)
		}
	}
}

func TestSilenceAndLatency(t *testing.T) {
	t.Parallel()
	s := newScenario(4)
	s.subs[1].kind = reconnecting
	s.reads(0, 0, 1)
	s.read(0, s.entries[2], s.times[2], s.times[2], s.times[2]+ms(500))
	s.end(ms(2200))
	s.reads(1, 0, 1, 2, 3)
	s.read(0, s.entries[3], s.times[3], s.times[3], ms(9000)) // the load is over: no silence
	latency, silence := s.readBack()
	if want := micros(ms(2200) - s.times[2] - ms(500)); silence != want {
		t.Errorf("silence %v, want %v", silence, want)
	}
	if latency.n != 4 || latency.max != micros(ms(9000)-s.times[3]) {
		t.Errorf("%d latencies up to %v, want 4 of the steady subscription up to %v", latency.n, latency.max, micros(ms(9000)-s.times[3]))
	}
}

// A subscription made late must get what was published from its start on, and no more.
func TestLateSubscription(t *testing.T) {
	t.Parallel()
	s := newScenario(6)
	s.reads(0, 0, 1, 2, 3, 4, 5)
	sub := s.subscribe(late, s.times[2])
	for i, want := range []int{4, 4, 3, 2, 1} {
		if got := s.missing(sub); got != want {
			t.Errorf("%d entries read: %d missing, want %d", i, got, want)
		}
		s.reads(sub, 1+i) // the first is from before the start
	}
	if s.missing(sub) != 0 {
		t.Errorf("%d entries missing of a log read to its end", s.missing(sub))
	}
}
