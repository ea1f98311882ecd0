package member

import (
	"context"
	"math"
	"slices"
	"time"

	"tailweir/buffer"
	"tailweir/fleet"
	"tailweir/fleet/order"
	"tailweir/otlp"
	"tailweir/sampler"
)

// reading is how this member stands with the log.
type reading struct {
	end      context.CancelFunc // of the subscription that is read
	renewed  time.Time          // when a fence that lasted last ended it
	broken   bool               // an anomaly was seen: it is read again
	newest   time.Time          // greatest publish time read
	entries  bool               // an entry was read: there is a leader, or was one
	behind   uint64             // own probes up to this were sent before it began
	caught   bool               // a later one was read: what is said from now on is of the present
	anchored bool
	listed   bool // among the members
	e        buffer.Stamp
	away     away
	led      order.Worker // who said the last entry
	decided  time.Time    // publish time of the last entry that decided something, or of the first of all
	term     order.Term
	open     bool
	heard    time.Time // when an entry that counts was last read
}

// read follows the log until ctx is done, from Replay back. After an anomaly it is read again from there, since what it says
// of the time before is worth having; if it is broken there, too, from behind that place.
func (m *Member) read(ctx context.Context) error {
	for from, twice := time.Now().Add(-m.cfg.Replay), false; ctx.Err() == nil; {
		err := m.readOnce(ctx, from)
		if ctx.Err() != nil {
			return nil
		}
		m.mu.Lock()
		broken, newest := m.reading.broken, m.reading.newest
		if m.reading.anchored {
			from = newest.Add(-m.overlap())
		} else {
			from = time.Now().Add(-m.cfg.Replay)
		}
		m.mu.Unlock()
		if broken && twice {
			from = newest.Add(time.Millisecond)
		}
		twice = broken && err == nil
		if err != nil {
			m.cfg.Logger.Warn("reading the fleet's log, which is begun again", "error", err)
			pause(ctx, again)
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

func (m *Member) readOnce(ctx context.Context, from time.Time) error {
	r, err := m.cfg.Log.Subscribe(ctx, from)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if err := r.Close(ctx); err != nil {
			m.cfg.Logger.Info("ending the subscription on the fleet's log; it expires by itself", "error", err)
		}
	}()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if late := r.Start().Sub(from); late > 10*time.Second {
		m.cfg.Logger.Warn("the fleet's log does not go back as far as it should, so decisions of that time are not known here: does its topic retain messages?",
			"missing", late.Round(time.Second).String())
	}
	m.taking.Lock() // the reading before may still execute its last message
	m.mu.Lock()
	m.beginReading(r.Start(), cancel)
	m.mu.Unlock()
	m.taking.Unlock()
	return r.Run(ctx, m.take)
}

// overlap is how far before what was read last a subscription that follows another begins: copies of what was read change
// nothing.
func (m *Member) overlap() time.Duration { return 5 * m.cfg.Order.Delta }

// beginReading goes on with what is known where the subscription reaches back to what was read, or else begins anew.
func (m *Member) beginReading(start time.Time, end context.CancelFunc) {
	m.reading.end = end
	if m.reading.anchored && start.Before(m.reading.newest.Add(-2*m.cfg.Order.Delta)) {
		return
	}
	if m.replica == nil {
		m.replica = order.New(m.cfg.Order, start.UnixMilli())
	} else {
		m.replica.Reset(start.UnixMilli())
	}
	m.candidate = order.NewCandidate(m.replica, time.Now(), m.jitter())
	m.reading = reading{end: end, renewed: m.reading.renewed, behind: m.life.nonce}
	m.life.probed = time.Time{}
}

// jitter keeps workers from claiming all at once.
func (m *Member) jitter() time.Duration {
	return time.Duration(m.cfg.Rand.Int64N(int64(2 * time.Second)))
}

// take reads one message of the log, and executes what follows.
func (m *Member) take(data []byte, publish time.Time) {
	m.taking.Lock()
	defer m.taking.Unlock()
	msg, err := order.Parse(data)
	m.mu.Lock()
	if err != nil {
		m.complain("a message in the fleet's log cannot be read: is the topic used by something else?", err)
		m.mu.Unlock()
		return
	}
	m.stats.LogRead++
	m.stats.LogBytes += int64(len(data))
	now := time.Now()
	if publish.After(m.reading.newest) {
		m.reading.newest = publish
	}
	switch msg := msg.(type) {
	case order.Probe:
		if msg.Worker == m.name {
			m.life.proof = now
			m.reading.caught = m.reading.caught || msg.Nonce > m.reading.behind
		}
	case order.Entry:
		m.reading.entries = true
	}
	effects := m.replica.Read(msg, publish.UnixMilli(), order.Sum(data))
	m.candidate.Observe(now, msg, effects)
	m.mu.Unlock()
	for _, e := range effects {
		m.follow(e)
	}
	if len(effects) > 0 {
		m.wakeLoop()
	}
}

func (m *Member) follow(e order.Effect) {
	switch e := e.(type) {
	case order.NewLeader:
		m.mu.Lock()
		if m.reading.led == m.name && e.Term.Worker != m.name {
			m.reading.listed = false // rule 6: nobody waits for the facts of the leader before
		}
		m.reading.term, m.reading.open = e.Term, false
		m.sender.restart(e.Term.ID, m.policy)
		m.mu.Unlock()
	case order.Accepted:
		m.accept(e)
	case order.Anchored:
		m.mu.Lock()
		m.reading.anchored = true
		m.mu.Unlock()
	case order.Anomaly:
		m.cfg.Logger.Error("the fleet's log was not what Pub/Sub promises: everything is given back and the log read again",
			"anomaly", e.Kind.String(), "term", e.ID.String(), "seq", e.Seq)
		m.mu.Lock()
		m.reading.broken, m.reading.anchored, m.reading.listed = true, false, false
		m.reading.end()
		m.mu.Unlock()
	}
}

// accept executes an entry. Its decisions are of the policy before the change that it may bring.
func (m *Member) accept(a order.Accepted) {
	e := &a.Entry
	m.mu.Lock()
	names := m.policy.names
	m.mu.Unlock()
	decisions := decode(e.Body.Decide, names)
	if len(decisions) > 0 {
		m.holder.Apply(decisions)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stats.Decisions += int64(len(decisions))
	r := &m.reading
	r.heard = time.Now()
	m.life.proof = r.heard
	if r.caught && len(decisions) > 0 {
		m.stats.Read.Add(r.heard.Sub(time.UnixMilli(a.Publish)), int64(len(decisions)))
	}
	r.e = max(r.e, buffer.Stamp(e.E))
	r.away.learn(time.Duration(min(e.Body.Away, math.MaxInt32))*time.Millisecond, time.UnixMilli(a.Publish))
	r.led = e.Worker
	if len(decisions) > 0 || r.decided.IsZero() {
		r.decided = time.UnixMilli(a.Publish)
	}
	r.open = true
	if e.Body.Limiters != nil {
		m.limiters = e.Body.Limiters
	}
	if e.Body.Policy != nil {
		m.change(e.Body.Policy)
	}
	if e.Body.Members != nil {
		m.list(e.Body.Members)
	}
	m.sender.learn(r.e)
	if m.lead != nil && m.lead.term.ID == e.ID {
		m.accepted(e, decisions)
	}
}

// list takes note of the members. Whoever is missing there, or is there with a stream that is over, says everything again
// once its last try is old enough for an answer.
func (m *Member) list(members []order.Member) {
	i := slices.IndexFunc(members, func(x order.Member) bool { return x.Worker == m.name })
	m.reading.listed = i >= 0
	m.sender.among(len(members))
	stream, begun := m.sender.stream()
	if i >= 0 && members[i].Stream >= stream || time.Since(begun) < rejoinAfter {
		return
	}
	m.sender.restart(m.reading.term.ID, m.policy)
}

// rejoinAfter is how long a stream may take to be listed: a batch of facts, an entry, and the way of both.
const rejoinAfter = 5 * time.Second

// change makes a policy the active one.
func (m *Member) change(c *order.PolicyChange) {
	p := &m.policy
	same := p.hash == uint64(c.Hash) && p.set != nil
	if same && p.epoch == c.Epoch {
		return
	}
	if p.epoch = c.Epoch; !same {
		set, source := m.compile(c)
		*p = newPolicy(c.Epoch, uint64(c.Hash), set, source)
		m.limiters = nil
	}
	if p.set != nil {
		m.holder.Use(p.set)
	}
	m.sender.restart(m.reading.term.ID, *p)
}

// compile returns the set of a policy change: that of this worker's configuration when it is the same.
func (m *Member) compile(c *order.PolicyChange) (*sampler.Policies, []byte) {
	if own := m.cfg.Policies; own.Hash() == uint64(c.Hash) {
		return own, own.Source()
	}
	set, err := sampler.Parse("the fleet's log", c.Config)
	switch {
	case err != nil:
		m.cfg.Logger.Error("the fleet's active policy cannot be compiled here, so this worker holds nothing: is it an older version than the others?", "error", err)
	case set.Hash() != uint64(c.Hash):
		m.cfg.Logger.Error("the fleet's active policy means something else here, so this worker holds nothing: is it another version than the others?")
	default:
		return set, c.Config
	}
	return nil, c.Config
}

// decode turns the log's decisions into the fleet's. Without the policy's names, as a joiner may be at first, policies are
// numbered.
func decode(all []order.Decision, names []string) []fleet.Decision {
	out := make([]fleet.Decision, len(all))
	for i, d := range all {
		out[i] = fleet.Decision{
			Trace: otlp.TraceID(d.Trace), Reason: buffer.Reason(d.Reason),
			Decision: sampler.Decision{Keep: d.Keep, First: d.First, Policy: policyName(int(d.Policy), names), Threshold: d.Threshold},
		}
	}
	return out
}

func policyName(number int, names []string) string {
	switch {
	case number == 0:
		return ""
	case number <= len(names):
		return names[number-1]
	}
	return unnamed
}

// unnamed stands for a policy whose name this worker does not know.
const unnamed = "(unknown policy)"

func encode(all []fleet.Decision, names []string) []order.Decision {
	if len(all) == 0 {
		return nil
	}
	numbers := make(map[string]uint16, len(names))
	for i, n := range names {
		numbers[n] = uint16(i + 1)
	}
	out := make([]order.Decision, len(all))
	for i := range all {
		d := &all[i]
		out[i] = order.Decision{Trace: d.Trace, Keep: d.Keep, Reason: uint8(d.Reason), Policy: numbers[d.Policy]}
		if d.Keep {
			out[i].First, out[i].Threshold = d.First, d.Threshold
		}
	}
	return out
}
