package console

import (
	"sync"
	"time"
)

const (
	rateWindow = time.Minute            // what the sparkline shows
	rateNow    = 5 * time.Second        // what "now" averages over: an SDK sends every 1 to 5 s
	rateGap    = 700 * time.Millisecond // samples closer together than this are skipped
)

// rates remembers the counters of the last minute. The zero value is ready; safe for concurrent
// use; at most rateWindow/rateGap+2 samples are held.
type rates struct {
	mu      sync.Mutex
	samples []rateSample // oldest first
}

type rateSample struct {
	at             time.Time
	received, kept int64
}

// ratePoint is a rate per second over the interval that ends at `at`.
type ratePoint struct {
	at             time.Time
	received, kept float64
}

func (r *rates) add(now time.Time, received, kept int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.samples); n > 0 && now.Sub(r.samples[n-1].at) < rateGap {
		return
	}
	old := 0
	for old < len(r.samples) && now.Sub(r.samples[old].at) > rateWindow {
		old++
	}
	r.samples = append(r.samples[:0], r.samples[old:]...)
	r.samples = append(r.samples, rateSample{now, received, kept})
}

// now is the rate over the last rateNow, or over what is known when that is less; 0 when the
// counters of fewer than two moments are known.
func (r *rates) now() ratePoint {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(r.samples)
	if n < 2 {
		return ratePoint{}
	}
	last, first := r.samples[n-1], n-2
	for first > 0 && last.at.Sub(r.samples[first].at) < rateNow {
		first--
	}
	return rateBetween(r.samples[first], last)
}

// history is the rate between every two neighbouring samples, oldest first.
func (r *rates) history() []ratePoint {
	r.mu.Lock()
	defer r.mu.Unlock()
	var points []ratePoint
	for i := 1; i < len(r.samples); i++ {
		points = append(points, rateBetween(r.samples[i-1], r.samples[i]))
	}
	return points
}

func rateBetween(a, b rateSample) ratePoint {
	s := b.at.Sub(a.at).Seconds()
	return ratePoint{b.at, max(0, float64(b.received-a.received)/s), max(0, float64(b.kept-a.kept)/s)}
}
