package member_test

import (
	"testing"
	"time"
)

// TestNoHealthyMessageBecomesADeadLetter is an hour in which nearly everything goes wrong, and goes wrong again while the
// fleet still works off what was before. Whoever fences nacks all that it holds, and whoever is full hands messages back;
// the subscription counts each delivery, and after 100 a message would be lost.
func TestNoHealthyMessageBecomesADeadLetter(t *testing.T) {
	r := inWorld(t, setup{workers: 2, lasts: time.Hour, rate: 0.25, maxBytes: 30_000, twice: 0.01}, badHour)
	t.Logf("%+v", r)
	if r.attempts < 10 || r.fences < 20 || r.terms < 8 || r.delayed < 4000 {
		t.Errorf("%d deliveries of a message, %d fences, %d terms, %d messages given back for a while: was that a bad hour?", r.attempts, r.fences, r.terms, r.delayed)
	}
	if r.torn > 0 || r.attempts > attempts/2 {
		t.Errorf("%d traces are torn; %d deliveries of a message are too near %d", r.torn, r.attempts, attempts)
	}
}

// badHour is outages of minutes, with partitions of some seconds every two minutes and a leader killed every five.
func badHour(w *world) {
	begun := time.Now()
	outage := func(at, lasts time.Duration, what func(until time.Time)) {
		w.after(time.Until(begun.Add(at)), func() { what(time.Now().Add(lasts)) })
	}
	payloads := func(until time.Time) { w.note("no payloads"); w.payloads.stops = until }
	backend := func(until time.Time) { w.note("no backend"); w.backend = until }
	outage(2*time.Minute, 4*time.Minute, payloads)
	outage(12*time.Minute, 6*time.Minute, backend)
	outage(25*time.Minute, 4*time.Minute, payloads)
	outage(28*time.Minute, 8*time.Minute, backend)
	outage(45*time.Minute, 5*time.Minute, backend)
	turn := 0
	w.during(30*time.Second, func() {
		turn++
		k := w.leader()
		switch {
		case turn%10 == 9 && k != nil:
			k.kill()
			w.start(w.setup.old)
		case turn%8 == 5: // everybody
			w.mu.Lock()
			w.note("the control plane is away")
			for _, k := range w.workers {
				k.cut = time.Now().Add(14 * time.Second)
			}
			w.mu.Unlock()
		case turn%4 == 3:
			w.mu.Lock()
			k = w.workers[len(w.workers)-1]
			w.note("%s is cut off", k.name)
			k.cut = time.Now().Add(9 * time.Second)
			w.mu.Unlock()
		}
	})
}
