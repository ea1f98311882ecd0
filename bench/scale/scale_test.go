package scale

import (
	"math"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tailweir/golden"
)

const doc = "../../docs/scaling.md"

// The documentation's table and picture are this program's. -update writes them anew.
func TestDocumentation(t *testing.T) {
	runs := Compare(1)
	golden.Check(t, "../../docs/scaling.svg", SVG(runs))
	text, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- bench scale -->\n", "<!-- end -->\n"
	before, rest, found := strings.Cut(string(text), begin)
	_, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatalf("%s lacks %q or %q", doc, begin, end)
	}
	golden.Check(t, doc, before+begin+Table(runs)+end+after)
}

// What the documentation concludes holds for other noise and other delays, too.
func TestConclusions(t *testing.T) {
	const (
		cpu = iota
		published
		held
		thousand
		oldest
		small
	)
	const day, burst, outage, slow = 0, 1, 2, 3
	for seed := range uint64(2) {
		runs := Compare(seed)
		for _, claim := range []struct {
			what string
			is   bool
		}{
			{"by CPU a day costs what it needs", runs[day][cpu].WorkerHours < 1.1*runs[day][cpu].NeedHours},
			{"by CPU no decision of a day is late", runs[day][cpu].P99 < 30 && runs[day][cpu].Worst < 60},
			{"by CPU next to nothing is handed over in a day", runs[day][cpu].HandedOver < 0.001*runs[day][cpu].Arrived},
			{"by the publish rate a day costs the same", math.Abs(runs[day][published].WorkerHours/runs[day][cpu].WorkerHours-1) < 0.1},
			{"a burst makes decisions late by minutes, with every lagging or fast signal", runs[burst][cpu].Worst > 60 && runs[burst][cpu].Worst < 240 && runs[burst][published].Worst < 300},
			{"the publish rate does not over-scale in a burst", runs[burst][published].WorkerHours < 0.85*runs[burst][cpu].WorkerHours},
			{"the publish rate asks for nothing in an outage", runs[outage][published].Out == 0 && runs[slow][published].Out == 0},
			{"which CPU does, for nothing but a faster end", runs[outage][cpu].WorkerHours > 2*runs[outage][cpu].NeedHours && runs[outage][cpu].Drained < runs[outage][published].Drained-1800},
			{"1000 undelivered messages are there at any time", runs[day][thousand].WorkerHours > 6*runs[day][thousand].NeedHours},
			{"the oldest age swings", runs[day][oldest].Out > 200 && runs[day][oldest].Short > 3600 && runs[day][oldest].HandedOver > 20*runs[day][cpu].HandedOver},
			{"a small hold is full all day at 60 % CPU", runs[day][small].Full > 20*3600 && runs[day][small].HandedBack > 0.05*runs[day][small].Arrived},
			{"and never with a hold by the formula", runs[day][cpu].Full == 0 && runs[day][cpu].HandedBack == 0},
		} {
			if !claim.is {
				t.Errorf("seed %d: not true: %s", seed, claim.what)
			}
		}
	}
}

func TestFormulas(t *testing.T) {
	w, small := Defaults, One
	small.MaxHold = 512 << 20
	near := func(what string, got, want float64) {
		t.Helper()
		if math.Abs(got/want-1) > 0.005 {
			t.Errorf("%s: %g, want %g", what, got, want)
		}
	}
	near("CPU target with a hold of 2 GiB", w.CPUTarget(One), 0.6)
	near("CPU target with the default hold", w.CPUTarget(small), 0.163)
	near("hold for 60 %", w.HoldFor(One, 0.6), 1.971e9)
	near("messages/s of an instance", w.Rate(One), 1500)
	near("messages that it holds", w.HeldMessages(One), 28_500)
	// The hold that the formula gives has room for exactly the target.
	exact := One
	exact.MaxHold = w.HoldFor(One, 0.4)
	near("there and back", w.CPUTarget(exact), 0.4)
}

