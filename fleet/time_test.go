package fleet

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"tailweir/buffer"
	"tailweir/otlp"
	"tailweir/sampler"
)

func TestTicksInSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var solo *Solo
		var ticks atomic.Int64
		b := newBench(t, func(c *SoloConfig) { c.Tick = tickItself(&solo, &ticks) })
		defer b.stop()
		solo = b.solo
		sleep(10 * time.Second)
		if n := ticks.Load(); n != 0 {
			t.Errorf("%d ticks while no trace waited, want none", n)
		}
		begin := time.Now()
		b.send(1, begin, true, 1)
		sleep(5 * time.Second)
		got, when := b.take()
		if diff := cmp.Diff([]string{"1 settled false"}, names(got)); diff != "" {
			t.Errorf("after silence (-want +got):\n%s", diff)
		} else if took := when[0].Sub(begin); took > 4*time.Second {
			t.Errorf("decided after %v, want at most settle, slack and two ticks: 4s", took)
		}
		before := ticks.Load()
		if before < 1 || before > 4 {
			t.Errorf("%d ticks for one trace of 2 s, want 1 to 4", before)
		}
		sleep(time.Minute)
		if n := ticks.Load(); n != before {
			t.Errorf("%d ticks after the window was empty", n-before)
		}
	})
}

func TestNoTicksInTraffic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ticks atomic.Int64
		b := newBench(t, func(c *SoloConfig) { c.Tick = func(context.Context) error { ticks.Add(1); return nil } })
		defer b.stop()
		for i := range 50 {
			b.send(uint64(i+1), time.Now(), true, i)
			sleep(200 * time.Millisecond)
		}
		if n := ticks.Load(); n != 0 {
			t.Errorf("%d ticks in traffic, want none", n)
		}
		sleep(time.Second)
		b.take()
		sleep(time.Minute) // the ticks get lost
		b.want("while nothing was delivered")
		if n := ticks.Load(); n < 30 {
			t.Errorf("%d ticks in a minute of silence: a lost tick must be repeated", n)
		}
	})
}

func TestTickThatFailsIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var solo *Solo
		var ticks atomic.Int64
		tries := 0
		b := newBench(t, func(c *SoloConfig) {
			tick := tickItself(&solo, &ticks)
			c.Tick = func(ctx context.Context) error {
				if tries++; tries < 5 {
					<-ctx.Done()
					return context.Cause(ctx)
				}
				return tick(ctx)
			}
		})
		defer b.stop()
		solo = b.solo
		b.send(1, time.Now(), true, 1)
		sleep(20 * time.Second)
		b.want("while no tick could be published")
		sleep(20 * time.Second)
		b.want("afterwards", "1 settled false")
	})
}

func TestStartDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(c *SoloConfig) { c.Delay = 12 * time.Second })
		defer b.stop()
		start := time.Now()
		b.send(1, start.Add(-30*time.Second), true, 1)
		b.send(2, start.Add(-5*time.Second), true, 2)
		sleep(11 * time.Second)
		b.want("within the delay")
		b.send(3, start.Add(-29*time.Second), false, 1)
		b.send(4, start.Add(-29*time.Second), false, 1)
		sleep(12 * time.Second)
		b.send(5, time.Now(), true, 3)
		sleep(200 * time.Millisecond)
		b.want("after it, with what came again from a predecessor", "1 settled true", "2 settled false")
	})
}

