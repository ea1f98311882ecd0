package exporter

import (
	"context"
	"slices"
	"sync"
	"time"
)

// pace bounds one signal's attempts under way as TCP bounds what it has in flight: by additive increase and multiplicative decrease
// (AIMD: Chiu and Jain 1989). A rejection for a quota halves the bound, so do round trips that have become much longer than
// they were, since then the backend only queues; each round of confirmed attempts adds one. What a backend asks for with a
// quota's rejection, RetryInfo or Retry-After, holds for all that would be sent, not only for the request that was rejected.
// Safe for concurrent use.
type pace struct {
	most int

	mu      sync.Mutex // guards all below
	limit   float64    // 1 to most
	running int
	used    bool
	waiting []chan struct{} // first come first; closed when the place is its own
	cut     time.Time       // when the limit fell last: what was sent before says nothing new
	until   time.Time       // nobody sends before
	timed   bool            // a timer for that time runs
	smooth  time.Duration   // the mean of the round trips since the limit fell; of many the latest count most
	seen    int             // how many these are
	least   [2]time.Duration
	turn    time.Time // when least[0], of the latest minutes, becomes least[1], of those before
}

const (
	// slower is how many times the least mean round trip of the latest minutes makes a queue, above slowest of extra time:
	// requests differ in size, and a backend may well take ten times as long for the largest.
	slower, slowest = 10, 500 * time.Millisecond
	leastFor        = 2 * time.Minute
)

func newPace(most int) *pace { return &pace{most: most, limit: float64(most)} }

// enter waits for a place, until ctx is done.
func (p *pace) enter(ctx context.Context) error {
	turn := make(chan struct{})
	p.mu.Lock()
	p.waiting, p.used = append(p.waiting, turn), true
	p.admitLocked()
	p.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.waiting, turn); i >= 0 {
		p.waiting = slices.Delete(p.waiting, i, i+1)
	} else {
		p.running-- // it was given the place meanwhile
		p.admitLocked()
	}
	return context.Cause(ctx)
}

// quit gives the place back of an attempt that was cut off from here: it says nothing of the backend.
func (p *pace) quit() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running--
	p.admitLocked()
}

// leave gives the place back and learns from the attempt that began at start.
func (p *pace) leave(start time.Time, f *Fault) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	full := p.running >= int(p.limit)
	p.running--
	switch {
	case f != nil && f.Verdict == Quota:
		p.until = later(p.until, now.Add(min(f.Wait, maxWait)))
		p.cutLocked(start, now)
	case f == nil || !f.Verdict.held():
		p.tookLocked(now, now.Sub(start))
		if p.queuesLocked() {
			p.cutLocked(start, now)
			if p.limit < 2 {
				p.least = [2]time.Duration{} // what takes as long by itself is no queue of ours
			}
		} else if full {
			p.limit = min(float64(p.most), p.limit+1/p.limit)
		}
	}
	p.admitLocked()
}

func (p *pace) cutLocked(start, now time.Time) {
	if start.Before(p.cut) {
		return // it was on its way when the limit fell
	}
	p.limit, p.cut = max(1, p.limit/2), now
	p.smooth, p.seen = 0, 0
}

func (p *pace) tookLocked(now time.Time, d time.Duration) {
	p.seen++
	p.smooth += (d - p.smooth) / time.Duration(min(p.seen, p.enoughLocked()))
	if p.seen < p.enoughLocked() {
		return
	}
	if now.After(p.turn) {
		p.least[1], p.least[0], p.turn = p.least[0], 0, now.Add(leastFor)
	}
	if p.least[0] == 0 || p.smooth < p.least[0] {
		p.least[0] = max(p.smooth, 1)
	}
}

// enoughLocked is how many round trips make a mean. The shortest one alone says little: one small request would make large
// ones a queue; and of those that begin together the short ones come back first.
func (p *pace) enoughLocked() int { return max(16, 2*int(p.limit)) }

func (p *pace) queuesLocked() bool {
	least := p.least[0]
	if p.least[1] > 0 {
		least = min(least, p.least[1])
	}
	return p.limit > 1 && p.seen >= p.enoughLocked() && p.smooth > max(slower*least, least+slowest)
}

// admitLocked gives the places there are to those who wait, not before a pause is over.
func (p *pace) admitLocked() {
	for p.running < int(p.limit) && len(p.waiting) > 0 {
		if pause := time.Until(p.until); pause > 0 {
			if !p.timed {
				p.timed = true
				time.AfterFunc(pause, p.resume)
			}
			return
		}
		p.running++
		close(p.waiting[0])
		p.waiting[0] = nil
		p.waiting = p.waiting[1:]
	}
}

func (p *pace) resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timed = false
	p.admitLocked()
}

func (p *pace) fill(s *Stats) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.used {
		return
	}
	s.Running, s.Limit, s.Most, s.RoundTrip = s.Running+p.running, s.Limit+p.limit, s.Most+p.most, max(s.RoundTrip, p.smooth)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
