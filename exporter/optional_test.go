package exporter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// slow is an exporter that remembers what it confirmed, one batch after a while.
type slow struct {
	takes time.Duration
	err   error
	mu    sync.Mutex
	got   []string
}

func (*slow) Name() string { return "slow" }
func (s *slow) Export(ctx context.Context, b *Batch) error {
	if !sleep(ctx, s.takes) {
		return context.Cause(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, string(b.Payload))
	return s.err
}

// runOptional runs it until stop is called, which waits for its end.
func runOptional(t *testing.T, o *Optional) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- o.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// Nobody waits for it, and it has everything in the end; the batch is its caller's again at once.
func TestOptionalCatchesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slow{takes: time.Minute}
		o := NewOptional(s, 1<<20, silent)
		stop := runOptional(t, o)
		start := time.Now()
		var calls atomic.Int32
		all := All(outcome{"required", 0, nil, &calls}, o)
		for i := range 10 {
			b := traceBatch(t, 1, i+1)
			if err := all.Export(t.Context(), b); err != nil {
				t.Fatal(err)
			}
			clear(b.Payload)
			clear(b.Parts)
		}
		if d := time.Since(start); d != 0 || calls.Load() != 10 || o.Stats().Pending == 0 {
			t.Errorf("%v for 10 batches, %d confirmed by the other, %d bytes pending", d, calls.Load(), o.Stats().Pending)
		}
		o.Flush(t.Context())
		if st := o.Stats(); len(s.got) != 10 || st.Pending != 0 || st.Lost != 0 || strings.Contains(strings.Join(s.got, ""), "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00") {
			t.Errorf("%d batches of 10, %+v", len(s.got), st)
		}
		stop()
	})
}

func TestOptionalIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slow{takes: time.Hour}
		one := traceBatch(t, 3, 1)
		o := NewOptional(s, 5*len(one.Payload), silent)
		stop := runOptional(t, o)
		for range 8 {
			if err := o.Export(t.Context(), one); err != nil {
				t.Fatal(err)
			}
		}
		if st := o.Stats(); st.Pending != 5*len(one.Payload) || st.Lost != 3*3 {
			t.Errorf("%+v, want 5 batches pending and the spans of 3 lost", st)
		}
		short, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		start := time.Now()
		if o.Flush(short); time.Since(start) != 10*time.Second {
			t.Errorf("flushed in %v what takes an hour", time.Since(start))
		}
		stop()
		if st := o.Stats(); st.Lost != 8*3 {
			t.Errorf("%+v after the end, want all spans lost", st)
		}
		if err := o.Export(t.Context(), one); err != nil || o.Stats().Lost != 9*3 {
			t.Errorf("%v, %+v after the end", err, o.Stats())
		}
	})
}

// A single batch is taken however large it is: else it would be lost each time.
func TestOptionalTakesALargeBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slow{}
		o := NewOptional(s, 1, silent)
		stop := runOptional(t, o)
		if err := o.Export(t.Context(), traceBatch(t, 3, 1)); err != nil {
			t.Fatal(err)
		}
		o.Flush(t.Context())
		if len(s.got) != 1 {
			t.Error("it was not exported")
		}
		stop()
	})
}

func TestOptionalCountsRefused(t *testing.T) {
	b := traceBatch(t, 3, 1, 2)
	for want, err := range map[int64]error{
		0: nil, 1: &PartialError{Rejected: 1}, 2: Refuse(b, []Refusal{{Part: 1, Items: []int{0, 2}, Err: errors.New("old")}}),
		3: Refuse(b, []Refusal{{Part: 1, Err: errors.New("old")}}), 6: &PermanentError{Err: errors.New("413")},
		4: errors.Join(Refuse(b, []Refusal{{Part: 1, Err: errors.New("old")}}), &PartialError{Rejected: 1}),
	} {
		synctest.Test(t, func(t *testing.T) {
			o := NewOptional(&slow{err: err}, 1<<20, silent)
			stop := runOptional(t, o)
			if err := o.Export(t.Context(), b); err != nil {
				t.Errorf("nobody waits for it, but: %v", err)
			}
			o.Flush(t.Context())
			if got := o.Stats().Lost; got != want {
				t.Errorf("%v: %d items lost, want %d", err, got, want)
			}
			stop()
		})
	}
}

// What the end cuts off is told, also what was under way: the counter ends with the process.
func TestOptionalTellsWhatTheEndCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said strings.Builder
		o := NewOptional(&slow{takes: time.Hour}, 1<<20, slog.New(slog.NewTextHandler(&said, nil)))
		stop := runOptional(t, o)
		for range optionalSenders - 1 { // none waits
			if err := o.Export(t.Context(), traceBatch(t, 2, 1)); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		stop()
		lost := o.Stats().Lost
		if want := fmt.Sprintf("items_lost=%d", lost); lost == 0 || !strings.Contains(said.String(), want) {
			t.Errorf("%s is not in %q", want, said.String())
		}
	})
}
