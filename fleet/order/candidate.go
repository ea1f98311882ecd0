package order

import "time"

// The local waits of rules 9 and 10. They run on a worker's own clock between its own readings, so they may be off by what
// a clock is off; what counts is judged by publish times.
const (
	claimMargin  = 500 * time.Millisecond  // silence beyond D: clocks and publish times differ by 100 ms
	openMargin   = 400 * time.Millisecond  // an Open beyond its wait
	emptyWait    = 2500 * time.Millisecond // an empty log
	ageMargin    = time.Second             // beyond G, a claim without an accepted Open is given up: 7 s
	voidWait     = 2 * time.Second         // from a void claim to the next
	resendAfter  = 1400 * time.Millisecond // no reply: the same bytes again
	stepDownWait = 4 * time.Second         // the longest that anything of a leader may take
)

// Do is what a Candidate wants done.
type Do uint8

const (
	DoWait   Do = iota // nothing before Action.At, unless something is read
	DoClaim            // publish a Claim, and say so with Claimed
	DoOpen             // publish the Open of the claim: make a Leader
	DoGiveUp           // the claim is void: stop what was begun for it
)

// Action is what is to be done, and when to ask again.
type Action struct {
	Do Do
	At time.Time // of DoWait
}

// Candidate is rule 9: when a worker asks for the lead. It has no clock: the times handed in are the worker's own, monotonic,
// and none may be before the last. Its worker must know the active policy, or it must not do what DoClaim says. Use
// NewCandidate. It is not safe for concurrent use.
type Candidate struct {
	replica *Replica
	wait    time.Duration // D or open, and what is added to it
	jitter  time.Duration
	heard   time.Time // when the log last said something that shows a leader
	silent  bool      // nothing was read since the start
	free    time.Time // no claim before

	id       ID // of the own claim, while there is one
	claiming bool
	claimed  time.Time
	read     time.Time // when it was read back; zero before
	opened   bool
}

// NewCandidate returns the candidate of the worker that reads r, begun at now. jitter, random in 0 to 2 s, keeps workers
// from claiming all at once.
func NewCandidate(r *Replica, now time.Time, jitter time.Duration) *Candidate {
	return &Candidate{replica: r, heard: now, silent: true, wait: r.silence(), jitter: jitter}
}

func ms(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

func (l limits) silence() time.Duration { return ms(l.death) + claimMargin }

// Observe tells the candidate what was read and what followed from it.
func (c *Candidate) Observe(now time.Time, m Message, effects []Effect) {
	switch m := m.(type) {
	case Claim:
		c.heardUnanchored(now)
		if c.claiming && m.ID == c.id && c.read.IsZero() {
			c.read = now
		}
	case Entry:
		c.heardUnanchored(now)
	}
	for _, e := range effects {
		switch e := e.(type) {
		case NewLeader:
			c.hear(now, c.replica.silence())
		case Accepted:
			c.accepted(now, e.Entry)
		case Anomaly:
			c.hear(now, c.replica.silence())
			c.claiming = false
		}
	}
}

// heardUnanchored counts whatever a joiner reads: it cannot tell what is accepted.
func (c *Candidate) heardUnanchored(now time.Time) {
	c.silent = false
	if !c.replica.anchored {
		c.hear(now, c.replica.silence())
	}
}

func (c *Candidate) hear(now time.Time, wait time.Duration) { c.heard, c.wait = now, wait }

func (c *Candidate) accepted(now time.Time, e Entry) {
	c.hear(now, c.replica.silence())
	if e.Body.Resign {
		c.wait = ms(c.replica.open)
	}
	if e.ID == c.id {
		c.claiming = false // it leads
	}
}

// Claimed says that a Claim with this id was sent at now, whether it was confirmed or not. jitter is for the next.
func (c *Candidate) Claimed(now time.Time, id ID, jitter time.Duration) {
	c.id, c.claiming, c.claimed, c.jitter = id, true, now, jitter
	c.read, c.opened = time.Time{}, false
}

// Claim is the id of the claim that was last made, and whether it is still under way.
func (c *Candidate) Claim() (id ID, underWay bool) { return c.id, c.claiming }

// Next says what to do at now. DoOpen and DoGiveUp are said once.
func (c *Candidate) Next(now time.Time) Action {
	if c.claiming {
		return c.nextOfClaim(now)
	}
	due := c.heard.Add(c.wait + c.jitter)
	if c.silent {
		due = c.heard.Add(emptyWait)
	}
	return c.at(now, later(due, c.free), DoClaim)
}

func (c *Candidate) nextOfClaim(now time.Time) Action {
	s := c.replica.standing(c.id)
	end := c.claimed.Add(ms(c.replica.gap) + ageMargin)
	switch {
	case s == lost || !now.Before(end):
		c.claiming, c.free = false, now.Add(voidWait)
		return Action{Do: DoGiveUp}
	case s == unread || c.opened:
		return Action{DoWait, end}
	}
	a := c.at(now, c.read.Add(ms(c.replica.open)+openMargin), DoOpen)
	c.opened = a.Do == DoOpen
	return a
}

func (c *Candidate) at(now, due time.Time, do Do) Action {
	if now.Before(due) {
		return Action{DoWait, due}
	}
	return Action{Do: do}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// standing is how a claim stands with a replica.
type standing uint8

const (
	unread standing = iota
	winning
	lost
)

// standing says how claim id stands: it wins as the current term's or, before the anchor, when it is unopposed.
func (r *Replica) standing(id ID) standing {
	wins := r.term.ID == id
	if !r.anchored {
		_, wins = r.unopposed(id)
	}
	_, read := r.claims.publish[id]
	switch {
	case wins && !r.broken:
		return winning
	case read || r.broken:
		return lost
	}
	return unread
}
