package receiver

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"tailweir/otlp"
)

var zstdWriter, _ = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(64<<10)) // EncodeAll may run at any time

// condition is what a process holds.
type condition struct {
	goroutines int
	heap       uint64
}

// anyCondition is one that nobody waits for.
var anyCondition = condition{1 << 30, 1 << 40}

// settled is the condition once what ended is away: goroutines end after the connections that they served.
func settled(atMost condition) (c condition) {
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		runtime.GC()
		runtime.GC() // pools give back what they have at the second
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		c = condition{runtime.NumGoroutine(), m.HeapAlloc}
		if c.goroutines <= atMost.goroutines && c.heap <= atMost.heap || time.Now().After(end) {
			return c
		}
	}
}

// wantSettled wants the receiver as it was before: no goroutine more, next to no memory, nothing in flight, no panic.
func wantSettled(t *testing.T, r *Receiver, before condition) {
	t.Helper()
	const more = 16 << 20
	after := settled(condition{before.goroutines, before.heap + more})
	if after.goroutines > before.goroutines {
		stacks := make([]byte, 1<<20) // of all
		t.Errorf("%d goroutines, %d before\n%s", after.goroutines, before.goroutines, stacks[:runtime.Stack(stacks, true)])
	}
	if after.heap > before.heap+more {
		t.Errorf("%d bytes of heap, %d before", after.heap, before.heap)
	}
	st := r.Stats()
	if st.RequestsInFlight != 0 || st.BytesInFlight != 0 || st.Panics != 0 || st.Connections != 0 {
		t.Errorf("after all %d requests, %d bytes in flight, %d connections, %d panics", st.RequestsInFlight, st.BytesInFlight, st.Connections, st.Panics)
	}
	t.Logf("goroutines %d → %d, heap %d → %d kB", before.goroutines, after.goroutines, before.heap>>10, after.heap>>10)
}

// attackConfig has all that can be attacked, and little patience.
var attackConfig = Config{
	MaxBody: 1 << 20, MaxInflated: 2 << 20, ReadTimeout: time.Second, HeaderTimeout: time.Second, Reflection: true,
	CORS: CORS{AllowedOrigins: []string{"https://shop.example.com", "https://*.example.org"}},
}

// TestMalformedRequests sends 10,000 requests of the attacker over sockets, by HTTP/1.1, h2c and gRPC. Whatever they are, the answer is no
// 5xx but 503 and no INTERNAL or UNKNOWN; what is stored is OTLP; nothing panics; and afterwards all is as before.
func TestMalformedRequests(t *testing.T) {
	const requests, seed = 10_000, 8
	a := newAttacker(t)
	r, addr := open(t, validating{t}, attackConfig)
	before := settled(anyCondition)
	h2 := httpClient(t, true)
	var next, answered atomic.Int64
	var outcomes [600]atomic.Int64
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(func() {
			for n := next.Add(1) - 1; n < requests; n = next.Add(1) - 1 {
				mine := a.seeded(seed, uint64(n))
				var status int
				var err error
				if n%2 == 0 {
					status, err = sendRaw(addr, mine.http1(mine.next(mine.IntN(10) == 0)), true)
				} else {
					status, err = sendH2(h2, addr, mine.next(mine.IntN(2) == 0))
				}
				if err != nil {
					t.Errorf("request %d of seed %d: %v", n, seed, err)
				}
				if status > 0 {
					answered.Add(1)
					outcomes[status].Add(1)
				}
			}
		})
	}
	workers.Wait()
	h2.CloseIdleConnections()
	if n := answered.Load(); n < requests/2 {
		t.Errorf("%d of %d requests were answered: the attacker makes too little that is HTTP", n, requests)
	}
	for status := range outcomes {
		if n := outcomes[status].Load(); n > 0 {
			t.Logf("%d: %d", status, n)
		}
	}
	for _, c := range r.Stats().Requests {
		t.Logf("%s %s %s: %d", c.Signal, c.Encoding, c.Outcome, c.Count)
	}
	wantSettled(t, r, before)
}

// validating is a Publisher that wants OTLP.
type validating struct{ t *testing.T }

func (v validating) Publish(_ context.Context, data []byte, attrs map[string]string) error {
	if attrs[otlp.AttrContentEncoding] == otlp.EncodingGzip {
		data = unzip(v.t, data)
	}
	for s := otlp.Traces; s <= otlp.Logs; s++ {
		if s.EventType() != attrs[otlp.AttrType] {
			continue
		}
		var p otlp.Payload
		if err := p.Scan(s, data); err != nil {
			v.t.Errorf("published what is no OTLP: %v", err)
		}
	}
	return nil
}

// sendRaw writes the bytes, ends its half of the connection if ends says so, for what may have said that it is longer, and reads an answer: 0 if the connection was closed without one, as it
// is for what is no HTTP.
func sendRaw(addr string, request []byte, ends bool) (status int, err error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(15 * time.Second))
	go func() {
		conn.Write(request)
		if ends {
			conn.(*net.TCPConn).CloseWrite()
		}
	}()
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, &http.Request{Method: method(request)})
	for err == nil && resp.StatusCode == http.StatusContinue {
		resp, err = http.ReadResponse(in, &http.Request{Method: method(request)})
	}
	if err != nil {
		if ne, ok := err.(net.Error); ok && ne.Timeout() {
			return 0, fmt.Errorf("no answer: %w", err)
		}
		return 0, nil
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	ours := resp.Header.Get("Content-Type") != "text/plain; charset=utf-8" || resp.Header.Get("X-Content-Type-Options") != ""
	switch {
	case resp.StatusCode < 500 || resp.StatusCode == 503:
	case !ours && (resp.StatusCode == 501 || resp.StatusCode == 505): // net/http's, of a transfer coding or a version that it does not speak
	default:
		return resp.StatusCode, fmt.Errorf("status %d for %.200q", resp.StatusCode, request)
	}
	return resp.StatusCode, wrongCode(resp)
}

func method(request []byte) string {
	m, _, _ := bytes.Cut(request, []byte(" "))
	return string(m)
}

// sendH2 sends over HTTP/2 what net/http's client is willing to send.
func sendH2(c *http.Client, addr string, at attack) (status int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, at.method, "http://"+addr+"/", bytes.NewReader(at.body))
	if err != nil {
		return 0, nil
	}
	req.URL.Path, req.URL.RawQuery, _ = strings.Cut(at.path, "?")
	for _, h := range at.headers {
		req.Header[http.CanonicalHeaderKey(h[0])] = append(req.Header[http.CanonicalHeaderKey(h[0])], h[1])
	}
	resp, err := c.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return 0, fmt.Errorf("no answer to %s %s: %w", at.method, at.path, err)
		}
		return 0, nil // which the client refused, or the server by a reset
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	if resp.StatusCode >= 500 && resp.StatusCode != 503 {
		return resp.StatusCode, fmt.Errorf("status %d for %s %s %q", resp.StatusCode, at.method, at.path, at.headers)
	}
	if isReflection[at.path] { // grpc-go says INTERNAL to a message that it cannot read
		return resp.StatusCode, nil
	}
	return resp.StatusCode, wrongCode(resp)
}

// wrongCode is an error for a gRPC status that says that we are at fault.
func wrongCode(resp *http.Response) error {
	switch code := resp.Header.Get("Grpc-Status") + resp.Trailer.Get("Grpc-Status"); code {
	case "2", "13", "15":
		return fmt.Errorf("grpc-status %s: %s", code, resp.Header.Get("Grpc-Message"))
	}
	return nil
}
