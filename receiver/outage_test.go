package receiver

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"tailweir/otlp"
)

// ledger is a Publisher that knows which spans it confirmed. While it is down, fail says what becomes of the nth
// message; what was not confirmed it goes on reading for a while, as the Pub/Sub client does.
type ledger struct {
	t    *testing.T
	fail func(ctx context.Context, n int64) error
	down atomic.Bool

	messages  atomic.Int64
	mu        sync.Mutex
	confirmed map[pcommon.SpanID]bool
}

func (l *ledger) Publish(ctx context.Context, data []byte, _ map[string]string) error {
	if l.down.Load() {
		if err := l.fail(ctx, l.messages.Add(1)); err != nil {
			go l.keepReading(data, bytes.Clone(data))
			return err
		}
	}
	request := ptraceotlp.NewExportRequest()
	if err := request.UnmarshalProto(data); err != nil {
		l.t.Errorf("published payload: %v", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := range spanIDs(request) {
		l.confirmed[id] = true
	}
	return nil
}

func (l *ledger) keepReading(data, want []byte) {
	for range 5 {
		time.Sleep(4 * time.Second)
		if !bytes.Equal(data, want) {
			l.t.Error("a buffer was reused while the publisher could still read it")
		}
	}
}

// missing counts the spans of the request that were not confirmed.
func (l *ledger) missing(request ptraceotlp.ExportRequest) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := range spanIDs(request) {
		if !l.confirmed[id] {
			n++
		}
	}
	return n
}

func spanIDs(request ptraceotlp.ExportRequest) func(func(pcommon.SpanID) bool) {
	return func(yield func(pcommon.SpanID) bool) {
		for _, rs := range request.Traces().ResourceSpans().All() {
			for _, ss := range rs.ScopeSpans().All() {
				for _, sp := range ss.Spans().All() {
					if !yield(sp.SpanID()) {
						return
					}
				}
			}
		}
	}
}

// sender exports like an SDK: 10 s for an attempt, the same payload until it is taken, pauses that grow to 30 s.
type sender struct {
	n      int
	kind   kind
	spans  int
	ledger *ledger
	try    func(payload []byte) (result, error)
}

// run sends until the time is up. It reports an answer that is neither success nor "later", a success without
// confirmation, and a refusal of what was sent after the time recovered.
func (s *sender) run(t *testing.T, recovered, end time.Time) (accepted int) {
	pause := time.Second
	request := s.request(0)
	for sent := 1; time.Now().Before(end); {
		begun := time.Now()
		payload := encoded(t, request)
		if s.kind.encoding == JSON {
			payload = asJSON(t, request)
		}
		got, err := s.try(payload)
		switch {
		case err == nil && got == s.kind.accepted():
			if n := s.ledger.missing(request); n > 0 {
				t.Errorf("success with %d spans unconfirmed", n)
			}
			accepted++
			request, pause = s.request(sent), time.Second
			sent++
			time.Sleep(10 * time.Second)
		case err != nil || got != s.kind.refused():
			t.Errorf("answer %+v, %v", got, err)
			return accepted
		default:
			if begun.After(recovered) {
				t.Errorf("%s: refused %v after the recovery", s.kind.name, begun.Sub(recovered))
			}
			time.Sleep(pause + time.Duration(s.n)*time.Millisecond)
			pause = min(2*pause, 30*time.Second)
		}
	}
	return accepted
}

// request makes spans that no other request has.
func (s *sender) request(sequence int) ptraceotlp.ExportRequest {
	request := spansOf(s.spans, 100, nil)
	spans := request.Traces().ResourceSpans().At(0).ScopeSpans().At(0).Spans()
	for i, sp := range spans.All() {
		var id pcommon.SpanID
		binary.BigEndian.PutUint64(id[:], uint64(s.n+1)<<32|uint64(sequence)<<16|uint64(i))
		sp.SetSpanID(id)
	}
	return request
}

// TestOutage has 200 senders go through five minutes without Pub/Sub. No success may be untrue, no answer may make
// an SDK drop data or wait for its own timeout, and afterwards everything goes on at once.
func TestOutage(t *testing.T) {
	code := func(c codes.Code) func(context.Context, int64) error {
		return func(context.Context, int64) error { return status.Error(c, "outage") }
	}
	silent := func(ctx context.Context, _ int64) error { return untilDone(ctx, nil) }
	tests := []struct {
		name  string
		fail  func(context.Context, int64) error
		cfg   Config
		after time.Duration // until what hung is gone
		some  bool          // of what was sent in the outage is confirmed
	}{
		{name: "unavailable", fail: code(codes.Unavailable)},
		{name: "permission denied", fail: code(codes.PermissionDenied)},
		{name: "no topic", fail: code(codes.NotFound)},
		{name: "silent", fail: silent},
		{name: "silent, over the bound", fail: silent, cfg: Config{MaxRequests: 50}, after: 8 * time.Second},
		{name: "two of three messages fail", some: true, fail: func(_ context.Context, n int64) error {
			if n%3 == 0 {
				return nil
			}
			return status.Error(codes.Unavailable, "outage")
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l := &ledger{t: t, fail: test.fail, confirmed: make(map[pcommon.SpanID]bool)}
			test.cfg.MaxMessage = 2000
			// In virtual time a sender may take a spare connection in the very instant in which the server gives it up.
			test.cfg.HeaderTimeout, test.cfg.IdleTimeout = time.Hour, time.Hour
			inBubble(t, l, test.cfg, func(t *testing.T, w *world) {
				start := time.Now()
				recovered := start.Add(330*time.Second + test.after)
				var accepted atomic.Int64
				var all sync.WaitGroup
				for _, s := range senders(w, l, 200) {
					all.Go(func() { accepted.Add(int64(s.run(t, recovered, start.Add(370*time.Second)))) })
				}
				time.Sleep(30*time.Second - time.Millisecond)
				synctest.Wait()
				before := spansAccepted(w)
				l.down.Store(true)
				time.Sleep(5 * time.Minute)
				during := spansAccepted(w) - before
				l.down.Store(false)
				if before == 0 || (during > 0) != test.some {
					t.Errorf("%d spans accepted before the outage and %d in it", before, during)
				}
				all.Wait()
				if n := accepted.Load(); n < 200 {
					t.Errorf("%d requests accepted in all", n)
				}
			})
		})
	}
}

func spansAccepted(w *world) uint64 { return w.Stats().Spans.Accepted }

// senders are n of all kinds, on one transport for each kind; every second one's payloads are split.
func senders(w *world, l *ledger, n int) []*sender {
	var made []*sender
	for i := range n {
		made = append(made, &sender{n: i, kind: kinds[i%len(kinds)], spans: 5 + i/len(kinds)%2*30, ledger: l})
	}
	for i, k := range kinds {
		client, _ := w.client(k.h2c)
		for j := i; j < n; j += len(kinds) {
			made[j].try = func(payload []byte) (result, error) {
				ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
				defer cancel()
				body, length := k.whole(payload)
				got, err := k.do(client, k.request(ctx, otlp.Traces, body, length))
				if err != nil {
					err = fmt.Errorf("%s: %w", k.name, err)
				}
				return got, err
			}
		}
	}
	return made
}