// steady asks for what there is.
var steady = Signal{Name: "steady", Want: func(now, _ Seen) float64 { return float64(now.Workers) }}

func run(l Load, rules Rules, s Signal) Run {
	return Simulate(Case{Workload: Defaults, Instance: One, Rules: rules, Load: l, Signal: s, Seed: 3})
}

func TestModel(t *testing.T) {
	t.Run("a steady load is decided after the hold", func(t *testing.T) {
		r := run(Load{"", 3600, flat(100_000), all}, Autoscaler, steady)
		if r.Worst > float64(Defaults.Hold) || r.P50 < float64(Defaults.Hold)-1 || r.Full+r.Short+r.Out+r.In != 0 {
			t.Errorf("%v", summary(r))
		}
		// Little's law: what is held is rate × hold.
		if got, want := r.Points[3000].Held, 100_000*float64(Defaults.Hold)/2/Defaults.room(One); math.Abs(got/want-1) > 0.1 {
			t.Errorf("held %.3f of the room, want %.3f", got, want)
		}
	})
	t.Run("too few workers fall behind by what is too much", func(t *testing.T) {
		rules := Autoscaler
		rules.Min, rules.Max = 1, 1
		r := run(Load{"", 1000, flat(125_000), all}, rules, steady)
		// A second of arrivals takes 1.25 s, so at the end a fifth of the time is missing.
		if want := 1000*0.2 + 0.8*float64(Defaults.Hold); math.Abs(r.Worst-want) > 20 || r.Short < 900 {
			t.Errorf("%v, want a latency of about %.0f s", summary(r), want)
		}
	})
	t.Run("a hold that is full is no more than full", func(t *testing.T) {
		r := run(Load{"", 3600, flat(100_000), func(int) float64 { return 0 }}, Autoscaler, steady)
		for second, p := range r.Points {
			if p.Held > 1+1e-9 {
				t.Fatalf("second %d: %.3f of the room", second, p.Held)
			}
		}
		if r.Full < 3000 || r.HandedBack == 0 || r.Drained >= 0 {
			t.Errorf("%v", summary(r))
		}
	})
	t.Run("who leaves hands over what it holds, once", func(t *testing.T) {
		less := Signal{Name: "less", Want: func(Seen, Seen) float64 { return 2 }}
		rules := Autoscaler
		rules.InShare = 1
		l := Load{"", 3600, func(t int) float64 {
			if t < 600 {
				return 300_000
			}
			return 60_000
		}, all}
		r := run(l, rules, less)
		// From 5 workers to 2 at 60,000 spans/s or, if at once, what is left of 300,000.
		if most := 300_000 * float64(Defaults.Hold) * 4 / 5; r.In != 3 || r.HandedOver == 0 || r.HandedOver > most || r.Worst > 60 {
			t.Errorf("%v handed over %.0f, want at most %.0f", summary(r), r.HandedOver, most)
		}
	})
	t.Run("what is handed back comes the later the older it is", func(t *testing.T) {
		s := &state{Case: Case{Workload: Defaults}}
		for range 100_000 {
			s.arrived++
			s.curve = append(s.curve, s.arrived)
		}
		// One span a second: 8 deliveries each at 30, 60, 120, 240 and 480 s, then every 600 s.
		if got, want := s.returning(99_999), 5*8+(100_000-240-480-960-1920-3840)/600.0; math.Abs(got-want) > 0.1 {
			t.Errorf("%.2f spans/s come back, want %.2f", got, want)
		}
	})
	t.Run("the same again", func(t *testing.T) {
		once := func() string { return summary(run(Loads[1], Autoscaler, Contenders()[0].Signal)) }
		if diff := cmp.Diff(once(), once()); diff != "" {
			t.Error(diff)
		}
	})
}

func summary(r Run) string { return Table([][]Run{{r}}) }
