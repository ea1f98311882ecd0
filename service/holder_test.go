package service

import (
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"tailweir/buffer"
	"tailweir/exporter/exportertest"
	"tailweir/fleet"
	"tailweir/otlp"
	"tailweir/sampler"
)

// A fence gives everything back, as often as it is called, and what comes after Resume is decided; counters go on.
func TestFenceAndResume(t *testing.T) {
	p := newProcess(t)
	backend := exportertest.NewHTTP(t, nil)
	w := p.worker(backend, func(c *Config) { c.Window.Settle, c.Window.Idle = 2*time.Second, 2*time.Second })
	for n := byte(1); n <= 4; n++ {
		p.sendTrace(n, true)
	}
	poll(t, "the worker does not hold the payloads", func() bool { return w.w.Held() == 8 })
	w.w.holder.Resume() // a session runs: this begins no second one
	var both sync.WaitGroup
	for range 2 {
		both.Go(w.w.holder.Fence)
	}
	both.Wait()
	before := w.w.holder.stats() // with ticks, which are acked
	if held := w.w.Held(); held != 0 || before.Nacked != 8 || before.Received != 8+before.Acked {
		t.Errorf("fenced it holds %d messages; %+v: want 8 nacked, once", held, before)
	}
	time.Sleep(200 * time.Millisecond)
	if got := w.w.holder.stats(); got != before {
		t.Errorf("%+v, want %+v: it pulls although it is fenced", got, before)
	}
	w.w.holder.Resume()
	poll(t, "messages are un-acked", func() bool { return w.totals().InFlight.Spans == 0 && p.unacked() == 0 })
	if got := slices.Collect(maps.Values(spansAt(t, backend, 0))); len(got) != 8 || slices.Max(got) != 1 {
		t.Errorf("spans came %v times, want 8 of them once", got)
	}
	poll(t, "not 8 were acked more, or the counters did not go on", func() bool { // the server knows of an ack before its answer is here
		after := w.w.holder.stats()
		return after.Nacked == 8 && after.Received == after.Acked+8 && after.Acked >= before.Acked+8
	})
	if fault := unbalanced(w.totals()); fault != "" {
		t.Errorf("the totals do not add up: %s", fault)
	}
}

// While a worker stops, neither a fence nor a resume interferes with it.
func TestFenceWhileStopping(t *testing.T) {
	p := newProcess(t)
	w := p.worker(exportertest.NewHTTP(t, nil), func(c *Config) {
		c.Window.Settle, c.Window.Idle, c.Window.MaxAge = time.Minute, time.Minute, time.Minute
	})
	p.sendTrace(1, true)
	poll(t, "the worker does not hold the payloads", func() bool { return w.w.Held() == 2 })
	w.w.holder.stop()
	w.w.holder.Fence()
	if got := w.w.Held(); got != 2 {
		t.Errorf("it holds %d messages, want 2: what is decided must go out first", got)
	}
	w.w.holder.Resume()
	p.sendTrace(2, true)
	time.Sleep(200 * time.Millisecond)
	if got := w.w.Held(); got != 2 {
		t.Errorf("it holds %d messages, want 2: it has begun to pull again", got)
	}
	if s := w.stop(); s.Messages != 2 {
		t.Errorf("%d messages went back, want 2", s.Messages)
	}
}

// Nobody begins to pull again once a fenced worker stops.
func TestStopWhileFenced(t *testing.T) {
	p := newProcess(t)
	w := p.worker(exportertest.NewHTTP(t, nil), nil)
	w.w.holder.Fence()
	w.w.holder.stop()
	w.w.holder.Resume()
	p.sendTrace(1, true)
	time.Sleep(300 * time.Millisecond)
	if got := w.totals().Received.Spans; got != 0 {
		t.Errorf("%d spans received, want none", got)
	}
	w.stop()
}

// Decisions that come while a worker stops are remembered, for it may lead, and not executed.
func TestLateDecisionsAreLeftToOthers(t *testing.T) {
	p := newProcess(t)
	w := p.worker(exportertest.NewHTTP(t, nil), func(c *Config) {
		c.Window.Settle, c.Window.Idle, c.Window.MaxAge = time.Minute, time.Minute, time.Minute
	})
	p.sendTrace(1, true)
	poll(t, "the worker does not hold the payloads", func() bool { return w.w.Held() == 2 })
	h, id := w.w.holder, otlp.TraceID{0: 1, 15: 1}
	h.deafen()
	keep := sampler.Decision{Keep: true, Policy: "errors"}
	h.Apply([]fleet.Decision{
		{Trace: id, Reason: buffer.Settled, Decision: keep}, {Trace: id, Reason: buffer.Settled}, {Trace: otlp.TraceID{2}, Reason: buffer.Orphan},
	})
	if d, known := h.Decided(id); !known || d != keep {
		t.Errorf("decided %+v, %t: want the first decision", d, known)
	}
	if _, known := h.Decided(otlp.TraceID{2}); known {
		t.Error("an orphan has a decision")
	}
	if s := w.stop(); s.Messages != 2 || s.Kept.Spans != 0 {
		t.Errorf("summary %+v: want two messages given back and nothing kept", s)
	}
}
