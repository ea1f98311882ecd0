package receiver

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// void confirms without reading.
type void struct{}

func (void) Publish(context.Context, []byte, map[string]string) error { return nil }

const loadSenders = 16

// loads are the senders' loops over n requests, by name.
var loads = map[string]func(addr string, n int) error{
	"http1": func(addr string, n int) error { return postAll(addr, n, false) },
	"h2c":   func(addr string, n int) error { return postAll(addr, n, true) },
	"grpc":  callAll,
}

// TestMain makes the test binary its own load generator, so that a benchmark can tell the receiver's CPU time from
// the senders'.
func TestMain(m *testing.M) {
	if name := os.Getenv("RECEIVER_LOAD"); name != "" {
		n, _ := strconv.Atoi(os.Getenv("RECEIVER_LOAD_REQUESTS"))
		if err := loads[name](os.Getenv("RECEIVER_LOAD_ADDR"), n); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// BenchmarkServe measures whole requests of 39 spans, about 21 kB, over loopback, 16 senders in another process.
// server-µs/op is the CPU time of the receiver's process.
func BenchmarkServe(b *testing.B) {
	for _, name := range []string{"http1", "h2c", "grpc"} {
		b.Run(name, func(b *testing.B) {
			r, addr := open(b, void{}, Config{})
			load := exec.Command(os.Args[0])
			load.Env = append(os.Environ(), "RECEIVER_LOAD="+name, "RECEIVER_LOAD_ADDR="+addr, "RECEIVER_LOAD_REQUESTS="+strconv.Itoa(b.N))
			load.Stderr = os.Stderr
			b.ReportAllocs()
			before := cpu()
			if err := load.Run(); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(cpu()-before)/1e3/float64(b.N), "server-µs/op")
			if n := r.Stats().Spans.Accepted; n != uint64(b.N)*39 {
				b.Errorf("%d spans accepted, want %d", n, b.N*39)
			}
		})
	}
}

// cpu is the CPU time of the process in nanoseconds.
func cpu() int64 {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return u.Utime.Nano() + u.Stime.Nano()
}

// eachSender runs n sends on loadSenders goroutines.
func eachSender(n int, send func() error) error {
	var g errgroup.Group
	var left atomic.Int64
	left.Store(int64(n))
	for range loadSenders {
		g.Go(func() error {
			for left.Add(-1) >= 0 {
				if err := send(); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

func postAll(addr string, n int, h2c bool) error {
	body, _ := spansOf(39, 470, nil).MarshalProto()
	var p http.Protocols
	p.SetHTTP1(!h2c)
	p.SetUnencryptedHTTP2(h2c)
	client := &http.Client{Transport: &http.Transport{Protocols: &p, MaxIdleConnsPerHost: loadSenders}}
	return eachSender(n, func() error {
		resp, err := client.Post("http://"+addr+"/v1/traces", contentTypes[Protobuf], bytes.NewReader(body))
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
			return fmt.Errorf("post: %s, %w", resp.Status, err)
		}
		return nil
	})
}

func callAll(addr string, n int) error {
	body, _ := spansOf(39, 470, nil).MarshalProto()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	const method = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
	return eachSender(n, func() error {
		var out []byte
		return conn.Invoke(context.Background(), method, &body, &out, grpc.ForceCodec(rawCodec{}))
	})
}

// BenchmarkHandle is the handler alone, without net/http's connections: what reading, scanning and answering take.
func BenchmarkHandle(b *testing.B) {
	payload := encoded(b, spansOf(39, 470, nil))
	for _, w := range []struct {
		name string
		gzip bool
		body []byte
	}{
		{"5kB", false, encoded(b, spansOf(10, 440, nil))},
		{"21kB", false, payload},
		{"21kB-gzip", true, zip(payload)},
		{"200kB", false, encoded(b, spansOf(370, 470, nil))},
	} {
		b.Run(w.name, func(b *testing.B) {
			r := New(void{}, Config{})
			header := http.Header{"Content-Type": {contentTypes[Protobuf]}}
			if w.gzip {
				header["Content-Encoding"] = []string{"gzip"}
			}
			var refused atomic.Int64
			b.ReportAllocs()
			for b.Loop() {
				req, _ := http.NewRequest("POST", "/v1/traces", bytes.NewReader(w.body))
				req.Header = header
				out := sinkWriter{header: http.Header{}}
				r.ServeHTTP(&out, req)
				if out.status != 200 {
					refused.Add(1)
				}
			}
			if refused.Load() > 0 {
				b.Errorf("%d refused", refused.Load())
			}
		})
	}
}

type sinkWriter struct {
	header http.Header
	status int
}

func (w *sinkWriter) Header() http.Header         { return w.header }
func (w *sinkWriter) Write(b []byte) (int, error) { return len(b), nil }
func (w *sinkWriter) WriteHeader(status int)      { w.status = status }
