package fleet

import (
	"math"
	"slices"
	"time"

	"tailweir/buffer"
	"tailweir/otlp"
	"tailweir/sampler"
)

// SequencerConfig configures a Sequencer.
type SequencerConfig struct {
	Policies *sampler.Policies
	Window   buffer.Config
	// Decided tells the decision on a trace, if it is remembered.
	Decided func(otlp.TraceID) (sampler.Decision, bool)
	// ClearUnseenParent has decisions name the first span of each kept trace whose root was not seen, so that holders write it
	// as the root if it is a local one. Not of traces decided early, which had no time to show their root.
	ClearUnseenParent bool
}

// Sequencer gathers facts in the window and decides each trace once the watermark has passed its deadline: what a lone
// worker and the leader of a fleet have in common. Where the watermark comes from and where decisions go is theirs. Use
// NewSequencer. It is not safe for concurrent use.
type Sequencer struct {
	cfg     SequencerConfig
	window  *buffer.Window
	decider *sampler.Decider
	pending map[otlp.TraceID]buffer.Stamp     // decided, and not yet confirmed: deadlines, 0 of those decided early
	again   map[otlp.TraceID]sampler.Decision // decided long ago: to be said again
	said    time.Time                         // when again was last emptied into out
	out     []Decision
	mark    buffer.Stamp     // the watermark of the last Advance
	ready   []buffer.Release // released and not yet decided: the decisions of a tick are made together
	batch   []sampler.Candidate
	verdict []sampler.Decision
	taken   int64     // decisions that Take gave
	before  []limiter // of the ticks that are not all taken
	SequencerStats
}

// limiter is the state of the limiters before a tick, and how many decisions were made with it.
type limiter struct {
	state []byte
	made  int64
}

// SequencerStats are the running totals of a Sequencer.
type SequencerStats struct {
	Fragments int64 // facts gathered
	Late      int64 // facts that came after their trace's deadline or decision
	Again     int64 // decisions said again, for holders that did not know them
	Pressed   int64 // traces decided early: evicted from a full window, or held for too long
	// Decided is the time from a trace's deadline, which is event time, to Confirm, without traces decided early.
	Decided Latency
}

// NewSequencer returns a sequencer with an empty window. Its Window must be valid.
func NewSequencer(cfg SequencerConfig) *Sequencer {
	cfg.Window = cfg.Window.Defaults()
	return &Sequencer{
		cfg: cfg, window: buffer.New(cfg.Window), decider: cfg.Policies.NewDecider(),
		pending: map[otlp.TraceID]buffer.Stamp{}, again: map[otlp.TraceID]sampler.Decision{},
	}
}

// Gather takes in what one message says, received at now. Facts of a trace that is decided do not open it again: the
// decision is said once more, to a holder that no longer knows it, or never did.
func (s *Sequencer) Gather(f *Facts, now time.Time) {
	s.window.Clock(now)
	for i := range f.Fragments {
		x := &f.Fragments[i]
		s.Fragments++
		if _, out := s.pending[x.Trace]; out {
			s.Late++
			continue // whoever holds it will hear
		}
		if d, known := s.cfg.Decided(x.Trace); known {
			s.Late++
			s.again[x.Trace] = d
			continue
		}
		s.window.Add(x.Trace, buffer.Fact{Message: f.Message, Publish: f.Publish, Facts: x.Facts}, s.release)
		s.decide() // those that had to leave
	}
}

// sayAgainEvery bounds what late spans cost: a decision is said again once a second at most.
const sayAgainEvery = time.Second

// tick is what deadlines are gathered to, where one decision depends on the others.
const tick = buffer.Stamp(sampler.Tick / time.Millisecond)

// Advance decides every trace whose deadline the watermark has reached, in the order (deadline, trace id). Policies with
// limiters decide whole ticks of event time, so that the same traces compete in a replay: their watermark goes on by ticks.
func (s *Sequencer) Advance(watermark buffer.Stamp) {
	if s.cfg.Policies.Limited() {
		watermark -= watermark % tick
	}
	s.mark = watermark
	s.window.Advance(watermark, s.release)
	s.decide()
}

// Expire decides the traces that wait for longer than the window's MaxHold, whatever the watermark.
func (s *Sequencer) Expire(now time.Time) {
	s.window.Expire(now, s.release)
	s.decide()
}

// SayAgain makes decisions that somebody lacks part of what Take returns, at most once a second.
func (s *Sequencer) SayAgain(now time.Time) {
	if len(s.again) == 0 || now.Sub(s.said) < sayAgainEvery {
		return
	}
	s.said = now
	for id, d := range s.again {
		s.Again++
		s.out = append(s.out, Decision{Trace: id, Decision: d})
	}
	clear(s.again)
}

