package order

import (
	"cmp"
	"fmt"
	"slices"
)

// sent is a message of the set that a case consists of.
type sent struct {
	Message
	p     int64
	sum   Hash
	after []int // messages that must be delivered before this one (assumption A), by their places in the set
}

// truth is what the set says: rules 2 to 6 as definitions over the whole of it, no order of reading, no state.
type truth struct {
	accepted []position
	chain    map[position]Hash
	time     map[position]int64
	last     Status // after everything; Members nil when nobody said
}

type position struct {
	id  ID
	seq uint64
}

func (p position) String() string { return fmt.Sprintf("%x/%d", p.id[:1], p.seq) }

// reference computes the truth of set.
func reference(l limits, set []sent) truth {
	t := truth{chain: map[position]Hash{}, time: map[position]int64{}}
	end := int64(-never)
	for {
		c, ok := winner(set, end)
		if !ok {
			return t
		}
		t.last.Members = slices.DeleteFunc(slices.Clone(t.last.Members), func(m Member) bool { return m.Worker == t.last.Term.Worker })
		t.last = Status{Term: c, Time: c.Claim, Members: t.last.Members, Policy: t.last.Policy}
		t.chainOf(l, c, set)
		end = t.last.Time + l.death
		if t.last.Resigned {
			end = t.last.Time + l.open
		}
		t.last.End = end
	}
}

// winner is the least claim that is not before from.
func winner(set []sent, from int64) (Term, bool) {
	var valid []Term
	for _, s := range set {
		if c, ok := s.Message.(Claim); ok && s.p >= from {
			valid = append(valid, Term{c.ID, c.Worker, s.p})
		}
	}
	if len(valid) == 0 {
		return Term{}, false
	}
	return slices.MinFunc(valid, func(a, b Term) int {
		return cmp.Or(cmp.Compare(a.Claim, b.Claim), cmp.Compare(a.Worker, b.Worker))
	}), true
}

// chainOf accepts the entries of c one after the other, until there is no acceptable copy of the next.
func (t *truth) chainOf(l limits, c Term, set []sent) {
	for n := uint64(1); !t.last.Resigned; n++ {
		at := int64(never)
		var entry Entry
		var sum Hash
		for _, s := range set {
			e, ok := s.Message.(Entry)
			if !ok || e.ID != c.ID || e.Seq != n || s.p >= at {
				continue
			}
			if n == 1 && (s.p <= c.Claim+l.open || s.p > c.Claim+l.gap) || n > 1 && s.p > t.last.Time+l.gap {
				continue
			}
			at, entry, sum = s.p, e, s.sum
		}
		if at == never {
			return
		}
		t.last.Open, t.last.Seq, t.last.Time, t.last.Resigned = true, n, at, entry.Body.Resign
		t.last.Chain = fold(t.last.Chain, sum)
		if entry.Body.Members != nil {
			t.last.Members = entry.Body.Members
		}
		if entry.Body.Policy != nil {
			t.last.Policy = entry.Body.Policy
		}
		where := position{c.ID, n}
		t.accepted = append(t.accepted, where)
		t.chain[where], t.time[where] = t.last.Chain, at
	}
}
