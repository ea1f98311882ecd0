package queuetest

import (
	"context"
	"fmt"
	"runtime"
	"sync"
)

// Outcome is what came of a case outside of "go test".
type Outcome struct {
	Case    string
	Skipped string   // the reason
	Faults  []string // none: it passed
}

// Check runs the suite as a program does, at most atOnce cases at a time, calls done for each case, one at a time, and
// returns when all have ended and what they made is deleted. The end of ctx cuts the cases short, and they then fail.
func Check(ctx context.Context, target Target, atOnce int, done func(Outcome)) {
	var (
		running sync.WaitGroup
		mu      sync.Mutex // of done
		room    = make(chan struct{}, atOnce)
	)
	for _, c := range cases {
		room <- struct{}{}
		running.Go(func() {
			o := Outcome{Case: c.name, Skipped: target.Skips[c.name]}
			if o.Skipped == "" {
				o.Faults = check(ctx, func(t T) { c.run(newFixture(t, target, c)) })
			}
			mu.Lock()
			done(o)
			mu.Unlock()
			<-room
		})
		if c.alone {
			running.Wait()
		}
	}
	running.Wait()
}

// check runs a case and its cleanups.
func check(ctx context.Context, run func(T)) []string {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	t := &trial{ctx: ctx}
	t.try(func() { run(t) })
	cancel() // as in testing, before the cleanups
	for len(t.cleanups) > 0 {
		last := t.cleanups[len(t.cleanups)-1]
		t.cleanups = t.cleanups[:len(t.cleanups)-1]
		t.try(last)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.faults
}

// trial is a T without "go test".
type trial struct {
	ctx      context.Context
	cleanups []func()

	mu     sync.Mutex // guards faults: cases have goroutines
	faults []string
}

// try runs f in a goroutine, which Fatal ends. A panic is a fault: the objects of all cases are still to be deleted.
func (t *trial) try(f func()) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer func() {
			if r := recover(); r != nil {
				t.Errorf("panic: %v", r)
			}
		}()
		f()
	}()
	<-ended
}

func (t *trial) Context() context.Context  { return t.ctx }
func (t *trial) Cleanup(f func())          { t.cleanups = append(t.cleanups, f) }
func (t *trial) Helper()                   {}
func (t *trial) Logf(string, ...any)       {}
func (t *trial) Error(args ...any)         { t.fault(fmt.Sprint(args...)) }
func (t *trial) Errorf(f string, a ...any) { t.fault(fmt.Sprintf(f, a...)) }
func (t *trial) Fatal(args ...any)         { t.Error(args...); runtime.Goexit() }
func (t *trial) Fatalf(f string, a ...any) { t.Errorf(f, a...); runtime.Goexit() }

func (t *trial) fault(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.faults = append(t.faults, text)
}
