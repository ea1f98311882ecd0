package exporter

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tailweir/otlp"
)

// shop is a backend of so many requests a second: the rest are rejected for the quota, with or without a RetryInfo.
type shop struct {
	mu             sync.Mutex
	rate           int
	asks           time.Duration
	second         time.Time
	taken, refused int
}

func (s *shop) serve(ctx context.Context) *Fault {
	sleep(ctx, 20*time.Millisecond)
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now().Truncate(time.Second); now != s.second {
		s.second = now
		s.taken = 0
	}
	if s.taken >= s.rate {
		s.refused++
		return &Fault{Endpoint: "e", Code: "RESOURCE_EXHAUSTED", Verdict: Quota, Wait: s.asks}
	}
	s.taken++
	return nil
}

// swamp has n senders deliver without a pause for a while, and returns how many requests were confirmed.
func swamp(t *testing.T, c *Courier, n int, length time.Duration, attempt func(context.Context) *Fault) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	var done atomic.Int64
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			for ctx.Err() == nil {
				if c.Deliver(ctx, otlp.Traces, attempt) == nil {
					done.Add(1)
				}
			}
		})
	}
	wg.Wait()
	return int(done.Load())
}

// Sixteen senders against a quota of 20 a second: what they get through is the quota, more or less, and few requests are wasted.
func TestPaceFitsTheQuota(t *testing.T) {
	for name, asks := range map[string]time.Duration{"with RetryInfo": time.Second, "without": 0} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &shop{rate: 20, asks: asks}
				c := NewCourier(CourierConfig{Concurrency: 16, Logger: silent})
				got := swamp(t, c, 16, 2*time.Minute, s.serve)
				if got < 20*120/3 || got > 20*121 {
					t.Errorf("%d requests confirmed in 2 minutes, want most of %d", got, 20*120)
				}
				if s.refused > got/2 {
					t.Errorf("%d requests were rejected for the quota, and %d confirmed", s.refused, got)
				}
				st := c.Stats()
				if st.Attempts != int64(got+s.refused) || st.Failures["RESOURCE_EXHAUSTED"] != int64(s.refused) || st.Running != 0 {
					t.Errorf("stats %+v, want %d attempts", st, got+s.refused)
				}
			})
		})
	}
}

// Once the quota is gone all places come back.
func TestPaceRecovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shop{rate: 5}
		c := NewCourier(CourierConfig{Concurrency: 16, Logger: silent})
		swamp(t, c, 16, time.Minute, s.serve)
		if limit := c.Stats().Limit; limit > 4 {
			t.Fatalf("limit %v under a quota that 16 senders exceed, want few", limit)
		}
		s.rate = 1 << 30
		swamp(t, c, 16, time.Minute, s.serve)
		if st := c.Stats(); st.Limit != 16 || st.Failing != "" {
			t.Errorf("limit %v a minute after the quota was raised, failing %q; want 16", st.Limit, st.Failing)
		}
	})
}

// A backend that serves one after another and lets the others wait: more at once gains nothing.
func TestPaceLeavesAQueueAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		counter := make(chan struct{}, 1)
		slow := atomic.Bool{}
		serve := func(context.Context) *Fault {
			if !slow.Load() {
				time.Sleep(20 * time.Millisecond)
				return nil
			}
			counter <- struct{}{}
			time.Sleep(200 * time.Millisecond)
			<-counter
			return nil
		}
		c := NewCourier(CourierConfig{Concurrency: 16, Timeout: time.Minute, Logger: silent})
		swamp(t, c, 16, 10*time.Second, serve)
		if limit := c.Stats().Limit; limit != 16 {
			t.Fatalf("limit %v of a healthy backend, want 16", limit)
		}
		slow.Store(true)
		swamp(t, c, 16, 30*time.Second, serve)
		if limit := c.Stats().Limit; limit > 8 {
			t.Errorf("limit %v although round trips take 16 times the shortest, want less", limit)
		}
	})
}

// What the backend asks of one holds for all.
func TestPacePausesAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start, first := time.Now(), true
		c := NewCourier(CourierConfig{Concurrency: 4, Logger: silent})
		var early atomic.Int64
		swamp(t, c, 4, 10*time.Second, func(ctx context.Context) *Fault {
			if first {
				first = false
				return &Fault{Code: "429", Verdict: Quota, Wait: 8 * time.Second}
			}
			if d := time.Since(start); d > 0 && d < 8*time.Second {
				early.Add(1)
			}
			sleep(ctx, 50*time.Millisecond)
			return nil
		})
		if early.Load() > 0 {
			t.Errorf("%d requests were sent while the backend had asked for a pause", early.Load())
		}
	})
}

// A sender that gives up in the queue for a place does not take a turn with it.
func TestPaceForgetsWhoLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPace(1)
		if err := p.enter(t.Context()); err != nil {
			t.Fatal(err)
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		gone, served := make(chan error), make(chan error)
		go func() { gone <- p.enter(short) }()
		synctest.Wait()
		go func() { served <- p.enter(t.Context()) }()
		if err := <-gone; !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("enter: %v", err)
		}
		p.leave(time.Now(), nil)
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

// INTERNAL may be the backend's fault or the data's: it is tried for a while, then refused.
func TestUnsureIsRefusedInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, tries, start := NewCourier(CourierConfig{Logger: silent}), 0, time.Now()
		err := c.Deliver(t.Context(), otlp.Logs, func(context.Context) *Fault {
			tries++
			return &Fault{Code: "INTERNAL", Verdict: Unsure}
		})
		f, ok := errors.AsType[*Fault](err)
		if !ok || f.Verdict != Refused || tries != unsureTries {
			t.Errorf("%v after %d tries, want it refused after %d", err, tries, unsureTries)
		}
		if d := time.Since(start); d < 10*time.Second || d > 2*time.Minute {
			t.Errorf("refused after %v, want about half a minute", d)
		}
	})
}
