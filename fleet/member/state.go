package member

import (
	"slices"
	"strings"
	"time"

	"tailweir/buffer"
	"tailweir/fleet"
	"tailweir/fleet/order"
)

// Phase is where a member stands.
type Phase string

// The phases in their usual order.
const (
	Joining  Phase = "joining"  // reads the log, does not know yet who leads
	Waiting  Phase = "waiting"  // knows, and is not yet listed among the members
	Holding  Phase = "holding"  // is listed: pulls payloads and executes the log
	Leading  Phase = "leading"  // holds, and is the sequencer
	Fenced   Phase = "fenced"   // has no proof of a live control plane: holds nothing
	Leaving  Phase = "leaving"  // says goodbye
	Breaking Phase = "breaking" // the log broke its assumptions: reads it again
)

// State is a member as shown to people and metrics.
type State struct {
	Name    string // of this worker, as others see it: 16 hexadecimal digits
	Phase   Phase
	Leader  string       // name of the worker that leads; "" when unknown
	Term    string       // id of the term, 32 hexadecimal digits
	Since   time.Time    // publish time of the term's claim
	Seq     uint64       // last entry accepted
	Epoch   uint64       // of the policy
	Policy  uint64       // hash of the active policy
	Wanted  uint64       // hash of the policy that this worker was configured with
	Members []string     // names of the workers listed
	Newest  buffer.Stamp // greatest publish time known of

	Anomalies order.Anomalies // by kind
	Read      fleet.Latency   // of decisions: from the entry's publish time to their execution here, without those of before it joined

	LogRead, LogBytes          int64 // messages read from the log, and bytes of them
	EntriesSent, FactsSent     int64 // entries and batches confirmed
	FactsBytes, FragmentsSent  int64 // of the batches sent
	PublishFailed              int64 // publishes on the log and the facts topic that failed
	Decisions                  int64 // read from the log
	Restarts                   int64 // streams of facts begun
	Fences                     int64
	FencedFor                  time.Duration // in all
	Claims, Terms, SteppedDown int64         // claims made, terms led, terms given up for a reason other than leaving

	Lead *Lead // while it leads
}

// Lead is what a sequencer shows.
type Lead struct {
	Traces, MaxTraces    int
	Bytes, MaxBytes      int64
	Lag                  time.Duration // how far the watermark is behind the newest publish time; negative: not known yet
	Watermark            buffer.Stamp  // 0: not known yet
	fleet.SequencerStats               // of this term
	Holders              []Seat
}

// Seat is one member as its sequencer sees it.
type Seat struct {
	Name   string
	Newest buffer.Stamp  // how far it has come; 0: not begun
	Lag    time.Duration // how far behind Newest it wants the watermark
	Silent time.Duration // since its last batch without a gap
}

// State returns the member's state now.
func (m *Member) State() State {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.stats
	r := &m.reading
	s.Name, s.Phase = m.Name(), m.phase()
	if r.term.Claim != 0 {
		s.Leader, s.Term, s.Since = nameOf(r.term.Worker), r.term.ID.String(), time.UnixMilli(r.term.Claim)
	}
	if m.replica != nil {
		status, _ := m.replica.Status()
		s.Seq, s.Anomalies = status.Seq, m.replica.Anomalies()
		for _, x := range status.Members {
			s.Members = append(s.Members, nameOf(x.Worker))
		}
	}
	s.Epoch, s.Policy, s.Wanted, s.Newest = m.policy.epoch, m.policy.hash, m.cfg.Policies.Hash(), r.e
	if m.life.fenced {
		s.FencedFor += time.Since(m.life.since)
	}
	m.sender.state(&s)
	s.Lead = m.leadState()
	return s
}

func (m *Member) phase() Phase {
	switch r := &m.reading; {
	case m.leaving:
		return Leaving
	case r.broken:
		return Breaking
	case m.life.fenced:
		return Fenced
	case !r.anchored:
		return Joining
	case !r.listed || m.policy.set == nil:
		return Waiting
	case m.lead != nil && m.lead.opened:
		return Leading
	}
	return Holding
}

func (s *sender) state(to *State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	to.Restarts, to.FactsSent, to.FactsBytes, to.FragmentsSent = s.restarts, s.batches, s.bytes, s.fragments
	to.PublishFailed += s.failed
	to.Newest = max(to.Newest, s.watermark.Newest())
}

func (m *Member) leadState() *Lead {
	l := m.lead
	if l == nil || !l.opened {
		return nil
	}
	out := &Lead{
		Traces: l.seq.Len(), MaxTraces: m.cfg.Window.MaxTraces, Bytes: l.seq.Bytes(), MaxBytes: m.cfg.Window.MaxBytes, Lag: -1,
		SequencerStats: l.seq.SequencerStats,
	}
	if mark, known := l.watermark(m.cfg.Slack); known {
		out.Watermark, out.Lag = mark, l.e.Sub(mark)
	}
	now := time.Now()
	for w, seat := range l.seats {
		p := l.inbox.Progress(w)
		out.Holders = append(out.Holders, Seat{Name: nameOf(orderName(w)), Newest: p.Newest, Lag: p.Lag, Silent: now.Sub(seat.heard)})
	}
	slices.SortFunc(out.Holders, func(a, b Seat) int { return strings.Compare(a.Name, b.Name) })
	return out
}
