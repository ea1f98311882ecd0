package load

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tailweir/bench/ledger"
)

// A gap is a time in which a trace may have been decided: it has to be found whichever way the payloads were published
// within the times of their tries, and it must not be found where there is none.
func TestGaps(t *testing.T) {
	for _, tt := range []struct {
		name string
		sent []span // ms
		want []ledger.Gap
	}{
		{"one payload, however long it took", []span{{0, 30_000}}, nil},
		{"close together", []span{{0, 10}, {4_000, 4_010}, {8_000, 8_010}}, nil},
		{"far apart", []span{{0, 10}, {11_000, 11_010}}, []ledger.Gap{{From: 0, To: 11_010}}},
		{"the first took long: it came last, or long before the second", []span{{0, 30_000}, {1_000, 1_010}}, []ledger.Gap{{From: 1_000, To: 30_000}}},
		{"the last took long", []span{{0, 10}, {5_000, 11_000}}, []ledger.Gap{{From: 0, To: 11_000}}},
		{"two of one payload", []span{{0, 10}, {0, 10}, {11_000, 11_010}, {11_000, 11_010}}, []ledger.Gap{{From: 0, To: 11_010}}},
		{"one between", []span{{0, 10}, {9_000, 9_010}, {12_000, 12_010}}, nil},
		{"one that may have been between, or not", []span{{0, 20_000}, {1_000, 1_010}, {15_000, 15_010}},
			[]ledger.Gap{{From: 1_000, To: 15_010}}},
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
			if diff := cmp.Diff(tt.want, b.report(time.Minute).Gaps); diff != "" {
				t.Errorf("gaps (-want +got):\n%s", diff)
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
	if diff := cmp.Diff([]uint32{0}, r.Incomplete); diff != "" || r.Retries != 2 || r.Acked != 1 || r.Failed != 1 {
		t.Errorf("incomplete (-want +got):\n%s%d retries, %d acked, %d failed", diff, r.Retries, r.Acked, r.Failed)
	}
}
