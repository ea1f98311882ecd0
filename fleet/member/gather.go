package member

import (
	"context"
	"errors"
	"time"

	"tailweir/fleet/facts"
	"tailweir/fleet/order"
)

// pull takes facts while this member leads.
func (m *Member) pull(ctx context.Context) error {
	for {
		select {
		case l := <-m.duty:
			m.pullFor(l)
		case <-ctx.Done():
			return nil
		}
	}
}

func (m *Member) pullFor(l *lead) {
	var b facts.Batch
	for l.ctx.Err() == nil {
		err := m.cfg.Facts.Pull(l.ctx, func(data []byte, publish time.Time) Settle { return m.gather(l, &b, data, publish) })
		if err == nil {
			continue
		}
		m.cfg.Logger.Warn("pulling facts: nothing is decided meanwhile", "error", err)
		pause(l.ctx, again)
	}
}

// gather takes in one batch. What is for this term is acked at once: should the term end, its facts are said again.
func (m *Member) gather(l *lead, b *facts.Batch, data []byte, publish time.Time) Settle {
	switch err := b.Parse(data); {
	case errors.Is(err, facts.ErrNewer) && time.Since(publish) < wantedFor:
		return Later
	case err != nil:
		m.mu.Lock()
		defer m.mu.Unlock()
		m.complain("a batch of facts cannot be read: is the topic used by something else?", err)
		return Ack
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.lead != l || l.order.Check(time.Now()) != nil || l.seq.Waiting() > mostWaiting {
		return Later
	}
	switch l.inbox.Take(b) {
	case facts.Stale:
		l.joined = l.joined || b.Epoch == 0 // a joiner that does not know the policy: it is said again
	case facts.Fresh:
		m.takeIn(l, b, publish, time.Now())
	case facts.Early:
		return Later
	case facts.Foreign:
		return m.foreign(b, publish)
	}
	return Ack
}

func (m *Member) takeIn(l *lead, b *facts.Batch, publish, now time.Time) {
	l.taken = now
	s := l.seats[b.Worker]
	if s == nil {
		if len(l.seats) == 0 { // nobody held anything: all that was held is on its way again
			l.wait(now.Add(m.cfg.Delay), now.Add(longestHold*m.cfg.Delay))
		}
		s = &seat{heard: now}
		l.seats[b.Worker] = s
		l.moved, l.joined = true, true
	}
	l.away.learn(b.Away, publish)
	if b.Stream != s.at[0] && b.Away > 0 { // what it handed back before this stream was said to another leader, under another policy, or to nobody
		l.waitFor(l.away.until, now, m.cfg)
	}
	if at := l.inbox.Progress(b.Worker).Place(); at != s.at {
		s.at, s.heard = at, now
	}
	if b.Newest > l.e {
		l.e, l.heard = b.Newest, now
	}
	for i := range b.Messages {
		f := &b.Messages[i]
		// What the members of the term before held, or one that fell silent, comes again, perhaps slowly: its traces wait.
		if next := now.Add(m.cfg.Slack); f.First && f.Again && now.Before(l.begin) && next.After(l.begin) && next.Before(l.latest) {
			l.begin = next
		}
		l.seq.Gather(f, now)
	}
}

// wantedFor is how long a batch that nobody here can place is kept: whom it is for has led long since, or all of it was said
// again.
const wantedFor = time.Minute

// foreign settles a batch for another term. Only a claim that was not read yet may still win: one that was read, or was made
// before this term's, is that of a leader that is gone or never was.
func (m *Member) foreign(b *facts.Batch, publish time.Time) Settle {
	if b.Fleet != m.fleet {
		m.complain("a batch of facts of another fleet: give each fleet its own facts topic", nil)
		return Ack
	}
	_, read := m.replica.ClaimTime(order.ID(b.Claim))
	if read || publish.UnixMilli() < m.lead.term.Claim || time.Since(publish) > wantedFor {
		return Ack
	}
	return Later
}
