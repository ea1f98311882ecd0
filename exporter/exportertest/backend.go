// Package exportertest has a small OTLP backend to test senders against: it speaks the real protocols over
// real sockets, answers as told and records what it got.
package exportertest

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"

	"tailweir/otlp"
)

// Request is one export request as it came, decompressed.
type Request struct {
	Signal   otlp.Signal
	Method   string              // "POST", "gRPC"
	Path     string              // "/v1/traces", "/opentelemetry…/Export"
	Headers  map[string][]string // lower-case keys
	Encoding string              // "gzip", "zstd" or ""
	From     string              // the client's address: one for each connection
	Payload  []byte              // as sent over HTTP; over gRPC decoded and encoded again
	Time     time.Time
}

// Answer is what one request gets. The zero value is success.
type Answer struct {
	Status int               // HTTP; 0 = 200
	Header map[string]string // HTTP
	Body   []byte            // HTTP; sent as it is, instead of an export response

	Code       codes.Code    // gRPC; 0 = OK
	Message    string        // gRPC
	RetryDelay time.Duration // gRPC; a RetryInfo detail is added when not 0

	Rejected       int64  // partial_success
	PartialMessage string // partial_success

	Hang bool // no answer until the client goes away or the test ends
	Drop bool // HTTP; the connection is closed without an answer
}

// Backend records requests and answers them by its script, then with success. Safe for concurrent use.
type Backend struct {
	URL string // of the endpoint: http://, https://, grpc:// or grpcs://
	CA  []byte // PEM of the certificate's authority; TLS backends only

	done chan struct{}

	mu       sync.Mutex
	script   []Answer
	limit    int
	requests []Request
}

// NewHTTP starts an OTLP/HTTP backend that ends with the test; without keys it speaks plaintext.
func NewHTTP(t testing.TB, keys *TLS) *Backend {
	t.Helper()
	b := &Backend{done: make(chan struct{})}
	srv := httptest.NewUnstartedServer(b)
	srv.Config.ErrorLog = quiet
	if keys != nil {
		srv.TLS = keys.server
		srv.StartTLS()
		b.CA = keys.CA
	} else {
		srv.Start()
	}
	b.URL = srv.URL
	t.Cleanup(func() {
		close(b.done)
		srv.CloseClientConnections()
		srv.Close()
	})
	return b
}

// NewGRPC starts an OTLP/gRPC backend that ends with the test; without keys it speaks plaintext.
func NewGRPC(t testing.TB, keys *TLS) *Backend {
	t.Helper()
	b := &Backend{done: make(chan struct{})}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b.URL = "grpc://" + l.Addr().String()
	options := []grpc.ServerOption{grpc.StatsHandler(encodingHandler{}), grpc.MaxRecvMsgSize(64 << 20)}
	if keys != nil {
		b.URL, b.CA = "grpcs://"+l.Addr().String(), keys.CA
		options = append(options, grpc.Creds(credentials.NewTLS(keys.server)))
	}
	srv := grpc.NewServer(options...)
	ptraceotlp.RegisterGRPCServer(srv, &traceServer{backend: b})
	plogotlp.RegisterGRPCServer(srv, &logServer{backend: b})
	pmetricotlp.RegisterGRPCServer(srv, &metricServer{backend: b})
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = srv.Serve(l)
	}()
	t.Cleanup(func() {
		close(b.done)
		srv.Stop()
		<-served
	})
	return b
}

// Script appends answers for the next requests.
func (b *Backend) Script(answers ...Answer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.script = append(b.script, answers...)
}

// Limit makes the backend refuse payloads of more than max bytes as too large, before the script. 0 = none.
func (b *Backend) Limit(max int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.limit = max
}

// Requests returns what came so far, refused requests included, in order of arrival.
func (b *Backend) Requests() []Request {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.requests)
}

// take records a request and picks its answer.
func (b *Backend) take(r Request) Answer {
	b.mu.Lock()
	defer b.mu.Unlock()
	r.Time = time.Now()
	b.requests = append(b.requests, r)
	if b.limit > 0 && len(r.Payload) > b.limit {
		return Answer{
			Status: http.StatusRequestEntityTooLarge, Body: []byte("request body too large"),
			Code: codes.ResourceExhausted, Message: fmt.Sprintf("message larger than %d", b.limit),
		}
	}
	if len(b.script) == 0 {
		return Answer{}
	}
	a := b.script[0]
	b.script = b.script[1:]
	return a
}

func (b *Backend) hang(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-b.done:
	}
}

// ServeHTTP is the OTLP/HTTP side, on any path; one that ends in "logs" takes logs, one in "metrics" metrics.
func (b *Backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	req := Request{Method: r.Method, Path: r.URL.Path, Headers: lower(r.Header), Encoding: r.Header.Get("Content-Encoding"), From: r.RemoteAddr}
	req.Headers["host"] = []string{r.Host}
	req.Signal = otlp.Traces
	if strings.HasSuffix(r.URL.Path, "logs") {
		req.Signal = otlp.Logs
	}
	if strings.HasSuffix(r.URL.Path, "metrics") {
		req.Signal = otlp.Metrics
	}
	payload, err := body(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	req.Payload = payload
	if err := decodes(req.Signal, payload); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	a := b.take(req)
	switch {
	case a.Drop:
		panic(http.ErrAbortHandler)
	case a.Hang:
		b.hang(r.Context())
		return
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
	if a.Body != nil {
		w.Header().Set("Content-Type", "text/plain")
	}
	for k, v := range a.Header {
		w.Header().Set(k, v)
	}
	if a.Status != 0 {
		w.WriteHeader(a.Status)
	}
	if a.Body == nil && a.Status/100 != 4 && a.Status/100 != 5 {
		a.Body = response(req.Signal, a)
	}
	_, _ = w.Write(a.Body)
}

func body(r *http.Request) ([]byte, error) {
	if r.Header.Get("Content-Type") != "application/x-protobuf" {
		return nil, fmt.Errorf("content type %q: want protobuf", r.Header.Get("Content-Type"))
	}
	switch r.Header.Get("Content-Encoding") {
	case "":
		return io.ReadAll(r.Body)
	case "zstd":
		z, err := zstd.NewReader(r.Body)
		if err != nil {
			return nil, err
		}
		defer z.Close()
		return io.ReadAll(z)
	}
	z, err := gzip.NewReader(r.Body)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}

func decodes(signal otlp.Signal, payload []byte) error {
	switch signal {
	case otlp.Logs:
		return plogotlp.NewExportRequest().UnmarshalProto(payload)
	case otlp.Metrics:
		return pmetricotlp.NewExportRequest().UnmarshalProto(payload)
	}
	return ptraceotlp.NewExportRequest().UnmarshalProto(payload)
}

func response(signal otlp.Signal, a Answer) []byte {
	var out []byte
	var err error
	switch signal {
	case otlp.Logs:
		out, err = logResponse(a).MarshalProto()
	case otlp.Metrics:
		out, err = metricResponse(a).MarshalProto()
	default:
		out, err = traceResponse(a).MarshalProto()
	}
	if err != nil {
		panic(err) // two scalar fields always encode
	}
	return out
}
