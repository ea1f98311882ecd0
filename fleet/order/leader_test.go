package order

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// leading is a worker's own term 9, from the Open on, as Leader sees it.
type leading struct {
	*testing.T
	r *Replica
	l *Leader
}

// elected returns the leader of claim 9, which was read alone at publish time 20,000.
func elected(t *testing.T) leading {
	r := New(Config{}, 0)
	r.Read(claim(9, 9), 20_000, 0)
	l, err := Lead(r, ID{9})
	if err != nil {
		t.Fatal(err)
	}
	return leading{t, r, l}
}

func (x leading) begin(at int64, b Body) Entry {
	x.Helper()
	e, err := x.l.Begin(clock(at), b)
	if err != nil {
		x.Fatalf("Begin at %d: %v", at, err)
	}
	return e
}

func (x leading) replied(at int64) {
	x.Helper()
	if err := x.l.Replied(clock(at)); err != nil {
		x.Fatalf("Replied at %d: %v", at, err)
	}
}

// opened is an elected leader whose Open was sent at 0, confirmed and accepted.
func opened(t *testing.T) leading {
	x := elected(t)
	e := x.begin(0, Body{})
	x.replied(100)
	x.r.Read(e, 22_400, 1)
	return x
}

func (x leading) steps(at int64, want error) {
	x.Helper()
	for range 2 { // and for good
		if err := x.l.Check(clock(at)); !errors.Is(err, want) {
			x.Errorf("Check at %d = %v, want %v", at, err, want)
		}
	}
	if want == nil {
		return
	}
	if _, err := x.l.Begin(clock(at), Body{}); !errors.Is(err, want) {
		x.Errorf("Begin at %d = %v, want %v", at, err, want)
	}
	if again, err := x.l.Resend(clock(at)); again || !errors.Is(err, want) {
		x.Errorf("Resend at %d = %t, %v, want %v", at, again, err, want)
	}
	if err := x.l.Replied(clock(at)); !errors.Is(err, want) {
		x.Errorf("Replied at %d = %v, want %v", at, err, want)
	}
}

func TestLeaderPublishesOneByOne(t *testing.T) {
	x := elected(t)
	open := x.begin(0, Body{Members: []Member{{9, 1}}})
	want := Entry{ID: ID{9}, Worker: 9, ClaimPublish: 20_000, Seq: 1, Body: Body{Open: true, Members: []Member{{9, 1}}}}
	if diff := cmp.Diff(want, open); diff != "" {
		t.Errorf("open (-want +got):\n%s", diff)
	}
	notYet := func(at int64, why string) {
		t.Helper()
		if _, err := x.l.Begin(clock(at), Body{}); !errors.Is(err, ErrNotYet) {
			t.Errorf("Begin %s: %v", why, err)
		}
	}
	notYet(100, "without a reply to the open")
	x.replied(200)
	notYet(300, "before the open is accepted")
	x.r.Read(open, 22_400, 1)
	second := x.begin(400, Body{})
	notYet(450, "without a reply to entry 2")
	want = Entry{ID: ID{9}, Worker: 9, ClaimPublish: 20_000, Seq: 2, Cert: Cert{1, 22_400}, ChainHash: fold(0, 1)}
	if diff := cmp.Diff(want, second); diff != "" {
		t.Errorf("entry 2 (-want +got):\n%s", diff)
	}
	x.replied(500)
	if third := x.begin(600, Body{}); third.Seq != 3 || third.Cert != second.Cert {
		t.Errorf("entry 3 is %+v before entry 2 was read back", third)
	}
	x.r.Read(second, 22_900, 2)
	x.steps(4500, nil) // exactly 4 s after its reply
}

func TestLeaderSendsAgain(t *testing.T) {
	x := opened(t)
	e := x.begin(1000, Body{})
	for _, c := range []struct {
		at   int64
		want bool
	}{{1000, false}, {2399, false}, {2400, true}, {2401, false}, {3799, false}, {3800, true}} {
		if again, err := x.l.Resend(clock(c.at)); again != c.want || err != nil {
			t.Errorf("Resend at %d = %t, %v, want %t", c.at, again, err, c.want)
		}
	}
	x.replied(4000)
	x.r.Read(e, 23_400, 2)
	if again, err := x.l.Resend(clock(6000)); again || err != nil {
		t.Errorf("Resend after the reply = %t, %v", again, err)
	}
}

func TestLeaderStepsDown(t *testing.T) {
	t.Run("no reply", func(t *testing.T) {
		x := elected(t)
		x.begin(0, Body{})
		x.steps(4000, nil)
		x.steps(4001, NoReply)
	})
	t.Run("a reply that comes late", func(t *testing.T) {
		x := opened(t)
		x.begin(4000, Body{})
		x.steps(4101, RepliesSlow)
		x.steps(4000, RepliesSlow)
	})
	t.Run("not accepted", func(t *testing.T) {
		x := opened(t)
		x.begin(200, Body{})
		for at := int64(300); at < 4200; at += 500 {
			x.replied(at)
			x.begin(at+100, Body{})
		}
		x.steps(4200, nil)
		x.steps(4201, NotAccepted)
	})
	t.Run("an open that is not accepted", func(t *testing.T) {
		x := elected(t)
		x.begin(0, Body{})
		x.replied(3000)
		x.steps(4001, NotAccepted)
	})
	t.Run("replaced while unopened", func(t *testing.T) {
		x := elected(t)
		x.r.Read(claim(8, 8), 19_999, 0)
		x.steps(10, Replaced)
	})
	t.Run("replaced", func(t *testing.T) {
		x := opened(t)
		x.r.Read(claim(8, 8), 34_400, 0)
		x.steps(200, Replaced)
	})
	t.Run("an anomaly", func(t *testing.T) {
		x := opened(t)
		x.r.Read(entry(9, 20_000, 1, 0, 0), 22_400, 99) // another Open
		x.steps(200, Replaced)
	})
	t.Run("resigned", func(t *testing.T) {
		x := opened(t)
		x.begin(500, Body{Resign: true})
		x.steps(600, nil)
		if err := x.l.Replied(clock(700)); !errors.Is(err, HasResigned) {
			t.Errorf("Replied to a resign = %v", err)
		}
		x.steps(800, HasResigned)
	})
	t.Run("a claim that does not win cannot lead", func(t *testing.T) {
		r := New(Config{}, 0)
		r.Read(claim(9, 9), 5_000, 0)
		for _, id := range []ID{{9}, {7}} {
			if _, err := Lead(r, id); !errors.Is(err, Replaced) {
				t.Errorf("Lead(%x) = %v", id[:1], err)
			}
		}
	})
	t.Run("many claims later it still leads", func(t *testing.T) {
		x := opened(t)
		for n := range 2 * maxClaims {
			x.r.Read(Claim{ID{1, byte(n), byte(n >> 8)}, 1}, 22_500, 0)
		}
		x.steps(200, nil)
	})
}
