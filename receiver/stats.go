package receiver

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"tailweir/otlp"
)

// Encoding says how a request carried its payload.
type Encoding uint8

// The encodings.
const (
	Protobuf  Encoding = iota // OTLP/HTTP, application/x-protobuf
	JSON                      // OTLP/HTTP, application/json
	GRPC                      // OTLP/gRPC
	encodings = iota
)

// String is "protobuf", "json" or "grpc".
func (e Encoding) String() string {
	switch e {
	case Protobuf:
		return "protobuf"
	case JSON:
		return "json"
	case GRPC:
		return "grpc"
	}
	return "unknown"
}

// RequestCount counts the requests that agree in signal, encoding and outcome.
type RequestCount struct {
	Signal   otlp.Signal
	Encoding Encoding
	Outcome  Outcome
	Count    uint64
}

// ItemCount counts spans, log records or data points of answered requests. An item of a request that failed
// as a whole is in neither count.
type ItemCount struct {
	Accepted uint64 // published and confirmed
	Rejected uint64 // named by a partial success
}

// Stats is what a Receiver counted since it was made, and what it holds now beside the bounds.
type Stats struct {
	Requests []RequestCount // those above zero, in order of signal, encoding, outcome
	Spans    ItemCount
	Records  ItemCount
	Points   ItemCount // Accepted stays 0 without Config.Metrics
	Bytes    uint64    // bodies as they came, compressed or not, without gRPC framing
	Inflated uint64    // bytes that came out of gzip and zstd

	// UnnamedSpans and UnnamedRecords are those of requests that could be read whose resource has no service.name, or the one that
	// SDKs put there when nobody has set it.
	UnnamedSpans, UnnamedRecords uint64

	Messages     uint64 // published and confirmed
	MessageBytes uint64 // their data
	Panics       uint64

	RequestsInFlight, MaxRequests   int64
	BytesInFlight, MaxBytesInFlight int64
	Connections, MaxConnections     int64
	ClosedIdle, RefusedConnections  uint64 // closed in favour of another, and refused because all were busy
}

const signals = int(otlp.Metrics) + 1

type counters struct {
	requests        [signals][encodings][outcomes]atomic.Uint64
	accepted        [signals]atomic.Uint64
	rejected        [signals]atomic.Uint64
	bytes, inflated atomic.Uint64
	messages        atomic.Uint64
	messageBytes    atomic.Uint64
	panics          atomic.Uint64
	unnamed         [signals]atomic.Uint64
}

func (c *counters) items(s otlp.Signal) ItemCount {
	return ItemCount{Accepted: c.accepted[s].Load(), Rejected: c.rejected[s].Load()}
}

// Stats reads the counters. They are read one by one, so a request that ends meanwhile may be in some only.
func (r *Receiver) Stats() Stats {
	c := &r.counters
	st := Stats{
		Spans: c.items(otlp.Traces), Records: c.items(otlp.Logs), Points: c.items(otlp.Metrics),
		Bytes: c.bytes.Load(), Inflated: c.inflated.Load(),
		Messages: c.messages.Load(), MessageBytes: c.messageBytes.Load(), Panics: c.panics.Load(),
		UnnamedSpans: c.unnamed[otlp.Traces].Load(), UnnamedRecords: c.unnamed[otlp.Logs].Load(),
		RequestsInFlight: r.requests.used.Load(), MaxRequests: r.requests.max,
		BytesInFlight: r.bytes.used.Load(), MaxBytesInFlight: r.bytes.max,
		Connections: r.conns.count(), MaxConnections: int64(r.conns.max),
		ClosedIdle: r.conns.closed.Load(), RefusedConnections: r.conns.refused.Load(),
	}
	for s := range c.requests {
		for e := range c.requests[s] {
			for o := range c.requests[s][e] {
				if n := c.requests[s][e][o].Load(); n > 0 {
					st.Requests = append(st.Requests, RequestCount{otlp.Signal(s), Encoding(e), Outcome(o), n})
				}
			}
		}
	}
	return st
}

// complaints logs the first of many equal errors in a while, with the number of the others: an outage of
// Pub/Sub fails thousands of requests a second.
type complaints struct {
	log   *slog.Logger
	every time.Duration

	mu     sync.Mutex
	next   time.Time
	silent int
}

func (c *complaints) add(msg string, err error, more ...any) {
	c.mu.Lock()
	now := time.Now()
	if now.Before(c.next) {
		c.silent++
		c.mu.Unlock()
		return
	}
	silent := c.silent
	c.next, c.silent = now.Add(c.every), 0
	c.mu.Unlock()
	if err != nil {
		more = append(more, "err", err)
	}
	c.log.Warn(msg, append(more, "more_since_last", silent)...)
}
