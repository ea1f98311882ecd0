package pipeline

import (
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"tailweir/exporter"
	"tailweir/otlp"
)

// large makes n traces of one error span each, in one resource with a header of so many bytes.
func large(n, header, from int) []byte {
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr("process.command_line", strings.Repeat("x", header))
	ss := rs.ScopeSpans().AppendEmpty()
	for i := range n {
		s := ss.Spans().AppendEmpty()
		s.SetTraceID(pcommon.TraceID{13: 1, 14: byte((from + i) >> 8), 15: byte(from + i)})
		s.SetSpanID(pcommon.SpanID{7: 1})
		s.Status().SetCode(ptrace.StatusCodeError)
	}
	b, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(td)
	if err != nil {
		panic(err)
	}
	return b
}

// The header of a resource is written for each trace of it: a batch is bounded as it is encoded, not as it came.
func TestBatchesAreBoundedAsEncoded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		defer r.stop()
		var most atomic.Int64
		r.backend.answer = func(b *exporter.Batch) error {
			most.Store(max(most.Load(), int64(len(b.Payload))))
			return nil
		}
		rec := r.deliver(otlp.Traces, large(300, 100_000, 0))
		r.sleep(5 * time.Second)
		r.want("settled", rec.String(), "ack")
		if limit := int64(r.p.cfg.BatchBytes + 101_000); most.Load() > limit || most.Load() == 0 {
			t.Errorf("largest batch %d bytes, want at most %d", most.Load(), limit)
		}
	})
}

// What was handed back is not kept in memory by what waits: neither through the departure of its own parts nor through a
// neighbour that had its outcome.
func TestReturnedPayloadsAreFreed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.MaxBytes = 4 << 20; c.Senders = 1; c.History = 10_000 })
		r.backend.answer = func(*exporter.Batch) error { <-r.ctx.Done(); return r.ctx.Err() }
		payload := func(i int) []byte { // a kept trace, and one that is dropped
			td := ptrace.NewTraces()
			ss := td.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty()
			for kind := range byte(2) {
				s := ss.Spans().AppendEmpty()
				s.SetTraceID(pcommon.TraceID{0: kind, 14: byte(i >> 8), 15: byte(i) + 1})
				s.SetSpanID(pcommon.SpanID{7: 1})
				s.SetName(strings.Repeat("x", 100_000))
				if kind == 0 {
					s.Status().SetCode(ptrace.StatusCodeError)
				}
			}
			b, _ := (&ptrace.ProtoMarshaler{}).MarshalTraces(td)
			return b
		}
		begin := time.Now()
		for round := range 2 { // all come, and come again
			for i := range 250 {
				r.deliverAs(Delivery{ID: fmt.Sprint(i), Data: payload(i), Attributes: attrs(otlp.Traces), Publish: begin.Add(time.Duration(i) * 100 * time.Millisecond), Attempt: round + 1})
				r.sleep(100 * time.Millisecond)
			}
			r.sleep(10 * time.Second)
		}
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		if m.HeapAlloc > 25<<20 { // 50 MB came, and 4 MB may be held
			t.Errorf("%d MB in use, budget %d MB", m.HeapAlloc>>20, r.p.cfg.MaxBytes>>20)
		}
		r.stop()
	})
}

// A payload that alone fills the hold is held all the same: handed back, it would come again for ever.
func TestPayloadLargerThanTheHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.MaxBytes = 20_000 })
		defer r.stop()
		rec := r.deliver(otlp.Traces, bigSpan(1, 1, 30_000))
		r.sleep(time.Second)
		small := r.deliver(otlp.Traces, traces(span{trace: 2, id: 1}))
		r.want("a younger one beside it", small.String(), "hand back 30s")
		r.sleep(5 * time.Second)
		r.want("settled", rec.String(), "ack")
		r.want("exported", len(r.backend.spans), 1)
	})
}

// Decisions of what is handed back come back with it, though the history has long forgotten them.
func TestDecisionSurvivesAnOutageLongerThanTheHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRigWith(t, 20, func(c *Config) { c.MaxBytes = 200_000; c.History = 20; c.Senders = 1 })
		defer r.stop()
		back := make(chan struct{})
		r.backend.answer = func(*exporter.Batch) error {
			select {
			case <-back:
				return nil
			case <-r.ctx.Done():
				return r.ctx.Err()
			}
		}
		send := func(id string, attempt int, at time.Time, data []byte) *receipt {
			return r.deliverAs(Delivery{ID: id, Data: data, Attributes: attrs(otlp.Traces), Publish: at, Attempt: attempt})
		}
		send("busy", 1, time.Now(), traces(span{trace: 250, id: 1, root: true, bad: true})) // occupies the sender
		r.sleep(5 * time.Second)
		born := time.Now()
		bad, root := traces(span{trace: 1, id: 1, bad: true}), traces(span{trace: 1, id: 2, root: true})
		first, second := send("bad", 1, born, bad), send("root", 1, born, root)
		r.sleep(5 * time.Second)
		for i := byte(0); first.String() == "" || second.String() == ""; i++ { // older ones come: the younger go
			send(fmt.Sprint("old", i), 2, born.Add(-time.Second), bigSpan(251, i, 30_000))
		}
		for i := range byte(100) {
			send(fmt.Sprint("other", i), 1, time.Now(), traces(span{trace: 10 + i, id: 1, root: true}))
		}
		r.sleep(15 * time.Second)
		if _, known := r.p.history.Get(otlp.TraceID{15: 1}); known {
			t.Fatal("the history still knows the decision: this proves nothing")
		}
		close(back)
		r.sleep(15 * time.Second)
		second = send("root", 2, born, root)
		r.sleep(5 * time.Second)
		first = send("bad", 2, born, bad)
		r.sleep(5 * time.Second)
		r.want("settled", []string{first.String(), second.String()}, []string{"ack", "ack"})
		r.want("exported", []int{r.backend.spans["1/1"], r.backend.spans["1/2"]}, []int{1, 1})
		r.check()
	})
}

// The same bytes are another payload as another signal: who sends them as both must have both.
func TestSameBytesOfAnotherSignal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		defer r.stop()
		empty := []byte{0x0a, 4, 0x12, 2, 0x12, 0} // one item without any field
		r.deliver(otlp.Traces, empty)
		r.sleep(time.Second)
		rec := r.deliver(otlp.Logs, empty)
		r.sleep(time.Second)
		r.want("settled", rec.String(), "ack")
		r.want("exported", r.backend.logs, map[string]int{"0:  false": 1})
		r.want("duplicates", r.p.State().Duplicate, Count{})
	})
}
