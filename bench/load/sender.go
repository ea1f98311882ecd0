package load

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/klauspost/compress/gzip"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"

	"tailweir/bench/rawcodec"
)

// requestTimeout is that of the SDKs.
const requestTimeout = 10 * time.Second

// sender is one connection; it is not safe for concurrent use. The error of send
// is nil once the receiver took everything, a *refusal if it answered otherwise.
type sender interface {
	send(ctx context.Context, p *Payload) error
	close()
}

// refusal is an answer that is not a success.
type refusal struct {
	what  string
	retry bool
	after time.Duration // asked for by the receiver; 0 = not
}

func (r *refusal) Error() string { return r.what }

// httpSender speaks HTTP/1.1 on a connection of its own. http.Client costs two
// goroutine switches per request, which the load would take from what it measures.
type httpSender struct {
	addr   string
	squash *gzip.Writer // nil = identity
	conn   net.Conn
	in     *bufio.Reader
	out    bytes.Buffer
}

func newHTTPSender(addr string, compress bool) *httpSender {
	s := &httpSender{addr: addr}
	if compress {
		s.squash = gzip.NewWriter(io.Discard)
	}
	return s
}

func (s *httpSender) close() {
	if s.conn != nil {
		s.conn.Close()
		s.conn = nil
	}
}

func (s *httpSender) send(ctx context.Context, p *Payload) error {
	answer, err := s.exchange(ctx, p)
	if err != nil { // the connection is of no use any more; an SDK tries again
		s.close()
		return &refusal{what: fmt.Sprintf("post %d items: %v", len(p.Items), err), retry: true}
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.Close {
		s.close()
	}
	if answer.StatusCode/100 == 2 {
		return rejected(body)
	}
	after, _ := strconv.Atoi(answer.Header.Get("Retry-After"))
	return &refusal{what: fmt.Sprintf("status %d", answer.StatusCode), retry: retryable(answer.StatusCode), after: time.Duration(after) * time.Second}
}

func retryable(code int) bool {
	switch code {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

func (s *httpSender) exchange(ctx context.Context, p *Payload) (*http.Response, error) {
	if s.conn == nil {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.addr)
		if err != nil {
			return nil, err
		}
		s.conn, s.in = conn, bufio.NewReaderSize(conn, 4096)
	}
	s.request(p)
	if err := s.conn.SetDeadline(time.Now().Add(requestTimeout)); err != nil {
		return nil, err
	}
	if _, err := s.conn.Write(s.out.Bytes()); err != nil {
		return nil, err
	}
	return http.ReadResponse(s.in, nil)
}

// request writes the request into out.
func (s *httpSender) request(p *Payload) {
	path, encoding, body := "/v1/traces", "", p.Body
	if p.Logs {
		path = "/v1/logs"
	}
	if s.squash != nil {
		encoding, body = "Content-Encoding: gzip\r\n", squash(s.squash, p.Body)
	}
	s.out.Reset()
	fmt.Fprintf(&s.out, "POST %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: tailweir-bench\r\nContent-Type: application/x-protobuf\r\n%sContent-Length: %d\r\n\r\n",
		path, s.addr, encoding, len(body))
	s.out.Write(body)
}

func squash(w *gzip.Writer, body []byte) []byte {
	var out bytes.Buffer
	w.Reset(&out)
	w.Write(body) // a bytes.Buffer takes everything
	w.Close()
	return out.Bytes()
}

// rejected reads an export response: its partial_success (1) has rejected items
// (1) and a message (2). Which items they are it does not say.
func rejected(response []byte) error {
	for len(response) > 0 {
		field, kind, n := protowire.ConsumeTag(response)
		if n < 0 {
			return &refusal{what: "response malformed"}
		}
		response = response[n:]
		if field != 1 || kind != protowire.BytesType {
			n = protowire.ConsumeFieldValue(field, kind, response)
			if n < 0 {
				return &refusal{what: "response malformed"}
			}
			response = response[n:]
			continue
		}
		partial, n := protowire.ConsumeBytes(response)
		if n < 0 {
			return &refusal{what: "response malformed"}
		}
		response = response[n:]
		if f, k, n := protowire.ConsumeTag(partial); n > 0 && f == 1 && k == protowire.VarintType {
			if v, _ := protowire.ConsumeVarint(partial[n:]); v > 0 {
				return &refusal{what: fmt.Sprintf("partial success, %d items rejected", v)}
			}
		}
	}
	return nil
}

// grpcSender sends the encoded bytes as they are.
type grpcSender struct{ conn *grpc.ClientConn }

func newGRPCSender(addr string, compress bool) (*grpcSender, error) {
	options := []grpc.CallOption{grpc.ForceCodec(rawcodec.Codec{})}
	if compress {
		options = append(options, grpc.UseCompressor("gzip"))
	}
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(options...))
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", addr, err)
	}
	return &grpcSender{conn}, nil
}

func (s *grpcSender) close() { s.conn.Close() }

func (s *grpcSender) send(ctx context.Context, p *Payload) error {
	method := "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
	if p.Logs {
		method = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var response []byte
	if err := s.conn.Invoke(ctx, method, &p.Body, &response); err != nil {
		return &refusal{what: err.Error(), retry: retryableCode(status.Code(err))}
	}
	return rejected(response)
}

func retryableCode(code codes.Code) bool {
	switch code {
	case codes.Canceled, codes.DeadlineExceeded, codes.Aborted, codes.OutOfRange, codes.Unavailable, codes.DataLoss:
		return true
	}
	return false
}
