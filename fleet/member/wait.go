package member

import (
	"time"

	"tailweir/buffer"
)

// muster removes members that left or fell silent. The messages of the silent ones are on their way to others.
func (m *Member) muster(now time.Time) {
	l := m.lead
	for w, s := range l.seats {
		p := l.inbox.Progress(w)
		silent := now.Sub(s.heard) > m.cfg.Order.Death
		if !silent && !p.Bye {
			continue
		}
		l.inbox.Bar(w)
		delete(l.seats, w)
		l.moved = true
		if silent && p.Next > 0 {
			l.wait(now.Add(m.cfg.Slack), now.Add(longestHold*m.cfg.Delay))
		}
		if silent {
			l.waitFor(l.away.lastWords(now, m.cfg.Order.Death), now, m.cfg)
		}
	}
}

// wait puts decisions off, for redeliveries.
func (l *lead) wait(begin, latest time.Time) {
	if begin.After(l.begin) {
		l.begin, l.latest = begin, latest
	}
}

// away is what is known of payloads that are handed back for a while. Their facts were said to the leader of that time, if
// at all.
type away struct {
	until time.Time     // when the last of them returns
	delay time.Duration // the longest of their delays
}

// longestAway is the longest ack deadline that Pub/Sub takes.
const longestAway = 10 * time.Minute

// learn takes in that somebody said at a time that something returns so much later, or that nothing does: 0.
func (a *away) learn(left time.Duration, at time.Time) {
	if left = min(left, longestAway); left <= 0 {
		return
	}
	a.delay = max(a.delay, left)
	if back := at.Add(left); back.After(a.until) {
		a.until = back
	}
}

// lastWords is when all has returned that somebody may have handed back who said nothing more for silent before now, so
// that nobody knows; the zero time unless holds are under pressure, or were so lately.
func (a *away) lastWords(now time.Time, silent time.Duration) time.Time {
	if a.until.Add(pressureFor).Before(now) {
		return time.Time{}
	}
	return now.Add(a.delay - silent)
}

// pressureFor is how long holds are thought to be under pressure after the last that was handed back has returned.
const pressureFor = 2 * time.Minute

// waitFor puts decisions off until payloads that were handed back are there again: nobody says their facts meanwhile. A trace
// that waits too long for that is decided all the same.
func (l *lead) waitFor(back, now time.Time, cfg Config) {
	if latest := now.Add(longestAway); back.After(latest) {
		back = latest // clocks differ, but not what the service allows
	}
	begin := back.Add(cfg.Slack)
	l.wait(begin, begin.Add(longestHold*cfg.Delay))
}

// watermark is how far event time has come for everybody, less the greatest lag that one of them asks for.
func (l *lead) watermark(slack time.Duration) (mark buffer.Stamp, known bool) {
	newest, lag := buffer.Stamp(0), slack
	first := true
	for w := range l.seats {
		p := l.inbox.Progress(w)
		if first || p.Newest < newest {
			newest, first = p.Newest, false
		}
		lag = max(lag, p.Lag)
	}
	return newest.Add(-lag), newest > 0
}

// waited reports whether what was given back is there again, as far as one can wait for it. Under pressure each new term waits
// anew: with a term every few minutes nothing would ever be decided, holds would stay full, and more and more be given back,
// for longer and longer. So there is a bound over terms, by the log, which all know.
func (m *Member) waited(now time.Time) bool {
	l := m.lead
	return !now.Before(l.begin) || now.Sub(m.reading.decided) > longestStall && now.Sub(l.since) > m.cfg.Delay
}

// longestStall is how long waiting may keep a fleet from deciding anything.
const longestStall = 5 * time.Minute

// hears reports whether every member was heard lately. The waits for what somebody gave back (begin) are worth something only
// while facts arrive; and a member that is silent holds the watermark anyway.
func (l *lead) hears(now time.Time) bool {
	for _, s := range l.seats {
		if now.Sub(s.heard) > 4*beat {
			return false
		}
	}
	return true
}
