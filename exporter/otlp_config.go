package exporter

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
)

// Compression of what is sent.
const (
	CompressionGzip = "gzip"
	CompressionZstd = "zstd"
	CompressionNone = "none"
)

var compressions = []string{CompressionGzip, CompressionZstd, CompressionNone}

// OTLPConfig tells NewOTLP where and how to send. Zero fields mean their defaults.
type OTLPConfig struct {
	// Endpoint is the backend's URL. http:// and https:// speak OTLP/HTTP with protobuf; /v1/traces, /v1/logs and
	// /v1/metrics are appended to its path. grpc:// (port 4317 unless given) and grpcs:// (443) speak OTLP/gRPC.
	Endpoint       string
	TracesEndpoint string // OTLP/HTTP only: the whole URL for traces; default Endpoint + /v1/traces
	LogsEndpoint   string // OTLP/HTTP only: the whole URL for logs; default Endpoint + /v1/logs
	// MetricsEndpoint is OTLP/HTTP only: the whole URL for metrics; default Endpoint + /v1/metrics. It may stand alone, for an
	// exporter of metrics alone.
	MetricsEndpoint string

	Headers     map[string]string // sent with every request; default none
	TLS         TLSConfig
	Compression string // "gzip", "zstd" or "none"; default "gzip", which every OTLP backend takes

	// Connections is for gRPC, where a load balancer in front of a backend that spreads connections, not requests, would give all
	// to one of its servers; 1..256, default 1. Over HTTP there are as many as there are attempts.
	Connections int

	Timeout     time.Duration // of one attempt; default 10 s
	Concurrency int           // attempts in flight, 1..1024; default 8

	InitialBackoff time.Duration // before the first retry; default 1 s
	MaxBackoff     time.Duration // between retries; default 30 s

	Logger *slog.Logger // outages and warnings of the backend; default slog.Default()
}

// TLSConfig is used with https:// and grpcs:// only. The zero value trusts the system's authorities.
type TLSConfig struct {
	CAFile     string // PEM; trusted instead of the system's authorities
	CertFile   string // PEM; client certificate, together with KeyFile
	KeyFile    string // PEM
	ServerName string // expected name in the certificate; default the endpoint's host
	Insecure   bool   // accept any certificate
}

func (c OTLPConfig) withDefaults() OTLPConfig {
	if c.Compression == "" {
		c.Compression = CompressionGzip
	}
	if c.Connections == 0 {
		c.Connections = 1
	}
	if c.Timeout == 0 {
		c.Timeout = 10 * time.Second
	}
	if c.Concurrency == 0 {
		c.Concurrency = 8
	}
	if c.InitialBackoff == 0 {
		c.InitialBackoff = time.Second
	}
	if c.MaxBackoff == 0 {
		c.MaxBackoff = 30 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	c.Headers = maps.Clone(c.Headers)
	return c
}

// Validate reports all faults at once; nil when NewOTLP would accept the settings (files apart).
func (c OTLPConfig) Validate() error {
	c = c.withDefaults()
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf("otlp exporter "+format, args...)) }
	if !slices.Contains(compressions, c.Compression) {
		fault("compression %q: want one of %q", c.Compression, compressions)
	}
	if c.Connections < 1 || c.Connections > 256 {
		fault("connections %d: want 1 to 256", c.Connections)
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
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		fault("client certificate: want both a certificate and a key file")
	}
	for k, v := range c.Headers {
		if !httpguts.ValidHeaderFieldName(k) || !httpguts.ValidHeaderFieldValue(v) {
			fault("header %q: not a valid header", k) // the value may be a secret
		}
	}
	if _, err := c.targets(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// targets are the parsed endpoints: grpc is host:port or "", the others are URLs of OTLP/HTTP, nil for a signal that nothing says where to send.
type targets struct {
	grpc                  string
	secure                bool
	traces, logs, metrics *url.URL
}

func (c OTLPConfig) targets() (targets, error) {
	others := c.TracesEndpoint != "" && c.LogsEndpoint != ""
	if c.Endpoint == "" && (others || c.MetricsEndpoint != "" && c.TracesEndpoint == "" && c.LogsEndpoint == "") {
		return c.httpTargets(nil)
	}
	u, err := parseEndpoint(c.Endpoint, "http", "https", "grpc", "grpcs")
	if err != nil {
		return targets{}, err
	}
	if strings.HasPrefix(u.Scheme, "http") {
		return c.httpTargets(u)
	}
	if c.TracesEndpoint != "" || c.LogsEndpoint != "" || c.MetricsEndpoint != "" {
		return targets{}, errors.New("otlp exporter endpoint of one signal: only with http:// and https://")
	}
	if strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return targets{}, fmt.Errorf("otlp exporter endpoint %s: %s:// takes no path", display(u), u.Scheme)
	}
	secure := u.Scheme == "grpcs"
	port := u.Port()
	if port == "" && secure {
		port = "443"
	} else if port == "" {
		port = "4317"
	}
	return targets{grpc: net.JoinHostPort(u.Hostname(), port), secure: secure}, nil
}

func (c OTLPConfig) httpTargets(base *url.URL) (targets, error) {
	signal := func(whole, path string) (*url.URL, error) {
		if whole == "" && base == nil {
			return nil, nil
		}
		if whole == "" {
			return base.JoinPath(path), nil
		}
		return parseEndpoint(whole, "http", "https")
	}
	traces, err := signal(c.TracesEndpoint, "v1/traces")
	if err != nil {
		return targets{}, err
	}
	logs, err := signal(c.LogsEndpoint, "v1/logs")
	if err != nil {
		return targets{}, err
	}
	metrics, err := signal(c.MetricsEndpoint, "v1/metrics")
	return targets{traces: traces, logs: logs, metrics: metrics}, err
}

func parseEndpoint(s string, schemes ...string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil {
		// The parse error repeats the text, which may hold a password.
		return nil, errors.New("otlp exporter endpoint: not a URL")
	}
	for _, scheme := range schemes {
		if u.Scheme == scheme && u.Hostname() != "" {
			return u, nil
		}
	}
	return nil, fmt.Errorf("otlp exporter endpoint %q: want %s://host", display(u), strings.Join(schemes, "://host or "))
}

// display is the URL as it may be logged: without password and query, where people put keys.
func display(u *url.URL) string {
	c := *u
	c.User, c.RawQuery, c.Fragment = nil, "", ""
	return c.String()
}

func (c TLSConfig) load() (*tls.Config, error) {
	out := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.ServerName, InsecureSkipVerify: c.Insecure}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read certificate authorities: %w", err)
		}
		out.RootCAs = x509.NewCertPool()
		if !out.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read certificate authorities %s: no certificate in it", c.CAFile)
		}
	}
	if c.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("read client certificate %s: %w", c.CertFile, err)
		}
		out.Certificates = []tls.Certificate{pair}
	}
	return out, nil
}
