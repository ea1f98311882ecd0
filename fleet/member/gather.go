package member

import (
	"context"
	"errors"
	"time"

	"tailweir/buffer"
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
	case errors.Is(err, facts.ErrNewer):
		return Later
	case err != nil:
		m.cfg.Logger.Error("a batch of facts cannot be read: is the topic used by something else?", "error", err)
		return Ack
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.lead != l || l.order.Check(time.Now()) != nil {
		return Later
	}
	switch l.inbox.Take(b) {
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
	s := l.seats[b.Worker]
	if s == nil {
		if len(l.seats) == 0 { // nobody held anything: all that was held is on its way again
			l.wait(now.Add(m.cfg.Delay), now.Add(longestHold*m.cfg.Delay))
		}
		s = &seat{heard: now}
		l.seats[b.Worker] = s
		l.moved, l.joined = true, true
	}
	if at := l.inbox.Progress(b.Worker).Place(); at != s.at {
		s.at, s.heard = at, now
	}
	if b.Newest > l.e {
		l.e, l.heard = b.Newest, now
	}
	// What was handed back before this stream began was said to another leader, or under another policy, if at all.
	if l.away.learn(b.Back, buffer.StampOf(publish)); b.Seq == 0 && b.Back > 0 {
		l.waitFor(b.Back, m.cfg)
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

// foreign settles a batch for another term. One that was published before this term's claim, or names an older claim, is
// for a leader that is gone; one for a later term will be wanted.
func (m *Member) foreign(b *facts.Batch, publish time.Time) Settle {
	if b.Fleet != m.fleet {
		m.cfg.Logger.Error("a batch of facts of another fleet: give each fleet its own facts topic")
		return Ack
	}
	own := m.lead.term.Claim
	claim, read := m.replica.ClaimTime(order.ID(b.Claim))
	if publish.UnixMilli() < own || read && claim < own {
		return Ack
	}
	return Later
}
