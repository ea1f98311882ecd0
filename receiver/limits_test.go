package receiver

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"tailweir/otlp"
)

// TestSplit sends more than a message holds, with two spans that no message holds.
func TestSplit(t *testing.T) {
	request := spansOf(40, 900, nil)
	spans := request.Traces().ResourceSpans().At(0).ScopeSpans().At(0).Spans()
	spans.At(3).SetName(strings.Repeat("large", 2100))
	spans.At(17).SetName(strings.Repeat("large", 2200))
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			pub := new(shelf)
			r, addr := open(t, pub, Config{MaxMessage: 10_000})
			body := encoded(t, request)
			if w.encoding == JSON {
				body = asJSON(t, request)
			}
			if w.gzip && w.encoding != JSON {
				body = append(body, incompressible(1<<15)...)
			}
			got := w.send(t, addr, otlp.Traces, body)
			if got.Rejected != 2 || !strings.Contains(got.Text, "2 spans larger than 10000 bytes") {
				t.Fatalf("got %+v, want 2 rejected", got)
			}
			seen := make(map[string]int)
			for _, m := range pub.all() {
				part := ptraceotlp.NewExportRequest()
				if err := part.UnmarshalProto(m.Data); err != nil || len(m.Data) > 10_000 {
					t.Fatalf("part of %d bytes: %v", len(m.Data), err)
				}
				for _, rs := range part.Traces().ResourceSpans().All() {
					if name, _ := rs.Resource().Attributes().Get("service.name"); name.Str() != "shop" {
						t.Error("a part lost its resource")
					}
					for _, sp := range rs.ScopeSpans().At(0).Spans().All() {
						seen[sp.SpanID().String()]++
					}
				}
			}
			if len(seen) != 38 || len(pub.all()) < 4 {
				t.Errorf("%d spans in %d messages, want 38 in 4 or more", len(seen), len(pub.all()))
			}
			if diff := cmp.Diff(ItemCount{Accepted: 38, Rejected: 2}, r.Stats().Spans); diff != "" {
				t.Error(diff)
			}
			checkStats(t, r, RequestCount{otlp.Traces, w.encoding, Partial, 1})
		})
	}
}

// incompressible is an unknown field of n bytes that gzip cannot shrink; OTLP readers skip it.
func incompressible(n int) []byte {
	b := []byte{0xfa, 0x7f, byte(n&0x7f | 0x80), byte(n>>7&0x7f | 0x80), byte(n >> 14)}
	seed := uint64(1)
	for range n {
		seed = seed*6364136223846793005 + 1442695040888963407
		b = append(b, byte(seed>>56))
	}
	return b
}

// TestSplitUnconfirmed wants no success when one part of several fails.
func TestSplitUnconfirmed(t *testing.T) {
	calls := 0
	pub := &shelf{before: func(context.Context, []byte) error {
		if calls++; calls == 3 {
			return errOutage
		}
		return nil
	}}
	r, addr := open(t, pub, Config{MaxMessage: 10_000})
	got := ways[0].send(t, addr, otlp.Logs, encoded(t, recordsOf(40, 900)))
	if got.HTTP != 503 || got.Retry == 0 {
		t.Errorf("got %+v, want 503 with a delay", got)
	}
	if n := r.Stats().Records.Accepted; n != 0 {
		t.Errorf("%d records counted as accepted", n)
	}
}

// TestGzipBomb wants 1 GiB of zeros refused at the limit, having held no more than that.
func TestGzipBomb(t *testing.T) {
	var bomb bytes.Buffer
	block := zip(make([]byte, 16<<20))
	for range 64 { // gzip members add up to one stream
		bomb.Write(block)
	}
	pub := new(shelf)
	r, addr := open(t, pub, Config{MaxInflated: 4 << 20})
	for _, w := range []way{ways[1], ways[3]} {
		req, _ := http.NewRequest("POST", "http://"+addr+"/v1/traces", bytes.NewReader(bomb.Bytes()))
		req.Header.Set("Content-Type", contentTypes[Protobuf])
		req.Header.Set("Content-Encoding", "gzip")
		resp, err := httpClient(t, w.h2c).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: status %d, want 413", w.name, resp.StatusCode)
		}
	}
	if st := r.Stats(); st.Inflated != 0 || st.BytesInFlight != 0 || len(pub.all()) != 0 {
		t.Errorf("stats after bombs: %+v", st)
	}
}

// TestTinySpans wants a payload whose scan tables would not fit refused for good, not for later.
func TestTinySpans(t *testing.T) {
	spans := bytes.Repeat([]byte{0x12, 0}, 1<<20) // as many spans without a field
	scope := append([]byte{0x12, 0x80, 0x80, 0x80, 0x01}, spans...)
	payload := append([]byte{0x0a, 0x85, 0x80, 0x80, 0x01}, scope...)
	r, addr := open(t, new(shelf), Config{MaxBody: 4 << 20, MaxInflated: 4 << 20, MaxBytesInFlight: 16 << 20})
	if got := ways[0].send(t, addr, otlp.Traces, payload); got.HTTP != 413 {
		t.Errorf("protobuf: %+v, want 413", got)
	}
	objects := `{"resourceSpans":[` + strings.Repeat("{},", 1<<17) + `{}]}`
	if got := ways[4].send(t, addr, otlp.Traces, []byte(objects)); got.HTTP != 413 {
		t.Errorf("JSON: %+v, want 413", got)
	}
	if st := r.Stats(); st.BytesInFlight != 0 {
		t.Errorf("%d bytes still in flight", st.BytesInFlight)
	}
}

