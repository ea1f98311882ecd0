package buffer

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tailweir/otlp"
	"tailweir/sampler"
)

var testConfig = Config{Settle: 10 * time.Second, Idle: 15 * time.Second, MaxAge: 60 * time.Second}.Defaults()

func id(n byte) otlp.TraceID { return otlp.TraceID{15: n} }

// fact is a fragment of one span published at second at.
func fact(message uint64, at float64, root bool) Fact {
	return Fact{Message: message, Publish: Stamp(at * 1000), Facts: sampler.Facts{Spans: 1, Root: root, Start: uint64(at), End: uint64(at) + 1}}
}

func logs(message uint64, at float64) Fact {
	return Fact{Message: message, Publish: Stamp(at * 1000), Facts: sampler.Facts{Logs: 1}}
}

// noEviction fails the test when the window evicts.
func noEviction(t *testing.T) func(Release) {
	return func(r Release) { t.Errorf("evicted %s", r.Trace) }
}

func collect(into *[]Release) func(Release) { return func(r Release) { *into = append(*into, r) } }

func TestDeadline(t *testing.T) {
	for _, tc := range []struct {
		name     string
		facts    []Fact
		deadline float64
		reason   Reason
		spans    uint32
		late     int
	}{
		{"no root waits for idle", []Fact{fact(1, 100, false)}, 115, Idle, 1, 0},
		{"root waits for settle", []Fact{fact(1, 100, true)}, 110, Settled, 1, 0},
		{"each fact moves the quiet time", []Fact{fact(1, 100, true), fact(2, 105, false)}, 115, Settled, 2, 0},
		{"root shortens the wait", []Fact{fact(1, 100, false), fact(2, 101, true)}, 111, Settled, 2, 0},
		{"max age ends it", []Fact{fact(1, 100, false), fact(2, 114, false), fact(3, 128, false), fact(4, 142, false), fact(5, 156, false)}, 160, Expired, 5, 0},
		{"a fact after the deadline so far is late", []Fact{fact(1, 100, true), fact(2, 110.001, false)}, 110, Settled, 1, 1},
		{"a fact at the deadline is in time", []Fact{fact(1, 100, true), fact(2, 110, false)}, 120, Settled, 2, 0},
		{"all after a late fact are late", []Fact{fact(1, 100, true), fact(2, 111, false), fact(3, 112, true)}, 110, Settled, 1, 2},
		{"logs do not move the deadline", []Fact{logs(9, 90), fact(1, 100, true), logs(8, 109)}, 110, Settled, 1, 0},
		{"logs alone wait for max age", []Fact{logs(9, 90), logs(8, 95)}, 150, Orphan, 0, 0},
		{"logs said again count once", []Fact{logs(9, 100), fact(1, 101, true), logs(9, 100), logs(9, 99)}, 111, Settled, 1, 0},
		{"the earliest publish time of logs said again wins", []Fact{logs(9, 95), logs(9, 90)}, 150, Orphan, 0, 0},
		{"a repeat counts once", []Fact{fact(1, 100, true), fact(1, 100, true)}, 110, Settled, 1, 0},
		{"the earliest publish time of a repeat wins", []Fact{fact(1, 105, true), fact(1, 100, true)}, 110, Settled, 1, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			permutations(tc.facts, func(facts []Fact) {
				w := New(testConfig)
				for _, f := range facts {
					w.Add(id(1), f, noEviction(t))
				}
				var got []Release
				w.Advance(Stamp(tc.deadline*1000)-1, collect(&got))
				if len(got) > 0 {
					t.Fatalf("facts %v: released at %d before its deadline", facts, got[0].Deadline)
				}
				w.Advance(Stamp(tc.deadline*1000), collect(&got))
				if len(got) != 1 {
					t.Fatalf("facts %v: not released at its deadline", facts)
				}
				r := got[0]
				if r.Reason != tc.reason || r.Facts.Spans != tc.spans || r.Late != tc.late {
					t.Errorf("facts %v: released %s with %d spans and %d late facts, want %s, %d, %d", facts, r.Reason, r.Facts.Spans, r.Late, tc.reason, tc.spans, tc.late)
				}
				if w.Len() != 0 || w.Bytes() != 0 {
					t.Errorf("after the release: %d traces and %d bytes are charged, want none", w.Len(), w.Bytes())
				}
			})
		})
	}
}

