package probe

import (
	"math"
	"math/bits"
	"time"
)

// perOctave is the number of buckets between a duration and its double: quantiles are too large by at most 1.6 %.
const perOctave = 64

// histogram counts durations in memory that does not grow with them. The zero value is ready.
type histogram struct {
	n, over1400, over4000 int64
	max                   time.Duration
	buckets               [48 * perOctave]int64 // by microseconds
}

func (h *histogram) add(d time.Duration) {
	h.n++
	h.max = max(h.max, d)
	if d > resend {
		h.over1400++
	}
	if d > stepDown {
		h.over4000++
	}
	h.buckets[bucket(d)]++
}

// bucket is the duration itself below 64 µs, then 64 equal parts of each octave.
func bucket(d time.Duration) int {
	us := uint64(max(d, 0).Microseconds())
	octave := max(bits.Len64(us)-7, 0)
	return octave*perOctave + int(us>>octave)
}

// quantile returns what the share q of the durations does not exceed, 0 if there are none.
func (h *histogram) quantile(q float64) time.Duration {
	rank, seen := int64(math.Ceil(q*float64(h.n))), int64(0)
	for i, n := range h.buckets {
		if seen += n; n > 0 && seen >= rank {
			octave := max(i/perOctave-1, 0)
			upper := (uint64(i-octave*perOctave)+1)<<octave - 1
			return min(time.Duration(upper)*time.Microsecond, h.max)
		}
	}
	return h.max
}

// merge adds what another one counted.
func (h *histogram) merge(o *histogram) {
	h.n, h.over1400, h.over4000 = h.n+o.n, h.over1400+o.over1400, h.over4000+o.over4000
	h.max = max(h.max, o.max)
	for i, n := range o.buckets {
		h.buckets[i] += n
	}
}
