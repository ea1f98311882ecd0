package order

import (
	"errors"
	"fmt"
	"time"
)

// StepDown is why a leader must step down.
type StepDown string

// Error says why.
func (s StepDown) Error() string { return "step down: " + string(s) }

// The reasons to step down. The last is the orderly one.
const (
	NoReply     StepDown = "no reply to a publish for 4 s"
	RepliesSlow StepDown = "two replies more than 4 s apart"
	NotAccepted StepDown = "an own entry was not accepted for 4 s"
	Replaced    StepDown = "another claim has won"
	HasResigned StepDown = "it has resigned"
)

// ErrNotYet says that a leader may publish later: a reply is out, or its Open is not accepted.
var ErrNotYet = errors.New("publish entry: not yet")

// Leader is rule 10, from the Open on: what the owner of a winning claim may publish, and when it must stop for good. Like
// Candidate it has no clock. Publish one entry at a time: Begin, publish, Replied; in between Resend when it says so, with
// the same bytes. Use Lead. It is not safe for concurrent use.
type Leader struct {
	replica *Replica
	term    Term
	seq     uint64    // last entry begun
	out     bool      // its reply is awaited
	sent    time.Time // when it was first sent
	resent  time.Time // when it was last sent
	replied time.Time // when the last reply came; zero before the first
	waiting []begun   // entries not yet accepted here, in order
	last    bool      // the last entry begun resigns
	down    error
}

type begun struct {
	seq uint64
	at  time.Time
}

// Lead returns the leader of claim id, which Candidate said may open; an error when r does not see it as winning.
func Lead(r *Replica, id ID) (*Leader, error) {
	if r.standing(id) != winning {
		return nil, fmt.Errorf("lead term %x: %w", id, Replaced)
	}
	t := r.term.Term
	if !r.anchored {
		t, _ = r.unopposed(id)
	}
	return &Leader{replica: r, term: t}, nil
}

// Term is the term that l leads.
func (l *Leader) Term() Term { return l.term }

// Begin returns the next entry with body b, to be published now. The Open is its own doing; E is left to the caller.
// ErrNotYet passes; a StepDown does not.
func (l *Leader) Begin(now time.Time, b Body) (Entry, error) {
	if err := l.Check(now); err != nil {
		return Entry{}, err
	}
	cert, chain := l.replica.certificate(l.term.ID)
	if l.out || l.seq > 0 && cert.Seq == 0 {
		return Entry{}, ErrNotYet
	}
	l.seq++
	b.Open, l.last = l.seq == 1, b.Resign
	l.out, l.sent, l.resent = true, now, now
	l.waiting = append(l.waiting, begun{l.seq, now})
	return Entry{
		ID: l.term.ID, Worker: l.term.Worker, ClaimPublish: l.term.Claim,
		Seq: l.seq, Cert: cert, ChainHash: chain, Body: b,
	}, nil
}

// Resend reports whether the entry that is out is to be published again, with the same bytes, because no reply came in
// 1.4 s. A call that says so counts as the sending.
func (l *Leader) Resend(now time.Time) (bool, error) {
	if err := l.Check(now); err != nil {
		return false, err
	}
	if !l.out || now.Sub(l.resent) < resendAfter {
		return false, nil
	}
	l.resent = now
	return true, nil
}

// Replied says that the entry that was out is confirmed. The error is Check's.
func (l *Leader) Replied(now time.Time) error {
	if err := l.Check(now); err != nil {
		return err
	}
	l.out, l.replied = false, now
	if l.last {
		l.down = HasResigned
	}
	return l.down
}

// Check returns why l must step down, a StepDown, or nil. It is called before each publish and after each reply, by the
// methods here, and by the owner when nothing else happens. After the first error it says the same for ever.
func (l *Leader) Check(now time.Time) error {
	if l.down == nil {
		l.down = l.check(now)
	}
	return l.down
}

func (l *Leader) check(now time.Time) error {
	s, known := l.replica.Status()
	accepted := uint64(0)
	if known && s.Term.ID == l.term.ID {
		accepted = s.Seq
	}
	for len(l.waiting) > 0 && l.waiting[0].seq <= accepted {
		l.waiting = l.waiting[1:]
	}
	switch {
	case l.replica.standing(l.term.ID) != winning:
		return Replaced
	case l.out && now.Sub(l.sent) > stepDownWait:
		return NoReply
	case !l.replied.IsZero() && now.Sub(l.replied) > stepDownWait:
		return RepliesSlow
	case len(l.waiting) > 0 && now.Sub(l.waiting[0].at) > stepDownWait:
		return NotAccepted
	}
	return nil
}
