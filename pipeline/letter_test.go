package pipeline

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tailweir/exporter"
	"tailweir/otlp"
)

// letterbox is a dead-letter topic that keeps what it gets, within Pub/Sub's bound, and may be away.
type letterbox struct {
	mu      sync.Mutex
	away    bool
	letters []Delivery
	tries   int
}

func (x *letterbox) Publish(_ context.Context, data []byte, attrs map[string]string) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.tries++
	if x.away || len(data) > 10_000_000 {
		return fmt.Errorf("away %v, %d bytes", x.away, len(data))
	}
	x.letters = append(x.letters, Delivery{ID: fmt.Sprint("letter ", len(x.letters)), Data: data, Attributes: attrs})
	return nil
}

func zipped(t *testing.T, data []byte) Delivery {
	t.Helper()
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = z.Write(data)
	_ = z.Close()
	a := attrs(otlp.Traces)
	a[otlp.AttrContentEncoding] = otlp.EncodingGzip
	return Delivery{Data: packed.Bytes(), Attributes: a, Publish: time.Now()}
}

func atMost(bytes int) func(*exporter.Batch) error {
	return func(b *exporter.Batch) error {
		if len(b.Payload) > bytes {
			return &exporter.PermanentError{Err: errors.New("413")}
		}
		return nil
	}
}

// A span above Pub/Sub's limit can only have come compressed; refused, it is dead-lettered as it came.
func TestGiantSpanIsALetter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dead := &letterbox{}
		r := newRig(t, func(c *Config) { c.Dead = dead })
		defer r.stop()
		r.backend.answer = atMost(4 << 20)
		span := bigSpan(1, 1, 10_000_000)
		rec := r.deliverAs(zipped(t, span))
		r.sleep(5 * time.Second)
		r.want("settled", rec.String(), "ack")
		if len(dead.letters) != 1 {
			t.Fatalf("%d dead letters, want 1", len(dead.letters))
		}
		z, err := gzip.NewReader(bytes.NewReader(dead.letters[0].Data))
		if err != nil {
			t.Fatal(err)
		}
		if whole, err := io.ReadAll(z); err != nil || !bytes.Equal(whole, span) {
			t.Errorf("the letter holds %d bytes, error %v, want the span's %d", len(whole), err, len(span))
		}
		r.want("encoding", dead.letters[0].Attributes[otlp.AttrContentEncoding], otlp.EncodingGzip)
		r.check()
	})
}

// A trace may be too large for the backend where its messages are not.
func TestLargeTraceIsExportedInParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		defer r.stop()
		r.backend.answer = atMost(4 << 20)
		for i := range 3 {
			r.deliver(otlp.Traces, bigSpan(1, byte(i+1), 2_500_000))
		}
		r.deliver(otlp.Traces, bigSpan(1, 4, 5_000_000))
		r.sleep(5 * time.Second)
		r.want("exported", r.backend.spans, map[string]int{"1/1": 1, "1/2": 1, "1/3": 1})
		r.want("dead letters", r.dead.reasons, []string{ReasonRejected})
		r.want("traces", []int64{r.p.State().Kept.Traces, r.p.State().DeadLettered.Traces, r.p.State().Received.Traces}, []int64{1, 0, 1})
		r.check()
	})
}

// Somebody mends the backend and publishes the dead letters again: they must not pass for repeats.
func TestLetterPublishedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dead := &letterbox{}
		r := newRig(t, func(c *Config) { c.Dead = dead })
		defer r.stop()
		r.backend.answer = func(*exporter.Batch) error { return &exporter.PermanentError{Err: errors.New("no")} }
		payload := traces(span{trace: 1, id: 1, root: true, bad: true})
		r.deliver(otlp.Traces, payload)
		r.sleep(4 * time.Second)
		if len(dead.letters) != 1 || !bytes.Equal(dead.letters[0].Data, payload) {
			t.Fatalf("%d dead letters, want the payload", len(dead.letters))
		}
		r.backend.answer = nil
		again := dead.letters[0]
		again.Publish = time.Now()
		rec := r.deliverAs(again)
		r.sleep(4 * time.Second)
		r.want("settled", rec.String(), "ack")
		r.want("exported", r.backend.spans, map[string]int{"1/1": 1})
		r.check()
	})
}

// With the dead-letter topic away, what is refused waits, and what is healthy does not wait for it.
func TestLettersAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dead := &letterbox{away: true}
		r := newRig(t, func(c *Config) { c.Dead = dead; c.Senders = 2 })
		defer r.stop()
		r.backend.answer = func(b *exporter.Batch) error {
			for _, p := range b.Parts {
				if p.Trace[15] > 100 {
					return &exporter.PermanentError{Err: errors.New("no")}
				}
			}
			return nil
		}
		var healthy, refused []*receipt
		var worst time.Duration
		for i := range byte(60) {
			refused = append(refused, r.deliver(otlp.Traces, traces(span{trace: 101 + i, id: 1, root: true, bad: true})))
			r.deliverAs(Delivery{Data: []byte{0xff, i}, Attributes: attrs(otlp.Traces), Publish: time.Now()})
			sent := time.Now()
			rec := r.deliver(otlp.Traces, traces(span{trace: 1 + i, id: 1, root: true, bad: true}))
			for rec.String() == "" && time.Since(sent) < 10*time.Minute {
				r.sleep(100 * time.Millisecond)
			}
			worst = max(worst, time.Since(sent))
			healthy = append(healthy, rec)
		}
		if worst > 50*time.Second { // both senders, or both readers, may try the topic once in between
			t.Errorf("a healthy trace waited %v", worst)
		}
		for i := range healthy {
			if healthy[i].String() != "ack" || refused[i].String() != "" {
				t.Fatalf("trace %d: healthy %q, refused %q", i, healthy[i], refused[i])
			}
		}
		dead.mu.Lock()
		dead.away = false
		dead.mu.Unlock()
		r.sleep(2 * letterPatience)
		for i := range refused {
			r.want("refused, at last", refused[i].String(), "ack")
		}
		r.check()
	})
}

