package cloudlogging

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"tailweir/exporter/gcp"
)

// Config is how and where log records go. Zero fields mean their defaults.
type Config struct {
	Dial   gcp.Dial
	Routes gcp.Routes

	// LogName is the log of records without gcp.log_name; default "otlp".
	LogName string

	// TraceProject is the project that traces are in; default that of the entry.
	TraceProject string

	// ResourceLabels are the resource attributes that become labels beside service.name, service.namespace and
	// service.instance.id; "*" means all. The monitored resource holds others; what is in neither is not exported.
	ResourceLabels []string

	Compression string // of requests: "none" (default) or "gzip"

	Concurrency    int           // requests under way at once, at most; default 8
	Timeout        time.Duration // of one attempt; default 20 s
	InitialBackoff time.Duration // default the courier's
	MaxBackoff     time.Duration // default the courier's
	Logger         *slog.Logger  // default slog.Default

	escapedLogName string
}

const (
	defaultLogName  = "otlp"
	defaultTimeout  = 20 * time.Second // 9.5 MB take a while
	defaultEndpoint = "logging.googleapis.com:443"
	compressionGzip = "gzip"
)

// Validate reports all faults at once.
func (c *Config) Validate() error {
	errs := []error{c.Dial.Validate(), c.Routes.Validate()}
	if _, ok := escapeLogName(c.LogName); !ok && c.LogName != "" {
		errs = append(errs, fmt.Errorf("log_name %q: want 1 to 511 letters, digits and any of / _ . -", c.LogName))
	}
	if c.TraceProject != "" && !gcp.ValidProject(c.TraceProject) {
		errs = append(errs, fmt.Errorf("trace_project %q: want a project id", c.TraceProject))
	}
	if c.Compression != "" && c.Compression != "none" && c.Compression != compressionGzip {
		errs = append(errs, fmt.Errorf("compression %q: want none or gzip", c.Compression))
	}
	errs = append(errs, negative("concurrency", c.Concurrency), negative("timeout", c.Timeout),
		negative("initial_backoff", c.InitialBackoff), negative("max_backoff", c.MaxBackoff))
	return errors.Join(errs...)
}

func negative[T int | time.Duration](name string, n T) error {
	if n < 0 {
		return fmt.Errorf("%s %v is negative", name, n)
	}
	return nil
}

// withDefaults returns the configuration as it is used; what is still zero has its default elsewhere.
func (c Config) withDefaults() *Config {
	c.LogName = cmp.Or(c.LogName, defaultLogName)
	c.escapedLogName, _ = escapeLogName(c.LogName)
	c.Timeout = cmp.Or(c.Timeout, defaultTimeout)
	return &c
}

func (c *Config) target() string { return cmp.Or(c.Dial.Endpoint, defaultEndpoint) }

// isLabel tells whether the resource attribute becomes a label.
func (c *Config) isLabel(key string) bool {
	switch key {
	case "service.name", "service.namespace", "service.instance.id":
		return true
	}
	return slices.Contains(c.ResourceLabels, key) || slices.Contains(c.ResourceLabels, "*")
}
