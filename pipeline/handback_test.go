package pipeline

import (
	"testing"
	"testing/synctest"
	"time"

	"tailweir/otlp"
)

// Pub/Sub gives a message up after 100 deliveries: handed back again and again, it must last for any outage that people
// leave alone over night.
func TestHandBackGrows(t *testing.T) {
	p := New(Config{HandBack: 30 * time.Second})
	total := time.Duration(0)
	for attempt := 1; attempt <= 100; attempt++ {
		d := p.handBack(attempt)
		if before := p.handBack(attempt - 1); d < before {
			t.Errorf("after %d deliveries %v, after %d %v", attempt, d, attempt-1, before)
		}
		total += d
	}
	if first, last := p.handBack(0), p.handBack(100); first != 30*time.Second || last != maxHandBack || total < 10*time.Hour {
		t.Errorf("first %v, last %v, in all %v; want 30s, %v, 10 h at least", first, last, total, maxHandBack)
	}
}

// A payload that makes the reader panic goes to the dead letters, and the worker lives on.
func TestPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		defer r.stop()
		whole := r.p.policies.Load()
		r.p.Use(nil) // no observer can be made of it
		poison := r.deliver(otlp.Traces, traces(span{trace: 1, id: 1, root: true, bad: true}))
		r.sleep(time.Second)
		r.want("settled", poison.String(), "ack")
		r.want("dead letters", r.dead.reasons, []string{ReasonPanic})
		r.p.Use(whole)
		healthy := r.deliver(otlp.Traces, traces(span{trace: 2, id: 1, root: true, bad: true}))
		r.sleep(4 * time.Second)
		r.want("the next one", healthy.String(), "ack")
		s := r.p.State()
		r.want("panics, undecodable", []int64{s.Panics, s.Undecodable}, []int64{1, 1})
		r.want("exported", r.backend.spans, map[string]int{"2/1": 1})
		r.check()
	})
}