// TestEncodedLimit covers bodies with and without a length.
func TestEncodedLimit(t *testing.T) {
	_, addr := open(t, new(shelf), Config{MaxBody: 10_000})
	for _, size := range []int{10_000, 10_001, 1 << 20} {
		for _, known := range []bool{true, false} {
			for _, h2c := range []bool{true, false} {
				var body io.Reader = bytes.NewReader(make([]byte, size))
				if !known {
					body = io.MultiReader(body)
				}
				resp, err := httpClient(t, h2c).Post("http://"+addr+"/v1/logs", contentTypes[Protobuf], body)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				want := http.StatusRequestEntityTooLarge
				if size == 10_000 {
					want = http.StatusBadRequest // zeros are no payload
				}
				if resp.StatusCode != want {
					t.Errorf("size %d, known %v, h2c %v: status %d, want %d", size, known, h2c, resp.StatusCode, want)
				}
			}
		}
	}
}

// TestBounds fills the receiver with requests that hang in Publish and wants the next refused, unread.
func TestBounds(t *testing.T) {
	tests := []struct {
		name string
		cfg  Config
	}{
		{"requests", Config{MaxRequests: 3}},
		{"bytes", Config{MaxBody: 8000, MaxInflated: 2000, MaxBytesInFlight: 16384}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			entered, open3 := make(chan bool), make(chan bool)
			pub := &shelf{before: func(context.Context, []byte) error {
				entered <- true
				<-open3
				return nil
			}}
			r, addr := open(t, pub, test.cfg)
			running := 3
			if test.name == "bytes" {
				running = 2 // of 8 KiB buffers
			}
			body := encoded(t, recordsOf(7, 800))
			var wg sync.WaitGroup
			for range running {
				wg.Go(func() {
					if got := ways[0].send(t, addr, otlp.Logs, body); got.HTTP != 200 {
						t.Errorf("running request: %+v", got)
					}
				})
				<-entered
			}
			for _, w := range []way{ways[0], ways[2], ways[6]} {
				got := w.send(t, addr, otlp.Logs, body)
				if got.Code != codes.Unavailable || got.Retry != time.Second || !strings.Contains(got.Text, test.name+" in flight") {
					t.Errorf("%s: %+v, want UNAVAILABLE with a delay", w.name, got)
				}
			}
			close(open3)
			wg.Wait()
			if st := r.Stats(); st.RequestsInFlight != 0 || st.BytesInFlight != 0 {
				t.Errorf("in flight after all: %+v", st)
			}
		})
	}
}

// TestCallerDeadline wants the publish context to end with the caller's grpc-timeout when that is sooner.
func TestCallerDeadline(t *testing.T) {
	left := make(chan time.Duration, 1)
	pub := &shelf{before: func(ctx context.Context, _ []byte) error {
		deadline, _ := ctx.Deadline()
		left <- time.Until(deadline)
		return nil
	}}
	_, addr := open(t, pub, Config{})
	client := plogotlp.NewGRPCClient(dial(t, addr))
	for timeout, most := range map[time.Duration]time.Duration{3 * time.Second: 3 * time.Second, time.Minute: 8 * time.Second} {
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		if _, err := client.Export(ctx, recordsOf(1, 1)); err != nil {
			t.Error(err)
		}
		cancel()
		if got := <-left; got > most || got <= 0 {
			t.Errorf("timeout %v: %v left to publish, want at most %v", timeout, got, most)
		}
	}
}

// TestClientGone wants the publish to end when the sender gives up.
func TestClientGone(t *testing.T) {
	for _, w := range []way{ways[0], ways[2], ways[6]} {
		t.Run(w.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			pub := &shelf{before: func(pctx context.Context, _ []byte) error {
				cancel()
				<-pctx.Done()
				ended <- pctx.Err()
				return pctx.Err()
			}}
			r, addr := open(t, pub, Config{PublishTimeout: time.Hour})
			body := encoded(t, recordsOf(1, 1))
			if w.encoding == GRPC {
				_, err := plogotlp.NewGRPCClient(dial(t, addr)).Export(ctx, recordsOf(1, 1))
				if status.Code(err) != codes.Canceled {
					t.Errorf("err %v", err)
				}
			} else {
				req, _ := http.NewRequestWithContext(ctx, "POST", "http://"+addr+"/v1/logs", bytes.NewReader(body))
				req.Header.Set("Content-Type", contentTypes[Protobuf])
				if _, err := httpClient(t, w.h2c).Do(req); err == nil {
					t.Error("no error for a cancelled request")
				}
			}
			if err := <-ended; err != context.Canceled {
				t.Errorf("publish ended by %v", err)
			}
			waitIdle(t, r)
			checkStats(t, r, RequestCount{otlp.Logs, w.encoding, Gone, 1})
		})
	}
}

// waitIdle waits for requests whose sender does not wait for them.
func waitIdle(t *testing.T, r *Receiver) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); r.Stats().RequestsInFlight > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("requests still in flight after 10 s")
		}
	}
}

func TestConfigValidate(t *testing.T) {
	if err := (Config{}).Validate(); err != nil {
		t.Errorf("defaults: %v", err)
	}
	err := Config{MaxBody: -1, MaxMessage: 10_000_000, MaxBytesInFlight: 5, Grace: -time.Second}.Validate()
	for _, name := range []string{"MaxBody is -1", "MaxMessage is 10000000", "MaxBytesInFlight is 5", "Grace is -1s"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("error %v lacks %q", err, name)
		}
	}
}
