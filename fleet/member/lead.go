package member

import (
	"cmp"
	"context"
	"slices"
	"time"

	"tailweir/buffer"
	"tailweir/fleet"
	"tailweir/fleet/facts"
	"tailweir/fleet/order"
)

// lead is a term of this member's, from its Open on. Member.mu guards it.
type lead struct {
	order  *order.Leader
	term   order.Term
	ctx    context.Context // ends with the term
	end    context.CancelFunc
	opened bool      // its Open is accepted: facts are pulled
	since  time.Time // of that
	inbox  *facts.Inbox
	seq    *fleet.Sequencer
	seats  map[[16]byte]*seat
	begin  time.Time // no decision before
	latest time.Time // begin is not put off beyond
	e      buffer.Stamp
	heard  time.Time // when e last went on
	taken  time.Time // when a batch was last taken in
	away   away

	data    []byte // of the entry that is out
	number  uint64 // of the entry that is out; 0: none is
	last    time.Time
	listed  time.Time // when members were last said
	moved   bool      // members have changed since
	said    time.Time // when the policy was last said
	joined  bool      // somebody joined since
	change  uint64    // epoch of a policy change that is out: nothing is decided until it is accepted; 0: none is
	ticking bool
	swept   time.Time
}

// seat is a member as its sequencer sees it.
type seat struct {
	at    [2]uint64 // its Place
	heard time.Time // when its stream last went on without a gap
}

const (
	decideEvery = 200 * time.Millisecond // every worker wakes up for each entry, and exports what it says; see pace
	perEntry    = 10_000                 // decisions: 300 kB at most
	mostWaiting = 20 * perEntry          // decisions to be said: the log is slower than the facts, which stay on their topic
	listEvery   = 2 * time.Second        // members are said, changed or not
	policyEvery = time.Minute            // the policy is said, for joiners; far below the log's retention
	sweepEvery  = 5 * time.Minute        // the subscriptions of workers that are gone are looked for
	policyWait  = 90 * time.Second       // who does not know the policy claims after so long: nobody else does either
)

// runForLead is rule 9.
func (m *Member) runForLead(ctx context.Context, now time.Time) {
	if m.candidate == nil || m.reading.broken {
		return
	}
	switch m.candidate.Next(now).Do {
	case order.DoClaim:
		if m.leaving || m.life.fenced || now.Before(m.rest) || !m.knowsPolicy(now) {
			return
		}
		var id order.ID
		for i := range id {
			id[i] = byte(m.cfg.Rand.Uint32())
		}
		m.stats.Claims++
		m.candidate.Claimed(now, id, m.jitter())
		m.publish(ctx, order.Append(nil, order.Claim{ID: id, Worker: m.name}), func(time.Time, error) {})
	case order.DoOpen:
		m.open(ctx, now)
	case order.DoGiveUp:
		if m.lead != nil && !m.lead.opened {
			m.endLead()
		}
	}
}

// knowsPolicy reports whether this member may lead: who lacks the active policy may not. In an empty log there is none, and
// its own becomes the active one. When nobody has said one for longer than leaders take to say it again, nobody knows it, or
// nobody is left who can compile it.
func (m *Member) knowsPolicy(now time.Time) bool {
	p := &m.policy
	if p.set != nil || !m.reading.entries {
		return true
	}
	if p.lacked.IsZero() {
		p.lacked = now
	}
	return now.Sub(p.lacked) > policyWait
}

// open begins a term: its Open says the policy.
func (m *Member) open(ctx context.Context, now time.Time) {
	id, _ := m.candidate.Claim()
	o, err := order.Lead(m.replica, id)
	if err != nil {
		return // lost at this very moment; the candidate will say so
	}
	if m.policy.set == nil {
		own := m.cfg.Policies
		m.policy = newPolicy(m.policy.epoch+1, own.Hash(), own, own.Source())
		m.holder.Use(own)
	}
	m.endLead()
	l := &lead{order: o, term: o.Term(), seats: map[[16]byte]*seat{}, said: now}
	l.ctx, l.end = context.WithCancel(ctx)
	l.inbox = facts.NewInbox(m.fleet, id, uint32(m.policy.epoch))
	m.newSequencer(l)
	m.lead = l
	m.begin(now, order.Body{Policy: m.policy.entry()})
}

