package order

// Anomalies counts anomalies by kind.
type Anomalies [len(kinds)]int64

// fail ends the replica's reading. Nobody can say what was lost, so nothing is repaired: all is read again.
func (r *Replica) fail(k Kind, id ID, seq uint64) {
	r.broken = true
	r.counts[k]++
	r.emit(Anomaly{k, id, seq})
}

// witness learns of claims, and sees entries whose claim should have been learned of before. Claims before start + 2δ need
// not have been read, as in rule 7a.
func (r *Replica) witness(c arrival) {
	switch m := c.Message.(type) {
	case Claim:
		r.claims.add(m.ID, c.publish)
	case Entry:
		current := r.anchored && m.ID == r.term.ID
		if !current && m.ClaimPublish >= r.start+2*r.delta && !r.claims.has(m.ID, m.ClaimPublish) {
			r.fail(UnknownClaim, m.ID, m.Seq)
		}
	}
}

// contradicts sees an entry of the current term that denies what is accepted here. Its certificate, true even when it is
// void itself, may be of what is read a little later, when only a copy of that without a reply counts: a hole is one when,
// as in rule 7a, 2δ have passed.
func (r *Replica) contradicts(e Entry, c arrival) bool {
	t := &r.term
	was, known := t.recent.at(e.Seq)
	certified, here := t.recent.at(e.Cert.Seq)
	switch {
	case known && was.sum != c.sum:
		r.fail(TwoContents, e.ID, e.Seq)
	case here && certified.chain != e.ChainHash:
		r.fail(BrokenChain, e.ID, e.Cert.Seq)
	case e.Cert.Seq > t.proof.Seq:
		t.proof = e.Cert
	}
	return r.broken
}

// maxRecent is how many accepted entries can still be compared: 20 s at 50 a second. Copies and certificates older than
// that are not looked at.
const maxRecent = 1024

// recent holds the hashes of the last accepted entries of a term, without holes.
type recent struct {
	last   uint64 // number of the last record
	record []record
}

type record struct{ sum, chain Hash }

func (r *recent) add(seq uint64, sum Hash) {
	r.push(seq, record{sum, fold(r.chain(), sum)})
}

func (r *recent) push(seq uint64, x record) {
	if len(r.record) == 2*maxRecent {
		r.record = append(r.record[:0], r.record[maxRecent:]...)
	}
	r.last, r.record = seq, append(r.record, x)
}

// chain is the chain hash over all entries so far.
func (r *recent) chain() Hash {
	if len(r.record) == 0 {
		return 0
	}
	return r.record[len(r.record)-1].chain
}

func (r *recent) at(seq uint64) (record, bool) {
	back := r.last - seq // wraps when seq is beyond last
	if back >= uint64(len(r.record)) {
		return record{}, false
	}
	return r.record[uint64(len(r.record))-1-back], true
}

// maxClaims is how many claims are remembered. There is one a failover and worker.
const maxClaims = 256

// claims remembers the ids of claims that were read. All that it forgot are not later than forgotten.
type claims struct {
	publish   map[ID]int64
	forgotten int64
}

func newClaims() claims { return claims{map[ID]int64{}, -never} }

func (c *claims) add(id ID, publish int64) {
	c.publish[id] = publish
	if len(c.publish) <= maxClaims {
		return
	}
	oldest := id
	for k, p := range c.publish {
		if p < c.publish[oldest] {
			oldest = k
		}
	}
	c.forgotten = max(c.forgotten, c.publish[oldest])
	delete(c.publish, oldest)
}

// has reports whether the claim was read, or may have been read and forgotten.
func (c *claims) has(id ID, publish int64) bool {
	_, known := c.publish[id]
	return known || publish <= c.forgotten
}
