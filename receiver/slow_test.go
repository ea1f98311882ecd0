package receiver

import (
	"bytes"
	"context"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"

	"tailweir/otlp"
)

// cut is the answer to a body that did not come.
func (k kind) cut() result {
	if k.encoding == GRPC {
		return result{Code: codes.DeadlineExceeded, Delayed: true}
	}
	return result{HTTP: 503, Delayed: true}
}

// accepted is the answer to what was stored.
func (k kind) accepted() result {
	if k.encoding == GRPC {
		return result{}
	}
	return result{HTTP: 200}
}

// trickle is n pieces of one byte each.
func trickle(n int) [][]byte {
	pieces := make([][]byte, n)
	for i := range pieces {
		pieces[i] = []byte{0}
	}
	return pieces
}

// TestSlowBodies wants a declared length to cost memory only as it comes true, and who does not send cut off at
// the deadline, told so and counted.
func TestSlowBodies(t *testing.T) {
	const declared = 16 << 20
	// No byte goes out at the very moment of the cut: an HTTP/1.1 client that finds the connection closed under its write may
	// not read the answer any more.
	const trickling = 700 * time.Millisecond
	payload := encoded(t, recordsOf(1, 100))
	tests := []struct {
		name   string
		kind   kind
		length int64
		pause  time.Duration
		pieces [][]byte
		held   int64 // most bytes in flight meanwhile
	}{
		{"nothing", kinds[0], declared, 0, nil, 64 << 10},
		{"nothing of a small body", kinds[0], 5000, 0, nil, 8 << 10},
		{"nothing, JSON", kinds[2], declared, 0, nil, 64 << 10},
		{"nothing, HTTP/2", kinds[1], declared, 0, nil, 64 << 10},
		{"a trickle", kinds[0], declared, trickling, trickle(30), 64 << 10},
		{"a trickle in chunks", kinds[0], -1, trickling, trickle(30), 32 << 10},
		{"a trickle, HTTP/2", kinds[1], declared, trickling, trickle(30), 64 << 10},
		{"a stop after 100 kB", kinds[0], declared, 0, [][]byte{make([]byte, 100_000)}, 256 << 10},
		{"a stop after 300 kB, HTTP/2", kinds[1], declared, 0, [][]byte{make([]byte, 300_000)}, 1 << 20},
		{"no frame", kinds[3], -1, 0, nil, 0},
		{"half a frame header", kinds[3], -1, 0, [][]byte{{0, 0}}, 0},
		{"a frame header", kinds[3], -1, 0, [][]byte{framed(declared, nil)}, 64 << 10},
		{"a trickle, gRPC", kinds[3], -1, trickling, append([][]byte{framed(declared, nil)}, trickle(30)...), 64 << 10},
		{"a stop after 300 kB, gRPC", kinds[3], -1, 0, [][]byte{framed(declared, make([]byte, 300_000))}, 1 << 20},
		{"a message without an end", kinds[3], -1, 0, [][]byte{framed(len(payload), payload)}, 4 << 10},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			pub := new(shelf)
			inBubble(t, pub, Config{}, func(t *testing.T, w *world) {
				body := newStream(test.pause, test.pieces...)
				defer body.Close()
				client, _ := w.client(test.kind.h2c)
				start := time.Now()
				go func() {
					time.Sleep(9 * time.Second)
					if n := w.Stats().BytesInFlight; n > test.held {
						t.Errorf("%d bytes held, want at most %d", n, test.held)
					}
				}()
				got, err := test.kind.do(client, test.kind.request(t.Context(), otlp.Logs, body, test.length))
				if diff := cmp.Diff(test.kind.cut(), got); err != nil || diff != "" {
					t.Errorf("err %v, answer (-want +got):\n%s", err, diff)
				}
				if took := time.Since(start); took != 10*time.Second {
					t.Errorf("cut off after %v, want 10s", took)
				}
				synctest.Wait()
				checkStats(t, w.Receiver, RequestCount{otlp.Logs, test.kind.encoding, Slow, 1})
			})
			if n := len(pub.all()); n != 0 {
				t.Errorf("%d messages of a body that did not come", n)
			}
		})
	}
}

