// Package receiver is the door of the product: OTLP over HTTP and gRPC on one port, every payload published.
//
// It answers success only after Publisher.Publish returned nil. A payload is published as it came: a gzip body
// keeps its gzip bytes and is inflated only to be scanned. JSON is converted to protobuf. Spans that can never
// be stored (ids missing or zero, larger than a message) are rejected by partial success and the rest goes on.
//
// Requests are dispatched one by one by Content-Type, not by connection: behind a proxy both protocols arrive
// multiplexed on one HTTP/2 connection. gRPC is spoken by hand on net/http, since a unary call needs little of
// it and grpc-go's ServeHTTP costs almost twice the CPU.
//
// Browsers send by OTLP/HTTP or gRPC-Web, from the pages that Config.CORS names; a preflight is answered before all else, since it
// carries no key. zstd is taken beside gzip and published as gzip.
//
// Everything a sender chooses is bounded: bodies before and after decompression, what is in them ([Limits]), requests, bytes and
// connections at a time, headers, and the time for each step. docs/conformance.md lists what OTLP asks for and what was tried against
// it, each with its test.
//
// What is refused is refused with the codes that an SDK handles right: UNAVAILABLE/503 with a delay for what can
// be retried, INVALID_ARGUMENT/400 and RESOURCE_EXHAUSTED/413 for what cannot.
package receiver

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/gzip"
	"google.golang.org/grpc/codes"

	"tailweir/otlp"
)

// Publisher stores one message durably. Publish returns nil only when the message is confirmed, and then it must
// not read data any more; after an error it may go on reading data for as long as it likes. attrs becomes the
// publisher's. Publish must be safe for concurrent use and return soon after ctx is done.
type Publisher interface {
	Publish(ctx context.Context, data []byte, attrs map[string]string) error
}

// Receiver is an http.Handler for OTLP/HTTP and OTLP/gRPC. It is safe for concurrent use and bounded in requests
// and bytes in flight; see Config.
type Receiver struct {
	pub       Publisher
	cfg       Config
	requests  budget
	bytes     budget
	payloads  sync.Pool // *otlp.Payload
	inflate   sync.Pool // *inflater
	counters  counters
	draining  atomic.Bool
	failures  complaints
	denials   [reasons]complaints
	deflaters sync.Pool // *gzip.Writer

	stopping   chan struct{} // closed when draining begins
	stop       sync.Once
	streams    budget       // calls of Watch and reflection
	cors       *cors        // nil: off
	reflection http.Handler // nil: off
	unzippers  sync.Pool    // *unzipper
	conns      conns
}

// New returns a Receiver that publishes to pub. The config must satisfy Validate.
func New(pub Publisher, cfg Config) *Receiver {
	cfg = cfg.withDefaults()
	r := &Receiver{pub: pub, cfg: cfg}
	r.requests.max = int64(cfg.MaxRequests)
	r.bytes.max = int64(cfg.MaxBytesInFlight)
	r.payloads.New = func() any { return new(otlp.Payload) }
	r.inflate.New = func() any { return new(inflater) }
	r.failures = complaints{log: cfg.Logger, every: 10 * time.Second}
	for i := range r.denials {
		r.denials[i] = complaints{log: cfg.Logger, every: 10 * time.Second}
	}
	r.deflaters.New = func() any {
		w, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // a level that there is
		return w
	}
	r.stopping = make(chan struct{})
	r.streams.max = maxStreamCalls
	r.conns = conns{max: cfg.MaxConnections, open: make(map[*conn]struct{})}
	r.unzippers.New = newUnzipper
	r.cors, _ = newCORS(cfg.CORS) // which Validate has tried
	if cfg.Reflection {
		r.reflection = newReflection()
	}
	return r
}

// httpSignals are the paths of OTLP/HTTP.
var httpSignals = map[string]otlp.Signal{
	"/v1/traces":  otlp.Traces,
	"/v1/logs":    otlp.Logs,
	"/v1/metrics": otlp.Metrics,
}

// ServeHTTP answers one request of any protocol.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if r.cors != nil && r.cors.serve(w, req) {
		return
	}
	contentType := first(req.Header, "Content-Type")
	switch {
	case isGRPC(contentType):
		r.serveGRPC(w, req, contentType)
		return
	case isGRPCWeb(contentType):
		r.serveWeb(w, req, contentType)
		return
	}
	signal, ok := httpSignals[req.URL.Path]
	switch {
	case req.URL.Path == healthPath && (req.Method == http.MethodGet || req.Method == http.MethodHead):
		r.serveHealthHTTP(w)
	case !ok:
		refuse(w, contentType, http.StatusNotFound, codes.NotFound, "no such path; "+whereToSend)
	case req.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		refuse(w, contentType, http.StatusMethodNotAllowed, codes.Unimplemented, "method "+req.Method+" is not for this path; "+whereToSend)
	default:
		r.serveHTTP(w, req, signal)
	}
}

const whereToSend = "send OTLP here: POST /v1/traces, /v1/logs or /v1/metrics as application/x-protobuf or application/json, or gRPC"

func plain(w http.ResponseWriter, status int, line string) {
	http.Error(w, line, status)
}

// isGRPC reports application/grpc and application/grpc+codec, but not application/grpc-web.
func isGRPC(contentType string) bool {
	rest, ok := strings.CutPrefix(contentType, "application/grpc")
	return ok && (rest == "" || rest[0] == '+' || rest[0] == ';')
}

// first is Header.Get for a key known to be canonical.
func first(h http.Header, key string) string {
	if v := h[key]; len(v) > 0 {
		return v[0]
	}
	return ""
}
