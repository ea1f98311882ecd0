package order

import (
	"fmt"
	"testing"
)

// TestJoiner is rule 7. Joiners read from 0 on, in terms whose claims were before.
func TestJoiner(t *testing.T) {
	const c = -50_000 // claim of term 1
	for name, steps := range map[string][]step{
		"7a: a certificate of what was surely read": {
			{entry(1, c, 8, 7, -100), 400, ""}, {entry(1, c, 9, 8, 400), 1999, ""}, {entry(1, c, 10, 9, 1999), 2000, ""},
			{entry(1, c, 11, 10, 2000), 2500, ""}, {Probe{}, 3999, ""}, {entry(1, c, 12, 11, 2500), 4000, "anchored 01/8, leader 01, 01/8, 01/9, 01/10, 01/11, 01/12"},
		},
		"7a: down to the first hole": {
			{entry(1, c, 5, 4, 0), 1000, ""}, {entry(1, c, 7, 6, 0), 1500, ""}, {entry(1, c, 8, 7, 1500), 2500, ""},
			{entry(1, c, 9, 8, 2500), 4500, "anchored 01/7, leader 01, 01/7, 01/8, 01/9"},
		},
		"7a: a void entry's certificate, then what it does not certify": {
			{entry(1, c, 8, 7, 0), 2100, ""}, {entry(1, c, 9, 8, 2100), 8200, "anchored 01/8, leader 01, 01/8"}, {claim(2, 2), 14100, "leader 02"},
		},
		"7a: an open that is acceptable by a copy from before": {
			{entry(1, -1, 1, 0, 0), 100, ""}, {entry(1, -1, 1, 0, 0), 2100, ""}, {entry(1, -1, 2, 1, 2100), 4100, "anchored 01/1, leader 01, 01/1, 01/2"},
			{entry(1, -1, 3, 2, 4100), 10100, "01/3"},
		},
		"7a: older claims have no effect": {
			{claim(3, 3), 100, ""}, {entry(1, c, 8, 7, 0), 2000, ""}, {entry(1, c, 9, 8, 2000), 4000, "anchored 01/8, leader 01, 01/8, 01/9"},
		},
		"7a: not from a resign": {
			{resign(entry(1, c, 8, 7, 0)), 2000, ""}, {entry(1, c, 9, 8, 2000), 4100, ""},
			{claim(2, 2), 16_200, ""}, {entry(2, 16_200, 1, 0, 0), 18_300, "anchored 02/1, leader 02, 02/1"},
		},
		"7a: from the next after a resign": {
			{resign(entry(1, c, 8, 7, 0)), 2000, ""}, {entry(2, c, 2, 1, 0), 3000, ""}, {entry(1, c, 9, 8, 2000), 3100, ""}, {entry(2, c, 3, 2, 3000), 3200, ""},
			{Probe{}, 4100, ""}, {Probe{}, 5000, "anchored 02/2, leader 02, 02/2, 02/3"},
		},
		"7a: what was certified must have been read": {
			{entry(1, c, 9, 8, 2000), 4000, "hole 01/8"},
		},
		"7b: a claim alone": {
			{claim(2, 2), 12_000, ""}, {entry(2, 12_000, 1, 0, 0), 14_100, "anchored 02/1, leader 02, 02/1"},
		},
		"7b: not before D from the start": {
			{claim(2, 2), 11_999, ""}, {entry(2, 11_999, 1, 0, 0), 14_100, ""}, {Probe{}, 16_100, ""},
			{entry(2, 11_999, 2, 1, 14_100), 16_200, "anchored 02/1, leader 02, 02/1, 02/2"},
		},
		"7b: not with a claim in the D before": {
			{claim(3, 3), 13_001, ""}, {claim(2, 2), 25_000, ""}, {entry(2, 25_000, 1, 0, 0), 27_100, ""},
		},
		"7b: a claim D before": {
			{claim(3, 3), 13_000, ""}, {claim(2, 2), 25_000, ""}, {entry(2, 25_000, 1, 0, 0), 27_100, "anchored 02/1, leader 02, 02/1"},
		},
		"7b: not with an entry in the D before, void or not": {
			{entry(1, c, 8, 7, 0), 4, ""}, {claim(2, 2), 12_003, ""}, {entry(2, 12_003, 1, 0, 0), 14_100, ""},
		},
		"7b: not the larger of two at once": {
			{claim(3, 3), 15_000, ""}, {claim(2, 2), 15_000, ""}, {entry(3, 15_000, 1, 0, 0), 17_100, ""}, {entry(2, 15_000, 1, 0, 0), 17_200, "anchored 02/1, leader 02, 02/1"},
		},
		"7b: not by an open that comes too soon": {
			{claim(2, 2), 15_000, ""}, {entry(2, 15_000, 1, 0, 0), 17_000, ""},
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := New(Config{}, 0)
			if _, ok := r.Status(); ok {
				t.Error("a replica that has read nothing knows something")
			}
			read(t, r, steps)
		})
	}
}

