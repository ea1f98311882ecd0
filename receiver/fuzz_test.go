package receiver

import (
	"bytes"
	"encoding/binary"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"

	"tailweir/otlp"
)

func frame(flag byte, message []byte) []byte {
	b := binary.BigEndian.AppendUint32([]byte{flag}, uint32(len(message)))
	return append(b, message...)
}

var smallConfig = Config{MaxBody: 1 << 16, MaxInflated: 1 << 18, MaxMessage: 1 << 14, Logger: slog.New(slog.DiscardHandler)}

// FuzzGRPC feeds a call's body. Whatever comes, one status is sent, nothing stays in flight, nothing panics, and OK
// means that what was published is OTLP.
func FuzzGRPC(f *testing.F) {
	payload := encoded(f, spansOf(3, 10, nil))
	f.Add(frame(0, payload), "", "1S")
	f.Add(frame(1, zip(payload)), "gzip", "")
	f.Add(append(frame(0, payload), 0), "identity", "99999999H")
	f.Add(frame(0, payload)[:9], "gzip", "1")
	f.Fuzz(func(t *testing.T, body []byte, coding, timeout string) {
		req := httptest.NewRequest("POST", pathOf(otlp.Traces, grpcSignals), bytes.NewReader(body))
		req.ProtoMajor = 2
		req.Header.Set("Content-Type", "application/grpc")
		req.Header.Set("Grpc-Encoding", coding)
		req.Header.Set("Grpc-Timeout", timeout)
		header := answerOf(t, req)
		got := header.Get("Grpc-Status") + header.Get(http.TrailerPrefix+"Grpc-Status")
		if len(got) == 0 || len(got) > 2 {
			t.Errorf("grpc-status %q, want one code", got)
		}
	})
}

// FuzzGzip feeds an OTLP/HTTP body said to be gzip.
func FuzzGzip(f *testing.F) {
	payload := encoded(f, spansOf(3, 10, nil))
	f.Add(zip(payload))
	f.Add(append(zip(payload), zip(payload)...))
	f.Add(zip(make([]byte, 1<<20)))
	f.Add(zip(payload)[:30])
	f.Add(append(zip(payload), "\x1f\x8b\b00000000"...)) // a second member cut in its header
	f.Fuzz(func(t *testing.T, body []byte) {
		req := httptest.NewRequest("POST", "/v1/traces", bytes.NewReader(body))
		req.Header.Set("Content-Type", contentTypes[Protobuf])
		req.Header.Set("Content-Encoding", "gzip")
		answerOf(t, req)
	})
}

func answerOf(t *testing.T, req *http.Request) http.Header { return answered(t, req).Header() }

// answered wants the answer to leave nothing behind, and what was published to be OTLP.
func answered(t *testing.T, req *http.Request) *httptest.ResponseRecorder {
	pub := new(shelf)
	r := New(pub, smallConfig)
	w := httptest.NewRecorder()
	r.ServeHTTP(w, req)
	if st := r.Stats(); st.RequestsInFlight != 0 || st.BytesInFlight != 0 || st.Panics != 0 {
		t.Errorf("after the answer: %+v", st)
	}
	for _, m := range pub.all() {
		data := m.Data
		if m.Attrs["content-encoding"] == "gzip" {
			data = unzip(t, data)
		}
		if err := ptraceotlp.NewExportRequest().UnmarshalProto(data); err != nil {
			t.Errorf("published what is no OTLP: %v", err)
		}
	}
	return w
}

func TestParseTimeout(t *testing.T) {
	tests := map[string]time.Duration{
		"1S": time.Second, "250m": 250 * time.Millisecond, "7u": 7 * time.Microsecond, "0n": 0, "2H": 2 * time.Hour,
		"99999999H": 1<<63 - 1, "99999999M": 99999999 * time.Minute, "S": -1, "1": -1, "1s": -1, "123456789S": -1, "-1S": -1, "+1S": -1, "1.5S": -1,
	}
	for v, want := range tests {
		got, ok := parseTimeout(v)
		if !ok {
			got = -1
		}
		if got != want {
			t.Errorf("parseTimeout(%q) = %v, want %v", v, got, want)
		}
	}
}

func TestPercentEncode(t *testing.T) {
	if got, want := percentEncode("50 % of \"ä\"\n"), "50 %25 of \"%C3%A4\"%0A"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// slowReader hands out one byte at a time, as the worst of networks.
type slowReader struct{ r io.Reader }

func (s slowReader) Read(p []byte) (int, error) { return s.r.Read(p[:min(1, len(p))]) }

func TestFrameInPieces(t *testing.T) {
	c := &call{r: New(new(shelf), Config{}), signal: otlp.Traces, encoding: GRPC}
	want := encoded(t, spansOf(3, 10, nil))
	if err := c.readFrame(slowReader{bytes.NewReader(frame(0, want))}); err != nil || !bytes.Equal(c.wire.b, want) {
		t.Errorf("read %d bytes, err %v", len(c.wire.b), err)
	}
}
