package receiver

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	pb "google.golang.org/protobuf/proto"

	"tailweir/otlp"
)

// webReply is what a gRPC-Web client understands.
type webReply struct {
	HTTP     int
	Status   string
	Text     string
	Rejected int64
	Retry    bool
}

// readWeb takes an answer apart: frames of data and one of trailers, all in base64 if the type says so.
func readWeb(resp *http.Response) (r webReply, err error) {
	r.HTTP = resp.StatusCode
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		r.Text = string(body)
		return r, err
	}
	switch resp.Header.Get("Content-Type") {
	case "application/grpc-web+proto":
	case "application/grpc-web-text+proto":
		if body, err = base64.StdEncoding.DecodeString(string(body)); err != nil {
			return r, err
		}
	default:
		return r, fmt.Errorf("content type %q", resp.Header.Get("Content-Type"))
	}
	for len(body) >= 5 {
		flag, size := body[0], binary.BigEndian.Uint32(body[1:])
		if int(size) > len(body)-5 {
			return r, fmt.Errorf("frame of %d bytes is cut short", size)
		}
		message := body[5 : 5+size]
		if body = body[5+size:]; flag == 0 {
			if string(message) == "\x08\x01" { // SERVING
				continue
			}
			exported := ptraceotlp.NewExportResponse()
			if err := exported.UnmarshalProto(message); err != nil {
				return r, err
			}
			r.Rejected, r.Text = exported.PartialSuccess().RejectedSpans(), exported.PartialSuccess().ErrorMessage()
			continue
		}
		if flag != 0x80 || len(body) > 0 {
			return r, fmt.Errorf("frame with flag %d before %d bytes", flag, len(body))
		}
		for line := range strings.SplitSeq(strings.TrimSuffix(string(message), "\r\n"), "\r\n") {
			key, value, _ := strings.Cut(line, ":")
			switch key {
			case "grpc-status":
				r.Status = value
			case "grpc-message":
				r.Text = value
			case "grpc-status-details-bin":
				b, err := base64.RawStdEncoding.DecodeString(value)
				var st spb.Status
				if err != nil || pb.Unmarshal(b, &st) != nil {
					return r, fmt.Errorf("details %q", value)
				}
				for _, d := range st.Details {
					r.Retry = r.Retry || d.MessageIs(new(errdetails.RetryInfo))
				}
			default:
				return r, fmt.Errorf("trailer %q", line)
			}
		}
	}
	return r, nil
}

// TestGRPCWeb sends over each HTTP, in both forms, in whole and in pieces, and wants what gRPC would answer.
func TestGRPCWeb(t *testing.T) {
	half := func(i int) bool { return i%2 == 1 }
	payload := encoded(t, spansOf(3, 30, nil))
	tests := []struct {
		name, path, codec, coding string
		body                      []byte
		pub                       Publisher
		want                      webReply
		stored                    []byte
	}{
		{name: "stored", body: frame(0, payload), want: webReply{Status: "0"}, stored: payload},
		{name: "a codec", codec: "+proto", body: frame(0, payload), want: webReply{Status: "0"}, stored: payload},
		{name: "gzip", coding: "gzip", body: frame(1, zip(payload)), want: webReply{Status: "0"}, stored: zip(payload)},
		{name: "partly", body: frame(0, encoded(t, spansOf(3, 30, half))), want: webReply{Status: "0", Rejected: 1, Text: "1 spans without a valid trace id and span id"},
			stored: encoded(t, spansOf(3, 30, nil))},
		{name: "empty", body: frame(0, nil), want: webReply{Status: "0"}},
		{name: "no frame", body: nil, want: webReply{Status: "3", Text: "grpc message header is cut short"}},
		{name: "two frames", body: append(frame(0, payload), frame(0, payload)...), want: webReply{Status: "3", Text: "more than one message in a unary call"}},
		{name: "outage", body: frame(0, payload), pub: &shelf{before: outage}, want: webReply{Status: "14", Text: "publish traces: pubsub: unavailable", Retry: true}},
		{name: "another codec", codec: "+json", body: frame(0, payload), want: webReply{Status: "12", Text: `content type "application/grpc+json" is not application/grpc+proto`}},
		{name: "another method", path: "/opentelemetry.proto.collector.trace.v1.TraceService/Import", body: frame(0, nil), want: webReply{Status: "12",
			Text: "unknown method /opentelemetry.proto.collector.trace.v1.TraceService/Import, or none of gRPC-Web"}},
		{name: "a stream", path: healthWatch, body: frame(0, nil), want: webReply{Status: "12", Text: "unknown method " + healthWatch + ", or none of gRPC-Web"}},
		{name: "health", path: healthCheck, body: frame(0, nil), want: webReply{Status: "0"}},
	}
	for _, test := range tests {
		for _, text := range []bool{false, true} {
			for _, h2c := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/text=%v/h2c=%v", test.name, text, h2c), func(t *testing.T) {
					pub := test.pub
					if pub == nil {
						pub = new(shelf)
					}
					r, addr := open(t, pub, Config{})
					if test.path == "" {
						test.path = pathOf(otlp.Traces, grpcSignals)
					}
					contentType, body := "application/grpc-web"+test.codec, test.body
					if text {
						contentType = "application/grpc-web-text" + test.codec
						body = inPieces(body)
					}
					req, _ := http.NewRequest(http.MethodPost, "http://"+addr+test.path, slowReader{bytes.NewReader(body)})
					req.Header.Set("Content-Type", contentType)
					req.Header.Set("X-Grpc-Web", "1")
					req.Header.Set("Grpc-Encoding", test.coding)
					resp, err := httpClient(t, h2c).Do(req)
					if err != nil {
						t.Fatal(err)
					}
					defer resp.Body.Close()
					got, err := readWeb(resp)
					if err != nil {
						t.Fatal(err)
					}
					test.want.HTTP = 200
					if diff := cmp.Diff(test.want, got); diff != "" {
						t.Errorf("reply (-want +got):\n%s", diff)
					}
					if s, ok := pub.(*shelf); ok && test.name != "partly" && test.name != "outage" {
						if all := s.all(); len(all) > 0 != (test.stored != nil) || len(all) > 0 && !bytes.Equal(all[0].Data, test.stored) {
							t.Errorf("%d messages stored", len(all))
						}
					}
					if st := r.Stats(); st.BytesInFlight != 0 || st.RequestsInFlight != 0 {
						t.Errorf("in flight after all: %+v", st)
					}
				})
			}
		}
	}
}