// A joiner that finds no anchor for long goes on as if it had joined later: its memory is bounded, and it still anchors.
func TestJoinerForgets(t *testing.T) {
	r := New(Config{}, 0)
	n := uint64(0)
	for p := int64(1); p < 600_000; p += 100 { // a leader that was replaced long ago and does not notice
		n++
		read(t, r, []step{{entry(1, -50_000, 100+n, 1, -40_000), p, ""}})
		if len(r.kept) > 400 {
			t.Fatalf("%d messages kept at %d", len(r.kept), p)
		}
	}
	read(t, r, []step{
		{claim(2, 2), 620_000, ""}, {entry(2, 620_000, 1, 0, 0), 622_400, "anchored 02/1, leader 02, 02/1"},
	})

	r = New(Config{}, 0)
	for n := range 3 * maxKept {
		r.Read(entry(1, -50_000, uint64(n)+100, 1, -40_000), 1000, 0)
		if len(r.kept) > maxKept {
			t.Fatalf("%d messages kept of one instant", len(r.kept))
		}
	}
	if r.start != 1001 {
		t.Errorf("start %d after messages of 1000 were forgotten", r.start)
	}
}

func TestResetReadsAgain(t *testing.T) {
	r := New(Config{}, -1_000_000)
	read(t, r, append(began[:2:2], step{entry(1, 0, 4, 3, 3000), 5000, "hole 01/2"}, step{entry(1, 0, 2, 1, 2400), 4100, ""}))
	if _, ok := r.Status(); ok {
		t.Error("a broken replica says what it knows")
	}
	r.Reset(-1_000_000)
	read(t, r, append(began[:2:2], step{entry(1, 0, 2, 1, 2400), 4100, "01/2"}))
	if got := fmt.Sprint(r.Anomalies()); got != "[0 1 0 0 0 0]" {
		t.Errorf("anomalies %s after one hole", got)
	}
}

// TestAnomalies breaks assumptions A and B: rule 8 must show it.
func TestAnomalies(t *testing.T) {
	wrong := entry(1, 0, 3, 2, 3000)
	wrong.ChainHash = 1
	for name, c := range map[string]struct {
		steps []step
		kind  Kind
	}{
		"a certified entry was not read": {[]step{{entry(1, 0, 3, 2, 3000), 3500, ""}, {Probe{}, 4999, ""}, {Probe{}, 5000, "hole 01/2"}}, Hole},
		"a hole in a term that seems to end": {[]step{
			{entry(1, 0, 4, 3, 3000), 3500, ""}, {entry(1, 0, 3, 1, 2400), 3000, ""}, {claim(2, 2), 15_000, "hole 01/2"},
		}, Hole},
		"a smaller claim after an open that was certified": {[]step{
			{claim(2, 2), 14_900, "leader 02"}, {entry(2, 14_900, 2, 1, 17_000), 17_100, ""}, {claim(3, 3), 14_899, "smaller_claim 03/0"},
		}, SmallerClaim},
		"a void entry certifies as well": {[]step{{entry(1, 0, 3, 2, 3000), 35_000, "hole 01/2"}}, Hole},
		"far too much to park":           {[]step{{entry(1, 0, 2+maxParked, 1, 2400), 3500, "hole 01/2"}}, Hole},
		"an entry without its claim":     {[]step{{entry(2, 14_500, 1, 0, 0), 17_000, "unknown_claim 02/1"}}, UnknownClaim},
		"a smaller claim after an open": {[]step{
			{claim(2, 2), 14_900, "leader 02"}, {entry(2, 14_900, 1, 0, 0), 17_000, "02/1"}, {claim(3, 3), 14_899, "smaller_claim 03/0"},
		}, SmallerClaim},
		"a chain hash": {[]step{{entry(1, 0, 2, 1, 2400), 3000, "01/2"}, {wrong, 3500, "broken_chain 01/2"}}, BrokenChain},
	} {
		t.Run(name, func(t *testing.T) {
			r := New(Config{}, -1_000_000)
			read(t, r, append(began[:2:2], c.steps...))
			var want Anomalies
			want[c.kind] = 1
			if r.Anomalies() != want {
				t.Errorf("anomalies %v, want one %v", r.Anomalies(), c.kind)
			}
		})
	}
}

// TestTwoContents: another message under a number that was accepted, or parked.
func TestTwoContents(t *testing.T) {
	for _, seq := range []uint64{1, 3} {
		r := New(Config{}, -1_000_000)
		read(t, r, append(began[:2:2], step{entry(1, 0, 3, 0, 0), 3000, ""}))
		if got, want := describe(r.Read(entry(1, 0, seq, 0, 0), 3100, 99)), fmt.Sprintf("two_contents 01/%d", seq); got != want {
			t.Errorf("%q follows a second entry %d, want %q", got, seq, want)
		}
	}
}

// Entries of claims from before the start, or long forgotten, are nobody's fault.
func TestUnknownClaimNeedsCertainty(t *testing.T) {
	r := New(Config{}, -1000)
	read(t, r, []step{{entry(9, 999, 1, 0, 0), 4000, ""}, {entry(8, 1000, 1, 0, 0), 4000, "unknown_claim 08/1"}})

	r = New(Config{}, -1_000_000)
	read(t, r, began)
	for n := range maxClaims + 2 {
		r.Read(Claim{ID{9, byte(n), byte(n >> 8)}, 1}, 3000+int64(n), 0)
	}
	read(t, r, []step{{entry(3, 3000, 1, 0, 0), 5500, ""}, {entry(3, 3100, 1, 0, 0), 5500, "unknown_claim 03/1"}})
}
