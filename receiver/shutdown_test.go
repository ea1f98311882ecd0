package receiver

import (
	"context"
	"io"
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"

	"tailweir/otlp"
)

// TestServeShutdown wants the running request confirmed, new connections refused, and nil.
func TestServeShutdown(t *testing.T) {
	for _, w := range []way{ways[0], ways[2], ways[6]} {
		t.Run(w.name, func(t *testing.T) {
			entered, release := make(chan bool), make(chan bool)
			pub := &shelf{before: func(context.Context, []byte) error {
				entered <- true
				<-release
				return nil
			}}
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			r := New(pub, Config{Logger: slog.New(slog.DiscardHandler)})
			ctx, cancel := context.WithCancel(t.Context())
			served, sent := make(chan error, 1), make(chan reply, 1)
			go func() { served <- r.Serve(ctx, l) }()
			go func() { sent <- w.send(t, l.Addr().String(), otlp.Logs, encoded(t, recordsOf(1, 1))) }()
			<-entered
			cancel()
			for !r.draining.Load() {
				time.Sleep(time.Millisecond)
			}
			close(release)
			if got := <-sent; got.Code != codes.OK {
				t.Errorf("running request: %+v", got)
			}
			if err := <-served; err != nil {
				t.Errorf("Serve: %v", err)
			}
			if _, err := net.Dial("tcp", l.Addr().String()); err == nil {
				t.Error("the port is still open")
			}
		})
	}
}

// TestGrace wants Serve to return within the grace whatever still runs, and its sender told to come again, or cut.
func TestGrace(t *testing.T) {
	payload := encoded(t, recordsOf(10, 500))
	deaf := func(context.Context, []byte) error {
		time.Sleep(30 * time.Second)
		return errOutage
	}
	tests := []struct {
		name    string
		before  func(context.Context, []byte) error
		publish time.Duration // timeout; 0 is the default
		unsent  bool          // the body does not come
		cut     bool
		took    time.Duration
	}{
		{name: "a silent publisher", before: untilDone, took: 8 * time.Second},
		{name: "a publisher that takes longer than the grace", before: untilDone, publish: time.Minute, cut: true, took: 9 * time.Second},
		{name: "a publisher that does not heed its context", before: deaf, cut: true, took: 9 * time.Second},
		{name: "a body that does not come", unsent: true, cut: true, took: 9 * time.Second},
	}
	for _, test := range tests {
		for _, k := range []kind{kinds[0], kinds[1], kinds[3]} {
			t.Run(test.name+"/"+k.name, func(t *testing.T) {
				inBubble(t, &shelf{before: test.before}, Config{PublishTimeout: test.publish}, func(t *testing.T, w *world) {
					client, _ := w.client(k.h2c)
					body, length := k.whole(payload)
					head := newStream(0, framed(1<<20, nil))
					if test.unsent {
						body, length = head, 1<<20
					}
					type reply struct {
						result
						err error
					}
					sent := make(chan reply, 1)
					go func() {
						got, err := k.do(client, k.request(t.Context(), otlp.Logs, body, length))
						sent <- reply{got, err}
					}()
					synctest.Wait()
					if n := w.Stats().RequestsInFlight; n != 1 {
						t.Fatalf("%d requests in flight, want 1", n)
					}
					// Shutdown looks for idle connections at most half a second apart, give or take a tenth.
					if took := w.end(t); took < test.took || took > test.took+600*time.Millisecond {
						t.Errorf("Serve returned after %v, want %v", took, test.took)
					}
					head.Close() // the client's HTTP/1.1 waits for its body, although the connection is gone
					if got := <-sent; (got.err != nil) != test.cut || !test.cut && got.result != k.refused() {
						t.Errorf("answer %+v, want cut: %v", got, test.cut)
					}
					if _, err := w.net.dial(t.Context(), "", ""); err == nil {
						t.Error("the port is still open")
					}
				})
			})
		}
	}
}

// TestDrain wants idle connections closed at once and a request on a connection from before sent elsewhere.
func TestDrain(t *testing.T) {
	payload := encoded(t, recordsOf(10, 500))
	for _, k := range []kind{kinds[0], kinds[1], kinds[3]} {
		t.Run(k.name, func(t *testing.T) {
			inBubble(t, new(shelf), Config{}, func(t *testing.T, w *world) {
				client, _ := w.client(k.h2c)
				send := func() (result, error) {
					body, length := k.whole(payload)
					return k.do(client, k.request(t.Context(), otlp.Logs, io.NopCloser(body), length))
				}
				if got, err := send(); err != nil || got != k.accepted() {
					t.Fatalf("before: %+v, %v", got, err)
				}
				if took := w.end(t); took > 2*time.Second {
					t.Errorf("Serve returned after %v with nothing to wait for", took)
				}
				if got, err := send(); err == nil {
					t.Errorf("after: %+v, want an error", got)
				}
			})
		})
	}
}