// TestSlowCrowd wants the memory for an honest request while several hundred declare more than there is.
func TestSlowCrowd(t *testing.T) {
	payload := encoded(t, recordsOf(1000, 1000))
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			inBubble(t, new(shelf), Config{}, func(t *testing.T, w *world) {
				head := []byte{}
				if k.encoding == GRPC {
					head = framed(16<<20, nil)
				}
				crowd, _ := w.client(k.h2c)
				var all sync.WaitGroup
				for range 400 {
					all.Go(func() {
						body := newStream(0, head)
						defer body.Close()
						if got, err := k.do(crowd, k.request(t.Context(), otlp.Logs, body, 16<<20)); err != nil || got != k.cut() {
							t.Errorf("answer %+v, %v, want %+v", got, err, k.cut())
						}
					})
				}
				synctest.Wait()
				if st := w.Stats(); st.RequestsInFlight != 400 {
					t.Fatalf("%d requests in flight, want 400", st.RequestsInFlight)
				}
				honest, _ := w.client(false)
				got, err := kinds[0].do(honest, kinds[0].request(t.Context(), otlp.Logs, bytes.NewReader(payload), int64(len(payload))))
				if err != nil || got.HTTP != 200 {
					t.Errorf("honest request: %+v, %v", got, err)
				}
				all.Wait()
			})
		})
	}
}

// TestSlowButInTime wants a body of 9 s stored, though the publish ends after the deadline for the body.
func TestSlowButInTime(t *testing.T) {
	payload := encoded(t, recordsOf(10, 30_000))
	for _, k := range []kind{kinds[0], kinds[1], kinds[3]} {
		t.Run(k.name, func(t *testing.T) {
			pub := &shelf{before: func(ctx context.Context, _ []byte) error {
				select {
				case <-time.After(7 * time.Second):
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			}}
			whole := payload
			if k.encoding == GRPC {
				whole = framed(len(payload), payload)
			}
			inBubble(t, pub, Config{}, func(t *testing.T, w *world) {
				body := newStream(3*time.Second, whole[:1], whole[1:200_000], whole[200_000:])
				body.ends = true
				client, _ := w.client(k.h2c)
				got, err := k.do(client, k.request(t.Context(), otlp.Logs, body, int64(len(whole))))
				if err != nil || got != k.accepted() {
					t.Errorf("answer %+v, %v, want %+v", got, err, k.accepted())
				}
			})
			if all := pub.all(); len(all) != 1 || !bytes.Equal(all[0].Data, payload) {
				t.Errorf("%d messages, want the payload", len(all))
			}
		})
	}
}

// What an HTTP/2 client says first.
const (
	clientPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	emptySettings = "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
)

// TestSlowHeaders wants connections that do not come to a request closed, in the time that is for it.
func TestSlowHeaders(t *testing.T) {
	const idle = 5*time.Minute + time.Second // the second is for the farewell
	const open = clientPreface + emptySettings
	tests := []struct {
		name, sends string
		drip        string // one byte a second after it
		closed      time.Duration
	}{
		{name: "nothing", closed: 4 * time.Second},
		{name: "half a request line", sends: "POST /v1/tra", closed: 4 * time.Second},
		{name: "headers without end", sends: "POST /v1/traces HTTP/1.1\r\nHost: x\r\n", drip: "X-A: b\r\n", closed: 4 * time.Second},
		{name: "half a preface", sends: clientPreface[:18], closed: 4 * time.Second},
		{name: "preface", sends: clientPreface, closed: 2 * time.Second},
		{name: "HTTP/2 without requests", sends: open, closed: idle},
		{name: "HTTP/2 headers without end", sends: open + "\x00\x00\x01\x01\x00\x00\x00\x00\x01\x82",
			closed: idle},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, new(shelf), Config{HeaderTimeout: 4 * time.Second}, func(t *testing.T, w *world) {
				conn := w.net.raw(t)
				defer conn.Close()
				start := time.Now()
				go func() {
					io.WriteString(conn, test.sends)
					for i := 0; test.drip != ""; i++ {
						time.Sleep(time.Second)
						if _, err := conn.Write([]byte{test.drip[i%len(test.drip)]}); err != nil {
							return
						}
					}
				}()
				io.Copy(io.Discard, conn)
				if took := time.Since(start); took != test.closed {
					t.Errorf("closed after %v, want %v", took, test.closed)
				}
			})
		})
	}
}
