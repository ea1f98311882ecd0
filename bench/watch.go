package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// life is one process of a worker.
type life struct {
	p *part
	n int
}

// look is what a worker last said of itself.
type look struct {
	stats
	at time.Time
}

// watch keeps what each worker says, for each of its lives, and checks that it adds up. A worker that stands still keeps
// nobody else from being looked at.
func (r *round) watch(ctx context.Context) error {
	ticker := time.NewTicker(250 * time.Millisecond)
	defer ticker.Stop()
	var asked sync.Map // by part
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		for _, p := range r.workers() {
			if _, busy := asked.LoadOrStore(p, true); !busy {
				go func() {
					defer asked.Delete(p)
					r.look(ctx, p)
				}()
			}
		}
	}
}

func (r *round) look(ctx context.Context, p *part) {
	n := p.life()
	s, err := p.ask(ctx)
	if err != nil || p.life() != n {
		return // it is down, or stopped
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.looks[life{p, n}] = look{s, time.Now()}
	r.most = max(r.most, s.Held.Bytes)
	if err := s.addsUp(); err != nil && r.miscount == nil {
		r.miscount = fmt.Errorf("%s: %w", p.name, err)
	}
}

// workers are those that run or will again.
func (r *round) workers() []*part {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.crew)
}

// sequencer is the worker that leads, as far as it is known: none for a while after one died.
func (r *round) sequencer() (all []*part) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.crew {
		if l := r.looks[life{p, p.life()}]; l.Fleet.Phase == "leading" && time.Since(l.at) < 2*time.Second {
			all = append(all, p)
		}
	}
	return all
}

// total adds up all lives of all workers.
func (r *round) total() (sum stats) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.looks {
		sum = sum.plus(l.stats)
	}
	return sum
}

func (s stats) addsUp() error {
	for _, c := range []struct {
		what                                                             string
		received, kept, dropped, dead, returned, duplicate, under, total int
	}{
		{"spans", s.Received.Spans, s.Kept.Spans, s.Dropped.Spans, s.Deadlettered.Spans, s.Returned.Spans, s.Duplicate.Spans, s.InFlight.Spans, 0},
		{"traces", s.Received.Traces, s.Kept.Traces, s.Dropped.Traces, s.Deadlettered.Traces, s.Returned.Traces, s.Duplicate.Traces, s.InFlight.Traces, 0},
		{"logs", s.Received.Logs, s.Kept.Logs, s.Dropped.Logs, s.Deadlettered.Logs, s.Returned.Logs, s.Duplicate.Logs, s.InFlight.Logs, 0},
	} {
		if sum := c.kept + c.dropped + c.dead + c.returned + c.duplicate + c.under; sum != c.received {
			return fmt.Errorf("counters of %s do not add up: received %d, sum %d", c.what, c.received, sum)
		}
	}
	return nil
}