// permutations calls do with every order of facts: the outcome must not depend on it.
func permutations(facts []Fact, do func([]Fact)) {
	var walk func(k int)
	walk = func(k int) {
		if k == len(facts) {
			do(slices.Clone(facts))
			return
		}
		for i := k; i < len(facts); i++ {
			facts[k], facts[i] = facts[i], facts[k]
			walk(k + 1)
			facts[k], facts[i] = facts[i], facts[k]
		}
	}
	walk(0)
}

func TestReleaseOrderIsDeadlineThenTrace(t *testing.T) {
	w := New(testConfig)
	w.Add(id(3), fact(1, 100, true), noEviction(t))
	w.Add(id(2), fact(2, 90, false), noEviction(t))  // 105, by idle
	w.Add(id(1), fact(3, 100, true), noEviction(t))  // 110, before id 3
	w.Add(id(2), fact(4, 103, false), noEviction(t)) // moves to 118
	var got []Release
	w.Advance(200_000, collect(&got))
	var order []byte
	for _, r := range got {
		order = append(order, r.Trace[15])
	}
	if diff := cmp.Diff([]byte{1, 3, 2}, order); diff != "" {
		t.Errorf("order of release (-want +got):\n%s", diff)
	}
}

func TestEvictsTheColdestWhenFull(t *testing.T) {
	for name, cfg := range map[string]Config{
		"by traces": {MaxTraces: 2},
		"by bytes":  {MaxBytes: 2*(traceBytes+factBytes) + messagesBytes + 10},
	} {
		t.Run(name, func(t *testing.T) {
			w := New(cfg.Defaults())
			var got []Release
			w.Add(id(1), fact(1, 100, true), collect(&got))
			w.Add(id(2), fact(2, 100, true), collect(&got))
			w.Add(id(1), logs(3, 101), collect(&got)) // touches 1: now 2 is the coldest
			w.Add(id(3), fact(4, 102, true), collect(&got))
			if len(got) != 1 || got[0].Trace != id(2) || got[0].Reason != Evicted || got[0].Facts.Spans != 1 {
				t.Fatalf("evicted %+v, want trace 2 with its span", got)
			}
			if w.Len() != 2 {
				t.Errorf("%d traces are open, want 2", w.Len())
			}
		})
	}
}

func TestDrainReleasesEverything(t *testing.T) {
	w := New(testConfig)
	w.Add(id(2), fact(1, 100, true), noEviction(t))
	w.Add(id(1), logs(2, 60), noEviction(t))
	var got []Release
	w.Drain(collect(&got))
	if len(got) != 2 || got[0].Trace != id(2) || got[0].Reason != Drained || got[1].Reason != Orphan {
		t.Fatalf("drained %+v, want trace 2 drained, then trace 1 as an orphan", got)
	}
	if w.Len() != 0 || w.Bytes() != 0 {
		t.Errorf("after Drain: %d traces, %d bytes", w.Len(), w.Bytes())
	}
}

