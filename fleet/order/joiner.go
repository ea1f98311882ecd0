package order

import "slices"

// maxKept is how many messages are kept before the anchor: ten times what 36 s at 50 a second are.
const maxKept = 1 << 14

// keep is rule 7: it keeps a message that was read before the anchor, and anchors when it can.
func (r *Replica) keep(c arrival) {
	r.kept = append(r.kept, c)
	if e, ok := c.Message.(Entry); ok && r.trusts(e) {
		r.hope = min(r.hope, e.Cert.Publish+2*r.delta)
	}
	if r.anchorOpen(c) || r.anchorCertified() || r.broken {
		return
	}
	r.forget()
}

// forget moves the start forward, as if the replica had joined later, and drops what is before it. Any start is a good one:
// what it costs is history that nothing has proved in 2·(D + G). Rule 7b needs D + G + δ between start and newest: from D
// before a claim to its Open and what may be read before that.
func (r *Replica) forget() {
	from := r.newest - 2*(r.death+r.gap)
	full := len(r.kept) >= maxKept
	if full {
		for _, c := range r.kept[:maxKept/2] {
			from = max(from, c.publish+1)
		}
	}
	if full || from >= r.start+r.delta {
		r.start = max(r.start, from)
		r.kept = slices.DeleteFunc(r.kept, func(c arrival) bool { return c.publish < r.start })
	}
}

// anchorOpen is rule 7b, when c is an acceptable Open of a claim that stands alone.
func (r *Replica) anchorOpen(c arrival) bool {
	e, ok := c.Message.(Entry)
	if !ok || !e.Body.Open {
		return false
	}
	k, ok := r.unopposed(e.ID)
	t := term{Term: k}
	if !ok || !t.acceptable(r.limits, 1, c.publish) {
		return false
	}
	r.anchor(k, 1)
	r.begin(k, never)
	r.replay()
	return true
}

// unopposed returns the kept claim id when no other claim, and no entry of another term, can have to do with who leads
// after it: nothing of theirs in the D before it, all of which was read.
func (r *Replica) unopposed(id ID) (Term, bool) {
	i := slices.IndexFunc(r.kept, func(c arrival) bool {
		m, ok := c.Message.(Claim)
		return ok && m.ID == id
	})
	if i < 0 {
		return Term{}, false
	}
	k := Term{id, r.kept[i].Message.(Claim).Worker, r.kept[i].publish}
	opposed := slices.ContainsFunc(r.kept, func(c arrival) bool {
		switch m := c.Message.(type) {
		case Claim:
			return m.ID != id && c.publish > k.Claim-r.death && Term{m.ID, m.Worker, c.publish}.before(k)
		case Entry:
			return m.ID != id && c.publish > k.Claim-r.death && c.publish < k.Claim
		}
		return false
	})
	return k, !opposed && k.Claim >= r.start+r.death
}

// anchorCertified is rule 7a, with the first kept entry whose certificate can be trusted to be of something that was read.
func (r *Replica) anchorCertified() bool {
	if r.newest < r.hope {
		return false
	}
	r.hope = never
	for _, c := range r.kept {
		e, ok := c.Message.(Entry)
		if !ok || !r.trusts(e) {
			continue
		}
		if from := e.Cert.Publish + 2*r.delta; r.newest < from {
			r.hope = min(r.hope, from)
			continue
		}
		own := r.keptEntries(e.ID)
		certified, read := own[e.Cert.Seq]
		if !read {
			r.fail(Hole, e.ID, e.Cert.Seq)
			return false
		}
		if !certified.Message.(Entry).Body.Resign {
			r.anchorAt(e, own)
			return true
		}
	}
	return false
}

// trusts reports whether what e certifies is surely among what is read.
func (r *Replica) trusts(e Entry) bool {
	return e.Cert.Seq > 0 && e.Cert.Publish >= r.start+2*r.delta
}

// keptEntries returns the kept entries of one term, one copy of each.
func (r *Replica) keptEntries(id ID) map[uint64]arrival {
	own := map[uint64]arrival{}
	for _, c := range r.kept {
		if e, ok := c.Message.(Entry); ok && e.ID == id {
			own[e.Seq] = c
		}
	}
	return own
}

// anchorAt begins with what e certifies. Its entries before that, down to the first hole, were accepted by somebody, or
// the certified one would not have been; they apply whatever the publish times of the copies that were read.
func (r *Replica) anchorAt(e Entry, own map[uint64]arrival) {
	first := e.Cert.Seq
	for _, ok := own[first-1]; ok; _, ok = own[first-1] {
		first--
	}
	k := Term{e.ID, e.Worker, e.ClaimPublish}
	r.anchor(k, first)
	r.begin(k, never)
	for n := first; n <= e.Cert.Seq; n++ {
		r.take(own[n].Message.(Entry), own[n])
	}
	t := &r.term
	t.seq, t.time = e.Cert.Seq, e.Cert.Publish
	t.recent.push(t.seq, record{own[t.seq].sum, e.ChainHash})
	r.replay()
}

func (r *Replica) anchor(k Term, first uint64) {
	r.anchored = true
	r.emit(Anchored{k, first})
}

// replay applies what was kept, in reading order. Claims from before the anchor have no effect: they are before the end of
// its term, and what they could compete for is settled.
func (r *Replica) replay() {
	kept := r.kept
	r.kept = nil
	for _, c := range kept {
		if r.broken {
			return
		}
		r.apply(c)
	}
}
