package order

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// step is a message read with publish time p, and what should follow.
type step struct {
	m    Message
	p    int64
	want string
}

func claim(id byte, w Worker) Claim { return Claim{ID{id}, w} }

// entry returns entry seq of term id, whose claim has publish time c, certifying entry seq cert at time at.
func entry(id byte, c int64, seq, cert uint64, at int64) Entry {
	return Entry{ID: ID{id}, Worker: Worker(id), ClaimPublish: c, Seq: seq, Cert: Cert{cert, at}, Body: Body{Open: seq == 1}}
}

func resign(e Entry) Entry { e.Body.Resign = true; return e }

func members(e Entry, ws ...Worker) Entry {
	e.Body.Members = []Member{}
	for _, w := range ws {
		e.Body.Members = append(e.Body.Members, Member{w, 1})
	}
	return e
}

// sumOf stands for the hash of an entry's bytes, and hashOf for the chain hash that follows.
func sumOf(m Message) Hash {
	if e, ok := m.(Entry); ok {
		return Hash(e.ID[0])<<8 + Hash(e.Seq)
	}
	return 0
}

func hashOf(id byte, seq uint64) (h Hash) {
	for n := uint64(1); n <= seq; n++ {
		h = fold(h, Hash(id)<<8+Hash(n))
	}
	return h
}

func describe(effects []Effect) string {
	var out []string
	for _, e := range effects {
		switch e := e.(type) {
		case NewLeader:
			out = append(out, fmt.Sprintf("leader %x", e.Term.ID[:1]))
		case Accepted:
			out = append(out, fmt.Sprintf("%x/%d", e.Entry.ID[:1], e.Entry.Seq))
		case Anchored:
			out = append(out, fmt.Sprintf("anchored %x/%d", e.Term.ID[:1], e.Seq))
		case Anomaly:
			out = append(out, fmt.Sprintf("%v %x/%d", e.Kind, e.ID[:1], e.Seq))
		}
	}
	return strings.Join(out, ", ")
}

// chained gives an entry the right chain hash unless it has one.
func chained(m Message) Message {
	if e, ok := m.(Entry); ok && e.ChainHash == 0 {
		e.ChainHash = hashOf(e.ID[0], e.Cert.Seq)
		return e
	}
	return m
}

// read plays the steps.
func read(t *testing.T, r *Replica, steps []step) {
	t.Helper()
	for i, s := range steps {
		s.m = chained(s.m)
		if got := describe(r.Read(s.m, s.p, sumOf(s.m))); got != s.want {
			t.Fatalf("step %d, %+v at %d: %q follows, want %q", i, s.m, s.p, got, s.want)
		}
	}
}

// began is a term 1 of worker 1 that was open from the beginning of the log.
var began = []step{
	{claim(1, 1), 0, ""},
	{entry(1, 0, 1, 0, 0), 2400, "anchored 01/1, leader 01, 01/1"},
}

