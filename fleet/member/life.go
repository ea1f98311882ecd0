package member

import (
	"context"
	"time"

	"tailweir/fleet/order"
)

// life is the proof that the control plane is alive, and the fence that goes up without it.
type life struct {
	proof     time.Time // when an accepted entry or an own probe was last read
	confirmed time.Time // when a publish was last confirmed
	probed    time.Time // when a probe was last sent
	nonce     uint64
	looked    time.Time // when this was last looked at
	fenced    bool
	since     time.Time // of the fence
}

func (l *life) begin(now time.Time) { l.proof, l.confirmed, l.looked = now, now, now }

// watchLife raises and lowers the fence, and tells the gate. m.mu is held.
func (m *Member) watchLife(ctx context.Context, now time.Time) {
	l := &m.life
	stood := now.Sub(l.looked)
	l.looked = now
	oldest := l.proof
	if l.confirmed.Before(oldest) {
		oldest = l.confirmed
	}
	silence := now.Sub(oldest)
	switch cut := silence > m.cfg.Fence || stood > m.cfg.Fence; {
	case cut && !l.fenced:
		m.raiseFence(now, silence, stood)
	case l.fenced && silence < m.cfg.Fence/2:
		m.lowerFence(now)
	}
	if l.fenced && now.Sub(l.since) > renewAfter && now.Sub(m.reading.renewed) > renewAfter && m.reading.end != nil {
		m.reading.renewed = now
		m.reading.end() // its subscription may be one of a topic that was made again: nothing comes, and no error
	}
	if probeAfter := m.cfg.Fence / 2; (silence > probeAfter || l.fenced || m.reading.end != nil && !m.reading.caught) && now.Sub(l.probed) >= again {
		m.probe(ctx, now)
	}
	m.tellGate(m.mayHold())
}

// renewAfter is how long a fence stands before the log is subscribed to anew.
const renewAfter = 30 * time.Second

// raiseFence gives up everything: others have it before this worker is taken for dead. A process that stood still has
// to prove anew that it is not cut off, since what it knows may be old.
func (m *Member) raiseFence(now time.Time, silence, stood time.Duration) {
	l := &m.life
	l.fenced, l.since = true, now
	if stood > m.cfg.Fence {
		l.proof = now.Add(-m.cfg.Fence)
	}
	m.stats.Fences++
	m.cfg.Logger.Warn("no proof that the control plane is alive: everything is given back until there is",
		"silence", silence.Round(time.Millisecond).String(), "stood_still", stood.Round(time.Millisecond).String())
	if !m.leaving {
		m.sender.leave()
	}
}

func (m *Member) lowerFence(now time.Time) {
	l := &m.life
	l.fenced = false
	m.stats.FencedFor += now.Sub(l.since)
	m.cfg.Logger.Info("the control plane is alive again", "fenced_for", now.Sub(l.since).Round(time.Millisecond).String())
	if !m.leaving {
		m.sender.join()
	}
}

// probe asks whether the log still comes back.
func (m *Member) probe(ctx context.Context, now time.Time) {
	m.life.probed = now
	m.life.nonce++
	m.publish(ctx, order.Append(nil, order.Probe{Worker: m.name, Nonce: m.life.nonce}), func(time.Time, error) {})
}

// confirm takes note of a publish that was confirmed.
func (m *Member) confirm(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.life.confirmed = now
}

// mayHold reports whether payloads may be held: what the log says of them will be read here, and be what others read.
func (m *Member) mayHold() bool {
	return m.reading.anchored && m.reading.listed && !m.life.fenced && m.policy.set != nil
}

func (m *Member) tellGate(hold bool) {
	if m.leaving {
		return // whoever made it leave sees to what is held
	}
	select {
	case <-m.gateTo:
	default:
	}
	m.gateTo <- hold // there is room: only the loop puts something there
}

// gate pulls while payloads may be held, and gives everything back when not.
func (m *Member) gate(ctx context.Context) error {
	for holding := false; ; {
		select {
		case may := <-m.gateTo:
			if may == holding {
				continue
			}
			if holding = may; may {
				m.holder.Resume()
			} else {
				m.holder.Fence()
			}
		case <-ctx.Done():
			return nil
		}
	}
}
