package receiver

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"tailweir/otlp"
)

// goodSender sends one request after the other as an app does, on connections of its own, and wants each stored within the timeout; with
// busy some may be put off.
func goodSender(t *testing.T, addr string, requests int, timeout time.Duration, busy bool) {
	t.Helper()
	payload := encoded(t, recordsOf(10, 100))
	client := httpClient(t, false)
	client.Timeout = timeout
	defer client.CloseIdleConnections()
	var slowest time.Duration
	for n := range requests {
		start := time.Now()
		resp, err := client.Post("http://"+addr+"/v1/logs", contentTypes[Protobuf], bytes.NewReader(payload))
		if err != nil {
			t.Errorf("good request %d: %v", n, err)
			return
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 200 && !(busy && resp.StatusCode == 503 && resp.Header.Get("Retry-After") != "") {
			t.Errorf("good request %d: status %d", n, resp.StatusCode)
		}
		slowest = max(slowest, time.Since(start))
	}
	t.Logf("%d good requests, the slowest %v", requests, slowest)
}

// TestIdleConnections holds 5,000 connections that do nothing while a good sender works, under a bound above them, and under one that
// they all want to take.
func TestIdleConnections(t *testing.T) {
	n := 5000
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	if files.Cur < files.Max {
		raised := syscall.Rlimit{Cur: files.Max, Max: files.Max}
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &raised); err == nil {
			files = raised
		}
	}
	if room := int(min(files.Cur, 1<<20)-300) / 2; room < n { // both ends are in this process
		t.Logf("%d files are allowed: %d connections instead of %d", files.Cur, room, n)
		n = room
	}
	for _, bound := range []int{0, 500} {
		t.Run(fmt.Sprintf("bound %d", bound), func(t *testing.T) {
			r, addr := open(t, new(shelf), Config{MaxConnections: bound, HeaderTimeout: time.Minute})
			before := settled(anyCondition)
			says := []string{"", "POST /v1/tra", "POST /v1/traces HTTP/1.1\r\nHost: x\r\n", "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", clientPreface + emptySettings}
			conns := make([]net.Conn, n)
			var dialers sync.WaitGroup
			for first := range 4 {
				dialers.Go(func() {
					for i := first; i < n; i += 4 {
						conn, err := net.Dial("tcp", addr)
						if err != nil {
							t.Errorf("connection %d: %v", i, err)
							return
						}
						conns[i] = conn
						io.WriteString(conn, says[i%len(says)]) // the other end may have closed it already
					}
				})
			}
			goodSender(t, addr, 50, 5*time.Second, false)
			dialers.Wait()
			goodSender(t, addr, 50, 5*time.Second, false)
			st := r.Stats()
			held := settled(anyCondition)
			t.Logf("%d connections, %d closed for others; %d kB of heap to a connection, with the sender's end", st.Connections, st.ClosedIdle, (held.heap-before.heap)>>10/uint64(st.Connections))
			if bound == 0 && st.Connections < int64(n) || bound > 0 && st.Connections > int64(bound) {
				t.Errorf("%d connections are open", st.Connections)
			}
			for _, conn := range conns {
				if conn != nil {
					conn.Close()
				}
			}
			wantSettled(t, r, before)
		})
	}
}

// h2frame is a frame of HTTP/2.
func h2frame(kind, flags byte, stream uint32, payload []byte) []byte {
	n := len(payload)
	b := []byte{byte(n >> 16), byte(n >> 8), byte(n), kind, flags}
	return append(binary.BigEndian.AppendUint32(b, stream), payload...)
}

// Types and flags of frames.
const (
	frameData, frameHeaders, frameReset, frameSettings, framePing, frameContinuation = 0, 1, 3, 4, 6, 9
	endStream, endHeaders                                                            = 1, 4
)

// literal is a header as HPACK has it that is put into no table; names and values of up to 126 bytes.
func literal(name, value string) []byte {
	b := append([]byte{0, byte(len(name))}, name...)
	return append(append(b, byte(len(value))), value...)
}

// exportHeaders begin an export.
var exportHeaders = bytes.Join([][]byte{
	literal(":method", "POST"), literal(":scheme", "http"), literal(":authority", "x"), literal(":path", "/v1/logs"),
	literal("content-type", "application/x-protobuf"),
}, nil)

