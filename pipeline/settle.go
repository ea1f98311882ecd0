package pipeline

import (
	"container/heap"
	"context"
	"slices"
	"time"
)

// settle gives a fragment its outcome and settles its message when it was the last one. It is the only place where a
// held message is acked, nacked or handed back; p.mu must be held.
//
//	outcome        its message, once no fragment is open
//	Kept           ack
//	Dropped        ack
//	DeadLettered   ack
//	Duplicate      ack: it had its outcome before its message was handed back
//	Returned       handed back by giveBackLocked, which returns all open fragments of a message at once
func (p *Pipeline) settle(f *fragment, o Outcome, policy string) {
	if f.state == closed {
		return // returned while its export was under way; it will come again
	}
	f.state = closed
	p.ledger.book(o, policy, f.count)
	m := f.msg
	if o == DeadLettered {
		m.dead.add(slices.Index(m.parts, f))
	}
	m.open--
	if m.open > 0 || m.gone {
		return
	}
	p.forgetLocked(m)
	p.sweepLocked()
	switch o {
	case Kept, Dropped, DeadLettered, Duplicate:
		p.settled.Add(m.id, ended{m.message, m.dead})
		for _, r := range m.receipts {
			r.Ack()
		}
		m.receipts = nil
	}
}

// forgetLocked takes a message out of the hold.
func (p *Pipeline) forgetLocked(m *message) {
	m.gone = true
	delete(p.messages, m.id)
	p.bytes -= m.charge
	m.parts, m.attrs, m.data = nil, nil, nil // the heap may know the message for long: it must not keep the payload
	p.newest.shed(len(p.messages))
}

// giveBackLocked returns a message with all its open fragments to the queue: at once by nack when delay is zero, else
// after the delay. What of it has its outcome or its decision is remembered for its return.
func (p *Pipeline) giveBackLocked(m *message, delay time.Duration) {
	parts := m.parts
	p.forgetLocked(m)
	var was handedBack
	for i, f := range parts {
		switch {
		case f.state == closed:
			was.finished.add(i)
		case f.state == undecided:
			p.withdrawLocked(f)
		case f.decision != nil:
			was.decided = append(was.decided, decided{i, f.decision})
		}
		if f.state == waiting {
			p.stale++
		}
		if f.state != sending { // an export reads it without the lock, and lets go of it when it ends
			f.index = nil // a departure that waits on must not keep the payload, not even through a neighbour
		}
		p.settle(f, Returned, policyNotNamed)
	}
	p.rememberLocked(m.id, was)
	p.sweepLocked()
	for _, r := range m.receipts {
		if delay == 0 {
			r.Nack()
		} else {
			r.HandBack(delay)
		}
	}
	m.receipts = nil
}

// rememberLocked remembers a message that was handed back, and no more decisions in all of them than the history holds.
func (p *Pipeline) rememberLocked(id identity, was handedBack) {
	p.returned.Remove(id)
	p.returned.Add(id, was)
	p.remembered += len(was.decided)
	for p.remembered > p.cfg.History && p.returned.Len() > 1 {
		p.returned.RemoveOldest()
	}
}

// withdrawLocked takes an undecided fragment out of its trace.
func (p *Pipeline) withdrawLocked(f *fragment) {
	t := p.traces[f.trace]
	if t == nil {
		return
	}
	for i, g := range t.fragments {
		if g == f {
			last := len(t.fragments) - 1
			t.fragments[i] = t.fragments[last]
			t.fragments[last] = nil
			t.fragments = t.fragments[:last]
			break
		}
	}
	if f.count.Spans > 0 {
		t.spans--
		if t.spans == 0 {
			p.ledger.book(Returned, policyNotNamed, Count{Traces: 1})
		}
	}
	if len(t.fragments) == 0 {
		delete(p.traces, f.trace)
	}
}

// heard waits, when the hold is full, until somebody hears what is said of it or it is full no longer, and Handle blocks
// meanwhile. Who decides next knows of what was handed back before only if its holder lives to say so, and it is away for
// half a minute; what is held comes again within a lease, whoever dies. It reports whether anything may be handed back: not
// when ctx is done, or everything is about to be given back.
func (p *Pipeline) heard(ctx context.Context) bool {
	for {
		p.mu.Lock()
		full, ending := p.fullLocked(), p.ending > 0
		p.mu.Unlock()
		if !full || p.cfg.Heard() {
			return true
		}
		if ending || ctx.Err() != nil {
			return false
		}
		select {
		case <-time.After(unheardStep):
		case <-ctx.Done():
		}
	}
}

// unheardStep is how often a full hold asks whether somebody hears.
const unheardStep = 100 * time.Millisecond

// fullLocked reports whether the hold is above 80 % of its budget.
func (p *Pipeline) fullLocked() bool { return p.bytes > p.cfg.MaxBytes/10*8 }

