package fleet

import (
	"slices"
	"time"
)

// LatencyBounds are the upper bounds of a Latency's buckets, in seconds. They are close together where a decision with the
// default slack of 3 s comes.
var LatencyBounds = [...]float64{
	.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 1.5, 2, 2.5, 3, 3.25, 3.5, 3.75, 4, 4.25, 4.5, 5, 6, 8, 10, 15, 20, 30, 60, 120, 300, 600,
}

// Latency is a histogram of how long something took. It is not safe for concurrent use.
type Latency struct {
	Counts [len(LatencyBounds) + 1]int64 // by bound; the last has none
	Sum    time.Duration
}

// Add counts n events that took d; less than nothing, by clocks that differ, is nothing.
func (l *Latency) Add(d time.Duration, n int64) {
	d = max(0, d)
	i, _ := slices.BinarySearch(LatencyBounds[:], d.Seconds())
	l.Counts[i] += n
	l.Sum += time.Duration(n) * d
}