// flood writes what next makes, until that is nil, the server closes the connection or the time is over, and reads nothing if deaf
// says so. It returns how much was written.
func flood(t *testing.T, addr string, limit time.Duration, deaf bool, next func(i int) []byte) (written int) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Error(err)
		return 0
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(limit))
	if deaf {
		conn.(*net.TCPConn).SetReadBuffer(4 << 10)
	} else {
		go io.Copy(io.Discard, conn)
	}
	n, _ := io.WriteString(conn, clientPreface+emptySettings)
	for i := 0; ; i++ {
		b := next(i)
		if b == nil {
			return n
		}
		more, err := conn.Write(b)
		if n += more; err != nil {
			return n
		}
	}
}

// TestHTTP2Floods attacks by frames that are cheap to send, on several connections at once, while a good sender works, and wants
// afterwards all as it was before. Where the server has to close the connection, it has to before the flood is over.
func TestHTTP2Floods(t *testing.T) {
	const much = 16 << 20
	header := bytes.Repeat(literal("x-header", strings.Repeat("v", 100)), 100)
	tests := []struct {
		name   string
		deaf   bool
		closed bool // before much is written
		next   func(i int) []byte
	}{
		{"rapid reset", false, false, func(i int) []byte {
			id := uint32(2*i + 1)
			if i == 5000 {
				return nil
			}
			return append(h2frame(frameHeaders, endHeaders, id, exportHeaders), h2frame(frameReset, 0, id, []byte{0, 0, 0, 8})...)
		}},
		{"streams without an end", false, false, func(i int) []byte {
			if i == 5000 {
				return nil
			}
			return h2frame(frameHeaders, endHeaders, uint32(2*i+1), exportHeaders)
		}},
		{"CONTINUATION without an end", false, true, func(i int) []byte {
			if i == 0 {
				return h2frame(frameHeaders, 0, 1, exportHeaders)
			}
			return h2frame(frameContinuation, 0, 1, header)
		}},
		// It costs both ends as much, and ends with IdleTimeout at the latest; see TestSlowHeaders.
		{"empty CONTINUATION", false, false, func(i int) []byte {
			switch i {
			case 0:
				return h2frame(frameHeaders, 0, 1, exportHeaders)
			case 100:
				return nil
			}
			return bytes.Repeat(h2frame(frameContinuation, 0, 1, nil), 1000)
		}},
		{"PING, and no answer read", true, true, func(int) []byte { return bytes.Repeat(h2frame(framePing, 0, 0, make([]byte, 8)), 1000) }},
		{"SETTINGS, and no answer read", true, true, func(int) []byte { return bytes.Repeat(h2frame(frameSettings, 0, 0, nil), 1000) }},
		{"empty DATA", false, false, func(i int) []byte {
			switch i {
			case 0:
				return h2frame(frameHeaders, endHeaders, 1, exportHeaders)
			case 50:
				return nil
			}
			return bytes.Repeat(h2frame(frameData, 0, 1, nil), 1000)
		}},
		{"bytes one by one", false, false, func(i int) []byte {
			switch i {
			case 0:
				return h2frame(frameHeaders, endHeaders, 1, exportHeaders)
			case 60:
				return h2frame(frameData, endStream, 1, nil)
			case 61:
				return nil
			}
			return bytes.Repeat(h2frame(frameData, 0, 1, []byte{0}), 1000)
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r, addr := open(t, new(shelf), Config{ReadTimeout: time.Second, PublishTimeout: 100 * time.Millisecond})
			before := settled(anyCondition)
			var attackers sync.WaitGroup
			for range 4 {
				attackers.Go(func() {
					written := 0
					flood(t, addr, 3*time.Second, test.deaf, func(i int) []byte {
						b := test.next(i)
						if written += len(b); written > much {
							return nil
						}
						return b
					})
					if test.closed && written > much {
						t.Errorf("%d bytes were taken, and the connection is still open", written)
					}
				})
			}
			// As many streams as there may be requests leave nothing to others until ReadTimeout: those are told when to try again.
			busy := test.name == "streams without an end"
			goodSender(t, addr, 20, 5*time.Second, busy)
			attackers.Wait()
			if busy {
				waitIdle(t, r)
				goodSender(t, addr, 20, 5*time.Second, false)
			}
			wantSettled(t, r, before)
		})
	}
}