// The worker ends while much that came in two messages waits for a backend that is away: all of it goes back.
func TestShutdownWhileMuchWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.Senders = 1; c.History = 10_000 })
		r.backend.answer = func(*exporter.Batch) error { <-r.ctx.Done(); return r.ctx.Err() }
		first, second := r.deliver(otlp.Traces, large(3000, 0, 0)), r.deliver(otlp.Traces, large(3000, 1, 0))
		r.sleep(10 * time.Second)
		r.want("given back", r.stop(), 2)
		r.want("settled", []string{first.String(), second.String()}, []string{"nack", "nack"})
		r.want("returned", r.p.State().Returned, Count{Spans: 6000, Traces: 3000})
		r.check()
	})
}

// What is refused and cannot be dead-lettered is tried now and then, at a rate that does not grow.
func TestRefusedWaitAtASteadyRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.Dead = &letterbox{away: true}; c.BatchBytes = 1; c.History = 10_000 })
		defer r.stop()
		var calls atomic.Int64
		r.backend.answer = func(*exporter.Batch) error {
			calls.Add(1)
			time.Sleep(5 * time.Millisecond)
			return &exporter.PermanentError{Err: errors.New("no")}
		}
		r.deliver(otlp.Traces, large(200, 0, 0))
		for range 12 {
			before := calls.Load()
			r.sleep(letterPatience)
			if n := calls.Load() - before; n > 2*200 {
				t.Errorf("%d exports in %v, of 200 traces", n, letterPatience)
			}
		}
	})
}

// Decisions remembered with messages handed back are bounded in number, however many a message has.
func TestRememberedDecisionsAreBounded(t *testing.T) {
	p := New(Config{History: 1000, Settled: 100})
	for i := range 50 {
		was := handedBack{decided: make([]decided, 300)}
		p.rememberLocked(identity{hash: uint64(i)}, was)
		p.rememberLocked(identity{hash: uint64(i)}, was) // once more is not twice
	}
	if p.remembered != 900 || p.returned.Len() != 3 {
		t.Errorf("%d decisions of %d messages are remembered, want 900 of 3", p.remembered, p.returned.Len())
	}
	p.rememberLocked(identity{hash: 99}, handedBack{decided: make([]decided, 5000)})
	if p.remembered != 5000 || p.returned.Len() != 1 {
		t.Errorf("%d decisions of %d messages are remembered, want one message however large", p.remembered, p.returned.Len())
	}
}

// Refused items are numbered by the whole departure. When a message of it goes back to the queue while its letters wait, the
// numbers say nothing any more, and what is left is exported again.
func TestRefusedItemsOfWhatWasHandedBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dead := &letterbox{away: true}
		r := newRig(t, func(c *Config) { c.Dead = dead })
		defer r.stop()
		r.backend.answer = func(b *exporter.Batch) error {
			return exporter.Refuse(b, []exporter.Refusal{{Items: []int{0, 3}, Reason: ReasonAge, Err: errors.New("old")}})
		}
		first := r.deliver(otlp.Traces, traces(span{trace: 1, id: 1, root: true, bad: true}, span{trace: 1, id: 2}))
		r.deliver(otlp.Traces, traces(span{trace: 1, id: 3}, span{trace: 1, id: 4}))
		r.sleep(letterPatience + 10*time.Second)
		r.p.mu.Lock()
		for _, m := range r.p.messages {
			if len(m.receipts) > 0 && m.receipts[0] == Receipt(first) {
				r.p.giveBackLocked(m, 0)
			}
		}
		r.p.mu.Unlock()
		r.backend.mu.Lock()
		r.backend.answer = nil
		r.backend.mu.Unlock()
		dead.mu.Lock()
		dead.away = false
		dead.mu.Unlock()
		r.sleep(time.Minute)
		r.want("exported", r.backend.spans, map[string]int{"1/3": 1, "1/4": 1})
		r.want("letters", len(dead.letters), 0)
		r.check()
	})
}

// An exporter that names each item of a trace has tried them alone: the trace is not sent again in pieces.
func TestRefusedItemByItem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dead, exports := &letterbox{}, 0
		r := newRig(t, func(c *Config) { c.Dead = dead })
		defer r.stop()
		r.backend.answer = func(b *exporter.Batch) error {
			exports++
			var refused []exporter.Refusal
			for i := range b.Items {
				refused = append(refused, exporter.Refusal{Items: []int{i}, Reason: ReasonRejected, Err: errors.New("no such project")})
			}
			return exporter.Refuse(b, refused)
		}
		r.deliver(otlp.Traces, traces(span{trace: 1, id: 1, root: true, bad: true}))
		for i := range 7 {
			r.deliver(otlp.Traces, traces(span{trace: 1, id: byte(i + 2)}))
		}
		r.sleep(5 * time.Second)
		r.want("exports", exports, 1)
		r.want("dead letters", len(dead.letters), 1)
		r.want("spans", r.p.State().DeadLettered.Spans, int64(8))
		r.check()
	})
}