// Ten minutes of backlog and fresh messages arrive mixed. Whatever the mixture, each trace must be released with exactly
// the facts that a live run in publish order gives it: no window may close because one fresh message slipped in.
func TestBacklogMixedWithFreshMessages(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	type arrival struct {
		trace otlp.TraceID
		Fact
	}
	var all []arrival
	message := uint64(0)
	for second := range 700 { // ten minutes of backlog, then 100 s of fresh traffic
		trace := id(0)
		trace[0], trace[1] = byte(second>>8), byte(second)
		for i := range 4 {
			message++
			all = append(all, arrival{trace, fact(message, 1000+float64(second)+2*float64(i), i == 3)})
		}
	}
	live := map[otlp.TraceID]Release{}
	w := New(testConfig)
	for _, a := range all {
		w.Add(a.trace, a.Fact, noEviction(t))
	}
	w.Advance(1<<50, func(r Release) { live[r.Trace] = r })

	// Received: the backlog in order but for 10 s of jitter, with every eleventh message a fresh one from its end.
	old, fresh := all[:2400:2400], all[2400:]
	old = slices.Clone(old)
	slices.SortStableFunc(old, func(a, b arrival) int {
		return int(a.Publish-b.Publish) + rng.IntN(20_000) - 10_000
	})
	var received []arrival
	for i, a := range old {
		if i%11 == 5 && len(fresh) > 0 {
			received, fresh = append(received, fresh[0]), fresh[1:]
		}
		received = append(received, a)
	}
	received = append(received, fresh...)

	replay := map[otlp.TraceID]Release{}
	release := func(r Release) {
		if _, twice := replay[r.Trace]; twice {
			t.Errorf("trace %s released twice", r.Trace)
		}
		replay[r.Trace] = r
	}
	w = New(testConfig)
	mark := Watermark{Slack: 3 * time.Second, Margin: 500 * time.Millisecond}
	now := time.Unix(5000, 0)
	for _, a := range received {
		now = now.Add(5 * time.Millisecond) // 200 messages a second: far faster than they were published
		mark.Observe(a.Publish, now, true)
		w.Add(a.trace, a.Fact, noEviction(t))
		w.Advance(mark.At(now), release)
	}
	for range 60 { // silence, with ticks
		now = now.Add(time.Second)
		mark.Observe(1_720_000+StampOf(now)-StampOf(time.Unix(5000, 0)), now, true)
		w.Advance(mark.At(now), release)
	}
	if w.Len() > 0 {
		t.Errorf("%d traces are held for ever", w.Len())
	}
	if diff := cmp.Diff(live, replay); diff != "" {
		t.Errorf("the mixed backlog was released otherwise than live (-live +replay):\n%.2000s", diff)
	}
}

func TestWatermark(t *testing.T) {
	now := time.Unix(1000, 0)
	w := Watermark{Slack: 3 * time.Second, Margin: 500 * time.Millisecond}
	step := func(what string, publish Stamp, first bool, want Stamp) {
		t.Helper()
		w.Observe(publish, now, first)
		if got := w.At(now); got != want {
			t.Errorf("%s: watermark %d, want %d", what, got, want)
		}
	}
	step("first message", 100_000, true, 97_000)
	step("a little out of order stays within the slack", 99_000, true, 97_000)
	step("far out of order pulls it back", 92_000, true, 100_000-10_000-500)
	step("a redelivery is not out of order", 10_000, false, 89_500)
	now = now.Add(9 * time.Second)
	step("remembered for ten seconds", 109_000, true, 98_500)
	now = now.Add(2 * time.Second)
	step("then forgotten", 111_000, true, 108_000)
	now = now.Add(time.Second)
	step("a jump that the clock does not explain is a backlog's", 712_000, true, 712_000-750_000-500)
}

func TestValidate(t *testing.T) {
	if faults := (Config{}).Defaults().Validate(); len(faults) > 0 {
		t.Errorf("the defaults are refused: %q", faults)
	}
	if faults := (Config{MaxAge: time.Hour}).Defaults().Validate(); len(faults) > 0 {
		t.Errorf("a long max_age is refused: %q", faults)
	}
	bad := Config{Settle: 20 * time.Second, Idle: 10 * time.Second, MaxAge: 5 * time.Second, MaxTraces: -1, MaxBytes: 1, MaxHold: time.Second}
	if faults := bad.Validate(); len(faults) != 5 {
		t.Errorf("%d faults, want 5: %q", len(faults), faults)
	}
}

func BenchmarkAddAndRelease(b *testing.B) {
	w := New(testConfig)
	released := 0
	b.ReportAllocs()
	for i := range b.N {
		var trace otlp.TraceID
		n := i / 5
		trace[0], trace[1], trace[2], trace[3] = byte(n), byte(n>>8), byte(n>>16), byte(n>>24)
		at := Stamp(i / 10) // 10,000 facts a second
		w.Add(trace, Fact{Message: uint64(i), Publish: at, Facts: sampler.Facts{Spans: 1, Root: i%5 == 4}}, func(Release) {})
		if i%1000 == 0 {
			w.Advance(at-3000, func(Release) { released++ })
		}
	}
}