func TestRules(t *testing.T) {
	for name, steps := range map[string][]step{
		"2: an open just after its wait": {
			{claim(1, 1), 0, ""}, {entry(1, 0, 1, 0, 0), 2000, ""}, {entry(1, 0, 1, 0, 0), 2001, "anchored 01/1, leader 01, 01/1"},
		},
		"2: an open at the gap": {
			{claim(1, 1), 0, ""}, {entry(1, 0, 1, 0, 0), 6001, ""}, {entry(1, 0, 1, 0, 0), 6000, "anchored 01/1, leader 01, 01/1"},
		},
		"2: an open that was too early says nothing of its time": {
			{entry(1, 0, 1, 0, 0), 2000, ""}, {entry(1, 0, 2, 1, 2400), 8400, "01/2"},
		},
		"2: entries at the gap and beyond it": {
			{entry(1, 0, 2, 1, 2400), 8400, "01/2"}, {entry(1, 0, 3, 2, 8400), 14401, ""}, {entry(1, 0, 3, 2, 8400), 14400, "01/3"},
		},
		"2: an earlier copy makes the next one late": {
			{entry(1, 0, 2, 1, 2400), 4000, "01/2"}, {entry(1, 0, 2, 1, 2400), 3500, ""}, {entry(1, 0, 3, 1, 2400), 9501, ""},
			{entry(1, 0, 3, 1, 2400), 9500, "01/3"},
		},
		"2: a later copy changes nothing": {
			{entry(1, 0, 2, 1, 2400), 4000, "01/2"}, {entry(1, 0, 2, 1, 2400), 4500, ""}, {entry(1, 0, 3, 1, 2400), 10001, ""},
		},
		"2: parked until what is before it comes, by the earliest copy": {
			{entry(1, 0, 3, 1, 2400), 9300, ""}, {entry(1, 0, 3, 1, 2400), 8500, ""}, {entry(1, 0, 3, 1, 2400), 9350, ""},
			{entry(1, 0, 2, 1, 2400), 8390, "01/2, 01/3"}, {entry(1, 0, 4, 3, 8500), 14501, ""}, {entry(1, 0, 4, 3, 8500), 14500, "01/4"},
		},
		"2: parked too late": {
			{entry(1, 0, 3, 1, 2400), 8701, ""}, {entry(1, 0, 2, 1, 2400), 2700, "01/2"}, {entry(1, 0, 3, 1, 2400), 8700, "01/3"},
		},
		"2: nothing follows a resign": {
			{entry(1, 0, 3, 1, 2400), 3100, ""}, {resign(entry(1, 0, 2, 1, 2400)), 3000, "01/2"}, {entry(1, 0, 3, 2, 3000), 3200, ""},
		},
		"3: the end of a term": {
			{claim(2, 2), 14399, ""}, {claim(3, 3), 14400, "leader 03"},
		},
		"3: the end after a resign": {
			{resign(entry(1, 0, 2, 1, 2400)), 3000, "01/2"}, {claim(2, 2), 4999, ""}, {claim(3, 3), 5000, "leader 03"},
		},
		"3: an earlier copy ends the term earlier": {
			{entry(1, 0, 2, 1, 2400), 3500, "01/2"}, {entry(1, 0, 2, 1, 2400), 3000, ""}, {claim(2, 2), 15000, "leader 02"},
		},
		"3: a claim that never opens ends too": {
			{claim(2, 2), 14400, "leader 02"}, {claim(3, 3), 26399, ""}, {claim(4, 4), 26400, "leader 04"},
		},
		"4: the least claim wins until an open": {
			{claim(3, 3), 15000, "leader 03"}, {claim(4, 4), 15100, ""}, {claim(2, 2), 14900, "leader 02"},
			{claim(5, 5), 14399, ""}, {entry(3, 15000, 1, 0, 0), 17100, ""}, {entry(2, 14900, 1, 0, 0), 17200, "02/1"},
		},
		"4: worker and id settle a draw": {
			{claim(5, 3), 15000, "leader 05"}, {claim(4, 4), 15000, ""}, {claim(2, 3), 15000, "leader 02"}, {claim(9, 2), 15000, "leader 09"},
		},
		"4: claims read again": {
			{claim(3, 3), 15000, "leader 03"}, {claim(3, 3), 15000, ""}, {claim(2, 2), 14900, "leader 02"}, {claim(3, 3), 15000, ""}, {claim(1, 1), 0, ""},
		},
		"1: what has no effect": {
			{Probe{1, 1}, 2500, ""}, {Unknown{2, 1}, 90_000, ""}, {entry(1, 0, 2, 1, 2400), 3000, "01/2"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := New(Config{}, -1_000_000)
			if name[0] == '2' && steps[0].m == claim(1, 1) {
				read(t, r, steps)
				return
			}
			read(t, r, append(began[:2:2], steps...))
			if r.Anomalies() != (Anomalies{}) {
				t.Errorf("anomalies %v", r.Anomalies())
			}
		})
	}
}

