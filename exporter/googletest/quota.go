package googletest

import (
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
)

// Quota is what a service takes: a bucket that is refilled evenly. A request passes when what it costs is in it; one that costs more
// than the bucket holds passes when it is full and leaves a debt, so that none is too large for ever. The zero Quota is none.
type Quota struct {
	PerSecond float64
	Burst     float64       // what the bucket holds, and has at first; 0 = one second's worth
	Items     bool          // a request costs its spans or entries; otherwise 1
	RetryInfo time.Duration // a detail of the refusals, if not 0
}

// bucket is a quota at work.
type bucket struct {
	mu    sync.Mutex
	quota Quota
	level float64
	at    time.Time // when level was right
}

func newBucket(q Quota, now time.Time) *bucket {
	if q.Burst == 0 {
		q.Burst = q.PerSecond
	}
	return &bucket{quota: q, level: q.Burst, at: now}
}

// take answers RESOURCE_EXHAUSTED when there is too little in the bucket.
func (b *bucket) take(c *Call, now time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.quota.PerSecond == 0 {
		return nil
	}
	b.level = min(b.quota.Burst, b.level+now.Sub(b.at).Seconds()*b.quota.PerSecond)
	b.at = now
	cost := 1.0
	if b.quota.Items {
		cost = float64(c.Items)
	}
	if b.level < min(cost, b.quota.Burst) {
		return failure(codes.ResourceExhausted, fmt.Sprintf(
			"Quota exceeded for quota metric 'Write requests' and limit 'Write requests per minute' of service '%s.googleapis.com'", c.API), b.quota.RetryInfo)
	}
	b.level -= cost
	return nil
}
