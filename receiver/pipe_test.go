package receiver

import (
	"bytes"
	"context"
	"encoding/base64"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"

	"tailweir/otlp"
)

// pipes is a network of net.Pipe, which synctest can see through: time on it is virtual.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- server:
		return client, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// raw returns a connection for a test to misuse.
func (p *pipes) raw(t *testing.T) net.Conn {
	t.Helper()
	c, err := p.dial(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// world is a Receiver in virtual time.
type world struct {
	*Receiver
	net    *pipes
	stop   context.CancelFunc
	served chan error
	base   int // goroutines of the server without connections
	open   []*http.Transport
}

// inBubble runs test beside a serving Receiver. Afterwards it wants everything given back: requests, bytes and
// goroutines. synctest fails a test of which a goroutine is left.
func inBubble(t *testing.T, pub Publisher, cfg Config, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		cfg.Logger = slog.New(slog.DiscardHandler)
		ctx, stop := context.WithCancel(context.Background())
		w := &world{
			Receiver: New(pub, cfg), stop: stop, served: make(chan error, 1),
			net: &pipes{conns: make(chan net.Conn), closed: make(chan struct{})},
		}
		go func() { w.served <- w.Serve(ctx, w.net) }()
		synctest.Wait()
		w.base, _ = goroutines()
		test(t, w)
		w.wantIdle(t)
		w.end(t)
	})
}

// end stops the server, if it runs, and returns how long that took.
func (w *world) end(t *testing.T) time.Duration {
	t.Helper()
	start := time.Now()
	w.stop()
	if err := <-w.served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	w.served <- nil
	return time.Since(start)
}

// wantIdle closes the senders' connections and wants nothing left of them.
func (w *world) wantIdle(t *testing.T) {
	t.Helper()
	synctest.Wait()
	for _, tr := range w.open {
		tr.CloseIdleConnections()
	}
	time.Sleep(time.Minute) // virtual: for what is cut and not finished
	synctest.Wait()
	if st := w.Stats(); st.RequestsInFlight != 0 || st.BytesInFlight != 0 {
		t.Errorf("%d requests and %d bytes in flight after all", st.RequestsInFlight, st.BytesInFlight)
	}
	if n, stacks := goroutines(); n > w.base {
		t.Errorf("%d goroutines after all, %d before\n%s", n, w.base, stacks)
	}
}

// goroutines counts those of the bubble. runtime.NumGoroutine is not exact while any end.
func goroutines() (n int, stacks []byte) {
	stacks = make([]byte, 4<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	return bytes.Count(stacks, []byte("synctest bubble")), stacks
}

// client speaks HTTP/1.1, or HTTP/2 with prior knowledge, and counts its dials.
func (w *world) client(h2c bool) (c *http.Client, dials *atomic.Int32) {
	dials = new(atomic.Int32)
	var p http.Protocols
	p.SetHTTP1(!h2c)
	p.SetUnencryptedHTTP2(h2c)
	tr := &http.Transport{Protocols: &p, DisableCompression: true}
	tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		dials.Add(1)
		return w.net.dial(ctx, network, addr)
	}
	w.open = append(w.open, tr)
	return &http.Client{Transport: tr}, dials
}

// kind is a protocol without regard to compression.
type kind struct {
	name     string
	encoding Encoding
	h2c      bool
}

var kinds = []kind{{"http1", Protobuf, false}, {"h2c", Protobuf, true}, {"json", JSON, false}, {"grpc", GRPC, true}}

// request sends body as it is, gRPC framing and all; length -1 is an unknown one.
func (k kind) request(ctx context.Context, s otlp.Signal, body io.Reader, length int64) *http.Request {
	path, contentType := pathOf(s, httpSignals), contentTypes[k.encoding]
	if k.encoding == GRPC {
		path, contentType, length = pathOf(s, grpcSignals), "application/grpc", -1
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://receiver"+path, body)
	if err != nil {
		panic(err)
	}
	req.Header.Set("Content-Type", contentType)
	req.ContentLength = length
	return req
}

// result is what came back, whatever the protocol: of gRPC the code, else the status; and whether a delay was named.
type result struct {
	HTTP    int
	Code    codes.Code
	Delayed bool
}

func (k kind) do(c *http.Client, req *http.Request) (result, error) {
	resp, err := c.Do(req)
	if err != nil {
		return result{}, err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return result{}, err
	}
	if k.encoding != GRPC {
		return result{HTTP: resp.StatusCode, Delayed: resp.Header.Get("Retry-After") != ""}, nil
	}
	text := resp.Header.Get("Grpc-Status") + resp.Trailer.Get("Grpc-Status")
	code, err := strconv.Atoi(text)
	return result{Code: codes.Code(code), Delayed: delayed(resp.Header.Get("Grpc-Status-Details-Bin"))}, err
}

// delayed reports whether the details of a status ask for a delay.
func delayed(details string) bool {
	b, err := base64.RawStdEncoding.DecodeString(details)
	return err == nil && bytes.Contains(b, []byte("google.rpc.RetryInfo"))
}

// framed puts a gRPC header that declares size bytes before message.
func framed(size int, message []byte) []byte {
	return append([]byte{0, byte(size >> 24), byte(size >> 16), byte(size >> 8), byte(size)}, message...)
}

// stream is a body that comes piece by piece, a pause before each but the first, and then stands still until it is
// closed.
type stream struct {
	pieces [][]byte
	pause  time.Duration
	ends   bool // with EOF instead
	begun  bool
	closed chan struct{}
	once   sync.Once
}

func newStream(pause time.Duration, pieces ...[]byte) *stream {
	return &stream{pieces: pieces, pause: pause, closed: make(chan struct{})}
}

func (s *stream) Read(p []byte) (int, error) {
	for len(s.pieces) > 0 && len(s.pieces[0]) == 0 {
		s.pieces = s.pieces[1:]
		s.begun = false
	}
	switch {
	case len(s.pieces) == 0 && s.ends:
		return 0, io.EOF
	case len(s.pieces) == 0:
		<-s.closed
		return 0, io.ErrClosedPipe
	}
	if !s.begun {
		s.begun = true
		// Not time.After: under -race the runtime of go1.26 crashes now and then in a select on a timer's channel within a bubble.
		over := make(chan struct{})
		timer := time.AfterFunc(s.pause, func() { close(over) })
		defer timer.Stop()
		select {
		case <-s.closed:
			return 0, io.ErrClosedPipe
		case <-over:
		}
	}
	n := copy(p, s.pieces[0])
	s.pieces[0] = s.pieces[0][n:]
	return n, nil
}

func (s *stream) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil
}
