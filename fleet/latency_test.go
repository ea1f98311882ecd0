package fleet

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tailweir/buffer"
	"tailweir/otlp"
	"tailweir/sampler"
)

func TestLatency(t *testing.T) {
	var got, want Latency
	for _, s := range []float64{-1, 0, .001, .0015, 3, 3.1, 600, 601} {
		got.Add(time.Duration(s*float64(time.Second)), 2)
	}
	at := func(bound float64) (i int) {
		for LatencyBounds[i] < bound {
			i++
		}
		return i
	}
	want.Counts[0], want.Counts[1], want.Counts[at(3)], want.Counts[at(3.25)], want.Counts[at(600)], want.Counts[len(LatencyBounds)] = 6, 2, 2, 2, 2, 2
	want.Sum = 2 * (2500*time.Microsecond + 3*time.Second + 3100*time.Millisecond + 1201*time.Second)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("latency (-want +got):\n%s", diff)
	}
}

// What is decided early, or twice, has no deadline to be late for.
func TestDecisionsTakeTimeFromTheirDeadline(t *testing.T) {
	start := time.Unix(1_700_000_000, 0)
	policies, err := sampler.Parse("policies", []byte("policies: [{name: all, type: always_sample}]"))
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		decide func(s *Sequencer)
		want   int64
	}{
		"settled":  {func(s *Sequencer) { s.Advance(buffer.StampOf(start.Add(window.Settle))) }, 1},
		"drained":  {(*Sequencer).Drain, 0},
		"pressure": {func(s *Sequencer) { s.Expire(start.Add(time.Hour)) }, 0},
	} {
		s := NewSequencer(SequencerConfig{Policies: policies, Window: window, Decided: func(otlp.TraceID) (sampler.Decision, bool) { return sampler.Decision{}, false }})
		s.Gather(&Facts{Message: 1, Publish: buffer.StampOf(start), Fragments: []Fragment{{Trace: otlp.TraceID{1}, Facts: sampler.Facts{Spans: 1, Root: true}}}}, start)
		tt.decide(s)
		all, executed := s.Take(2), start.Add(window.Settle+3100*time.Millisecond)
		if len(all) != 1 {
			t.Fatalf("%s: %d decisions", name, len(all))
		}
		s.Confirm(all, executed)
		s.Confirm(all, executed.Add(time.Second)) // said again
		var want Latency
		want.Add(3100*time.Millisecond, tt.want)
		if diff := cmp.Diff(want, s.Decided); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
