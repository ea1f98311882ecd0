package pipeline

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"tailweir/buffer"
	"tailweir/exporter"
	"tailweir/fleet"
	"tailweir/otlp"
	"tailweir/sampler"
)

// parents is an exporter and a dead-letter topic that remember the parents of spans, by the span's id.
type parents struct {
	mu           sync.Mutex
	refuse       bool
	sent, buried map[byte][]byte // id → parents in the order they came, 0 for none
}

func (*parents) Name() string { return "parents" }

func (x *parents) Export(_ context.Context, b *exporter.Batch) error {
	if x.refuse {
		return &exporter.PermanentError{Err: errors.New("never")}
	}
	return x.take(x.sent, b.Payload)
}

func (x *parents) Publish(_ context.Context, data []byte, _ map[string]string) error {
	return x.take(x.buried, data)
}

func (x *parents) take(into map[byte][]byte, data []byte) error {
	var p otlp.Payload
	if err := p.Scan(otlp.Traces, data); err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	for i := range int32(p.Len()) {
		id := p.Span(i).SpanID()[7]
		into[id] = append(into[id], p.Span(i).ParentSpanID()[7])
	}
	return nil
}

// served is a payload of spans of trace 1: those with an id below 10 are a server's, begin at their id and have a parent behind
// a proxy; the others are children of 1.
func served(note string, ids ...byte) []byte {
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr("note", note)
	ss := rs.ScopeSpans().AppendEmpty()
	for _, id := range ids {
		s := ss.Spans().AppendEmpty()
		s.SetTraceID(pcommon.TraceID{15: 1})
		s.SetSpanID(pcommon.SpanID{7: id})
		s.SetParentSpanID(pcommon.SpanID{7: 1})
		s.SetStartTimestamp(pcommon.Timestamp(id))
		if id < 10 {
			s.SetKind(ptrace.SpanKindServer)
			s.SetParentSpanID(pcommon.SpanID{7: 200})
		}
	}
	b, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(td)
	if err != nil {
		panic(err)
	}
	return b
}

func TestEntryBecomesTheRoot(t *testing.T) {
	first := sampler.Decision{Keep: true, Policy: "p", First: 1, Threshold: 1 << 55}
	off := first
	off.First = 0
	for name, c := range map[string]struct {
		decision     sampler.Decision
		refuse       bool
		sent, buried map[byte][]byte
	}{
		"on":      {first, false, map[byte][]byte{1: {0, 0, 0}, 2: {200}, 11: {1}, 12: {1}}, nil},
		"off":     {off, false, map[byte][]byte{1: {200, 200, 200}, 2: {200}, 11: {1}, 12: {1}}, nil},
		"letters": {first, true, nil, map[byte][]byte{1: {200, 200, 200}, 2: {200}, 11: {1}, 12: {1}}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := &parents{refuse: c.refuse, sent: map[byte][]byte{}, buried: map[byte][]byte{}}
				use := func(cfg *Config) { cfg.Exporter, cfg.Dead = x, x }
				decided := []fleet.Decision{{Trace: otlp.TraceID{15: 1}, Reason: buffer.Idle, Decision: c.decision}}

				r := newRig(t, use)
				r.deliver(otlp.Traces, served("in time", 1, 11))
				r.deliver(otlp.Traces, served("in time", 2))
				r.p.Apply(decided)
				r.sleep(time.Second)
				r.deliver(otlp.Traces, served("late", 12))
				r.deliver(otlp.Traces, served("by a relay", 1))
				r.sleep(time.Second)
				r.want("given back", r.stop(), 0)

				other := newRig(t, use) // where it comes again
				other.p.Apply(decided)
				other.deliver(otlp.Traces, served("in time", 1))
				other.sleep(time.Second)
				other.want("given back", other.stop(), 0)
				r.want("sent", x.sent, nonNil(c.sent))
				r.want("buried", x.buried, nonNil(c.buried))
			})
		})
	}
}

// What waits for its export when it is handed back keeps what its decision says, also where the history has forgotten it.
func TestEntryOfWhatWasHandedBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := &parents{sent: map[byte][]byte{}, buried: map[byte][]byte{}}
		r := newRig(t, func(cfg *Config) {
			cfg.Exporter, cfg.Dead, cfg.History, cfg.Linger = x, x, 2, time.Minute
		})
		first := r.deliver(otlp.Traces, served("a", 1))
		r.p.Apply([]fleet.Decision{{Trace: otlp.TraceID{15: 1}, Reason: buffer.Idle, Decision: sampler.Decision{Keep: true, First: 1}}})
		r.want("given back", r.p.Surrender(r.ctx), 1)
		r.want("receipt", first.String(), "nack")
		for id := range byte(4) {
			r.p.Apply([]fleet.Decision{{Trace: otlp.TraceID{15: 20 + id}, Reason: buffer.Idle}})
		}
		_, known := r.p.Decided(otlp.TraceID{15: 1})
		r.want("still in the history", known, false)
		r.deliver(otlp.Traces, served("a", 1))
		r.sleep(2 * time.Minute)
		r.want("sent", x.sent, map[byte][]byte{1: {0}})
		r.stop()
	})
}

func nonNil(m map[byte][]byte) map[byte][]byte {
	if m == nil {
		return map[byte][]byte{}
	}
	return m
}
