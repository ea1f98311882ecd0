package member_test

import (
	"testing"
	"time"
)

// TestFullHoldsPassABacklog: payloads stop for ten minutes, and then they come out of order in two, with fresh ones in
// between, to workers that can hold a tenth of them. A fleet whose holds are all full of parts, while the rest of each
// trace is with nobody, must not lock up; nor when a leader knows nothing of what was handed back.
func TestFullHoldsPassABacklog(t *testing.T) {
	for name, kills := range map[string]int{"one leader": 0, "leaders die": 3} {
		t.Run(name, func(t *testing.T) {
			var full, samples int
			var pressed int64
			fill := func(w *world) {
				const takes = 2 * time.Minute
				w.holdBack(10*time.Minute, takes)
				for at := range int(takes / time.Second) {
					time.Sleep(time.Second)
					if k := w.leader(); kills > 0 && at%40 == 30 && k != nil {
						k.kill()
						w.start(w.setup.old)
					}
					for _, k := range w.alive() {
						if s := k.p.State(); at >= 15 && s.Messages > 0 { // not just fenced, or started
							samples++
							if s.Bytes > s.MaxBytes/10*7 { // 80 % less a message or two
								full++
							}
						}
					}
				}
				if k := w.leader(); k != nil {
					pressed = k.m.State().Lead.Pressed
				}
			}
			r := inWorld(t, setup{workers: 2, lasts: 14 * time.Minute, rate: 1, maxBytes: 70_000}, fill)
			t.Logf("%+v; %d of %d times a hold was full", r, full, samples)
			if samples < 150 || full < samples*8/10 {
				t.Errorf("%d of %d times a hold was full, want nearly always", full, samples)
			}
			if kills == 0 && pressed != int64(r.pressed) {
				t.Errorf("the leader has counted %d traces that waited too long, want %d", pressed, r.pressed)
			}
			if r.delayed < 1500 || r.torn > 0 || r.terms < 1+kills {
				t.Errorf("%d messages were given back for a while, %d traces are torn, %d terms", r.delayed, r.torn, r.terms)
			}
		})
	}
}