// Drain decides everything, with the reason drained, as if event time had gone on to the last deadline: limiters have for what
// waits what they would have had.
func (s *Sequencer) Drain() {
	mark := s.mark
	s.mark = math.MaxInt64
	s.window.Drain(s.release)
	s.decide()
	s.mark = mark
}

// release gathers the releases of a tick. The window gives them in the order of their deadlines.
func (s *Sequencer) release(r buffer.Release) {
	s.Late += int64(r.Late)
	if r.Reason == buffer.Evicted || r.Reason == buffer.Pressure {
		s.Pressed++
	}
	if len(s.ready) > 0 && s.at(&s.ready[0]) != s.at(&r) {
		s.decide()
	}
	s.ready = append(s.ready, r)
}

// dueOf is when a trace was to be decided, 0 when it is decided before.
func dueOf(r *buffer.Release) buffer.Stamp {
	switch r.Reason {
	case buffer.Evicted, buffer.Pressure, buffer.Drained:
		return 0
	}
	return r.Deadline
}

// at is the event time of a trace's decision: the end of its deadline's tick. A trace that is decided early has its deadline
// ahead of event time, which would fill the limiters before their time.
func (s *Sequencer) at(r *buffer.Release) buffer.Stamp {
	return min((r.Deadline+tick-1)/tick*tick, max(s.mark, 1))
}

func (s *Sequencer) decide() {
	if len(s.ready) == 0 {
		return
	}
	s.batch = s.batch[:0]
	for i := range s.ready {
		if r := &s.ready[i]; r.Reason != buffer.Orphan {
			s.batch = append(s.batch, sampler.Candidate{Trace: r.Trace, Facts: &r.Facts})
		}
	}
	var before []byte
	if len(s.batch) > 0 {
		before = s.decider.State()
		s.verdict = s.decider.Decide(s.verdict[:0], s.batch, int64(s.at(&s.ready[0])))
	}
	decided := 0
	for i := range s.ready {
		r := &s.ready[i]
		d := Decision{Trace: r.Trace, Deadline: r.Deadline, Reason: r.Reason}
		if d.Binding() {
			d.Decision = s.verdict[decided]
			if s.cfg.ClearUnseenParent && d.Keep && !r.Facts.Root && dueOf(r) > 0 {
				d.First = uint32(r.Facts.Start)
			}
			decided++
			s.pending[r.Trace] = dueOf(r)
		}
		s.out = append(s.out, d)
	}
	s.ready = s.ready[:0]
	if before != nil {
		s.before = append(s.before, limiter{before, s.taken + int64(len(s.out))})
	}
}

// Take removes up to limit decisions, in the order in which they were made. Until Confirm facts of their traces are late.
func (s *Sequencer) Take(limit int) []Decision {
	n := min(limit, len(s.out))
	taken := s.out[:n:n]
	if s.out = s.out[n:]; len(s.out) == 0 {
		s.out = nil
	}
	s.taken += int64(n)
	s.before = slices.DeleteFunc(s.before, func(l limiter) bool { return l.made <= s.taken })
	return taken
}

// Waiting is how many decisions Take has to give.
func (s *Sequencer) Waiting() int { return len(s.out) }

// Confirm says that decisions count, and are executed by now: Decided knows them.
func (s *Sequencer) Confirm(all []Decision, now time.Time) {
	for i := range all {
		if due := s.pending[all[i].Trace]; due > 0 {
			s.Decided.Add(buffer.StampOf(now).Sub(due), 1)
		}
		delete(s.pending, all[i].Trace)
	}
}

// Limiters is the state of the policies' limiters, for a successor; nil when there are none. It is that of what was taken,
// but for a tick of which only a part was: a backlog decided at once and not said would otherwise have spent the time of those
// who decide it anew, and all of it be refused.
func (s *Sequencer) Limiters() []byte {
	if len(s.before) > 0 {
		return s.before[0].state
	}
	return s.decider.State()
}

// Restore goes on from a predecessor's Limiters.
func (s *Sequencer) Restore(limiters []byte) error { return s.decider.Restore(limiters) }

// Len is the number of undecided traces, and Bytes the memory charged for them.
func (s *Sequencer) Len() int { return s.window.Len() }

// Bytes is the memory charged for the undecided traces.
func (s *Sequencer) Bytes() int64 { return s.window.Bytes() }

// Next returns up to limit undecided traces, those with the earliest deadlines first. It looks at all of them: for people.
func (s *Sequencer) Next(limit int) []buffer.Open { return s.window.Next(limit) }
