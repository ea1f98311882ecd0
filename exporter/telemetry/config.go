package telemetry

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"tailweir/exporter"
	"tailweir/exporter/gcp"
)

const (
	defaultEndpoint    = "telemetry.googleapis.com:443"
	defaultConnections = 4
	defaultConcurrency = 32
	defaultTimeout     = 20 * time.Second
)

// Config tells New where and how to send. Zero fields mean their defaults.
type Config struct {
	// Dial says how the API is reached; endpoint telemetry.googleapis.com:443 by default, 4 connections. QuotaProject is
	// Routes.Project by default: the one that exports pays for it, whatever project an item goes to.
	gcp.Dial
	Routes gcp.Routes

	// Compression is "gzip" or "none"; default "none": inside Google's network bytes are free and CPU is not.
	Compression string
	Timeout     time.Duration // of one attempt; default 20 s
	Concurrency int           // requests under way at most, 1..1024; default 32

	InitialBackoff time.Duration // before the first retry; default 1 s
	MaxBackoff     time.Duration // between retries; default 30 s

	Logger *slog.Logger // outages and warnings of the API; default slog.Default()
}

func (c Config) withDefaults() Config {
	c.Connections = cmp.Or(c.Connections, defaultConnections)
	c.Compression = cmp.Or(c.Compression, exporter.CompressionNone)
	c.Timeout = cmp.Or(c.Timeout, defaultTimeout)
	c.Concurrency = cmp.Or(c.Concurrency, defaultConcurrency)
	c.InitialBackoff = cmp.Or(c.InitialBackoff, time.Second)
	c.MaxBackoff = cmp.Or(c.MaxBackoff, 30*time.Second)
	c.Logger = cmp.Or(c.Logger, slog.Default())
	return c
}

// Validate reports all faults at once; nil when New would accept the settings, credentials apart.
func (c Config) Validate() error {
	c = c.withDefaults()
	errs := []error{c.Dial.Validate(), c.Routes.Validate()}
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Insecure && c.Routes.Project == "" {
		fault("project: without credentials it has to be set")
	}
	if c.Compression != exporter.CompressionGzip && c.Compression != exporter.CompressionNone {
		fault("compression %q: want %q or %q", c.Compression, exporter.CompressionGzip, exporter.CompressionNone)
	}
	if c.Timeout < 0 {
		fault("timeout %s: want more than 0", c.Timeout)
	}
	if c.Concurrency < 1 || c.Concurrency > 1024 {
		fault("concurrency %d: want 1 to 1024", c.Concurrency)
	}
	if c.InitialBackoff < 0 || c.MaxBackoff < c.InitialBackoff {
		fault("backoff %s to %s: want 0 < initial <= max", c.InitialBackoff, c.MaxBackoff)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("telemetry exporter: %w", err)
	}
	return nil
}
