package member

import (
	"testing"
	"time"
)

// From four to eight workers, what wakes all of them together stays the same.
func TestPace(t *testing.T) {
	for members, want := range map[int]time.Duration{1: 200 * time.Millisecond, 4: 200 * time.Millisecond, 6: 300 * time.Millisecond, 8: 400 * time.Millisecond, 50: 400 * time.Millisecond} {
		l := &lead{seats: map[[16]byte]*seat{}}
		for i := range members {
			l.seats[[16]byte{byte(i)}] = nil
		}
		if got := l.pace(); got != want {
			t.Errorf("%d members: an entry each %v, want %v", members, got, want)
		}
	}
}
