package order

import (
	"math/rand/v2"
	"slices"
)

// drawer draws a set of messages around the rules' limits: claims near a term's end and near each other, copies near the
// gap and near the open wait, resigns, replies lost, requests late, leaders paused and not stepping down.
type drawer struct {
	*rand.Rand
	limits
	set   []sent
	terms []*drawnTerm
}

type drawnTerm struct {
	Term
	claim   int     // its place in the set
	entries [][]int // places of the copies, by seq−1
	replied []int   // place of the copy whose reply came, by seq−1
	opened  int     // place of the Open copy by which its own replica has accepted it, if one is acceptable
}

// draw returns a set and its truth. What it assumes of workers is what section 6 of the rules does: certificates are true,
// and nobody sends entry 2 before its Open was accepted.
func draw(l limits, rng *rand.Rand) ([]sent, truth) {
	d := &drawer{Rand: rng, limits: l}
	d.limits.gap = min(l.gap, l.death) // a rule that is switched off still needs a place to draw around
	d.term(0)
	for range 1 + d.IntN(4) {
		d.term(d.claimTime(reference(l, d.set)))
	}
	d.dropUnopened(reference(l, d.set))
	d.certify(l, reference(l, d.set))
	d.noise()
	return d.set, reference(l, d.set)
}

// near draws around an instant, up to a little more than δ away on either side; often on the instant, or just δ away.
func (d *drawer) near(p int64) int64 {
	if d.chance(25) {
		return p + 500*(d.Int64N(5)-2)
	}
	return p - 1300 + d.Int64N(2601)
}

func (d *drawer) chance(percent int) bool { return d.IntN(100) < percent }

func (d *drawer) claimTime(t truth) int64 {
	switch r := d.IntN(10); {
	case r < 6:
		return d.near(t.last.End)
	case r < 8:
		return d.near(d.terms[len(d.terms)-1].Claim)
	case r < 9 && len(t.accepted) > 0:
		return d.near(t.time[t.accepted[d.IntN(len(t.accepted))]] + d.death)
	}
	return t.last.End + d.Int64N(4000)
}

func (d *drawer) add(m Message, p int64, sum Hash, after ...int) int {
	d.set = append(d.set, sent{m, p, sum, after})
	return len(d.set) - 1
}

// term draws a claim at p and the entries of its worker.
func (d *drawer) term(p int64) {
	t := &drawnTerm{Term: Term{ID{byte(len(d.terms) + 1)}, Worker(1 + d.IntN(4)), p}}
	d.terms = append(d.terms, t)
	t.claim = d.add(Claim{t.ID, t.Worker}, p, Hash(d.Uint64()))
	if d.chance(12) {
		return // dies before its Open
	}
	d.copies(t, d.openTime(p), p)
	may := slices.DeleteFunc(slices.Clone(t.entries[0]), func(i int) bool { return d.set[i].p <= p+d.open || d.set[i].p > p+d.gap })
	if len(may) == 0 {
		return
	}
	t.opened = d.read(may)
	for range d.IntN(6) {
		d.next(t)
	}
}

func (d *drawer) openTime(p int64) int64 {
	switch r := d.IntN(10); {
	case r < 6:
		return p + d.open + 400 + d.Int64N(200)
	case r < 8:
		return max(p, d.near(p+d.open))
	}
	return max(p, d.near(p+d.gap))
}

// next draws the copies of the entry after t's last.
func (d *drawer) next(t *drawnTerm) {
	n := len(t.entries)
	base := d.set[t.replied[n-1]].p
	least := max(base-80, d.set[t.opened].p) // the clock may go back a little between two publishes
	step := 20 + d.Int64N(600)
	switch r := d.IntN(100); {
	case r < 20:
		step = d.near(d.gap)
	case r < 32:
		step = d.near(d.death)
	case r < 40:
		step = -80 + d.Int64N(100)
	}
	d.copies(t, max(least, base+step), least)
}

