package member_test

import (
	"testing"
	"testing/synctest"
	"time"

	"tailweir/buffer"
	"tailweir/otlp"
)

// answer is all that the log says of a trace.
type answer struct {
	keep   bool
	reason buffer.Reason
	by     uint16
}

// recorded plays a load and returns what was published and decided. The clock of each bubble begins at the same moment, so
// the same seed makes the same messages with the same publish times.
func recorded(t *testing.T, s setup, faults func(*world)) (published map[string]time.Time, answers map[otlp.TraceID]answer) {
	published, answers = map[string]time.Time{}, map[otlp.TraceID]answer{}
	synctest.Test(t, func(t *testing.T) {
		var played *world
		play(t, 5, s, func(w *world) {
			if played = w; faults != nil {
				faults(w)
			}
		})
		for _, m := range played.payloads.all {
			if len(m.spans) > 0 { // ticks are the leaders'
				published[m.id] = m.publish
			}
		}
		for id, v := range played.judge.verdicts {
			answers[id] = answer{v.keep, v.reason, v.by}
		}
	})
	return published, answers
}

// TestReplayDecidesAsLive: the same messages, decided as they come or from a backlog that comes in any order, by a fleet
// with another name and another number of workers.
func TestReplayDecidesAsLive(t *testing.T) {
	s := setup{workers: 3, lasts: 60 * time.Second, rate: 10, twice: 0.02}
	live, want := recorded(t, s, nil)
	if len(want) < 400 {
		t.Fatalf("%d traces", len(want))
	}
	for _, workers := range []int{1, 5} {
		s.workers, s.fleet = 0, "another"
		published, got := recorded(t, s, func(w *world) {
			time.Sleep(2 * time.Minute) // all was published
			w.mu.Lock()
			w.payloads.stops = time.Now().Add(15 * time.Second)
			w.payloads.quick = func(m *message) time.Duration { return between(w.die("any order", m.id), 0, 40*time.Second) }
			w.mu.Unlock()
			for range workers {
				w.start(w.setup.old)
			}
			time.Sleep(time.Minute)
		})
		for id, at := range live {
			if !published[id].Equal(at) {
				t.Fatalf("message %s was published at %s, and in the replay at %s: not the same load", id, at, published[id])
			}
		}
		for id, a := range want {
			if got[id] != a {
				t.Errorf("trace %x is decided %+v in a replay by %d workers, want %+v as live", id, got[id], workers, a)
			}
		}
	}
}