// relieve hands the newest messages back to the queue while the hold is above 80 % of its budget, and keeps the oldest:
// they are the ones whose traces will be decided first, which frees memory; a single message is kept however large it is. What waits for an export may go back as well:
// with the backend away that is all there is, and its decision is remembered. Messages with a fragment in a running export
// stay, since that would have to be repeated; exports are bounded.
func (p *Pipeline) relieve() {
	p.mu.Lock()
	defer p.mu.Unlock()
	var kept []*message
	for p.fullLocked() && p.newest.Len() > 0 {
		m := heap.Pop(&p.newest).(*message)
		switch {
		case m.gone:
		case m.inExport(), len(p.messages) == 1 && len(m.receipts) == 1:
			kept = append(kept, m)
		default:
			delay := p.handBack(m.attempt)
			if at := time.Now().Add(delay); at.After(p.back) {
				p.back = at
			}
			p.giveBackLocked(m, delay)
		}
	}
	for _, m := range kept {
		heap.Push(&p.newest, m)
	}
}

// Back is when the last message returns that was handed back under pressure; zero when none was.
func (p *Pipeline) Back() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.back
}

// maxHandBack is the longest ack deadline that Pub/Sub takes.
const maxHandBack = 10 * time.Minute

// handBack is the delay after which a message returns that was delivered so often. It doubles every 8 deliveries: Pub/Sub
// counts them, and with the 100 attempts of the dead-letter policy a healthy message would become a dead letter after an
// outage of 50 minutes at 30 s each; so it takes 12 hours.
func (p *Pipeline) handBack(attempt int) time.Duration {
	return min(p.cfg.HandBack<<min(attempt/8, 8), max(p.cfg.HandBack, maxHandBack))
}

func (m *message) inExport() bool {
	for _, f := range m.parts {
		if f.state == sending {
			return true
		}
	}
	return false
}

// Quiesce waits until no delivery is being read and nothing that was decided waits for its export, or ctx is done, and
// reports whether it got there. The undecided stay held.
func (p *Pipeline) Quiesce(ctx context.Context) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ending++
	defer func() { p.ending-- }()
	return p.waitLocked(ctx, func() bool { return p.busy+p.burying+p.waitingLocked()+p.sending == 0 })
}

func (p *Pipeline) waitLocked(ctx context.Context, done func() bool) bool {
	defer context.AfterFunc(ctx, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.idle.Broadcast()
	})()
	for !done() {
		if ctx.Err() != nil {
			return false
		}
		p.idle.Wait()
	}
	return true
}

// Surrender nacks everything that is held, whatever becomes of it, while Run goes on, and returns how many messages that
// were. It waits until the facts of what is being read were sent, or ctx is done; what is read even then is nacked. Exports
// that run are cut off and their outcome is ignored: they would keep the payloads in memory for as long as the backend is
// away, beside all that is held by then. The caller has stopped deliveries; it may start them again afterwards.
func (p *Pipeline) Surrender(ctx context.Context) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ending++
	defer func() { p.ending-- }()
	p.waitLocked(ctx, func() bool { return p.busy == 0 })
	p.endSession()
	p.session, p.endSession = context.WithCancel(context.Background())
	return p.releaseLocked()
}

// Release nacks everything that is still held, so that another worker has it at once, and returns how many messages that
// were. Run must have returned, and nothing may be delivered any more.
func (p *Pipeline) Release() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.releaseLocked()
}

func (p *Pipeline) releaseLocked() int {
	n := len(p.messages)
	for _, m := range p.messages {
		p.giveBackLocked(m, 0) // the last one clears the outboxes, too
	}
	for {
		select {
		case d := <-p.in: // delivered, but not read in time
			d.Receipt.Nack()
			p.busy--
			n++
		default:
			return n
		}
	}
}

// State is the pipeline as shown to people and metrics.
type State struct {
	Totals
	Messages        int   // held, un-acked
	Bytes, MaxBytes int64 // memory charged for them, and the budget
	Exporting       int   // traces decided to be kept, waiting for their confirmation
	Decided         int   // decisions remembered
	Refused         int64 // items that a backend refused by partial success, without naming them
	Panics          int64 // payloads that made the reader panic
	Undecodable     int64 // payloads dead-lettered because they could not be read; what was in them is not in the totals
	Unnamed         int64 // spans and log records received whose resource has no service.name; see otlp.Payload.Unnamed
	// Failing is how often conditions of a policy, by its name, could not be evaluated on a span.
	Failing map[string]int64
}

// State returns a consistent snapshot: its totals add up.
func (p *Pipeline) State() State {
	p.mu.Lock()
	defer p.mu.Unlock()
	return State{
		Totals: p.ledger.snapshot(), Messages: len(p.messages), Bytes: p.bytes, MaxBytes: p.cfg.MaxBytes,
		Exporting: p.waitingLocked() + p.sending, Decided: p.history.Len(), Refused: p.refused, Panics: p.panics, Undecodable: p.buried,
		Unnamed: p.unnamed,
		Failing: p.failing.counts(),
	}
}
