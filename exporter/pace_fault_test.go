package exporter

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tailweir/otlp"
)

// Who was given a turn during a pause and gives up leaves it to the next.
func TestPaceTurnOutlivesItsSender(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPace(1)
		if err := p.enter(t.Context()); err != nil {
			t.Fatal(err)
		}
		short, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		gone, served := make(chan error, 1), make(chan error, 1)
		go func() { gone <- p.enter(short) }()
		synctest.Wait()
		go func() { served <- p.enter(t.Context()) }()
		synctest.Wait()
		p.leave(time.Now(), &Fault{Verdict: Quota, Wait: 10 * time.Second})
		<-gone
		select {
		case err := <-served:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(time.Minute):
			t.Fatal("nobody is under way, and one waits for a place for ever")
		}
	})
}

// First come, first served: a sender that comes back at once does not overtake those who wait.
func TestPaceIsFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewCourier(CourierConfig{Concurrency: 1, Logger: silent})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var done [8]atomic.Int64
		for i := range done {
			go func() {
				for ctx.Err() == nil {
					_ = c.Deliver(ctx, otlp.Traces, func(ctx context.Context) *Fault { sleep(ctx, 20*time.Millisecond); return nil })
					done[i].Add(1)
				}
			}()
		}
		<-ctx.Done()
		synctest.Wait()
		for i := range done {
			if n := done[i].Load(); n < 300 || n > 450 {
				t.Errorf("sender %d got %d turns of 3000, want an eighth", i, n)
			}
		}
	})
}

// A quota for spans, or a backend for them that does not answer, is nothing to log records.
func TestPaceIsOfOneSignal(t *testing.T) {
	for name, f := range map[string]*Fault{
		"quota": {Code: "RESOURCE_EXHAUSTED", Verdict: Quota, Wait: 5 * time.Minute},
		"hangs": nil,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := NewCourier(CourierConfig{Concurrency: 4, Timeout: time.Hour, Logger: silent})
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				for range 8 {
					go func() {
						_ = c.Deliver(ctx, otlp.Traces, func(ctx context.Context) *Fault {
							if f != nil {
								return f
							}
							<-ctx.Done()
							return &Fault{Code: "DEADLINE_EXCEEDED", Verdict: Busy}
						})
					}()
				}
				synctest.Wait()
				if err := c.Deliver(ctx, otlp.Logs, func(context.Context) *Fault { return nil }); err != nil {
					t.Errorf("logs wait for spans: %v", err)
				}
				cancel()
				synctest.Wait()
			})
		})
	}
}

// Attempts that were cut off say nothing of how fast the backend is.
func TestPaceLearnsNothingFromWhatIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		serve := func(ctx context.Context) *Fault {
			if !sleep(ctx, 800*time.Millisecond) {
				return &Fault{Code: "CANCELLED", Verdict: Busy}
			}
			return nil
		}
		c := NewCourier(CourierConfig{Concurrency: 16, Logger: silent})
		swamp(t, c, 16, 10*time.Second, serve)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Millisecond, cancel)
		_ = c.Deliver(ctx, otlp.Traces, serve)
		if got := swamp(t, c, 16, time.Minute, serve); got < 16*60*1000/800*9/10 {
			t.Errorf("%d requests in a minute, of 16 at once that take 800 ms each", got)
		}
		if s := c.Stats(); s.Failing != "" {
			t.Errorf("failing %q", s.Failing)
		}
	})
}

// Round trips that are long because requests are large, or the backend is far, are no queue: fewer at once gain nothing.
func TestPaceKnowsSizeFromQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		large := atomic.Bool{}
		serve := func(ctx context.Context) *Fault {
			d := 20 * time.Millisecond
			if large.Load() || rand.IntN(2) == 0 {
				d = 1500 * time.Millisecond
			}
			sleep(ctx, d)
			return nil
		}
		c := NewCourier(CourierConfig{Concurrency: 16, Logger: silent})
		if got, most := swamp(t, c, 16, 10*time.Minute, serve), 600*16*1000/760; got < most/2 {
			t.Errorf("large and small: %d requests in 10 minutes, of %d", got, most)
		}
		large.Store(true)
		if got, most := swamp(t, c, 16, 10*time.Minute, serve), 600*16*1000/1500; got < most/2 {
			t.Errorf("large ones: %d requests in 10 minutes, of %d", got, most)
		}
	})
}

// After 10 minutes of everything that can go wrong all places are used again.
func TestPaceRecoversFromFaults(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 6))
			var mu sync.Mutex
			well := atomic.Bool{}
			serve := func(ctx context.Context) *Fault {
				mu.Lock()
				d, kind, wait := time.Duration(1+r.IntN(100))*time.Millisecond, r.IntN(12), time.Duration(r.IntN(20))*time.Second
				mu.Unlock()
				if well.Load() {
					kind = 11
				}
				if kind == 0 {
					d = time.Hour
				}
				switch cut := !sleep(ctx, d); {
				case cut:
					return &Fault{Code: "DEADLINE_EXCEEDED", Verdict: Busy}
				case kind < 3:
					return &Fault{Code: "RESOURCE_EXHAUSTED", Verdict: Quota, Wait: wait}
				case kind < 5:
					return &Fault{Code: "INTERNAL", Verdict: Unsure}
				case kind < 6:
					return &Fault{Code: "INVALID_ARGUMENT", Verdict: Refused}
				}
				return nil
			}
			c := NewCourier(CourierConfig{Concurrency: 8, Timeout: 5 * time.Second, Logger: silent})
			for range 10 { // each time the senders are cut off and begin anew
				swamp(t, c, 12, time.Minute, serve)
			}
			if s := c.Stats(); s.Running != 0 {
				t.Fatalf("seed %d: %d are under way although all have gone", seed, s.Running)
			}
			well.Store(true)
			swamp(t, c, 12, time.Minute, serve) // pauses end, the limit rises
			if got, most := swamp(t, c, 12, time.Minute, serve), 60*8*1000/50; got < most*3/4 {
				t.Errorf("seed %d: %d requests in a minute, of %d: %+v", seed, got, most, c.Stats())
			}
		})
	}
}
