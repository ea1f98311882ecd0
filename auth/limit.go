package auth

import (
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// limitSpan is how many seconds of a limit may be used at once: apps send in bursts, a batch every 5 s.
const limitSpan = 10

// use counts and bounds the use of a key.
type use struct {
	*counts
	limit      Limit
	byRequests *rate.Limiter // nil: unbounded
	byBytes    *rate.Limiter
}

type counts struct {
	requests, limited, bytes atomic.Uint64
}

func newUse(l Limit) *use {
	u := &use{counts: new(counts), limit: l}
	if l.Requests > 0 {
		u.byRequests = rate.NewLimiter(rate.Limit(l.Requests), l.Requests*limitSpan)
	}
	if l.Bytes > 0 {
		u.byBytes = rate.NewLimiter(rate.Limit(l.Bytes), int(l.Bytes)*limitSpan)
	}
	return u
}

// take counts a request, or returns how long it has to wait. What its body takes is known only when it is read, so the bytes of those
// before are what counts: a request may go over the limit, and those after it wait until that is made good.
func (u *use) take(now time.Time) (wait time.Duration) {
	if u.byBytes != nil {
		if t := u.byBytes.TokensAt(now); t < 0 {
			wait = time.Duration(-t / float64(u.limit.Bytes) * float64(time.Second))
		}
	}
	if wait <= 0 && u.byRequests != nil {
		r := u.byRequests.ReserveN(now, 1)
		if wait = r.DelayFrom(now); wait > 0 {
			r.CancelAt(now)
		}
	}
	if wait > 0 {
		u.limited.Add(1)
		return wait
	}
	u.requests.Add(1)
	return 0
}

// sent charges the body of a request that was taken.
func (u *use) sent(bytes int) {
	u.bytes.Add(uint64(bytes))
	if u.byBytes == nil {
		return
	}
	now := time.Now()
	for most := u.byBytes.Burst(); bytes > 0; bytes -= most {
		u.byBytes.ReserveN(now, min(bytes, most)) // more than the burst at once would be refused
	}
}
