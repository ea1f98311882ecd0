package receiver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"tailweir/otlp"
)

// doorman is a Gate that answers everybody the same.
type doorman struct {
	caller Caller
	denial *Denial
	asked  atomic.Int64
}

func (d *doorman) Admit(*http.Request) (Caller, *Denial) {
	d.asked.Add(1)
	return d.caller, d.denial
}

var denials = []struct {
	reason Reason
	name   string
	http   int
	code   codes.Code
	retry  time.Duration
}{
	{Missing, "denied_missing", 401, codes.Unauthenticated, 0},
	{Unknown, "denied_unknown", 401, codes.Unauthenticated, 0},
	{Forbidden, "denied_forbidden", 403, codes.PermissionDenied, 0},
	{Throttled, "denied_throttled", 429, codes.ResourceExhausted, 7 * time.Second},
	{Unverified, "denied_unverified", 503, codes.Unavailable, 7 * time.Second},
}

// TestDenials sends by every way against every reason: each is answered as an SDK understands it, with a Status that has the text, and
// counted.
func TestDenials(t *testing.T) {
	body := encoded(t, spansOf(3, 100, nil))
	inJSON := asJSON(t, spansOf(3, 100, nil))
	for _, d := range denials {
		pub := &shelf{}
		r, addr := open(t, pub, Config{Gate: &doorman{denial: &Denial{Reason: d.reason, Text: "show a key", RetryAfter: 7 * time.Second}}})
		for _, w := range ways {
			b := body
			if w.encoding == JSON {
				b = inJSON
			}
			want := reply{HTTP: d.http, Code: d.code, Text: "show a key", Retry: d.retry}
			if w.encoding == GRPC {
				want.HTTP = 0
			}
			if diff := cmp.Diff(want, w.send(t, addr, otlp.Traces, b)); diff != "" {
				t.Errorf("%s over %s (-want +got):\n%s", d.reason, w.name, diff)
			}
		}
		st := r.Stats()
		var counted uint64
		for _, c := range st.Requests {
			if c.Outcome.String() == d.name {
				counted += c.Count
			}
		}
		if counted != uint64(len(ways)) || st.Bytes != 0 || len(pub.all()) != 0 {
			t.Errorf("%s: %d of %d counted, %d bytes read, %d published", d.name, counted, len(ways), st.Bytes, len(pub.all()))
		}
	}
}

// untouchable is a body that must not be read.
type untouchable struct{ t *testing.T }

func (u untouchable) Read([]byte) (int, error) {
	u.t.Error("the body of a denied request is read")
	return 0, io.EOF
}

func TestDenialsReadNoBody(t *testing.T) {
	for _, d := range denials {
		r := New(&shelf{}, Config{Gate: &doorman{denial: &Denial{Reason: d.reason}}, Logger: slog.New(slog.DiscardHandler)})
		for path, contentType := range map[string]string{
			"/v1/traces": "application/x-protobuf", "/v1/logs": "application/json", "/v1/metrics": "application/x-protobuf",
			"/opentelemetry.proto.collector.trace.v1.TraceService/Export": "application/grpc",
		} {
			req := httptest.NewRequest("POST", path, untouchable{t})
			req.Header.Set("Content-Type", contentType)
			req.ProtoMajor = 2
			w := httptest.NewRecorder()
			r.ServeHTTP(w, req)
			if authenticate := w.Header().Get("WWW-Authenticate"); contentType != "application/grpc" && (authenticate == "Bearer") != (d.http == 401) {
				t.Errorf("%s: WWW-Authenticate is %q with status %d", d.reason, authenticate, w.Code)
			}
		}
	}
}

// Whoever declares a body and sends none of it is answered at once, over HTTP/1 and HTTP/2.
func TestDenialsWaitForNoBody(t *testing.T) {
	_, addr := open(t, &shelf{}, Config{Gate: &doorman{denial: &Denial{Reason: Missing, Text: "show a key"}}})
	for _, h2c := range []bool{false, true} {
		body, w := io.Pipe()
		defer w.Close()
		req, _ := http.NewRequest("POST", "http://"+addr+"/v1/traces", body)
		req.Header.Set("Content-Type", contentTypes[Protobuf])
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second) // before ReadTimeout
		defer cancel()
		resp, err := httpClient(t, h2c).Do(req.WithContext(ctx))
		if err != nil {
			t.Errorf("h2c %v: %v", h2c, err)
			continue
		}
		resp.Body.Close()
		if resp.StatusCode != 401 || resp.Close == h2c {
			t.Errorf("h2c %v: status %d, connection closed %v", h2c, resp.StatusCode, resp.Close)
		}
	}
}

