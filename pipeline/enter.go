package pipeline

import (
	"container/heap"

	"tailweir/fleet"
	"tailweir/sampler"
)

// hold registers a delivery and returns the facts to send. All its fragments come into flight in the same moment.
func (p *Pipeline) hold(d Delivery, got reading) (facts fleet.Facts, tell bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if d.session != p.session {
		d.Receipt.Nack() // read while Surrender gave everything back
		return facts, false
	}
	p.ledger.receive(got.count)
	p.unnamed += int64(got.unnamed)
	before, returned := p.returned.Peek(got.id)
	facts = fleet.Facts{Message: got.hash, Publish: got.publish, Policy: got.policy, First: !returned, Again: d.Attempt > 1}
	if got.items() == 0 {
		d.Receipt.Ack() // a tick, or an empty request: nothing to settle but the time it carries
		return facts, true
	}
	if held, ok := p.messages[got.id]; ok {
		return p.repeatLocked(held, d, got)
	}
	if e, known := p.settled.Peek(got.id); known && (e.dead == nil || e.message == d.ID) {
		p.ledger.book(Duplicate, policyNotNamed, got.count)
		d.Receipt.Ack()
		return facts, false
	} else if known {
		before.finished = e.finished(len(got.fragments))
	}
	m := &message{
		id: got.id, hash: got.hash, message: d.ID, publish: d.Publish, attrs: d.Attributes, attempt: d.Attempt,
		data: got.data, receipts: []Receipt{d.Receipt}, open: len(got.fragments),
		charge: charge(got.id.size, got.index.Footprint(), len(got.fragments)),
	}
	if len(d.Data) != got.id.size {
		m.charge += int64(len(d.Data)) // the receipt keeps the compressed form
	}
	p.returned.Remove(m.id)
	p.messages[m.id] = m
	p.bytes += m.charge
	heap.Push(&p.newest, m)
	p.enterLocked(&facts, m, got, before)
	return facts, true
}

// repeatLocked books a payload that is held already: an SDK's retry, another message with the same bytes, or the same message
// again because its lease was lost. It is settled with the first, and charged for what it keeps in memory. To ack a retry at
// once, since the held one keeps the payload durable, would be true of one worker only: in a fleet two workers that hold
// two copies, each delivered to both, would ack each other's and both keep what the server has forgotten. The facts are
// told again only when the repeat was published earlier: the earliest publish time wins.
func (p *Pipeline) repeatLocked(m *message, d Delivery, got reading) (fleet.Facts, bool) {
	p.ledger.book(Duplicate, policyNotNamed, got.count)
	m.receipts = append(m.receipts, d.Receipt)
	m.attempt = max(m.attempt, d.Attempt)
	m.charge += int64(len(d.Data))
	p.bytes += int64(len(d.Data))
	facts := fleet.Facts{Message: m.hash, Publish: got.publish, Policy: got.policy}
	if !d.Publish.Before(m.publish) {
		return facts, false
	}
	m.publish = d.Publish
	heap.Init(&p.newest)
	for i, f := range m.parts {
		if f.state == undecided && !f.trace.IsZero() {
			tell(&facts, f.trace, got.fragments[i].facts)
		}
	}
	return facts, true
}

// enterLocked gives each fragment of a new message its way: with its trace into the window, after a decision that was
// made already, or out at once for what waits for none. Those that had their outcome, or their
// decision, before the message was handed back have it still. It adds the facts of those that go into the window.
func (p *Pipeline) enterLocked(facts *fleet.Facts, m *message, got reading, before handedBack) {
	facts.Fragments = make([]fleet.Fragment, 0, len(got.fragments))
	all := make([]fragment, len(got.fragments))
	m.parts = make([]*fragment, len(got.fragments))
	for i, g := range got.fragments {
		f := &all[i]
		*f = fragment{msg: m, index: got.index, trace: g.trace, first: g.first, class: g.class, count: g.count}
		m.parts[i] = f
	}
	for i, f := range m.parts {
		if before.finished.has(i) {
			p.settle(f, Duplicate, policyNotNamed)
			continue
		}
		if p.withoutWaitLocked(f) {
			continue
		}
		d, known := before.decision(i)
		if known {
			p.history.Put(f.trace, d)
		} else {
			d, known = p.history.Get(f.trace)
		}
		if known {
			p.executeLocked(departure{decision: d, reason: "late", trace: f.trace, fragments: []*fragment{f}})
			continue
		}
		p.gatherLocked(f)
		tell(facts, f.trace, got.fragments[i].facts)
	}
}

func (p *Pipeline) gatherLocked(f *fragment) {
	t := p.traces[f.trace]
	if t == nil {
		t = &trace{}
		p.traces[f.trace] = t
	}
	t.fragments = append(t.fragments, f)
	if f.count.Spans == 0 {
		return
	}
	if t.spans == 0 {
		p.ledger.receive(Count{Traces: 1})
	}
	t.spans++
}

// withoutWaitLocked sends off, or drops, what waits for no decision, and reports whether f is of this kind.
func (p *Pipeline) withoutWaitLocked(f *fragment) bool {
	class := p.classes.all[f.class]
	switch {
	case f.count.Logs > 0 && class.keep == LogsNever:
		p.settle(f, Dropped, class.policy)
	case f.trace.IsZero():
		p.withoutTraceLocked(f)
	case f.count.Logs > 0 && class.keep == LogsAtOnce:
		p.leaveLocked(departure{
			decision: sampler.Decision{Keep: true, Policy: PolicyAtOnce}, reason: "at once", trace: f.trace, fragments: []*fragment{f}, undecided: true,
		})
	default:
		return false
	}
	return true
}

// withoutTraceLocked sends a log record without a trace id on its way; it waits for nothing. Spans without a trace or
// span id belong to no trace, can be decided by no policy and are refused by every backend: dead letters.
func (p *Pipeline) withoutTraceLocked(f *fragment) {
	d := departure{decision: sampler.Decision{Keep: true, Policy: PolicyNoTrace}, reason: "no trace id", fragments: []*fragment{f}}
	if f.count.Spans > 0 {
		d.refused = invalid
	}
	p.leaveLocked(d)
}
