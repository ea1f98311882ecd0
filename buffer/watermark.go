package buffer

import "time"

// Watermark says how far event time has come: E − L, where E is the greatest publish time seen and
//
//	L = max(Slack, 1.25 × worst out-of-orderness over the last 10 s + Margin)
//
// with out-of-orderness = E − publish, measured when a message is received for the first time (a redelivered message is
// late for its own reasons and would hold everybody up). A jump of E that the caller's clock does not explain counts as
// out-of-orderness as well, added to the worst so far: it is a fresh message in the midst of a backlog. The watermark may go back: when a backlog begins to arrive
// behind fresh messages, L grows and traces wait for their old parts. The zero value with a Slack and Margin is ready;
// not safe for concurrent use.
type Watermark struct {
	Slack  time.Duration // least L; 3 s for Pub/Sub, 500 ms where the broker is in the same process
	Margin time.Duration // added to the measured out-of-orderness; 500 ms

	newest  Stamp
	last    time.Time // when newest was observed
	seconds [worstOver]struct {
		second int64
		worst  time.Duration
	}
}

// worstOver is for how many seconds of the caller's clock out-of-orderness is remembered.
const worstOver = 10

// Observe takes note of a message published at p and received at now. First is false for a redelivered message: it may
// advance E but does not count as out of order.
func (w *Watermark) Observe(p Stamp, now time.Time, first bool) {
	if p > w.newest {
		if jump := p.Sub(w.newest) - now.Sub(w.last); w.newest > 0 && jump > w.Slack {
			w.ObserveLag(jump+w.worst(now), now)
		}
		w.newest, w.last = p, now
		return
	}
	if first {
		w.ObserveLag(w.newest.Sub(p), now)
	}
}

// ObserveLag takes note of out-of-orderness that somebody else measured, at now.
func (w *Watermark) ObserveLag(lag time.Duration, now time.Time) {
	s := now.Unix()
	b := &w.seconds[s%worstOver]
	if b.second != s {
		b.second, b.worst = s, 0
	}
	b.worst = max(b.worst, lag)
}

// Newest returns E, the greatest publish time observed; 0 before the first.
func (w *Watermark) Newest() Stamp { return w.newest }

// Lag returns L at now.
func (w *Watermark) Lag(now time.Time) time.Duration {
	worst := w.worst(now)
	if worst == 0 {
		return w.Slack
	}
	return max(w.Slack, worst+worst/4+w.Margin)
}

// At returns the watermark at now; traces with a deadline at or before it may be decided.
func (w *Watermark) At(now time.Time) Stamp { return w.newest - Stamp(w.Lag(now).Milliseconds()) }

// worst is the worst out-of-orderness of the last 10 s.
func (w *Watermark) worst(now time.Time) (worst time.Duration) {
	for i := range w.seconds {
		if age := now.Unix() - w.seconds[i].second; age >= 0 && age < worstOver { // below 0 where the clock was set back
			worst = max(worst, w.seconds[i].worst)
		}
	}
	return worst
}
