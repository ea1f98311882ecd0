package receiver

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"tailweir/otlp"
)

// TestConnectionsBound wants the connection too many to take the place of the one that was idle for longest, never of one with a
// request, and to be refused when all have one.
func TestConnectionsBound(t *testing.T) {
	payload := encoded(t, recordsOf(1, 10))
	for _, k := range []kind{kinds[0], kinds[1], kinds[3]} {
		t.Run(k.name, func(t *testing.T) {
			release := make(chan struct{})
			pub := &shelf{}
			inBubble(t, pub, Config{MaxConnections: 3, PublishTimeout: time.Hour, ReadTimeout: 2 * time.Hour}, func(t *testing.T, w *world) {
				send := func(c *http.Client) (result, error) {
					body := payload
					if k.encoding == GRPC {
						body = framed(len(payload), payload)
					}
					return k.do(c, k.request(t.Context(), otlp.Logs, bytes.NewReader(body), int64(len(body))))
				}
				type client struct {
					*http.Client
					dials interface{ Load() int32 }
				}
				var clients []client
				for range 3 {
					c, dials := w.client(k.h2c)
					clients = append(clients, client{c, dials})
					if got, err := send(c); err != nil || got != k.accepted() {
						t.Fatalf("%+v, %v", got, err)
					}
					time.Sleep(time.Second)
				}
				send(clients[0].Client) // now the second is idle for longest
				fourth, _ := w.client(k.h2c)
				if got, err := send(fourth); err != nil || got != k.accepted() {
					t.Errorf("one too many: %+v, %v", got, err)
				}
				synctest.Wait()
				if st := w.Stats(); st.Connections != 3 || st.ClosedIdle != 1 || st.RefusedConnections != 0 {
					t.Errorf("%d connections, %d closed, %d refused, want 3, 1, 0", st.Connections, st.ClosedIdle, st.RefusedConnections)
				}
				for _, i := range []int{0, 2, 1} { // the last dials anew, in place of another
					c, want := clients[i], int32(1)
					if i == 1 {
						want = 2
					}
					if got, err := send(c.Client); err != nil || got != k.accepted() || c.dials.Load() != want {
						t.Errorf("client %d: %+v, %v, %d dials, want %d", i, got, err, c.dials.Load(), want)
					}
				}

				entered := make(chan bool)
				pub.before = func(context.Context, []byte) error { entered <- true; <-release; return nil }
				var busy sync.WaitGroup
				for range 3 {
					c, _ := w.client(k.h2c)
					busy.Go(func() {
						if got, err := send(c); err != nil || got != k.accepted() {
							t.Errorf("a busy one: %+v, %v", got, err)
						}
					})
					<-entered
				}
				fifth, _ := w.client(k.h2c)
				if got, err := send(fifth); err == nil {
					t.Errorf("all are busy, but one more is answered: %+v", got)
				}
				close(release)
				busy.Wait()
				if st := w.Stats(); st.RefusedConnections == 0 {
					t.Error("no refused connection is counted")
				}
			})
		})
	}
}

// TestSilentConnections wants connections that never say anything to be the first to go.
func TestSilentConnections(t *testing.T) {
	payload := encoded(t, recordsOf(1, 10))
	inBubble(t, new(shelf), Config{MaxConnections: 10, HeaderTimeout: time.Hour}, func(t *testing.T, w *world) {
		var silent []net.Conn
		for _, says := range []string{"", "POST /v1/tra", "POST /v1/traces HTTP/1.1\r\nHost: x\r\n", clientPreface[:18], clientPreface + emptySettings} {
			for range 4 {
				c := w.net.raw(t)
				silent = append(silent, c)
				go io.WriteString(c, says)
				go io.Copy(io.Discard, c)
				synctest.Wait()
				time.Sleep(time.Millisecond)
			}
		}
		good, dials := w.client(false)
		for range 3 {
			if got, err := kinds[0].do(good, kinds[0].request(t.Context(), otlp.Logs, bytes.NewReader(payload), int64(len(payload)))); err != nil || got.HTTP != 200 {
				t.Errorf("%+v, %v", got, err)
			}
		}
		if st := w.Stats(); st.Connections != 10 || st.ClosedIdle != 11 || dials.Load() != 1 {
			t.Errorf("%d connections, %d closed, %d dials, want 10, 11, 1", st.Connections, st.ClosedIdle, dials.Load())
		}
		for _, c := range silent {
			c.Close()
		}
	})
}

// fullListener is one that has no more files for a while, as the kernel has it.
type fullListener struct {
	net.Listener
	full int
}

func (l *fullListener) Accept() (net.Conn, error) {
	if l.full > 0 {
		l.full--
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return l.Listener.Accept()
}

// TestOutOfFiles wants an idle connection closed when the process has no file for a new one.
func TestOutOfFiles(t *testing.T) {
	r := New(new(shelf), Config{})
	near, far := net.Pipe()
	defer far.Close()
	if r.conns.admit(near) == nil {
		t.Fatal("not admitted")
	}
	l := r.conns.listen(&fullListener{full: 1})
	if _, err := l.Accept(); err == nil {
		t.Fatal("no error")
	}
	if _, err := far.Read(make([]byte, 1)); err != io.EOF || r.Stats().ClosedIdle != 1 || r.Stats().Connections != 0 {
		t.Errorf("the idle connection: %v; %+v", err, r.Stats())
	}
}
