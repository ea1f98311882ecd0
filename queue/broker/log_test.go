package broker

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLogFreesInAnyOrder(t *testing.T) {
	var l chunkLog[message]
	const n = 5*chunkLen + 7
	for i := range n {
		if got := l.append(&message{}); got != int64(i) {
			t.Fatalf("offset %d, want %d", got, i)
		}
	}
	for i := n - 1; i >= chunkLen; i-- {
		l.drop(int64(i))
	}
	if l.live != chunkLen {
		t.Errorf("%d live, want %d", l.live, chunkLen)
	}
	for i := range chunkLen {
		l.drop(int64(i))
	}
	if l.live != 0 || len(l.chunks) > 1 {
		t.Errorf("%d live in %d chunks after all drops, want 0 in at most 1", l.live, len(l.chunks))
	}
	if at := l.append(&message{}); at != n {
		t.Errorf("offset %d after the drops, want %d", at, n)
	}
	l.drop(n)
}

func TestLogYieldsWhatIsLeftInOrder(t *testing.T) {
	var l chunkLog[message]
	const n = 4 * chunkLen
	for range n {
		l.append(&message{})
	}
	var want, got []int64
	for i := range int64(n) {
		if i/chunkLen == 2 || i%7 == 0 {
			l.drop(i)
		} else {
			want = append(want, i)
		}
	}
	for _, drop := range []bool{false, true} {
		got = nil
		for at, item := range l.from(0) {
			if item != l.at(at) {
				t.Fatalf("another item at %d", at)
			}
			got = append(got, at)
			if drop {
				l.drop(at)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("offsets (-want +got):\n%s", diff)
		}
	}
	if l.live != 0 || l.at(5) != nil || l.at(n) != nil {
		t.Errorf("%d live after all drops", l.live)
	}
	for at := range l.from(3) {
		t.Errorf("item %d after all drops", at)
	}
}

func TestFIFOKeepsOrderAcrossGrowth(t *testing.T) {
	var q fifo[int]
	var want, got []int
	for i := range 10_000 {
		q.push(i)
		want = append(want, i)
		if i%3 == 0 {
			got = append(got, q.pop())
		}
	}
	for q.len() > 0 {
		got = append(got, q.pop())
	}
	if !slices.Equal(got, want) {
		t.Errorf("order lost: %d values out", len(got))
	}
}