// Health checks and what is no export request do not ask the gate: it would count them as attempts.
func TestGateIsAskedForExportsOnly(t *testing.T) {
	d := &doorman{denial: &Denial{Reason: Missing}}
	r := New(&shelf{}, Config{Gate: d, Logger: slog.New(slog.DiscardHandler)})
	for _, req := range []*http.Request{
		httptest.NewRequest("GET", "/healthz", nil), httptest.NewRequest("GET", "/v1/traces", nil), httptest.NewRequest("POST", "/elsewhere", nil),
		httptest.NewRequest("POST", "/v1/traces", nil), // without a content type
	} {
		r.ServeHTTP(httptest.NewRecorder(), req)
	}
	if n := d.asked.Load(); n != 0 {
		t.Errorf("asked %d times, want none", n)
	}
}

// TestDenialsInTheLog: a line for each reason in 10 s, with the cause, which the sender is not told.
func TestDenialsInTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		d := &doorman{caller: Caller{Name: "shop"}}
		r := New(&shelf{}, Config{Gate: d, Logger: slog.New(slog.NewJSONHandler(&log, nil))})
		send := func(reason Reason) string {
			d.denial = &Denial{Reason: reason, Text: "show a key", Cause: errors.New("signature is wrong")}
			req := httptest.NewRequest("POST", "/v1/traces", untouchable{t})
			req.Header.Set("Content-Type", "application/json")
			w := httptest.NewRecorder()
			r.ServeHTTP(w, req)
			return fmt.Sprint(w.Header(), w.Body)
		}
		for range 100 {
			for _, reason := range []Reason{Unknown, Missing} {
				if said := send(reason); strings.Contains(said, "signature") {
					t.Fatalf("the sender is told the cause: %s", said)
				}
			}
		}
		time.Sleep(10 * time.Second)
		send(Unknown)
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		if len(lines) != 3 || !strings.Contains(lines[2], `"more_since_last":99`) {
			t.Errorf("%d lines, want 3, the last with the number of those before:\n%s", len(lines), log.String())
		}
		for _, want := range []string{`"reason":"denied_unknown"`, `"caller":"shop"`, `"peer":"192.0.2.1`, `"err":"signature is wrong"`} {
			if !strings.Contains(lines[2], want) {
				t.Errorf("no %s in %s", want, lines[2])
			}
		}
	})
}

// A gate sees gRPC metadata as headers, and a gate that panics is a fault of ours, not an open door.
func TestGateOfGRPC(t *testing.T) {
	var key string
	gate := gateFunc(func(req *http.Request) (Caller, *Denial) {
		key = req.Header.Get("x-api-key")
		panic("out of order")
	})
	pub := &shelf{}
	_, addr := open(t, pub, Config{Gate: gate})
	ctx := metadata.AppendToOutgoingContext(t.Context(), "x-api-key", "k1")
	body, out := encoded(t, spansOf(1, 10, nil)), []byte(nil)
	err := dial(t, addr, grpc.WithDefaultCallOptions(grpc.ForceCodec(rawCodec{}))).Invoke(ctx, pathOf(otlp.Traces, grpcSignals), &body, &out)
	if status.Code(err) != codes.Internal || key != "k1" || len(pub.all()) != 0 {
		t.Errorf("error %v, the gate saw %q, %d published", err, key, len(pub.all()))
	}
}

type gateFunc func(*http.Request) (Caller, *Denial)

func (f gateFunc) Admit(req *http.Request) (Caller, *Denial) { return f(req) }

// TestStampedOnEveryWay: what is published has the caller's attributes, in the compression that it came in, and the caller is told how much it
// has sent.
func TestStampedOnEveryWay(t *testing.T) {
	stamp := otlp.NewStamp(map[string]string{"tenant": "acme", "service.name": "theirs"})
	for _, w := range ways {
		var sent atomic.Int64
		pub := &shelf{}
		r, addr := open(t, pub, Config{Gate: &doorman{caller: Caller{Stamp: stamp, Sent: func(n int) { sent.Add(int64(n)) }}}})
		req := spansOf(500, 20, nil)
		body := encoded(t, req)
		if w.encoding == JSON {
			body = asJSON(t, req)
		}
		if got := w.send(t, addr, otlp.Traces, body); got.Code != codes.OK {
			t.Fatalf("%s: %+v", w.name, got)
		}
		m := pub.all()[0]
		data := m.Data
		if packed := m.Attrs[otlp.AttrContentEncoding] == "gzip"; packed != (w.gzip && w.encoding != JSON) {
			t.Errorf("%s: published with gzip %v", w.name, packed)
		} else if packed {
			data = unzip(t, data)
		}
		var p otlp.Payload
		if err := p.Scan(otlp.Traces, data); err != nil || p.Len() != 500 {
			t.Fatalf("%s: %d items, %v", w.name, p.Len(), err)
		}
		for k, want := range map[string]string{"tenant": "acme", "service.name": "theirs"} {
			if v, _ := p.Span(0).Resource().Attribute(k); string(v.Str()) != want {
				t.Errorf("%s: %s is %q, want %q", w.name, k, v.Str(), want)
			}
		}
		if st := r.Stats(); sent.Load() != int64(st.Bytes) || st.BytesInFlight != 0 {
			t.Errorf("%s: told of %d bytes of %d, %d still in flight", w.name, sent.Load(), st.Bytes, st.BytesInFlight)
		}
	}
}

