package receiver

import (
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Config sets the bounds of a Receiver. A zero field takes the default named in its comment; sizes are bytes.
type Config struct {
	// MaxBody bounds a request body (gRPC: a message) as it came, before decompression. Default 20 MB.
	MaxBody int
	// MaxInflated bounds a request after decompression. Default 64 MiB, which the OTLP specification recommends.
	MaxInflated int
	// MaxMessage bounds the data of one published message; larger payloads are split. Default 9.5 MB:
	// Pub/Sub refuses publish requests over 10 MB, attributes and framing included.
	MaxMessage int
	// MaxRequests bounds the requests in flight; one more is answered UNAVAILABLE unread. Default 1000,
	// the largest concurrency of a Cloud Run instance.
	MaxRequests int
	// MaxBytesInFlight bounds the memory of all requests in flight: bodies, inflated and copied payloads, scan
	// tables. At least MaxBody + 3*MaxInflated, so that the largest legal request fits. Default 256 MiB.
	MaxBytesInFlight int

	// PublishTimeout bounds the publishing of one request. Default 8 s: below the 10 s after which SDKs give up,
	// so that they see a retryable answer and not a timeout.
	PublishTimeout time.Duration
	// RetryDelay is what a refused sender is asked to wait (Retry-After, RetryInfo). Default 1 s.
	RetryDelay time.Duration
	// HeaderTimeout bounds the reading of request headers. Default 10 s.
	HeaderTimeout time.Duration
	// ReadTimeout bounds the reading of a whole request, on HTTP/2 of a body; what has not come by then is answered
	// 503 or DEADLINE_EXCEEDED. Default 10 s, after which SDKs give up by themselves. A least rate would end a
	// stalled body sooner, but takes a timer for each read and a guess at the senders' uplinks.
	ReadTimeout time.Duration
	// IdleTimeout closes connections without requests. Default 5 min, above the period in which SDKs export.
	IdleTimeout time.Duration
	// Grace bounds how long Serve waits for running requests once it is told to stop. Default 9 s: above
	// PublishTimeout, below the 10 s between SIGTERM and SIGKILL on Cloud Run.
	Grace time.Duration
	// MaxHeaderBytes bounds the headers of one request. Default 32 KiB.
	MaxHeaderBytes int

	// CORS says which web pages may send. Default none.
	CORS CORS
	// Reflection tells clients such as grpcurl the services and their types. Default off: no SDK asks, and it tells any passer-by
	// what this is.
	Reflection bool

	// Limits bound what a request holds.
	Limits Limits
	// MaxConnections bounds the connections of all listeners together. For one more the one that has been without a request for
	// longest is closed, or it itself if all are busy. Default 10,000: an idle one takes about 20 kB.
	MaxConnections int

	// Gate says who may send. Default nil: everybody.
	Gate Gate
	// Rewriter changes payloads before they are published. Default nil: the bytes are published as they came.
	Rewriter Rewriter

	// Logger gets panics and, at most every 10 s each, publish failures and denials by reason. Default slog.Default().
	Logger *slog.Logger
}

// itemCost is the memory a scan table takes per span or record, as an upper bound: what makes a payload of
// millions of two-byte spans count for what it costs.
const itemCost = 64

// objectCost is the memory one JSON object takes while JSON is converted (pdata's span is the largest, about
// 250 bytes, its key and value about 100).
const objectCost = 160

func (c Config) withDefaults() Config {
	set(&c.MaxBody, 20_000_000)
	set(&c.MaxInflated, 64<<20)
	set(&c.MaxMessage, 9_500_000)
	set(&c.MaxRequests, 1000)
	set(&c.MaxBytesInFlight, max(256<<20, c.MaxBody+3*c.MaxInflated))
	set(&c.PublishTimeout, 8*time.Second)
	set(&c.RetryDelay, time.Second)
	set(&c.HeaderTimeout, 10*time.Second)
	set(&c.ReadTimeout, 10*time.Second)
	set(&c.IdleTimeout, 5*time.Minute)
	set(&c.Grace, 9*time.Second)
	set(&c.MaxHeaderBytes, 32<<10)
	set(&c.MaxConnections, 10_000)
	c.Limits.withDefaults()
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

func set[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Validate reports every setting that is out of its bounds, with the bound, after defaults.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	atLeast := func(name string, value, least int) {
		if value < least {
			errs = append(errs, fmt.Errorf("receiver config: %s is %d, want at least %d", name, value, least))
		}
	}
	positive := func(name string, d time.Duration) {
		if d <= 0 {
			errs = append(errs, fmt.Errorf("receiver config: %s is %v, want more than 0", name, d))
		}
	}
	atLeast("MaxBody", c.MaxBody, 1)
	atLeast("MaxInflated", c.MaxInflated, 1)
	atLeast("MaxMessage", c.MaxMessage, 1)
	if c.MaxMessage > 9_900_000 {
		errs = append(errs, fmt.Errorf("receiver config: MaxMessage is %d, want at most 9900000", c.MaxMessage))
	}
	atLeast("MaxRequests", c.MaxRequests, 1)
	atLeast("MaxBytesInFlight", c.MaxBytesInFlight, c.MaxBody+3*c.MaxInflated)
	atLeast("MaxConnections", c.MaxConnections, 1)
	atLeast("Limits.Attributes", c.Limits.Attributes, 1)
	atLeast("Limits.Events", c.Limits.Events, 1)
	atLeast("Limits.Links", c.Limits.Links, 1)
	atLeast("Limits.Depth", c.Limits.Depth, 1)
	atLeast("Limits.Key", c.Limits.Key, 1)
	atLeast("Limits.Name", c.Limits.Name, 1)
	atLeast("Limits.Items", c.Limits.Items, 1)
	atLeast("MaxHeaderBytes", c.MaxHeaderBytes, 4096)
	positive("PublishTimeout", c.PublishTimeout)
	positive("RetryDelay", c.RetryDelay)
	positive("HeaderTimeout", c.HeaderTimeout)
	positive("ReadTimeout", c.ReadTimeout)
	positive("IdleTimeout", c.IdleTimeout)
	positive("Grace", c.Grace)
	if err := c.CORS.Validate(); err != nil {
		errs = append(errs, fmt.Errorf("receiver config: CORS: %w", err))
	}
	if c.CORS.MaxAge < 0 {
		errs = append(errs, fmt.Errorf("receiver config: CORS.MaxAge is %v, want 0 or more", c.CORS.MaxAge))
	}
	return errors.Join(errs...)
}
