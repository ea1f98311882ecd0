package pipeline

import "maps"

// Count is an amount of telemetry.
type Count struct {
	Spans  int64 `json:"spans"`
	Traces int64 `json:"traces"`
	Logs   int64 `json:"logs"`
}

func (c *Count) add(d Count) { c.Spans += d.Spans; c.Traces += d.Traces; c.Logs += d.Logs }
func (c *Count) sub(d Count) { c.Spans -= d.Spans; c.Traces -= d.Traces; c.Logs -= d.Logs }

// Outcome is what finally became of a fragment.
type Outcome uint8

const (
	Kept         Outcome = iota + 1 // exported, and every exporter confirmed it
	Dropped                         // by decision
	DeadLettered                    // on the dead-letter topic, and Pub/Sub confirmed it
	Returned                        // given back to Pub/Sub undecided
	Duplicate                       // the same payload is held, or was settled already
)

// Tally is what one policy kept and dropped.
type Tally struct {
	Kept    Count `json:"kept"`
	Dropped Count `json:"dropped"`
}

// Totals accounts for everything since the start. Spans and log records count once per delivery; a trace counts when its
// first span arrives and again only if it was given back or forgotten in between. At all times
//
//	Received = Kept + Dropped + DeadLettered + Returned + Duplicate + InFlight
type Totals struct {
	Received     Count
	Kept         Count
	Dropped      Count
	DeadLettered Count
	Returned     Count
	Duplicate    Count
	InFlight     Count
	ByPolicy     map[string]Tally // by the policy that decided; the sums equal Kept and Dropped
}

// Names under which ByPolicy books what no policy decided.
const (
	PolicyNone     = "(no policy matched)"  // dropped because no policy said keep
	PolicyLogs     = "(logs.keep: all)"     // log records of a trace that was not kept
	PolicyNoTrace  = "(log without trace)"  // log records without a trace id: passed through
	PolicyNoSpans  = "(log without spans)"  // log records whose trace never showed a span
	PolicyOrphans  = "(logs.orphans: drop)" // the same, dropped; what a rule drops is under the rule's number
	PolicyAtOnce   = "(log at once)"        // log records that did not wait for a decision
	policyNotNamed = ""
)

// ledger keeps the totals. Its fields are guarded by the pipeline's mutex, so that a snapshot always adds up.
type ledger struct {
	Totals
}

func (l *ledger) receive(c Count) {
	l.Received.add(c)
	l.InFlight.add(c)
}

// book moves c out of flight to its outcome.
func (l *ledger) book(o Outcome, policy string, c Count) {
	l.InFlight.sub(c)
	switch o {
	case Kept:
		l.Kept.add(c)
		t := l.ByPolicy[policy]
		t.Kept.add(c)
		l.ByPolicy[policy] = t
	case Dropped:
		if policy == policyNotNamed {
			policy = PolicyNone
		}
		l.Dropped.add(c)
		t := l.ByPolicy[policy]
		t.Dropped.add(c)
		l.ByPolicy[policy] = t
	case DeadLettered:
		l.DeadLettered.add(c)
	case Returned:
		l.Returned.add(c)
	case Duplicate:
		l.Duplicate.add(c)
	}
}

// bury moves what was booked as kept to the dead letters: a few items of what was kept otherwise.
func (l *ledger) bury(policy string, c Count) {
	if c == (Count{}) {
		return
	}
	l.Kept.sub(c)
	l.DeadLettered.add(c)
	t := l.ByPolicy[policy]
	t.Kept.sub(c)
	l.ByPolicy[policy] = t
}

func (l *ledger) snapshot() Totals {
	t := l.Totals
	t.ByPolicy = maps.Clone(l.ByPolicy)
	return t
}