type rewriterFunc func(otlp.Signal, []byte) ([]byte, error)

func (f rewriterFunc) Rewrite(s otlp.Signal, b []byte) ([]byte, error) { return f(s, b) }

// TestRewriter: one that changes nothing leaves the gzip bytes as they came; one that does has its bytes published; its error is the
// sender's; and what it makes is bounded.
func TestRewriter(t *testing.T) {
	body := encoded(t, spansOf(50, 100, nil))
	other := encoded(t, spansOf(2, 10, nil))
	packed := way{"gzip", Protobuf, false, true}
	for _, tt := range []struct {
		name    string
		rewrite rewriterFunc
		cfg     Config
		want    codes.Code
		data    []byte
	}{
		{"same", func(_ otlp.Signal, b []byte) ([]byte, error) { return b, nil }, Config{}, codes.OK, zip(body)},
		{"other", func(otlp.Signal, []byte) ([]byte, error) { return bytes.Clone(other), nil }, Config{}, codes.OK, other},
		{"nothing left", func(otlp.Signal, []byte) ([]byte, error) { return nil, nil }, Config{}, codes.OK, nil},
		{"error", func(otlp.Signal, []byte) ([]byte, error) { return nil, errors.New("no") }, Config{}, codes.InvalidArgument, nil},
		{"too large", func(_ otlp.Signal, b []byte) ([]byte, error) {
			return append(bytes.Clone(b), make([]byte, 2000)...), nil
		},
			Config{MaxBody: len(body), MaxInflated: len(body) + 1000}, codes.ResourceExhausted, nil},
		{"no memory", func(otlp.Signal, []byte) ([]byte, error) { return make([]byte, 1<<20), nil },
			Config{MaxBody: 1 << 10, MaxInflated: 8 << 10, MaxBytesInFlight: 64 << 10}, codes.ResourceExhausted, nil},
		{"malformed now", func(otlp.Signal, []byte) ([]byte, error) { return []byte{0xff}, nil }, Config{}, codes.InvalidArgument, nil},
	} {
		pub := &shelf{}
		cfg := tt.cfg
		cfg.Rewriter = tt.rewrite
		r, addr := open(t, pub, cfg)
		if got := packed.send(t, addr, otlp.Traces, body); got.Code != tt.want {
			t.Errorf("%s: %+v, want %v", tt.name, got, tt.want)
		}
		var got []byte
		if all := pub.all(); len(all) > 0 {
			if got = all[0].Data; tt.name != "same" {
				got = unzip(t, got)
			}
		}
		if !bytes.Equal(got, tt.data) {
			t.Errorf("%s: published %d bytes, want %d", tt.name, len(got), len(tt.data))
		}
		if st := r.Stats(); st.BytesInFlight != 0 {
			t.Errorf("%s: %d bytes still in flight", tt.name, st.BytesInFlight)
		}
	}
}

// A payload of nothing but empty resources grows by the stamp of each: it is refused before it does.
func TestStampIsBounded(t *testing.T) {
	stamp := otlp.NewStamp(map[string]string{"tenant": strings.Repeat("x", 1000)})
	r, addr := open(t, &shelf{}, Config{Gate: &doorman{caller: Caller{Stamp: stamp}}})
	body := bytes.Repeat([]byte{1<<3 | 2, 0}, 1<<20)
	if got := (way{"", Protobuf, false, true}).send(t, addr, otlp.Traces, body); got.HTTP != http.StatusRequestEntityTooLarge {
		t.Errorf("%+v, want status 413", got)
	}
	if n := r.Stats().BytesInFlight; n != 0 {
		t.Errorf("%d bytes still in flight", n)
	}
}

// BenchmarkGate is BenchmarkHandle's 21 kB with a gate that says no, and with one whose caller has a stamp.
func BenchmarkGate(b *testing.B) {
	payload := encoded(b, spansOf(39, 470, nil))
	packed := zip(payload)
	stamp := otlp.NewStamp(map[string]string{"tenant": "acme"})
	for _, bb := range []struct {
		name string
		gate Gate
		body []byte
		gzip bool
	}{
		{"denied", &doorman{denial: &Denial{Reason: Missing, Text: "show a key"}}, payload, false},
		{"admitted", &doorman{}, payload, false},
		{"stamped", &doorman{caller: Caller{Stamp: stamp}}, payload, false},
		{"stamped-gzip", &doorman{caller: Caller{Stamp: stamp}}, packed, true},
	} {
		b.Run(bb.name, func(b *testing.B) {
			r := New(void{}, Config{Gate: bb.gate, Logger: slog.New(slog.DiscardHandler)})
			header := http.Header{"Content-Type": {contentTypes[Protobuf]}}
			if bb.gzip {
				header["Content-Encoding"] = []string{"gzip"}
			}
			b.ReportAllocs()
			for b.Loop() {
				req, _ := http.NewRequest("POST", "/v1/traces", bytes.NewReader(bb.body))
				req.Header = header
				r.ServeHTTP(&sinkWriter{header: http.Header{}}, req)
			}
		})
	}
}
