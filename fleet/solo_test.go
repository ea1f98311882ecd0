package fleet

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"tailweir/buffer"
	"tailweir/otlp"
	"tailweir/sampler"
)

// bench is a sequencer in a synctest bubble and the decisions it handed out.
type bench struct {
	t    *testing.T
	solo *Solo
	ctx  context.Context
	end  context.CancelFunc
	done chan struct{}

	stall atomic.Int64 // ns for which the next call of apply stands still

	mu   sync.Mutex // guards all below
	got  []Decision
	when []time.Time
}

var window = buffer.Config{Settle: 2 * time.Second, Idle: 3 * time.Second, MaxAge: 10 * time.Second}

func newBench(t *testing.T, change func(*SoloConfig)) *bench {
	t.Helper()
	policies, err := sampler.Parse("policies", []byte("policies:\n- {name: many, type: span_count, span_count: {min_spans: 3}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	cfg := SoloConfig{Policies: policies, Window: window, Slack: 500 * time.Millisecond, History: 1000}
	if change != nil {
		change(&cfg)
	}
	b := &bench{t: t, solo: NewSolo(cfg), done: make(chan struct{})}
	b.ctx, b.end = context.WithCancel(t.Context())
	go func() {
		defer close(b.done)
		if err := b.solo.Run(b.ctx, b.apply); err != nil {
			t.Errorf("run: %v", err)
		}
	}()
	return b
}

func (b *bench) apply(ds []Decision) {
	time.Sleep(time.Duration(b.stall.Swap(0)))
	b.mu.Lock()
	defer b.mu.Unlock()
	for range ds {
		b.when = append(b.when, time.Now())
	}
	b.got = append(b.got, ds...)
}

// take returns the decisions since the last call, and when they were handed out.
func (b *bench) take() ([]Decision, []time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	got, when := b.got, b.when
	b.got, b.when = nil, nil
	return got, when
}

func (b *bench) stop() {
	b.end()
	<-b.done
}

func trace(n int) otlp.TraceID { return otlp.TraceID{14: byte(n >> 8), 15: byte(n)} }

// arrive lets time go on until a message published at publish can be there.
func arrive(publish time.Time) {
	if d := time.Until(publish); d > 0 {
		time.Sleep(d)
	}
}

// send hands over one message, published at publish, with a span for each trace; the first is a root span.
func (b *bench) send(message uint64, publish time.Time, root bool, traces ...int) {
	b.t.Helper()
	arrive(publish)
	f := Facts{Message: message, Publish: buffer.StampOf(publish), First: true}
	for _, n := range traces {
		f.Fragments = append(f.Fragments, Fragment{Trace: trace(n), Facts: sampler.Facts{Spans: 1, Root: root}})
	}
	if err := b.solo.Send(b.ctx, f); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) sendLog(message uint64, publish time.Time, n int) {
	b.t.Helper()
	arrive(publish)
	f := Facts{Message: message, Publish: buffer.StampOf(publish), First: true,
		Fragments: []Fragment{{Trace: trace(n), Facts: sampler.Facts{Logs: 1}}}}
	if err := b.solo.Send(b.ctx, f); err != nil {
		b.t.Fatal(err)
	}
}

// tickItself makes ticks come back as a broker would deliver them, and counts them.
func tickItself(solo **Solo, ticks *atomic.Int64) func(context.Context) error {
	return func(ctx context.Context) error {
		ticks.Add(1)
		return (*solo).Send(ctx, Facts{Publish: buffer.StampOf(time.Now()), First: true})
	}
}

func sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func names(ds []Decision) []string {
	var out []string
	for _, d := range ds {
		out = append(out, fmt.Sprintf("%d %s %v", int(d.Trace[14])<<8|int(d.Trace[15]), d.Reason, d.Keep))
	}
	return out
}

func (b *bench) want(what string, want ...string) {
	b.t.Helper()
	got, _ := b.take()
	if diff := cmp.Diff(want, names(got)); diff != "" {
		b.t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// Decisions come in the order (deadline, trace id), whatever the order in which the facts came.
func TestDecidesInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		defer b.stop()
		start := time.Now()
		b.send(1, start.Add(40*time.Millisecond), true, 9, 4, 7) // 2.04 s
		b.send(2, start.Add(30*time.Millisecond), true, 8)       // 2.03 s
		b.send(3, start.Add(10*time.Millisecond), false, 2)      // 3.01 s
		b.send(4, start.Add(50*time.Millisecond), false, 7)      // 2.05 s: moves trace 7
		b.send(5, start.Add(60*time.Millisecond), false, 7)      // 2.06 s: and again; three spans
		sleep(time.Second)
		b.want("before the watermark has moved")
		b.send(6, start.Add(20*time.Second), false, 1)
		sleep(200 * time.Millisecond)
		b.want("behind 10 ms of disorder and one jump", "8 settled false", "4 settled false", "9 settled false", "7 settled true", "2 idle false")
	})
}

// Out-of-order arrival widens the watermark's distance, so a trace waits for what is still on its way.
func TestWaitsForWhatIsOutOfOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		defer b.stop()
		start := time.Now()
		b.send(1, start, true, 1)
		b.send(2, start.Add(4*time.Second), true, 2)
		b.send(3, start.Add(time.Second), false, 1) // 3 s behind: L is 1.25 × 3 s + 0.5 s
		if lag := func() time.Duration { synctest.Wait(); return b.solo.State().Lag }(); lag != 4250*time.Millisecond {
			t.Errorf("lag %v, want 4.25s", lag)
		}
		sleep(300 * time.Millisecond)
		b.want("while the part may be on its way")
		b.send(4, start.Add(1500*time.Millisecond), false, 1)
		b.send(5, start.Add(7750*time.Millisecond), true, 3) // the watermark is exactly at trace 1's deadline, 3.5 s
		sleep(200 * time.Millisecond)
		b.want("with its late parts in it", "1 settled true")
	})
}

