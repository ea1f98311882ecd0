package pipeline

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tailweir/fleet"
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

// While nobody hears what is said of them, a full hold keeps its messages and takes no more; it asks again as time goes on,
// and waits for nothing when everything is about to be given back, or the process ends.
func TestFullHoldWaitsToBeHeard(t *testing.T) {
	for name, c := range map[string]struct {
		then  func(r *rig, heard *atomic.Bool)
		first string // what becomes of the first message: the oldest, which fits
		last  string // and of the newest, for which there is no room
	}{
		"heard": {func(r *rig, heard *atomic.Bool) { heard.Store(true) }, "", "hand back 30s"},
		"surrender": {func(r *rig, _ *atomic.Bool) {
			r.want("given back", r.p.Surrender(r.ctx), 7)
		}, "nack", "nack"},
		"quiesce": {func(r *rig, _ *atomic.Bool) {
			r.want("nothing is being read", r.p.Quiesce(r.ctx), true)
		}, "", ""},
		"end": {func(r *rig, _ *atomic.Bool) { r.end() }, "", "nack"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var heard atomic.Bool
				r := newRig(t, func(c *Config) { c.MaxBytes, c.Workers, c.Heard, c.Sequencer = 5000, 1, heard.Load, deaf{} })
				defer r.stop()
				all := make([]receipt, 7) // 5 are held, one is next, and for one Handle blocks
				handed := 0
				go func() {
					for i := range all {
						all[i].t = t
						r.p.Handle(r.ctx, Delivery{Data: traces(span{trace: 1, id: byte(i)}), Attributes: attrs(otlp.Traces), Publish: time.Now().Add(time.Duration(i)), Receipt: &all[i]})
						handed++
					}
				}()
				r.sleep(time.Minute)
				r.want("handed over, held", []int{handed, r.p.State().Messages}, []int{6, 5})
				for i := range all {
					r.want("settled", all[i].String(), "")
				}
				c.then(r, &heard)
				r.sleep(time.Second)
				r.want("all are handed over", handed, 7)
				r.want("the first, the last", []string{all[0].String(), all[6].String()}, []string{c.first, c.last})
				r.check()
			})
		})
	}
}

// deaf is a sequencer that never decides.
type deaf struct{}

func (deaf) Send(context.Context, fleet.Facts) error { return nil }

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
		r.want("without a name", s.Unnamed, int64(1))
		r.want("exported", r.backend.spans, map[string]int{"2/1": 1})
		r.check()
	})
}
