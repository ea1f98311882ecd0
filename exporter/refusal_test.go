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
