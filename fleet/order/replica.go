package order

import (
	"slices"
)

// Replica is one worker's reading of the log. Use New. It is not safe for concurrent use.
//
// Memory: before the anchor the messages of the last 2·(D + G) of publish time; after it the copies that wait for an entry
// before them, at most G + δ of publish time and maxParked entries; the hashes of the last maxRecent entries and the ids of
// the last maxClaims claims. With the defaults and a key's 1 MB/s that is 36 MB while joining and 7 MB later, at worst.
type Replica struct {
	limits
	start    int64     // T0: every message from here on is read, sooner or later
	newest   int64     // greatest P read
	kept     []arrival // before the anchor: what was read, in reading order
	hope     int64     // no kept certificate can be an anchor while newest is before it
	claims   claims
	anchored bool
	broken   bool
	counts   Anomalies
	effects  []Effect // of the Read that runs

	term    term
	members []Member // replaced, never changed; nil: not known yet
	policy  *PolicyChange

	// least is rule 2's choice between the time of an entry so far and that of another acceptable copy. Only the model
	// check puts something else here, to see that it notices.
	least func(sofar, other int64) int64
}

// arrival is a message as it was read. The same message may come in several copies with other publish times.
type arrival struct {
	Message
	publish int64
	sum     Hash
}

// term is the current term.
type term struct {
	Term
	after    int64 // end of the term before: claims from here on compete. never: not known, or settled before the anchor
	seq      uint64
	time     int64 // of entry seq; of the claim while seq is 0
	resigned bool
	proof    Cert // of the greatest entry that was certified, be it accepted here or not
	recent   recent
	parked   map[uint64]arrival // by number, all beyond seq+1; of several copies the earliest: it is acceptable if any is
}

// maxParked is how far beyond the next entry copies are parked. Leaders publish one entry at a time, 50 a second at best,
// for at most G + δ = 7 s.
const maxParked = 1024

// New returns a replica that has read nothing and will be handed every message with a publish time of start or later.
// The Config must be valid; its zero fields get their defaults.
func New(c Config, start int64) *Replica {
	r := &Replica{limits: c.limits(), least: func(a, b int64) int64 { return min(a, b) }}
	r.Reset(start)
	return r
}

// Reset forgets everything but the counted anomalies. The log must then be read again from start.
func (r *Replica) Reset(start int64) {
	*r = Replica{limits: r.limits, counts: r.counts, least: r.least, start: start, newest: -never, hope: never, claims: newClaims()}
}

// Read takes in one message, its server publish time and the Sum of its bytes, and returns what follows from it, in order.
// After an Anomaly nothing follows from anything until Reset.
func (r *Replica) Read(m Message, publish int64, sum Hash) []Effect {
	if r.broken {
		return nil
	}
	r.effects = nil
	r.newest = max(r.newest, publish)
	c := arrival{m, publish, sum}
	r.witness(c)
	switch {
	case r.broken:
	case r.anchored:
		r.apply(c)
	default:
		r.keep(c)
	}
	r.settle()
	return r.effects
}

// apply is rules 2 to 6 for one message.
func (r *Replica) apply(c arrival) {
	switch m := c.Message.(type) {
	case Claim:
		r.claim(Term{m.ID, m.Worker, c.publish})
	case Entry:
		if m.ID == r.term.ID {
			r.entry(m, c)
		}
	}
}

// claim is rule 4.
func (r *Replica) claim(k Term) {
	t := &r.term
	switch end := t.end(r.limits); {
	case k.Claim >= end && t.proof.Seq > t.seq: // B: what is missing would have been read; without it the end is wrong
		r.fail(Hole, t.ID, t.seq+1)
	case k.Claim >= end:
		r.leave(t.Worker)
		r.begin(k, end)
	case k.Claim < t.after || !k.before(t.Term):
	case max(t.seq, t.proof.Seq) > 0:
		r.fail(SmallerClaim, k.ID, 0)
	default:
		r.begin(k, t.after)
	}
}

func (r *Replica) begin(k Term, after int64) {
	r.term = term{Term: k, after: after, time: k.Claim, parked: map[uint64]arrival{}}
	r.emit(NewLeader{k})
}

// end is rule 3.
func (t *term) end(l limits) int64 {
	if t.resigned {
		return t.time + l.open
	}
	return t.time + l.death
}

// entry is rule 2 for a copy of an entry of the current term.
func (r *Replica) entry(e Entry, c arrival) {
	t := &r.term
	switch next := t.seq + 1; {
	case r.contradicts(e, c):
	case e.Seq > next:
		r.park(e, c)
	case e.Seq == next && !t.resigned && t.acceptable(r.limits, e.Seq, c.publish):
		r.accept(e, c)
		r.acceptParked()
	case e.Seq == t.seq && t.acceptable(r.limits, e.Seq, c.publish):
		t.time = r.least(t.time, c.publish)
	}
}

