package exporter

import (
	"context"
	"slices"
	"sync"
	"time"
)

// pace bounds the attempts under way as TCP bounds what it has in flight: by additive increase and multiplicative decrease
// (AIMD: Chiu and Jain 1989). A rejection for a quota halves the bound, so do round trips that have become much longer than
// they were, since then the backend only queues; each round of confirmed attempts adds one. What a backend asks for with a
// quota's rejection, RetryInfo or Retry-After, holds for all that would be sent, not only for the request that was rejected.
// Safe for concurrent use.
type pace struct {
	most int

	mu      sync.Mutex // guards all below
	limit   float64    // 1 to most
	running int
	waiting []chan struct{} // to be closed, first come first
	cut     time.Time       // when the limit fell last: what was sent before says nothing new
	until   time.Time       // nobody sends before
	smooth  time.Duration   // of round trips: seven parts of the past, one of the latest
	least   [2]time.Duration
	turn    time.Time // when least[0], of the latest minutes, becomes least[1], of those before
}

const (
	// slower is how many times the shortest round trip of the latest minutes makes a queue, above slowest of extra time: requests differ in size,
	// and a backend may well take ten times as long for the largest.
	slower, slowest = 10, 500 * time.Millisecond
	leastFor        = 2 * time.Minute
)

func newPace(most int) *pace { return &pace{most: most, limit: float64(most)} }

// enter waits for a place, until ctx is done.
func (p *pace) enter(ctx context.Context) error {
	for {
		p.mu.Lock()
		pause := time.Until(p.until)
		if pause <= 0 && p.running < int(p.limit) {
			p.running++
			p.mu.Unlock()
			return nil
		}
		turn := make(chan struct{})
		if pause <= 0 {
			p.waiting = append(p.waiting, turn)
		}
		p.mu.Unlock()
		if pause > 0 {
			if !sleep(ctx, pause) {
				return context.Cause(ctx)
			}
			continue
		}
		select {
		case <-turn:
		case <-ctx.Done():
			p.mu.Lock()
			p.waiting = slices.DeleteFunc(p.waiting, func(c chan struct{}) bool { return c == turn })
			p.wakeLocked() // in case it was its turn
			p.mu.Unlock()
			return context.Cause(ctx)
		}
	}
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
		} else if full {
			p.limit = min(float64(p.most), p.limit+1/p.limit)
		}
	}
	p.wakeLocked()
}

func (p *pace) cutLocked(start, now time.Time) {
	if start.Before(p.cut) {
		return // it was on its way when the limit fell
	}
	p.limit, p.cut = max(1, p.limit/2), now
	p.smooth = 0
}

func (p *pace) tookLocked(now time.Time, d time.Duration) {
	if p.smooth == 0 {
		p.smooth = d
	}
	p.smooth += (d - p.smooth) / 8
	if now.After(p.turn) {
		p.least[1], p.least[0], p.turn = p.least[0], 0, now.Add(leastFor)
	}
	if p.least[0] == 0 || d < p.least[0] {
		p.least[0] = max(d, 1)
	}
}

func (p *pace) queuesLocked() bool {
	least := p.least[0]
	if p.least[1] > 0 {
		least = min(least, p.least[1])
	}
	return p.limit > 1 && p.smooth > max(slower*least, least+slowest)
}

// wakeLocked wakes as many as there are places; who was woken and finds none waits anew.
func (p *pace) wakeLocked() {
	for n := int(p.limit) - p.running; n > 0 && len(p.waiting) > 0; n-- {
		close(p.waiting[0])
		p.waiting[0] = nil
		p.waiting = p.waiting[1:]
	}
}

func (p *pace) fill(s *Stats) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.Running, s.Limit, s.Most, s.RoundTrip = p.running, p.limit, p.most, p.smooth
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