// inPieces encodes the header of a frame and what follows by themselves, each with its padding, as clients may.
func inPieces(b []byte) []byte {
	cut := min(5, len(b))
	out := base64.StdEncoding.AppendEncode(nil, b[:cut])
	return base64.StdEncoding.AppendEncode(out, b[cut:])
}

// TestGRPCWebBadText wants what is no base64 refused as the sender's fault.
func TestGRPCWebBadText(t *testing.T) {
	good := inPieces(frame(0, encoded(t, spansOf(3, 30, nil))))
	for name, body := range map[string][]byte{
		"cut within a group": good[:len(good)-1],
		"no base64":          []byte("AAAAAA!!"),
		"padding first":      []byte("=AAAAAAA"),
		"binary":             frame(0, nil),
	} {
		req := httptest.NewRequest(http.MethodPost, pathOf(otlp.Traces, grpcSignals), bytes.NewReader(body))
		req.Header.Set("Content-Type", "application/grpc-web-text")
		w := httptest.NewRecorder()
		New(new(shelf), smallConfig).ServeHTTP(w, req)
		if got, err := readWeb(w.Result()); err != nil || got.Status != "3" || !strings.Contains(got.Text, "grpc-web-text") && !strings.Contains(got.Text, "cut short") {
			t.Errorf("%s: %+v, %v, want INVALID_ARGUMENT", name, got, err)
		}
	}
	w := httptest.NewRecorder()
	req := httptest.NewRequest(http.MethodGet, pathOf(otlp.Traces, grpcSignals), nil)
	req.Header.Set("Content-Type", "application/grpc-web")
	New(new(shelf), smallConfig).ServeHTTP(w, req)
	if w.Code != 405 || w.Header().Get("Allow") != "POST" {
		t.Errorf("GET: %d %v", w.Code, w.Header())
	}
}

// FuzzGRPCWeb feeds a body in both forms. Whatever comes, the answer is one that a client can read, and what is stored is OTLP.
func FuzzGRPCWeb(f *testing.F) {
	payload := encoded(f, spansOf(3, 10, nil))
	f.Add(frame(0, payload), false, "")
	f.Add(inPieces(frame(0, payload)), true, "")
	f.Add(inPieces(frame(1, zip(payload))), true, "gzip")
	f.Add([]byte("AAAA\nAAA="), true, "")
	f.Fuzz(func(t *testing.T, body []byte, text bool, coding string) {
		req := httptest.NewRequest(http.MethodPost, pathOf(otlp.Traces, grpcSignals), bytes.NewReader(body))
		req.Header.Set("Content-Type", map[bool]string{false: "application/grpc-web+proto", true: "application/grpc-web-text+proto"}[text])
		req.Header.Set("Grpc-Encoding", coding)
		w := answered(t, req)
		if got, err := readWeb(w.Result()); err != nil || got.Status == "" || got.Status == "13" {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

// FuzzBase64Body wants what base64Body reads to be what the pieces were, wherever they are cut.
func FuzzBase64Body(f *testing.F) {
	f.Add([]byte("some bytes that are cut in pieces"), byte(3), byte(7))
	f.Add(bytes.Repeat([]byte{0xfb, 0xff}, 2000), byte(200), byte(1))
	f.Fuzz(func(t *testing.T, content []byte, piece, read byte) {
		var text []byte
		for rest := content; len(rest) > 0; {
			n := min(int(piece)+1, len(rest))
			text, rest = base64.StdEncoding.AppendEncode(text, rest[:n]), rest[n:]
		}
		b := &base64Body{src: io.NopCloser(bytes.NewReader(text))}
		var got []byte
		p := make([]byte, int(read)+1)
		for {
			n, err := b.Read(p)
			got = append(got, p[:n]...)
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(got, content) {
			t.Fatalf("read %q, want %q", got, content)
		}
	})
}