// TestHeaderFloods wants headers over the bound refused by each HTTP, before they are all read.
func TestHeaderFloods(t *testing.T) {
	r, addr := open(t, new(shelf), Config{HeaderTimeout: time.Second})
	before := settled(anyCondition)
	line := "X-Header: " + strings.Repeat("v", 1000) + "\r\n"
	for _, lines := range []int{20, 40, 200, 20_000} {
		want := http.StatusRequestHeaderFieldsTooLarge
		if lines == 20 {
			want = http.StatusOK
		}
		status, err := sendRaw(addr, []byte("GET /healthz HTTP/1.1\r\nHost: x\r\n"+strings.Repeat(line, lines)+"\r\n"), false)
		if err != nil || status != want && !(lines == 20_000 && status == 0) { // closed before the answer was read
			t.Errorf("HTTP/1.1, %d kB of headers: %d, %v, want %d", lines, status, err, want)
		}
		if lines > 200 {
			continue // which net/http's client does not send
		}
		req, _ := http.NewRequest("GET", "http://"+addr+healthPath, nil)
		for i := range lines {
			req.Header.Set(fmt.Sprintf("X-Header-%d", i), strings.Repeat("v", 1000))
		}
		client := httpClient(t, true)
		resp, err := client.Do(req)
		if err == nil {
			resp.Body.Close()
			status = resp.StatusCode
		}
		if want == 200 && (err != nil || status != want) || want != 200 && err == nil && status != want {
			t.Errorf("HTTP/2, %d kB of headers: %v, %v, want %d", lines, resp, err, want)
		}
		client.CloseIdleConnections()
	}
	wantSettled(t, r, before)
}

// TestSmallChunks sends a body in chunks of one byte, and with chunks that are nearly all frame, and wants an answer in the end.
func TestSmallChunks(t *testing.T) {
	_, addr := open(t, new(shelf), Config{})
	payload := encoded(t, recordsOf(100, 500))
	head := "POST /v1/logs HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\nTransfer-Encoding: chunked\r\n\r\n"
	for name, test := range map[string]struct {
		extension string
		want      []int
	}{
		"small":      {"", []int{200}},
		"extensions": {";x=" + strings.Repeat("y", 200), []int{0, 400, 503}}, // net/http cuts them off as too much around too little
	} {
		raw := []byte(head)
		for _, b := range payload {
			raw = append(raw, "1"+test.extension+"\r\n"...)
			raw = append(raw, b, '\r', '\n')
		}
		raw = append(raw, "0\r\n\r\n"...)
		status, err := sendRaw(addr, raw, false)
		ok := false
		for _, want := range test.want {
			ok = ok || status == want
		}
		if err != nil || !ok {
			t.Errorf("%s: %d, %v, want one of %v", name, status, err, test.want)
		}
	}
}

// TestDeafReaders sends requests whose answers nobody reads, in virtual time: by HTTP/1.1 many on one connection, and by HTTP/2 on a
// connection whose other end stands still. The server has to be rid of them in bounded time.
func TestDeafReaders(t *testing.T) {
	payload := encoded(t, recordsOf(1, 10))
	one := fmt.Sprintf("POST /v1/logs HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\nContent-Length: %d\r\n\r\n%s", len(payload), payload)
	streams := clientPreface + emptySettings
	for i := range 20 {
		id := uint32(2*i + 1)
		streams += string(h2frame(frameHeaders, endHeaders, id, exportHeaders)) + string(h2frame(frameData, endStream, id, payload))
	}
	for name, sends := range map[string]string{"HTTP/1.1": strings.Repeat(one, 10_000), "HTTP/2": streams} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, new(shelf), Config{}, func(t *testing.T, w *world) {
				conn := w.net.raw(t)
				start := time.Now()
				go io.WriteString(conn, sends)
				good, _ := w.client(false)
				if got, err := kinds[0].do(good, kinds[0].request(context.Background(), otlp.Logs, bytes.NewReader(payload), int64(len(payload)))); err != nil || got.HTTP != 200 {
					t.Errorf("a good sender: %+v, %v", got, err)
				}
				for w.Stats().Connections > 1 && time.Since(start) < time.Hour {
					time.Sleep(time.Second)
					synctest.Wait()
				}
				if took := time.Since(start); took > 6*time.Minute {
					t.Errorf("the connection is open after %v", took)
				} else {
					t.Logf("closed after %v", took)
				}
				conn.Close()
			})
		})
	}
}