// Time goes on in silence by ticks that come back through the queue, and only while traces wait.
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

// While messages come, no tick is paid for; and when deliveries stop altogether nothing is decided.
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

// After a start nothing is decided for a while: the redeliveries of a killed predecessor may bring earlier parts.
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

// A process that stood still for longer than leases are extended ahead begins anew: its delay at the start may have passed
// while it stood, and messages are on their way to it again.
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
				var b *bench
				var ticks atomic.Int64
				b = newBench(t, func(c *SoloConfig) {
					c.Delay = 12 * time.Second
					c.Tick = func(ctx context.Context) error { return tickItself(&b.solo, &ticks)(ctx) }
				})
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

func TestDrainDecidesEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		defer b.stop()
		now := time.Now()
		b.send(1, now, true, 3, 1)
		b.send(2, now.Add(-500*time.Millisecond), false, 2)
		b.sendLog(3, now, 4)
		if err := b.solo.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.want("drained, in order", "1 drained false", "3 drained false", "2 drained false", "4 orphan false")
		if s := b.solo.State(); s.Traces != 0 || s.Bytes != 0 || s.History != 3 {
			t.Errorf("after the drain: %d traces, %d bytes, %d decisions; want 0, 0, 3", s.Traces, s.Bytes, s.History)
		}
	})
}

func TestDrainNeedsRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		b.stop()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := b.solo.Drain(ctx); err == nil {
			t.Error("drained without a running sequencer")
		}
	})
}

// A holder that forgot a decision, or never read it, gets it again when it sends facts of the trace.
func TestAnnouncesAgainForLateFacts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		defer b.stop()
		start := time.Now()
		for m := range uint64(3) {
			b.send(m+1, start, true, 1)
		}
		b.send(10, start, true, 2)
		b.send(11, start.Add(8*time.Second), true, 3)
		sleep(200 * time.Millisecond)
		b.want("decided", "1 settled true", "2 settled false")
		b.send(12, start.Add(8*time.Second), false, 1, 2)
		sleep(0)
		got, _ := b.take()
		if len(got) != 2 || !got[0].Keep || got[0].Policy != "many" || got[1].Keep {
			t.Errorf("announced again: %+v, want trace 1 kept by many and trace 2 dropped", got)
		}
		for _, d := range got {
			if !d.Binding() {
				t.Errorf("decision %+v does not bind", d)
			}
		}
		if s := b.solo.State(); s.Late != 2 || s.Traces != 1 {
			t.Errorf("%d late facts and %d open traces, want 2 and 1", s.Late, s.Traces)
		}
	})
}

// Log records alone decide nothing: spans that come after the release open the trace anew.
func TestOrphansDoNotBind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		defer b.stop()
		start := time.Now()
		b.sendLog(1, start, 1)
		b.send(2, start.Add(20*time.Second), true, 2)
		sleep(200 * time.Millisecond)
		b.want("log records alone", "1 orphan false")
		for m := range uint64(3) {
			b.send(m+3, start.Add(20*time.Second), true, 1)
		}
		b.send(9, start.Add(30*time.Second), true, 3)
		sleep(200 * time.Millisecond)
		b.want("its spans later", "1 settled true", "2 settled false")
	})
}

