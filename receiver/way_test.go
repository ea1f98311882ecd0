package receiver

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	pb "google.golang.org/protobuf/proto"

	"tailweir/otlp"
)

// reply is what a sender understood, the same for every way.
type reply struct {
	HTTP     int // 0 for gRPC
	Code     codes.Code
	Text     string
	Rejected int64
	Retry    time.Duration
}

// way is one combination of transport, encoding and compression.
type way struct {
	name     string
	encoding Encoding
	h2c      bool
	gzip     bool
}

var ways = []way{
	{"protobuf http1", Protobuf, false, false},
	{"protobuf http1 gzip", Protobuf, false, true},
	{"protobuf h2c", Protobuf, true, false},
	{"protobuf h2c gzip", Protobuf, true, true},
	{"json http1", JSON, false, false},
	{"json h2c gzip", JSON, true, true},
	{"grpc", GRPC, true, false},
	{"grpc gzip", GRPC, true, true},
}

func (w way) send(t *testing.T, addr string, s otlp.Signal, body []byte) reply {
	t.Helper()
	if w.encoding == GRPC {
		return w.call(t, addr, s, body)
	}
	return w.post(t, addr, s, body)
}

func (w way) call(t *testing.T, addr string, s otlp.Signal, body []byte) reply {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	opts := []grpc.CallOption{grpc.ForceCodec(rawCodec{})}
	if w.gzip {
		opts = append(opts, grpc.UseCompressor("gzip"))
	}
	var out []byte
	err := dial(t, addr).Invoke(ctx, pathOf(s, grpcSignals), &body, &out, opts...)
	st := status.Convert(err)
	r := reply{Code: st.Code(), Text: st.Message()}
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.RetryInfo); ok {
			r.Retry = info.RetryDelay.AsDuration()
		}
	}
	if err == nil {
		r.Rejected, r.Text = partialOf(t, s, Protobuf, out)
	}
	return r
}

func (w way) post(t *testing.T, addr string, s otlp.Signal, body []byte) reply {
	t.Helper()
	if w.gzip {
		body = zip(body)
	}
	req, err := http.NewRequest("POST", "http://"+addr+pathOf(s, httpSignals), bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentTypes[w.encoding])
	if w.gzip {
		req.Header.Set("Content-Encoding", "gzip")
	}
	resp, err := httpClient(t, w.h2c).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if got := resp.Header.Get("Content-Type"); got != contentTypes[w.encoding] {
		t.Errorf("response Content-Type %q, want the request's", got)
	}
	r := reply{HTTP: resp.StatusCode}
	if resp.StatusCode == http.StatusOK {
		r.Rejected, r.Text = partialOf(t, s, w.encoding, out)
		return r
	}
	seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
	r.Retry = time.Duration(seconds) * time.Second
	var st spb.Status
	if w.encoding == JSON {
		err = protojson.Unmarshal(out, &st)
	} else {
		err = pb.Unmarshal(out, &st)
	}
	if err != nil {
		t.Fatalf("Status body %q: %v", out, err)
	}
	r.Code, r.Text = codes.Code(st.Code), st.Message
	return r
}

// partialOf reads the response with pdata, which is what a sender would use.
func partialOf(t *testing.T, s otlp.Signal, e Encoding, body []byte) (rejected int64, text string) {
	t.Helper()
	if e == JSON && !json.Valid(body) {
		t.Fatalf("response %q is no JSON", body)
	}
	type response interface {
		UnmarshalProto([]byte) error
		UnmarshalJSON([]byte) error
	}
	read := func(r response) {
		t.Helper()
		var err error
		if e == JSON {
			err = r.UnmarshalJSON(body)
		} else {
			err = r.UnmarshalProto(body)
		}
		if err != nil {
			t.Fatalf("response %q: %v", body, err)
		}
	}
	switch s {
	case otlp.Traces:
		r := ptraceotlp.NewExportResponse()
		read(r)
		return r.PartialSuccess().RejectedSpans(), r.PartialSuccess().ErrorMessage()
	case otlp.Logs:
		r := plogotlp.NewExportResponse()
		read(r)
		return r.PartialSuccess().RejectedLogRecords(), r.PartialSuccess().ErrorMessage()
	default:
		r := pmetricotlp.NewExportResponse()
		read(r)
		return r.PartialSuccess().RejectedDataPoints(), r.PartialSuccess().ErrorMessage()
	}
}
