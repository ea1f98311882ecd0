package pipeline

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"tailweir/buffer"
	"tailweir/exporter"
	"tailweir/fleet"
	"tailweir/otlp"
)

// A relay that batches anew sends the same span in different payloads: the spans are counted as they come, and exported
// once.
func TestSpansRepeatedInATraceAreExportedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		defer r.stop()
		bad := span{trace: 1, id: 1, root: true, bad: true}
		r.deliver(otlp.Traces, traces(bad, span{trace: 1, id: 2}))
		r.deliver(otlp.Traces, traces(span{trace: 1, id: 2}, span{trace: 1, id: 3}, bad))
		r.deliver(otlp.Traces, traces(span{trace: 1, id: 3, bad: true})) // differs: it is another span with the same id
		r.sleep(4 * time.Second)
		r.want("exported", r.backend.spans, map[string]int{"1/1": 1, "1/2": 1, "1/3": 2})
		r.want("items of the part", r.backend.parts[0].Items, 4)
		r.want("kept", r.p.State().Kept, Count{Spans: 6, Traces: 1})
		r.check()
	})
}

// What of a message had its outcome when the rest was handed back has it still when the message returns.
func TestExportedPartsOfAMessageHandedBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.MaxBytes = 20_000; c.HandBack = 30 * time.Second })
		defer r.stop()
		// Trace 1 is decided with the message, trace 2 comes seconds later and stays open; trace 3 is dropped.
		r.deliver(otlp.Traces, traces(span{trace: 1, id: 1, root: true, bad: true}, span{trace: 3, id: 3, root: true}))
		r.sleep(4 * time.Second)
		mixed := traces(span{trace: 2, id: 2, bad: true}, span{trace: 1, id: 9}, span{trace: 3, id: 9})
		first := r.deliver(otlp.Traces, mixed)
		r.sleep(time.Second)
		r.want("late spans follow their decision", r.backend.spans, map[string]int{"1/1": 1, "1/9": 1})
		for i := byte(10); first.String() == ""; i++ { // younger messages go back first: these are older
			r.deliverAs(Delivery{Data: traces(span{trace: i, id: i}), Attributes: attrs(otlp.Traces), Publish: time.Now().Add(-3 * time.Second)})
		}
		r.want("under pressure", first.String(), "hand back 30s")
		r.sleep(30 * time.Second)
		again := r.deliver(otlp.Traces, mixed)
		r.sleep(5 * time.Second)
		r.want("returned", again.String(), "ack")
		r.want("exported once", r.backend.spans, map[string]int{"1/1": 1, "1/9": 1, "2/2": 1})
		r.want("parts that were settled before", r.p.State().Duplicate, Count{Spans: 2})
		r.check()
	})
}

// Each signal has its own senders: with the backend for traces away, log records go on.
func TestLogsGoOutWhileTracesWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.Senders = 1 })
		back := make(chan struct{})
		defer r.stop()
		defer close(back)
		r.backend.answer = onlyFor(otlp.Traces, func() { <-back })
		r.deliver(otlp.Traces, traces(span{trace: 1, id: 1, root: true, bad: true}))
		r.sleep(4 * time.Second)
		rec := r.deliver(otlp.Logs, logs(1))
		r.sleep(time.Second)
		r.want("the log record of the trace", rec.String(), "ack")
		r.want("spans", len(r.backend.spans), 0)
	})
}

func onlyFor(signal otlp.Signal, do func()) func(*exporter.Batch) error {
	return func(b *exporter.Batch) error {
		if b.Signal == signal {
			do()
		}
		return nil
	}
}

// listening is a sequencer that only listens.
type listening struct{ facts []fleet.Facts }

func (s *listening) Send(_ context.Context, f fleet.Facts) error {
	s.facts = append(s.facts, f)
	return nil
}

// The earliest publish time of a payload wins, whichever copy came first: otherwise a replay could decide otherwise.
func TestEarliestPublishTimeWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		listener := &listening{}
		r := newRig(t, func(c *Config) { c.Sequencer = listener; c.Workers = 1 })
		defer r.stop()
		payload, now := traces(span{trace: 1, id: 1}), time.Now()
		for i, after := range []time.Duration{0, 2 * time.Second, -2 * time.Second, -time.Second} {
			r.deliverAs(Delivery{ID: fmt.Sprint(i), Data: payload, Attributes: attrs(otlp.Traces), Publish: now.Add(after)})
		}
		var times []time.Duration
		for _, f := range listener.facts {
			if len(f.Fragments) != 1 || f.Message != listener.facts[0].Message {
				t.Errorf("told %+v, want one fragment of message %d", f, listener.facts[0].Message)
			}
			times = append(times, f.Publish.Sub(buffer.StampOf(now)))
		}
		r.want("told", times, []time.Duration{0, -2 * time.Second})
	})
}