// copies adds the copies of one entry, the first at p, none before least.
func (d *drawer) copies(t *drawnTerm, p, least int64) {
	seq := uint64(len(t.entries) + 1)
	e := Entry{ID: t.ID, Worker: t.Worker, ClaimPublish: t.Claim, Seq: seq}
	e.Body.Open = seq == 1
	e.Body.Resign = seq > 1 && d.chance(12)
	if d.chance(40) {
		e.Body.Members = []Member{}
		for w := Worker(1); w <= 4; w++ {
			if d.chance(60) {
				e.Body.Members = append(e.Body.Members, Member{w, uint64(d.IntN(3))})
			}
		}
	}
	if d.chance(10) {
		e.Body.Policy = &PolicyChange{Epoch: d.Uint64()}
	}
	after := []int{t.claim}
	if seq > 1 {
		after = append(after, t.replied[seq-2])
	}
	sum := Hash(d.Uint64())
	places := []int{d.add(e, p, sum, after...)}
	for d.chance(30) {
		again := p + 1400 + d.Int64N(300)
		switch d.IntN(4) {
		case 0:
			again = d.near(p)
		case 1:
			again = d.near(p + d.gap)
		case 2:
			again = p + d.Int64N(20_000)
		}
		places = append(places, d.add(e, max(least, again), sum, after...))
	}
	t.entries = append(t.entries, places)
	t.replied = append(t.replied, places[d.IntN(len(places))])
}

// dropUnopened removes what nobody would have sent: entries after an Open that was not accepted.
func (d *drawer) dropUnopened(t truth) {
	for i := range d.set {
		if e, ok := d.set[i].Message.(Entry); ok && e.Seq > 1 {
			if _, opened := t.time[position{e.ID, 1}]; !opened {
				d.set[i].Message = Probe{Nonce: 1} // in its place, so that the places of others stay
				d.set[i].after = nil
			}
		}
	}
}

// certify gives every entry a certificate that its sender may have had: of an entry that counts, by a copy that the sender
// has read. Others may read that copy later than this entry, unless the reply was for it.
func (d *drawer) certify(l limits, truth truth) {
	for _, t := range d.terms {
		read := d.readBySender(l, t, truth)
		for n := 1; n < len(t.entries); n++ {
			first := int64(never)
			for _, i := range t.entries[n] {
				first = min(first, d.set[i].p)
			}
			m := 0
			for m < min(n, len(read)) && d.set[read[m]].p <= first {
				m++
			}
			for m > 1 && d.chance(20) {
				m-- // its own subscription lags
			}
			for _, i := range t.entries[n] {
				if e, ok := d.set[i].Message.(Entry); ok {
					e.Cert = Cert{uint64(m), d.set[read[m-1]].p}
					e.ChainHash = truth.chain[position{t.ID, uint64(m)}]
					d.set[i].Message = e
				}
			}
		}
	}
}

// readBySender returns, for each accepted entry of t, the copy by which t's worker accepted it.
func (d *drawer) readBySender(l limits, t *drawnTerm, truth truth) []int {
	var read []int
	for n, places := range t.entries {
		if _, ok := truth.time[position{t.ID, uint64(n + 1)}]; !ok {
			break
		}
		if n == 0 {
			read = append(read, t.opened)
			continue
		}
		latest := truth.time[position{t.ID, uint64(n)}] + l.gap
		read = append(read, d.read(slices.DeleteFunc(slices.Clone(places), func(i int) bool { return d.set[i].p > latest })))
	}
	return read
}

// read draws which of the acceptable copies a worker goes by: one at most δ later than the first, or it would have read
// that before.
func (d *drawer) read(may []int) int {
	first := d.set[may[0]].p
	for _, i := range may {
		first = min(first, d.set[i].p)
	}
	may = slices.DeleteFunc(may, func(i int) bool { return d.set[i].p > first+d.delta })
	return may[d.IntN(len(may))]
}

// noise adds messages without effect, the last of them late enough to let certificates be trusted.
func (d *drawer) noise() {
	last := int64(0)
	for _, s := range d.set {
		last = max(last, s.p)
	}
	for range d.IntN(4) {
		d.add(Probe{Worker: 9}, d.Int64N(last+1), 0)
	}
	if d.chance(80) {
		d.add(Unknown{2, 7}, last+d.Int64N(4*d.delta), 0)
	}
}
