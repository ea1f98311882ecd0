package pipeline

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"tailweir/buffer"
	"tailweir/exporter"
	"tailweir/fleet"
	"tailweir/otlp"
)

// dataReceipt keeps its message's payload alive, as a message of the queue does.
type dataReceipt struct {
	receipt
	data []byte
}

// What is settled must not be kept alive by what still knows the message.
func TestSettledPayloadsAreFreed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		defer r.stop()
		const n = 300
		for i := range n {
			data := traces(span{trace: byte(i%200 + 1), id: byte(i%250 + 1), root: true})
			pad := make([]byte, 200_000)
			rec := &dataReceipt{receipt: receipt{t: t}, data: pad}
			r.p.Handle(r.ctx, Delivery{Data: data, Attributes: attrs(otlp.Traces), Publish: time.Now(), Receipt: rec})
		}
		r.sleep(10 * time.Second)
		if s := r.p.State(); s.Messages != 0 || s.Bytes != 0 {
			t.Fatalf("still held: %d", s.Messages)
		}
		var ms runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&ms)
		if ms.HeapAlloc > 20<<20 {
			t.Errorf("nothing is held, yet the heap has %d MB", ms.HeapAlloc>>20)
		}
	})
}

// A span that crosses with the release of its trace as an orphan must wait for its own decision.
func TestOrphanCrossesFirstSpan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		defer r.stop()
		r.deliver(otlp.Logs, logs(1))
		m := r.deliver(otlp.Traces, traces(span{trace: 1, id: 1, root: true})) // would be dropped
		// The sequencer released the trace for its logs before the facts of the span reached it.
		r.p.Apply([]fleet.Decision{{Trace: otlp.TraceID{15: 1}, Reason: buffer.Orphan}})
		r.sleep(200 * time.Millisecond)
		if len(r.backend.spans) > 0 {
			t.Errorf("spans exported without a decision: %v, message: %q", r.backend.spans, m)
		}
		r.sleep(5 * time.Second)
		r.want("exported in the end", r.backend.spans, map[string]int{})
		r.check()
	})
}

// limited is a dead-letter topic with Pub/Sub's limits.
type limited struct{ shelf }

func (l *limited) Publish(ctx context.Context, data []byte, attrs map[string]string) error {
	if len(data) > 10_000_000 {
		return errors.New("InvalidArgument: The value for message_size is too large")
	}
	for k, v := range attrs {
		if !utf8.ValidString(v) {
			return fmt.Errorf("marshal: string field contains invalid UTF-8 in %s", k)
		}
		if len(v) > 1024 {
			return errors.New("InvalidArgument: attribute too long")
		}
	}
	return l.shelf.Publish(ctx, data, attrs)
}

// A dead letter must be one that the topic takes, or it would stop a reader for ever.
func TestErrorTextCutInARune(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dead := &limited{}
		r := newRig(t, func(c *Config) { c.Dead = dead })
		defer r.stop()
		var all []*receipt
		for range 2 { // as many as Workers
			rec := &receipt{t: t}
			all = append(all, rec)
			go r.p.Handle(r.ctx, Delivery{Attributes: map[string]string{otlp.AttrType: "x" + strings.Repeat("é", 510)}, Publish: time.Now(), Receipt: rec})
		}
		r.sleep(time.Minute)
		good := &receipt{t: t}
		go r.p.Handle(r.ctx, Delivery{Data: traces(span{trace: 1, id: 1, root: true}), Attributes: attrs(otlp.Traces), Publish: time.Now(), Receipt: good})
		r.sleep(time.Hour)
		if all[0].String() != "ack" || good.String() != "ack" {
			t.Errorf("after an hour: bad messages %q %q, a good one %q, spans received %d", all[0], all[1], good, r.p.State().Received.Spans)
		}
	})
}

func TestRejectedTraceAboveTenMegabytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dead := &limited{}
		r := newRig(t, func(c *Config) { c.Dead = dead; c.Senders = 1 })
		defer r.stop()
		r.backend.answer = func(b *exporter.Batch) error {
			if len(b.Payload) > 4_000_000 {
				return &exporter.PermanentError{Err: errors.New("413 request entity too large")}
			}
			return nil
		}
		var all []*receipt
		for i := range 3 {
			all = append(all, r.deliver(otlp.Traces, bigSpan(1, byte(i+1), 4_500_000)))
		}
		r.sleep(10 * time.Second)
		small := r.deliver(otlp.Traces, traces(span{trace: 2, id: 9, root: true, bad: true}))
		r.sleep(time.Hour)
		if all[0].String() != "ack" || small.String() != "ack" {
			t.Errorf("after an hour: the rejected trace's messages %q, a later kept trace's %q; exporting %d", all[0], small, r.p.State().Exporting)
		}
		r.check()
	})
}

func bigSpan(trace, id byte, size int) []byte {
	pad := strings.Repeat("x", size)
	return bigTraces(trace, id, pad)
}

// What is delivered when Run has ended is given back, by Handle or by Release.
func TestHandleAfterTheEnd(t *testing.T) {
	lost := 0
	for range 50 {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, nil)
			r.stop()
			rec := &receipt{t: t}
			r.p.Handle(r.ctx, Delivery{Data: traces(span{trace: 1, id: 1}), Attributes: attrs(otlp.Traces), Publish: time.Now(), Receipt: rec})
			r.p.Release()
			if rec.String() == "" {
				lost++
			}
		})
	}
	if lost > 0 {
		t.Errorf("%d of 50 deliveries to an ended pipeline were not given back", lost)
	}
}

// Deliveries of a message that is held already are within the budget as well.
func TestRepeatsAreCharged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.MaxBytes = 10_000 })
		defer r.stop()
		data := traces(span{trace: 1, id: 1})
		for range 1000 {
			r.deliver(otlp.Traces, data)
		}
		s := r.p.State()
		held := 0
		r.p.mu.Lock()
		for _, m := range r.p.messages {
			held += len(m.receipts)
		}
		r.p.mu.Unlock()
		if int64(held*len(data)) > s.MaxBytes {
			t.Errorf("%d deliveries un-acked with %d bytes of payload, charged %d, budget %d", held, held*len(data), s.Bytes, s.MaxBytes)
		}
	})
}

func bigTraces(trace, id byte, name string) []byte {
	td := ptrace.NewTraces()
	x := td.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans().AppendEmpty()
	x.SetTraceID(pcommon.TraceID{15: trace})
	x.SetSpanID(pcommon.SpanID{7: id})
	x.SetName(name)
	x.Status().SetCode(ptrace.StatusCodeError)
	b, _ := (&ptrace.ProtoMarshaler{}).MarshalTraces(td)
	return b
}
