package member

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"tailweir/buffer"
	"tailweir/fleet"
	"tailweir/fleet/facts"
	"tailweir/otlp"
)

// Whoever leaves while its claim is under way would make the others wait for a term that nobody opens.
func TestLeavingWithAClaimUnderWayOpensAndResigns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &topics{}
		m, end := run(t, o.config(), &holding{})
		for m.State().Claims == 0 {
			time.Sleep(step)
		}
		begun := time.Now()
		m.Leave(t.Context())
		took := time.Since(begun)
		end()
		said := o.entries(t)
		if len(said) == 0 || !said[0].Body.Open || !said[len(said)-1].Body.Resign {
			t.Fatalf("it left after %s and %d entries, the last of which is no goodbye", took, len(said))
		}
		if took < 2*time.Second || took > 5*time.Second {
			t.Errorf("leaving took %s, want a little more than the Open's 2.4 s", took)
		}
	})
}

// Leave does not wait for a control plane that is away for longer than it is given.
func TestLeavingEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &topics{}
		m, end := run(t, o.config(), &holding{})
		time.Sleep(10 * time.Second)
		o.set(&o.away, true)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		begun := time.Now()
		m.Leave(ctx)
		if took := time.Since(begun); took != 3*time.Second {
			t.Errorf("leaving took %s", took)
		}
		end()
	})
}

// What is given back is said before, or a leader decides without it: Leave returns when the facts of the last message and
// then the goodbye are confirmed.
func TestLeavingSaysTheLastFactsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &topics{slow: time.Second}
		m, end := run(t, o.config(), &holding{})
		time.Sleep(20 * time.Second)
		last := fleet.Facts{Message: 4711, Publish: buffer.StampOf(time.Now()), Policy: m.cfg.Policies.Hash(), First: true, Fragments: []fleet.Fragment{{Trace: otlp.TraceID{1}}}}
		if err := m.Send(t.Context(), last); err != nil {
			t.Fatal(err)
		}
		m.Leave(t.Context())
		all := o.batches(t)
		end()
		slices.SortFunc(all, func(a, b facts.Batch) int {
			return int(a.Stream-b.Stream)<<20 + int(a.Seq) - int(b.Seq)
		})
		bye := all[len(all)-1]
		said := slices.ContainsFunc(all, func(b facts.Batch) bool {
			return b.Stream == bye.Stream && slices.ContainsFunc(b.Messages, func(f fleet.Facts) bool { return f.Message == last.Message })
		})
		if !bye.Bye || !said {
			t.Errorf("when Leave returns, goodbye is said: %t, and the last facts: %t", bye.Bye, said)
		}
	})
}
