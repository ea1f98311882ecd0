package fleet

import (
	"bytes"
	"context"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tailweir/otlp"
)

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
// While messages come, no tick is paid for; and when deliveries stop altogether nothing is decided.
// After a start nothing is decided for a while: the redeliveries of a killed predecessor may bring earlier parts.
// A process that stood still for longer than leases are extended ahead begins anew: its delay at the start may have passed
// while it stood, and messages are on their way to it again.
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
		slices.SortFunc(got, func(a, b Decision) int { return bytes.Compare(a.Trace[:], b.Trace[:]) }) // they are said in any order
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
		if len(again) != 1 {
			t.Errorf("%d answers to 5 late facts, want one at once", len(again))
		}
		sleep(time.Second)
		more, _ := b.take()
		if again = append(again, more...); len(again) != 2 {
			t.Errorf("%d answers to 5 late facts, want one more a second later, since some came after the first", len(again))
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
// Publish times are Pub/Sub's: a worker whose clock is wrong by an hour decides the same traces, as late after them.
// What a predecessor had handed back returns to a restarted worker part by part, long after its deadline: it is waited for
// like anything that comes out of order.
