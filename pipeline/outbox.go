package pipeline

import (
	"slices"

	"tailweir/exporter"
	"tailweir/otlp"
	"tailweir/sampler"
)

// departure is what leaves of one trace and one signal at one time: the fragments held when the decision came, or a late
// one.
type departure struct {
	trace     otlp.TraceID
	fragments []*fragment
	decision  sampler.Decision
	reason    string
	traces    int64 // 1 when the trace itself is accounted for by this departure
	undecided bool  // log records that go without a decision: orphans, and those that do not wait
	// refused: not to be exported, but dead-lettered, or items of it, of which the rest is confirmed.
	refused *exporter.Refusal
}

// policy is the name under which the departure is booked.
func (d *departure) policy() string {
	if !d.decision.Keep {
		return PolicyLogs
	}
	return d.decision.Policy
}

// decided reports whether the departure's decision is binding.
func (d *departure) decided() bool { return !d.undecided && !d.trace.IsZero() }

// outbox is the departures of one signal that wait for a sender. Each signal has its own, so that log records go out while
// the backend for traces is away.
type outbox struct {
	signal  otlp.Signal
	waiting []departure
	later   []departure // whose dead letters could not be published: they wait until resume
	timed   bool        // a timer for resume runs
	wake    chan struct{}
}

func (b *outbox) resume() {
	b.waiting = append(b.waiting, b.later...)
	b.later = nil
}

func (b *outbox) wakeSender() {
	select {
	case b.wake <- struct{}{}:
	default: // every sender is awake or about to be
	}
}

// leaveLocked queues fragments for export, spans and log records apart: they go out in different requests.
func (p *Pipeline) leaveLocked(d departure) {
	all := d.fragments
	var decision *sampler.Decision
	if d.decided() {
		decision = new(d.decision)
	}
	for i := range p.outbox {
		box := &p.outbox[i]
		d.fragments = nil
		for _, f := range all {
			if f.index.Signal() == box.signal {
				f.state, f.decision = waiting, decision
				d.fragments = append(d.fragments, f)
			}
		}
		if len(d.fragments) > 0 {
			box.waiting = append(box.waiting, d)
			d.traces = 0 // the trace is accounted for once, by its spans: the traces' box is the first
			box.wakeSender()
		}
	}
}

func (p *Pipeline) waitingLocked() int {
	n := 0
	for i := range p.outbox {
		n += len(p.outbox[i].waiting) + len(p.outbox[i].later)
	}
	return n
}

// takeLocked takes departures until they make up size bytes, and one at least, without the fragments that were given back
// to the queue while they waited.
func (p *Pipeline) takeLocked(box *outbox, size int) []departure {
	var batch []departure
	for len(box.waiting) > 0 && (len(batch) == 0 || size > 0) {
		d := box.waiting[0]
		box.waiting[0] = departure{}
		box.waiting = box.waiting[1:]
		if !p.liveLocked(&d) {
			continue
		}
		for _, f := range d.fragments {
			f.state = sending
			size -= f.index.SizeEncoded(f.first, mostAdded)
		}
		batch = append(batch, d)
	}
	if len(box.waiting) == 0 {
		box.waiting = nil  // let go of the array behind it
		p.idle.Broadcast() // where everything had been given back, nobody else says so
	}
	return batch
}

// liveLocked drops the fragments that were given back while the departure waited or was exported, and reports whether any is left; if not, the
// trace goes with them.
func (p *Pipeline) liveLocked(d *departure) bool {
	n := len(d.fragments)
	d.fragments = slices.DeleteFunc(d.fragments, func(f *fragment) bool { return f.state == closed })
	if len(d.fragments) < n && d.refused != nil && d.refused.Items != nil {
		d.refused = nil // its items are numbered by what is gone: only an export can tell
	}
	if len(d.fragments) == 0 {
		p.ledger.book(Returned, policyNotNamed, Count{Traces: d.traces})
	}
	return len(d.fragments) > 0
}

// sweepLocked clears the outboxes of what was given back once it is the most of what waits, since with the backend away the
// same messages may come and go many times, or all of it, for which nobody need wait.
func (p *Pipeline) sweepLocked() {
	if p.stale == 0 || (len(p.messages) > 0 && p.stale < p.waitingLocked()/2+1000) {
		return
	}
	p.stale = 0
	for i := range p.outbox {
		box := &p.outbox[i]
		box.waiting, box.later = p.sweptLocked(box.waiting), p.sweptLocked(box.later)
	}
	p.idle.Broadcast()
}

func (p *Pipeline) sweptLocked(all []departure) []departure {
	kept := make([]departure, 0, len(all)/2)
	for _, d := range all { // a copy: liveLocked shortens its fragments, which must not stay in all
		if p.liveLocked(&d) {
			kept = append(kept, d)
		}
	}
	return kept
}
