package exporter

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Whatever pieces are bad, exactly those are refused, each other is confirmed once and in order, with few requests.
func TestHalve(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		n, share := 1+r.IntN(40), r.IntN(5)
		var bad, good, refused, confirmed []int
		for i := range n {
			if r.IntN(4) < share {
				bad = append(bad, i)
			} else {
				good = append(good, i)
			}
		}
		requests := 0
		err := Halve(n, func(first, end int) error {
			requests++
			for i := first; i < end; i++ {
				if slices.Contains(bad, i) {
					return &Fault{Code: "400"}
				}
			}
			for i := first; i < end; i++ {
				confirmed = append(confirmed, i)
			}
			return nil
		}, func(i int, _ *Fault) { refused = append(refused, i) })
		if diff := cmp.Diff([][]int{bad, good}, [][]int{refused, confirmed}); err != nil || diff != "" || requests > 2*n-1 {
			t.Fatalf("seed %d: %v, %d requests for %d; refused and confirmed (-want +got):\n%s", seed, err, requests, n, diff)
		}
	}
}

func TestHalveEnds(t *testing.T) {
	cut := errors.New("cut")
	for name, tt := range map[string]struct {
		answer  error
		want    error
		refused []int
		sent    int
	}{
		"held":                {&Fault{Code: "503", Verdict: Busy}, nil, nil, 1},
		"not a fault":         {cut, cut, nil, 1},
		"rejected one by one": {&Fault{Code: "all", Verdict: Rejected}, nil, []int{0, 1, 2}, 1},
	} {
		sent, refused := 0, []int(nil)
		err := Halve(3, func(int, int) error { sent++; return tt.answer }, func(i int, _ *Fault) { refused = append(refused, i) })
		if (err == nil) != (tt.refused != nil) || tt.want != nil && !errors.Is(err, tt.want) || !slices.Equal(refused, tt.refused) || sent != tt.sent {
			t.Errorf("%s: %v, refused %v after %d requests", name, err, refused, sent)
		}
	}
	if err := Halve(0, func(int, int) error { return cut }, nil); err != nil {
		t.Errorf("nothing to deliver: %v", err)
	}
}

func TestRefuseMerges(t *testing.T) {
	b := &Batch{Parts: []Part{{Items: 4}, {Items: 2}, {Items: 3}}}
	old, bad := errors.New("old"), errors.New("bad")
	err := Refuse(b, []Refusal{
		{Part: 2, Items: []int{2}, Reason: ReasonAge, Err: old}, {Part: 0, Items: []int{3}, Reason: ReasonAge, Err: old},
		{Part: 1, Items: []int{1}, Reason: ReasonLimit, Err: bad}, {Part: 0, Items: []int{0, 3}, Reason: ReasonRejected, Err: bad},
		{Part: 1, Items: []int{0}, Reason: ReasonLimit, Err: bad}, {Part: 2, Reason: ReasonRejected, Err: bad},
	})
	pe, ok := errors.AsType[*PermanentError](err)
	if !ok || Refuse(b, nil) != nil {
		t.Fatal(err)
	}
	type short struct {
		Part   int
		Items  []int
		Reason string
	}
	var got []short
	for _, r := range pe.Refused {
		got = append(got, short{r.Part, r.Items, r.Reason})
	}
	want := []short{{0, []int{0, 3}, ReasonAge}, {1, nil, ReasonLimit}, {2, nil, ReasonAge}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if want := "export signal(0) to old; bad"; err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
}

// Where much is at fault not much is sent in vain, and nobody is refused who would have been taken.
func TestHalveIsBounded(t *testing.T) {
	const n = 4000
	rnd := rand.New(rand.NewPCG(6, 6))
	for name, test := range map[string]struct {
		bad  func(i int) bool
		most int
	}{
		"all":              {func(int) bool { return true }, n + 30},
		"none":             {func(int) bool { return false }, 1},
		"one":              {func(i int) bool { return i == 2777 }, 25},
		"the first 100":    {func(i int) bool { return i < 100 }, 160},
		"all but the last": {func(i int) bool { return i < n-1 }, n + 30},
		"every second":     {func(i int) bool { return i%2 == 0 }, 2 * n},
		"one in ten":       {func(int) bool { return rnd.IntN(10) == 0 }, n * 3 / 4},
		"nine in ten":      {func(int) bool { return rnd.IntN(10) > 0 }, n * 7 / 4},
	} {
		t.Run(name, func(t *testing.T) {
			bad, taken, out, sent := make([]bool, n), make([]int, n), make([]int, n), 0
			for i := range bad {
				bad[i] = test.bad(i)
			}
			err := Halve(n, func(first, end int) error {
				sent++
				if slices.Contains(bad[first:end], true) {
					return &Fault{Code: "INVALID_ARGUMENT", Msg: "the same of all", Verdict: Refused}
				}
				for i := first; i < end; i++ {
					taken[i]++
				}
				return nil
			}, func(i int, _ *Fault) { out[i]++ })
			if err != nil {
				t.Fatal(err)
			}
			for i := range bad {
				if want := map[bool][2]int{true: {0, 1}, false: {1, 0}}[bad[i]]; [2]int{taken[i], out[i]} != want {
					t.Errorf("%d: taken %d times, refused %d times, at fault: %t", i, taken[i], out[i], bad[i])
				}
			}
			if sent > test.most {
				t.Errorf("%d requests, want %d at most", sent, test.most)
			}
		})
	}
}