// acceptable is rule 2 for a copy with publish time p of the next entry. For another copy of the last one it need not be
// exact on the late side: only an earlier copy changes anything.
func (t *term) acceptable(l limits, n uint64, p int64) bool {
	if n == 1 {
		return p-t.Claim > l.open && p-t.Claim <= l.gap
	}
	return p <= t.time+l.gap
}

func (r *Replica) accept(e Entry, c arrival) {
	t := &r.term
	t.seq, t.time, t.resigned = e.Seq, c.publish, e.Body.Resign
	t.recent.add(e.Seq, c.sum)
	r.take(e, c)
}

// take is rule 5 and 6: what an accepted entry says.
func (r *Replica) take(e Entry, c arrival) {
	if e.Body.Members != nil {
		r.members = e.Body.Members
	}
	if e.Body.Policy != nil {
		r.policy = e.Body.Policy
	}
	r.emit(Accepted{Entry: e, Publish: c.publish})
}

// leave is rule 6 for the leader before a new one. Its members would wait D for it otherwise.
func (r *Replica) leave(w Worker) {
	if r.members != nil {
		r.members = slices.DeleteFunc(slices.Clone(r.members), func(m Member) bool { return m.Worker == w })
	}
}

// park keeps a copy that may become acceptable when the entries before it are read.
func (r *Replica) park(e Entry, c arrival) {
	t := &r.term
	p, again := t.parked[e.Seq]
	switch {
	case again && p.sum != c.sum:
		r.fail(TwoContents, e.ID, e.Seq)
	case e.Seq > t.seq+maxParked:
		r.fail(Hole, e.ID, t.seq+1)
	case !again || c.publish < p.publish:
		t.parked[e.Seq] = c
	}
}

func (r *Replica) acceptParked() {
	t := &r.term
	for {
		c, ok := t.parked[t.seq+1]
		if !ok || t.resigned || !t.acceptable(r.limits, t.seq+1, c.publish) {
			return
		}
		delete(t.parked, t.seq+1)
		r.accept(c.Message.(Entry), c)
	}
}

// settle does what the passing of publish time allows. Copies that are parked go once the chain cannot go on: what is unread
// has P ≥ newest − δ (B), which is too late for the next entry, and an earlier time of the last one would only make it later
// still.
func (r *Replica) settle() {
	t := &r.term
	if len(t.parked) > 0 && r.newest-r.delta > t.time+r.gap {
		clear(t.parked)
	}
	if t.proof.Seq > t.seq && r.newest >= t.proof.Publish+2*r.delta && !r.broken {
		r.fail(Hole, t.ID, t.seq+1)
	}
}

func (r *Replica) emit(e Effect) { r.effects = append(r.effects, e) }

// Status is what a replica knows.
type Status struct {
	Term     Term
	Open     bool // the term's Open is accepted: before, another claim may still win
	Seq      uint64
	Time     int64 // of entry Seq, or of the claim while Seq is 0; another copy may still make it earlier
	End      int64 // claims from here on are valid
	Resigned bool
	Members  []Member      // not to be changed; nil until an entry with members was accepted
	Policy   *PolicyChange // nil until an entry with a policy was accepted
	Chain    Hash          // chain hash at Seq
}

// Status returns what r knows; false before the anchor and after an anomaly, when nothing may be executed.
func (r *Replica) Status() (Status, bool) {
	if !r.anchored || r.broken {
		return Status{}, false
	}
	t := &r.term
	return Status{t.Term, t.seq > 0, t.seq, t.time, t.end(r.limits), t.resigned, r.members, r.policy, t.recent.chain()}, true
}

// ClaimTime returns the publish time of a claim, if it was read and is remembered: the last maxClaims are.
func (r *Replica) ClaimTime(id ID) (publish int64, read bool) {
	publish, read = r.claims.publish[id]
	return publish, read
}

// certificate returns the certificate and the chain hash for the next entry of term id: both zero before its Open is
// accepted here.
func (r *Replica) certificate(id ID) (Cert, Hash) {
	if t := &r.term; r.anchored && t.ID == id && t.seq > 0 {
		return Cert{t.seq, t.time}, t.recent.chain()
	}
	return Cert{}, 0
}

// Anomalies returns the anomalies counted since New, over all Resets.
func (r *Replica) Anomalies() Anomalies { return r.counts }