func (m *Member) newSequencer(l *lead) {
	l.seq = fleet.NewSequencer(fleet.SequencerConfig{
		Policies: m.policy.set, Window: m.cfg.Window, Decided: m.holder.Decided, ClearUnseenParent: m.cfg.ClearUnseenParent,
	})
	if m.limiters == nil {
		return
	}
	if err := l.seq.Restore(m.limiters); err != nil {
		m.cfg.Logger.Error("the state of the policies' limiters cannot be taken over: they begin full", "error", err)
	}
}

func (p *policy) entry() *order.PolicyChange {
	return &order.PolicyChange{Epoch: p.epoch, Hash: order.Hash(p.hash), Config: p.source}
}

func (m *Member) endLead() {
	if m.lead != nil {
		m.lead.end()
		m.lead = nil
	}
}

// leadOn publishes what is to be said. m.mu is held.
func (m *Member) leadOn(ctx context.Context, now time.Time) {
	l := m.lead
	if l == nil {
		return
	}
	if err := l.order.Check(now); err != nil {
		m.stepDown(err)
		return
	}
	if l.number > 0 {
		if resend, err := l.order.Resend(now); err != nil {
			m.stepDown(err)
		} else if resend {
			m.say(l)
		}
		return
	}
	if !l.opened {
		return
	}
	m.muster(now)
	if m.deaf(now); m.leaving || now.Before(m.rest) {
		m.begin(now, order.Body{Resign: true})
		return
	}
	m.tick(ctx, now)
	m.sweep(ctx, now)
	if body, due := m.body(now); due {
		m.begin(now, body)
	}
}

// pace is how far apart decisions are said. From four to eight workers the wake-ups of all of them together stay the same;
// beyond they grow with the fleet, or decisions would be late: 0.4 s is little beside the seconds that a trace waits for its parts.
func (l *lead) pace() time.Duration {
	return min(max(decideEvery, time.Duration(len(l.seats))*decideEvery/4), 2*decideEvery)
}

// body is the next entry's, and whether it is due.
func (m *Member) body(now time.Time) (b order.Body, due bool) {
	l := m.lead
	if p := m.nextPolicy(); p != nil {
		return order.Body{Policy: p}, true
	}
	if l.change == 0 && now.Sub(l.last) >= l.pace() {
		if mark, known := l.watermark(m.cfg.Slack); known && m.waited(now) && l.hears(now) && l.seq.Waiting() < perEntry {
			l.seq.Advance(mark)
		}
		l.seq.Expire(now)
		l.seq.SayAgain(now)
		b.Decide = encode(l.seq.Take(perEntry), m.policy.names)
		b.Limiters = l.seq.Limiters()
	}
	if left := l.away.until.Sub(now).Milliseconds(); left > 0 {
		b.Away = uint64(left)
	}
	if l.moved || now.Sub(l.listed) >= listEvery {
		b.Members = l.members()
	}
	if l.joined || now.Sub(l.said) >= policyEvery {
		b.Policy = m.policy.entry()
	}
	return b, len(b.Decide) > 0 || l.moved || l.joined || now.Sub(l.last) >= beat
}

// nextPolicy is the change that everybody is ready for: all members were configured with it, and this one, too.
func (m *Member) nextPolicy() *order.PolicyChange {
	l, own := m.lead, m.cfg.Policies
	if own.Hash() == m.policy.hash || l.change > 0 || len(l.seats) == 0 {
		return nil
	}
	for w := range l.seats {
		if p := l.inbox.Progress(w); p.Next == 0 || p.Policy != own.Hash() {
			return nil
		}
	}
	return &order.PolicyChange{Epoch: m.policy.epoch + 1, Hash: order.Hash(own.Hash()), Config: own.Source()}
}

// begin publishes the next entry, if the rules allow it now.
func (m *Member) begin(now time.Time, b order.Body) {
	l := m.lead
	e, err := l.order.Begin(now, b)
	if err != nil {
		m.stepDown(err) // ErrNotYet as well, which is ruled out by opened and number: what the body says would be lost
		return
	}
	e.E = int64(l.e)
	l.data, l.number, l.last = order.Append(nil, e), e.Seq, now
	if b.Members != nil {
		l.listed, l.moved = now, false
	}
	if b.Policy != nil {
		l.said, l.joined = now, false
		if b.Policy.Epoch > m.policy.epoch {
			l.change = b.Policy.Epoch
		}
	}
	m.say(l)
}

// say publishes the entry that is out: each time the same bytes.
func (m *Member) say(l *lead) {
	number := l.number
	m.publish(l.ctx, l.data, func(now time.Time, err error) {
		if err != nil || m.lead != l || l.number != number {
			return
		}
		l.number, l.data = 0, nil
		m.stats.EntriesSent++
		if err := l.order.Replied(now); err != nil {
			m.stepDown(err)
		}
	})
}

