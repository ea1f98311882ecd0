package order

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// world is a set of rules to try: the right ones or a mutant of them.
type world struct {
	config Config
	least  func(a, b int64) int64
	seen   struct{ full, joined, suffixes, dry int } // what the cases were good for
}

// replica reads the delivered messages and returns what it accepted.
func (w *world) replica(start int64, delivered []sent, t *truth) (*Replica, []position, error) {
	r := New(w.config, start)
	if w.least != nil {
		r.least = w.least
	}
	var accepted []position
	for n, s := range delivered {
		for _, e := range r.Read(s.Message, s.p, s.sum) {
			switch e := e.(type) {
			case Accepted:
				accepted = append(accepted, position{e.Entry.ID, e.Entry.Seq})
			case Anchored:
				if first := (position{e.Term.ID, e.Seq}); wasRead(delivered[:n], position{first.id, first.seq - 1}, r.start) {
					return r, accepted, fmt.Errorf("anchored at %v, but the entry before was read and not forgotten", first)
				}
			case Anomaly:
				return r, accepted, fmt.Errorf("anomaly %v of %v", e.Kind, position{e.ID, e.Seq})
			}
		}
		st, ok := r.Status()
		if at := (position{st.Term.ID, st.Seq}); ok && st.Open && st.Chain != t.chain[at] {
			return r, accepted, fmt.Errorf("chain hash at %v is not the truth's, which may not have accepted it", at)
		}
	}
	return r, accepted, nil
}

func wasRead(delivered []sent, p position, start int64) bool {
	return slices.ContainsFunc(delivered, func(s sent) bool {
		e, ok := s.Message.(Entry)
		return ok && e.ID == p.id && e.Seq == p.seq && s.p >= start
	})
}

// judge compares a replica that has read everything with the truth. One that was there from the beginning has accepted all
// of it, one that joined an end piece.
func (w *world) judge(r *Replica, accepted []position, t *truth, full bool) error {
	if len(accepted) > len(t.accepted) || full && len(accepted) < len(t.accepted) ||
		!slices.Equal(accepted, t.accepted[len(t.accepted)-len(accepted):]) {
		return fmt.Errorf("accepted %v, want %v (all of it: %t)", accepted, t.accepted, full)
	}
	st, ok := r.Status()
	if !ok {
		w.seen.dry++
		return nil
	}
	want := t.last
	if !full { // it may not have read who the members were
		if st.Members == nil {
			want.Members = nil
		}
		if st.Policy == nil {
			want.Policy = nil
		}
	}
	if len(st.Members)+len(want.Members) == 0 {
		st.Members, want.Members = nil, nil
	}
	if diff := cmp.Diff(want, st); diff != "" {
		return fmt.Errorf("status (-want +got):\n%s", diff)
	}
	return nil
}

// try runs one case: several replicas, each with an order of its own, and joiners.
func (w *world) try(seed uint64) error {
	rng := rand.New(rand.NewPCG(seed, 0))
	set, t := draw(w.config.limits(), rng)
	for i := range 6 {
		start, full := int64(-never), false
		if i < 3 {
			c, _ := winner(set, start)
			full = len(t.accepted) > 0 && t.accepted[0].id == c.ID // else there may be nothing to begin from
		} else {
			start = min(set[rng.IntN(len(set))].p, set[rng.IntN(len(set))].p) - rng.Int64N(3000)
		}
		delivered := deliver(rng, set, start)
		r, accepted, err := w.replica(start, delivered, &t)
		if err == nil {
			err = w.judge(r, accepted, &t, full)
		}
		if err != nil {
			return fmt.Errorf("case %d, replica %d from %d: %w\ntruth %v\nread:\n%s", seed, i, start, err, t.accepted, show(delivered))
		}
		w.count(i < 3, full, accepted)
	}
	return nil
}

func (w *world) count(early, full bool, accepted []position) {
	switch {
	case early && full:
		w.seen.full++
	case !early && len(accepted) > 0:
		w.seen.suffixes++
		fallthrough
	case !early:
		w.seen.joined++
	}
}