// A full window decides its coldest trace early, at once and for good.
func TestEvictsEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(c *SoloConfig) { c.Window.MaxTraces = 2; c.Delay = time.Hour })
		defer b.stop()
		start := time.Now()
		b.send(1, start, true, 1)
		b.send(2, start, true, 2)
		b.send(3, start, true, 1) // trace 2 is the coldest now
		b.send(4, start, true, 3)
		synctest.Wait()
		b.want("evicted", "2 evicted false")
		for m := range uint64(5) {
			b.send(m+10, start, false, 2)
		}
		synctest.Wait()
		again, _ := b.take()
		if len(again) != 5 {
			t.Errorf("%d answers to 5 late facts", len(again))
		}
		for _, d := range again {
			if d.Keep || d.Trace != trace(2) {
				t.Errorf("late facts: %+v, want the first decision again", d)
			}
		}
		if s := b.solo.State(); s.Traces != 2 {
			t.Errorf("%d open traces, want the budget of 2", s.Traces)
		}
	})
}

func TestSendEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		b.stop() // nobody reads
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for {
			if err := b.solo.Send(ctx, Facts{}); err != nil {
				return
			}
		}
	})
}

// Ten minutes of backlog come in four minutes, out of order and mixed with fresh messages. Every trace is decided once,
// on all of its parts: as it would have been live.
func TestBacklogMixedWithFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var solo *Solo
		var ticks atomic.Int64
		b := newBench(t, func(c *SoloConfig) { c.Tick = tickItself(&solo, &ticks); c.History, c.Delay = 10_000, 12*time.Second })
		defer b.stop()
		solo = b.solo
		const minutes, rate = 10, 2 // old traces a second
		r := rand.New(rand.NewPCG(1, 2))
		now := time.Now()
		type part struct {
			trace   int
			publish time.Time
			at      time.Time // of delivery
		}
		var parts []part
		add := func(n int, first, deliver time.Time) {
			for _, after := range []time.Duration{0, 700 * time.Millisecond, 1500 * time.Millisecond} {
				jitter := time.Duration(r.IntN(3000)) * time.Millisecond
				parts = append(parts, part{n, first.Add(after), deliver.Add(after + jitter)})
			}
		}
		const old = minutes * 60 * rate
		for n := range old {
			// Delivered at three times the rate, one in ten up to 5 s, which is 15 s of the backlog, behind the others.
			age := time.Duration(n) * time.Second / rate
			deliver := now.Add(age / 3)
			if r.IntN(10) == 0 {
				deliver = deliver.Add(time.Duration(r.IntN(5)) * time.Second)
			}
			add(n, now.Add(-minutes*time.Minute).Add(age), deliver)
		}
		const fresh = 240
		for n := range fresh {
			at := now.Add(time.Duration(n) * time.Second)
			add(old+n, at, at)
		}
		slices.SortStableFunc(parts, func(x, y part) int { return x.at.Compare(y.at) })
		for i, p := range parts {
			time.Sleep(time.Until(p.at))
			b.send(uint64(i+1), p.publish, p.publish.UnixMilli()%2 == 0, p.trace)
		}
		sleep(20 * time.Minute)
		seen := map[otlp.TraceID]int{}
		torn := 0
		got, _ := b.take()
		for _, d := range got {
			seen[d.Trace]++
			if !d.Keep {
				torn++
			}
		}
		if len(seen) != old+fresh || len(got) != old+fresh {
			t.Errorf("%d decisions on %d traces, want one each on %d", len(got), len(seen), old+fresh)
		}
		if torn > 0 {
			t.Errorf("%d of %d traces were decided without all their parts", torn, old+fresh)
		}
		if s := b.solo.State(); s.Late != 0 || s.Traces != 0 {
			t.Errorf("%d late facts, %d traces left; want none", s.Late, s.Traces)
		}
	})
}

// Messages handed back under pressure come again and again; they bring no new event time, and must not silence the tick.
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

// Publish times are Pub/Sub's: a worker whose clock is wrong by an hour decides the same traces, as late after them.
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

// What a predecessor had handed back returns to a restarted worker part by part, long after its deadline: it is waited for
// like anything that comes out of order.
func TestWaitsForWhatAPredecessorGaveBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b *bench
		var ticks atomic.Int64
		b = newBench(t, func(c *SoloConfig) {
			c.Delay = 12 * time.Second
			c.Tick = func(ctx context.Context) error { return tickItself(&b.solo, &ticks)(ctx) }
		})
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
