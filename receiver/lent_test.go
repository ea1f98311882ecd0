package receiver

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tailweir/otlp"
)

// borrower is a Publisher that refuses one message, the nth, when end says so, and reads it on for a second more.
type borrower struct {
	t   *testing.T
	nth int
	end func(ctx context.Context) error

	calls int
	done  chan struct{}
}

func (b *borrower) Publish(ctx context.Context, data []byte, _ map[string]string) error {
	if b.calls++; b.calls != b.nth {
		return nil
	}
	go b.keepReading(data, bytes.Clone(data))
	return b.end(ctx)
}

func (b *borrower) keepReading(data, want []byte) {
	defer close(b.done)
	for range 1000 {
		if !bytes.Equal(data, want) {
			b.t.Error("a buffer was reused while the publisher could still read it")
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// TestLentBuffers wants the bytes of a message that was not confirmed untouched by the requests after it, however
// its request ended.
func TestLentBuffers(t *testing.T) {
	tests := []struct {
		name  string
		end   func(ctx context.Context) error
		leave bool // the sender goes away meanwhile
		split bool // the second part is the one that fails
	}{
		{name: "refused", end: func(context.Context) error { return errOutage }},
		{name: "timed out", end: func(ctx context.Context) error { return untilDone(ctx, nil) }},
		{name: "sender gone", end: func(ctx context.Context) error { return untilDone(ctx, nil) }, leave: true},
		{name: "panic", end: func(context.Context) error { panic("boom") }},
		{name: "part refused", end: func(context.Context) error { return errOutage }, split: true},
		{name: "sender gone after a part", end: func(ctx context.Context) error { return untilDone(ctx, nil) }, leave: true, split: true},
	}
	for _, test := range tests {
		for _, k := range kinds {
			for _, packed := range []bool{false, true} {
				name := test.name + "/" + k.name + map[bool]string{true: " gzip"}[packed]
				t.Run(name, func(t *testing.T) {
					pub := &borrower{t: t, nth: 1, end: test.end, done: make(chan struct{})}
					cfg := Config{}
					if test.split {
						pub.nth, cfg.MaxMessage = 2, 2000
					}
					inBubble(t, pub, cfg, func(t *testing.T, w *world) {
						lend(t, w, k, packed, test.leave)
					})
					<-pub.done
				})
			}
		}
	}
}

// lend sends one request that fails, and many of its size while the publisher reads on.
func lend(t *testing.T, w *world, k kind, packed, leave bool) {
	t.Helper()
	client, _ := w.client(k.h2c)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if leave {
		time.AfterFunc(time.Second, cancel)
	}
	got, err := k.do(client, k.filled(ctx, 'a', packed))
	if leave != errors.Is(err, context.Canceled) || got == k.accepted() && err == nil {
		t.Errorf("answer %+v, %v", got, err)
	}
	for i := range byte(30) {
		synctest.Wait()
		time.Sleep(10 * time.Millisecond)
		if got, err := k.do(client, k.filled(t.Context(), 'b'+i%20, packed)); err != nil || got != k.accepted() {
			t.Errorf("request %d: %+v, %v", i, got, err)
		}
	}
}

// filled is a request of eight records full of one letter.
func (k kind) filled(ctx context.Context, letter byte, packed bool) *http.Request {
	records := recordsOf(8, 0)
	for _, lr := range records.Logs().ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().All() {
		lr.Body().SetStr(strings.Repeat(string(letter), 600))
	}
	payload, err := records.MarshalProto()
	if k.encoding == JSON {
		payload, err = records.MarshalJSON()
	}
	if err != nil {
		panic(err)
	}
	if k.encoding != JSON {
		payload = append(payload, incompressible(4000)...) // or gzip makes one message of it
	}
	coding, flag := "identity", byte(0)
	if packed {
		coding, flag, payload = "gzip", 1, zip(payload)
	}
	if k.encoding == GRPC {
		payload = frame(flag, payload)
	}
	req := k.request(ctx, otlp.Logs, bytes.NewReader(payload), int64(len(payload)))
	req.Header.Set("Content-Encoding", coding)
	req.Header.Set("Grpc-Encoding", coding)
	return req
}
