package receiver

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"

	"tailweir/otlp"
)

// refused is the answer to what may come again later.
func (k kind) refused() result {
	if k.encoding == GRPC {
		return result{Code: codes.Unavailable, Delayed: true}
	}
	return result{HTTP: 503, Delayed: true}
}

// whole is a payload as the kind sends it, with its length.
func (k kind) whole(payload []byte) (io.Reader, int64) {
	if k.encoding == GRPC {
		payload = framed(len(payload), payload)
	}
	return bytes.NewReader(payload), int64(len(payload))
}

// TestOverTheBound wants a full receiver to answer at once, without the body, and the next request to succeed: on
// the same connection unless HTTP/1.1 had to close it over an unread body.
func TestOverTheBound(t *testing.T) {
	payload := encoded(t, recordsOf(10, 500))
	bounds := []struct {
		name string
		of   func(*Receiver) *budget
		room int64 // left; for the first step of a body, but not for the whole
	}{
		{"requests", func(r *Receiver) *budget { return &r.requests }, 0},
		{"bytes", func(r *Receiver) *budget { return &r.bytes }, firstStep},
	}
	for _, bound := range bounds {
		for _, k := range []kind{kinds[0], kinds[1], kinds[3]} {
			for _, unsent := range []bool{false, true} {
				name := strings.Join([]string{bound.name, k.name, map[bool]string{false: "whole", true: "unsent"}[unsent]}, " ")
				t.Run(name, func(t *testing.T) {
					inBubble(t, new(shelf), Config{}, func(t *testing.T, w *world) {
						client, dials := w.client(k.h2c)
						full := bound.of(w.Receiver)
						taken := full.max
						body, length := k.whole(payload)
						if unsent {
							taken -= bound.room
							head := newStream(0, framed(1<<20, nil)) // of a body that is no gRPC, the first bytes
							defer head.Close()
							body, length = head, 1<<20
						}
						full.take(taken)
						start := time.Now()
						got, err := k.do(client, k.request(t.Context(), otlp.Logs, body, length))
						if diff := cmp.Diff(k.refused(), got); err != nil || diff != "" || time.Since(start) != 0 {
							t.Errorf("err %v after %v, answer (-want +got):\n%s", err, time.Since(start), diff)
						}
						synctest.Wait()
						full.give(taken)
						checkStats(t, w.Receiver, RequestCount{otlp.Logs, k.encoding, Overloaded, 1})
						body, length = k.whole(payload)
						if got, err := k.do(client, k.request(t.Context(), otlp.Logs, body, length)); err != nil || got != k.accepted() {
							t.Errorf("after room was made: %+v, %v", got, err)
						}
						if n, want := dials.Load(), map[bool]int32{true: 2, false: 1}[unsent && !k.h2c]; n != want {
							t.Errorf("%d connections, want %d", n, want)
						}
					})
				})
			}
		}
	}
}

// TestUnreadAnswers wants connections closed whose sender does not read, with all that waits behind them.
func TestUnreadAnswers(t *testing.T) {
	headers := "\x00\x00\x28\x01\x05\x00\x00\x00\x01" + // HEADERS, END_STREAM and END_HEADERS, stream 1
		"\x83\x86" + // POST, http
		"\x04\x08/v1/logs" + "\x01\x01x" + // path, authority
		"\x0f\x10\x16application/x-protobuf"
	tests := []struct{ name, sends string }{
		{"http1", "POST /v1/logs HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n"},
		{"h2c", clientPreface + emptySettings + headers},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, new(shelf), Config{}, func(t *testing.T, w *world) {
				conn := w.net.raw(t)
				defer conn.Close()
				if _, err := io.WriteString(conn, test.sends); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				checkStats(t, w.Receiver, RequestCount{otlp.Logs, Protobuf, Accepted, 1})
				w.wantIdle(t)
			})
		})
	}
}