// deliver draws an order that assumptions A and B allow, with some messages again later. It holds what has a publish time
// of start or later and, like a seek that is not exact, sometimes a few that are a little earlier.
func deliver(rng *rand.Rand, set []sent, start int64) []sent {
	const delta = 1000
	inexact := rng.IntN(4) == 0
	left := make([]bool, len(set))
	todo := 0
	for i, s := range set {
		left[i] = s.p >= start || inexact && s.p >= start-3000 && rng.IntN(2) == 0
		if left[i] {
			todo++
		}
	}
	var out, again []sent
	style := rng.IntN(3)
	for ; todo > 0; todo-- {
		i := choose(rng, set, left, delta, style)
		left[i] = false
		out = append(out, set[i])
		if rng.IntN(8) == 0 {
			again = append(again, set[i])
		}
		for len(again) > 0 && rng.IntN(4) == 0 {
			out = append(out, again[rng.IntN(len(again))])
			if rng.IntN(2) == 0 {
				again = again[1:]
			}
		}
	}
	return append(out, again...)
}

// choose picks the next message among those that may come: no message more than delta before it is left, and none that
// its publisher sent before. Style 0 takes any, style 1 the latest, style 2 mostly the earliest.
func choose(rng *rand.Rand, set []sent, left []bool, delta int64, style int) int {
	earliest := int64(never)
	for i, s := range set {
		if left[i] {
			earliest = min(earliest, s.p)
		}
	}
	var may []int
	for i, s := range set {
		if left[i] && s.p <= earliest+delta && !slices.ContainsFunc(s.after, func(j int) bool { return left[j] }) {
			may = append(may, i)
		}
	}
	if style == 0 || style == 2 && rng.IntN(4) == 0 {
		return may[rng.IntN(len(may))]
	}
	return slices.MinFunc(may, func(i, j int) int {
		if style == 1 {
			i, j = j, i
		}
		return int(set[i].p - set[j].p)
	})
}

func show(read []sent) string {
	var b strings.Builder
	for _, s := range read {
		fmt.Fprintf(&b, "%7d ", s.p)
		switch m := s.Message.(type) {
		case Claim:
			fmt.Fprintf(&b, "claim %x by %d\n", m.ID[:1], m.Worker)
		case Entry:
			fmt.Fprintf(&b, "    %x/%d cert %d at %d resign %t\n", m.ID[:1], m.Seq, m.Cert.Seq, m.Cert.Publish, m.Body.Resign)
		default:
			fmt.Fprintf(&b, "  %T\n", m)
		}
	}
	return b.String()
}

// number returns the environment variable name, or otherwise.
func number(t *testing.T, name string, otherwise uint64) uint64 {
	v := os.Getenv(name)
	if v == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(v, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// cases is how many cases are tried: TAILWEIR_LOG_CASES, or about 3 s of them.
func cases(t *testing.T) uint64 {
	n := uint64(15_000)
	if testing.Short() {
		n = 2_000
	}
	return number(t, "TAILWEIR_LOG_CASES", n)
}

// TestModel tries random sets of messages in random orders that A and B allow: all replicas agree with the reference.
// A case that fails prints its number; TAILWEIR_LOG_CASE runs that one alone.
func TestModel(t *testing.T) {
	w := world{config: Config{}.Defaults()}
	from, n := number(t, "TAILWEIR_LOG_CASE", 0), cases(t)
	if from > 0 {
		n = 1
	}
	for seed := from; seed < from+n; seed++ {
		if err := w.try(seed); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d cases, 6 orders each: %+v", n, w.seen)
	if s := w.seen; n > 1000 && (s.full < int(n) || s.suffixes*3 < s.joined) {
		t.Errorf("the cases show too little: %+v", s)
	}
}

// TestModelBites breaks the rules one by one: the same cases must show it.
func TestModelBites(t *testing.T) {
	const off = 1 << 40
	for name, w := range map[string]world{
		"death − gap < delta":     {config: Config{Gap: 11_500e6}},
		"no gap rule":             {config: Config{Gap: off * 1e6}},
		"open wait < delta":       {config: Config{Open: 300e6}},
		"time of the last copy":   {least: func(_, other int64) int64 { return other }},
		"time of the latest copy": {least: func(sofar, other int64) int64 { return max(sofar, other) }},
	} {
		t.Run(name, func(t *testing.T) {
			w.config = w.config.Defaults()
			if faults := w.config.Validate(); (w.least == nil) != (len(faults) > 0) {
				t.Errorf("Validate = %q", faults)
			}
			n := cases(t)
			for seed := range n {
				if err := w.try(seed); err != nil {
					first, _, _ := strings.Cut(err.Error(), "\n")
					t.Logf("noticed: %s", first)
					return
				}
			}
			t.Errorf("%d cases did not notice", n)
		})
	}
}