// stepDown ends the term for good: what was gathered goes, holders say it again to the next.
func (m *Member) stepDown(why error) {
	if why != order.HasResigned {
		m.stats.SteppedDown++
		m.cfg.Logger.Warn("this worker leads no longer", "reason", why)
	}
	m.endLead()
}

// accepted takes note of an own entry that counts.
func (m *Member) accepted(e *order.Entry, decisions []fleet.Decision) {
	l := m.lead
	now := time.Now()
	l.seq.Confirm(decisions, now)
	if e.Body.Open {
		m.opened(now)
	}
	if l.change > 0 && e.Body.Policy != nil && e.Body.Policy.Epoch == l.change {
		l.change = 0
		// What somebody gave back who left just before is said by nobody at this moment: the window begins empty.
		l.wait(now.Add(m.cfg.Delay), now.Add(longestHold*m.cfg.Delay))
		l.inbox.Advance(uint32(m.policy.epoch))
		m.newSequencer(l)
		for _, s := range l.seats {
			*s = seat{heard: now}
		}
	}
}

// opened begins to gather. Those who were members before are waited for: they have facts to say again. Without any, whoever
// held payloads is gone, and they come again when their leases have ended.
func (m *Member) opened(now time.Time) {
	l := m.lead
	l.opened, l.since, l.heard, l.taken = true, now, now, now
	m.stats.Terms++
	status, _ := m.replica.Status()
	for _, x := range status.Members {
		l.seats[factsName(x.Worker)] = &seat{heard: now}
	}
	l.begin, l.latest = now.Add(m.cfg.Slack), now.Add(longestHold*m.cfg.Delay)
	if len(l.seats) == 0 {
		l.begin = now.Add(m.cfg.Delay)
	}
	l.seats[factsName(m.name)] = &seat{heard: now} // who led before has left the members, and may be this one
	l.away = m.reading.away
	l.waitFor(l.away.until, now, m.cfg)
	l.waitFor(l.away.lastWords(time.UnixMilli(l.term.Claim), m.cfg.Order.Death), now, m.cfg) // of the leader before
	m.cfg.Logger.Info("this worker leads the fleet", "term", l.term.ID.String(), "members", len(l.seats))
	select {
	case <-m.duty: // of a term that ended before anybody looked
	default:
	}
	m.duty <- l
}

func (l *lead) members() []order.Member {
	all := make([]order.Member, 0, len(l.seats))
	for w := range l.seats {
		all = append(all, order.Member{Worker: orderName(w), Stream: l.inbox.Progress(w).Stream})
	}
	slices.SortFunc(all, func(a, b order.Member) int { return cmp.Compare(a.Worker, b.Worker) })
	return all
}

// tick makes event time go on in silence.
func (m *Member) tick(ctx context.Context, now time.Time) {
	l := m.lead
	if m.cfg.Tick == nil || l.ticking || l.seq.Len() == 0 || now.Sub(l.heard) < again {
		return
	}
	l.ticking = true
	m.background.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, 5*again)
		defer cancel()
		_ = m.cfg.Tick(ctx) // whose it is to log
		pause(ctx, again)
		m.mu.Lock()
		defer m.mu.Unlock()
		l.ticking = false
	})
}

// sweep has the subscriptions of workers that are gone deleted.
func (m *Member) sweep(ctx context.Context, now time.Time) {
	l := m.lead
	if l.swept.IsZero() {
		l.swept = now
	}
	if m.cfg.Sweep == nil || now.Sub(l.swept) < sweepEvery {
		return
	}
	l.swept = now
	alive := map[string]bool{m.Name(): true}
	for w := range l.seats {
		alive[nameOf(orderName(w))] = true
	}
	m.background.Go(func() {
		if err := m.cfg.Sweep(l.ctx, func(name string) bool { return alive[name] }); err != nil && l.ctx.Err() == nil {
			m.cfg.Logger.Warn("deleting the log subscriptions of workers that are gone; they expire by themselves", "error", err)
		}
	})
}

// deaf makes a leader resign, and leave the lead to others for a while, that hears nobody, not even itself: all would be held
// for as long as it leads.
func (m *Member) deaf(now time.Time) {
	if now.Sub(m.lead.taken) > 2*m.cfg.Order.Death {
		m.rest = now.Add(m.cfg.Order.Death)
	}
}
