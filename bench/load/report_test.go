package load

import (
	"cmp"
	"errors"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"tailweir/bench/ledger"
)

// A gap is a time in which a trace may have been decided: it has to be found whichever way the payloads were published
// within the times of their tries, and it must not be found where there is none.
func TestGaps(t *testing.T) {
	for _, tt := range []struct {
		name string
		sent []span // ms
		want bool
	}{
		{"one payload, however long it took", []span{{0, 30_000}}, false},
		{"close together", []span{{0, 10}, {4_000, 4_010}, {8_000, 8_010}}, false},
		{"far apart", []span{{0, 10}, {11_000, 11_010}}, true},
		{"the first took long: it came last, or long before the second", []span{{0, 30_000}, {1_000, 1_010}}, true},
		{"the last took long", []span{{0, 10}, {5_000, 11_000}}, true},
		{"two of one payload", []span{{0, 10}, {0, 10}, {11_000, 11_010}, {11_000, 11_010}}, true},
		{"one between", []span{{0, 10}, {9_000, 9_010}, {12_000, 12_010}}, false},
		{"one that may have been between, or not", []span{{0, 20_000}, {1_000, 1_010}, {15_000, 15_010}}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			start := time.UnixMilli(0)
			b := newBook(Config{Run: ledger.Run{ID: 1, Seed: 1}, Gap: 10 * time.Second}, start)
			b.begun(1)
			b.left[0] = 100
			for _, s := range tt.sent {
				b.settle(&Payload{Items: []Item{{}}}, outcome{
					tries: 1, begun: start.Add(time.Duration(s.from) * time.Millisecond), took: time.Duration(s.to-s.from) * time.Millisecond,
				})
			}
			r := b.report(time.Minute)
			if got := len(r.Delayed) == 1; got != tt.want {
				t.Errorf("may have been decided between two payloads: %v, want %v", got, tt.want)
			}
			last := slices.MaxFunc(tt.sent, func(x, y span) int { return cmp.Compare(x.from, y.from) }).from
			if diff := gocmp.Diff([]int64{int64(last)}, r.Ended); diff != "" {
				t.Errorf("ended (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFailedPayloadsMakeTracesIncomplete(t *testing.T) {
	b := newBook(Config{Run: ledger.Run{ID: 1, Seed: 1}}, time.Now())
	b.begun(1)
	b.left[0] = 2
	b.settle(&Payload{Items: []Item{{}}}, outcome{tries: 1})
	b.settle(&Payload{Items: []Item{{}}}, outcome{tries: 3, err: errors.New("status 503")})
	r := b.report(time.Second)
	if diff := gocmp.Diff([]uint32{0}, r.Incomplete); diff != "" || r.Retries != 2 || r.Acked != 1 || r.Failed != 1 {
		t.Errorf("incomplete (-want +got):\n%s%d retries, %d acked, %d failed", diff, r.Retries, r.Acked, r.Failed)
	}
}