func TestStandingStill(t *testing.T) {
	for _, tt := range []struct {
		stood time.Duration
		want  []string
	}{
		{4 * time.Second, []string{"1 settled false"}},
		{14 * time.Second, []string{"1 settled true"}}, // the parts that came 6 s after it are in
	} {
		t.Run(tt.stood.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newTicking(t)
				defer b.stop()
				sleep(20 * time.Second)
				b.stall.Store(int64(tt.stood))
				sleep(tt.stood + time.Second)
				start := time.Now()
				b.send(1, start, true, 1)
				sleep(6 * time.Second)
				b.send(2, start.Add(time.Second), false, 1)
				b.send(3, start.Add(time.Second), false, 1)
				sleep(30 * time.Second)
				got, _ := b.take()
				got = got[:min(len(got), 1)] // the others repeat it for late facts
				if diff := cmp.Diff(tt.want, names(got)); diff != "" {
					t.Errorf("decisions (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestRedeliveriesDoNotSilenceTheTick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var solo *Solo
		var ticks atomic.Int64
		b := newBench(t, func(c *SoloConfig) { c.Tick = tickItself(&solo, &ticks) })
		defer b.stop()
		solo = b.solo
		start := time.Now()
		b.send(1, start, true, 1)
		for range 1000 {
			sleep(500 * time.Millisecond)
			_ = solo.Send(context.Background(), Facts{Message: 1, Publish: buffer.StampOf(start),
				Fragments: []Fragment{{Trace: trace(1), Facts: sampler.Facts{Spans: 1, Root: true}}}})
			if got, _ := b.take(); len(got) > 0 {
				return
			}
		}
		t.Errorf("undecided after 500 s, %d ticks", ticks.Load())
	})
}

func TestClockSkew(t *testing.T) {
	for _, skew := range []time.Duration{0, time.Hour, -time.Hour} {
		t.Run(skew.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var b *bench
				b = newBench(t, func(c *SoloConfig) {
					c.Tick = func(ctx context.Context) error {
						return b.solo.Send(ctx, Facts{Publish: buffer.StampOf(time.Now().Add(skew)), First: true})
					}
				})
				defer b.stop()
				start := time.Now()
				at := func(d time.Duration, message uint64, root bool, trace int) {
					arrive(start.Add(d))
					f := Facts{Message: message, Publish: buffer.StampOf(time.Now().Add(skew)), First: true}
					f.Fragments = []Fragment{{Trace: otlp.TraceID{15: byte(trace)}, Facts: sampler.Facts{Spans: 1, Root: root}}}
					if err := b.solo.Send(b.ctx, f); err != nil {
						t.Fatal(err)
					}
				}
				at(0, 1, true, 1)
				at(time.Second, 2, false, 1)
				at(2*time.Second, 3, false, 2)
				sleep(7 * time.Second)
				_, when := b.take()
				var after []time.Duration
				for _, w := range when {
					after = append(after, w.Sub(start).Round(time.Second))
				}
				if diff := cmp.Diff([]time.Duration{4 * time.Second, 6 * time.Second}, after); diff != "" {
					t.Errorf("decided after (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestWaitsForWhatAPredecessorGaveBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newTicking(t)
		defer b.stop()
		sleep(20 * time.Second)
		b.send(1, time.Now(), true, 9)
		born := time.Now().Add(-40 * time.Second)
		again := func(message uint64, root bool) {
			f := Facts{Message: message, Publish: buffer.StampOf(born), First: true, Again: true}
			f.Fragments = []Fragment{{Trace: trace(1), Facts: sampler.Facts{Spans: 1, Root: root}}}
			if err := b.solo.Send(b.ctx, f); err != nil {
				t.Fatal(err)
			}
		}
		again(2, true)
		sleep(3 * time.Second)
		again(3, false)
		again(4, false)
		sleep(30 * time.Second)
		b.want("with all its parts", "1 settled true", "9 settled false")
	})
}

// The delay at the start goes on while a predecessor's messages still come, but not for ever.
func TestStartDelayGoesOnWhileMessagesReturn(t *testing.T) {
	for _, tt := range []struct {
		returning time.Duration // for how long, one each 2 s
		decided   time.Duration // since the start
	}{
		{5 * time.Second, 12 * time.Second},
		{20 * time.Second, 21 * time.Second},
		{90 * time.Second, 60 * time.Second},
	} {
		t.Run(tt.returning.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				b := newBench(t, func(c *SoloConfig) { c.Delay = 12 * time.Second; c.Slack = 3 * time.Second })
				defer b.stop()
				b.send(1, start, true, 1)
				b.send(2, start.Add(10*time.Second), true, 2)
				for n := uint64(3); time.Since(start) < tt.returning; n++ {
					if err := b.solo.Send(b.ctx, Facts{Message: n, Publish: buffer.StampOf(start), First: true, Again: true}); err != nil {
						t.Fatal(err)
					}
					sleep(2 * time.Second)
				}
				sleep(time.Minute)
				_, when := b.take()
				if len(when) == 0 || when[0].Sub(start).Round(2*time.Second) != tt.decided.Round(2*time.Second) {
					t.Errorf("decided at %v since %v, want after %v", when, start, tt.decided)
				}
			})
		})
	}
}

// After a stream broke nothing is decided for a while, and not for ever where streams break all the time.
func TestHold(t *testing.T) {
	for _, tt := range []struct {
		breaks  int // one each 5 s, the first after 20 s
		decided time.Duration
	}{{0, 23 * time.Second}, {1, 32 * time.Second}, {3, 42 * time.Second}, {50, 80 * time.Second}} {
		t.Run(fmt.Sprint(tt.breaks), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newTicking(t)
				defer b.stop()
				start := time.Now()
				sleep(20 * time.Second)
				b.send(1, time.Now(), true, 1)
				for range tt.breaks {
					b.solo.Hold()
					sleep(5 * time.Second)
				}
				sleep(time.Minute)
				_, when := b.take()
				if len(when) == 0 || when[0].Sub(start).Round(time.Second) != tt.decided {
					t.Errorf("decided at %v since %v, want after %v", when, start, tt.decided)
				}
			})
		})
	}
}