func TestMembersAndPolicyFollowTheLog(t *testing.T) {
	r := New(Config{}, -1_000_000)
	read(t, r, began)
	if s, ok := r.Status(); !ok || s.Members != nil || s.Policy != nil {
		t.Errorf("status %+v before anybody said, %t", s, ok)
	}
	withPolicy := members(entry(1, 0, 2, 1, 2400), 1, 2, 3)
	withPolicy.Body.Policy = &PolicyChange{Epoch: 5}
	read(t, r, []step{{withPolicy, 3000, "01/2"}})
	before, _ := r.Status()
	read(t, r, []step{{claim(3, 3), 15001, "leader 03"}, {claim(2, 2), 15000, "leader 02"}})
	s, _ := r.Status()
	want := Status{
		Term: Term{ID{2}, 2, 15000}, Time: 15000, End: 27000, Policy: &PolicyChange{Epoch: 5},
		Members: []Member{{2, 1}, {3, 1}}, // worker 3, whose claim was replaced, has not led
	}
	if diff := cmp.Diff(want, s); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	if len(before.Members) != 3 {
		t.Errorf("members handed out before became %v", before.Members)
	}
	read(t, r, []step{{members(entry(2, 15000, 1, 0, 0)), 17100, "02/1"}})
	if s, _ := r.Status(); !s.Open || len(s.Members) != 0 || s.Members == nil || s.Seq != 1 || s.Time != 17100 || s.Chain != hashOf(2, 1) {
		t.Errorf("status %+v after an open with no members", s)
	}
}

// What is parked goes when it cannot count any more, and a term without end does not grow.
func TestMemoryIsBounded(t *testing.T) {
	r := New(Config{}, -1_000_000)
	read(t, r, append(began[:2:2], step{entry(1, 0, 3, 1, 2400), 8000, ""}, step{Probe{}, 9400, ""}))
	if len(r.term.parked) != 1 {
		t.Errorf("%d parked while entry 2 may still come", len(r.term.parked))
	}
	read(t, r, []step{{Probe{}, 9401, ""}})
	if len(r.term.parked) != 0 {
		t.Errorf("%d parked although entry 2 would be void", len(r.term.parked))
	}

	r = New(Config{}, -1_000_000)
	read(t, r, began)
	chain := hashOf(1, 1)
	for n := uint64(2); n < 5000; n++ {
		e := entry(1, 0, n, n-1, 0)
		e.ChainHash = chain
		read(t, r, []step{{e, 2400 + int64(n), fmt.Sprintf("01/%d", n)}})
		chain = fold(chain, sumOf(e))
	}
	if n := cap(r.term.recent.record); n > 4*maxRecent {
		t.Errorf("%d hashes remembered", n)
	}
	for n := range 2000 {
		r.Read(Claim{ID{2, byte(n), byte(n >> 8)}, 1}, 3000, 0)
	}
	if n := len(r.claims.publish); n > maxClaims {
		t.Errorf("%d claims remembered", n)
	}
	if r.Anomalies() != (Anomalies{}) {
		t.Errorf("anomalies %v", r.Anomalies())
	}
}

func TestConfig(t *testing.T) {
	if faults := (Config{}).Defaults().Validate(); len(faults) > 0 {
		t.Errorf("the defaults are refused: %q", faults)
	}
	for _, c := range []struct {
		c    Config
		want string
	}{
		{Config{Gap: 10e9}, "death (12s)"},
		{Config{Open: 1500e6}, "open (1.5s)"},
		{Config{Gap: 4e9}, "gap (4s)"},
		{Config{Delta: 1}, "delta (1ns)"},
	} {
		faults := c.c.Defaults().Validate()
		if len(faults) != 1 || !strings.HasPrefix(faults[0], c.want) {
			t.Errorf("%+v: faults %q, want one on %s", c.c, faults, c.want)
		}
	}
}
