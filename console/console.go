// Package console is the worker's own web page and the JSON beside it: what flows in, how full the
// window is, which policies kept and dropped, which traces wait for their decision, and the kept
// ones as waterfalls.
//
// It shows users' data. Therefore it listens on loopback unless told otherwise, answers on loopback
// only to names that a foreign web site cannot point at it, and sends a Content-Security-Policy
// under which nothing but its own style sheet and script is ever used. It only reads: every route
// is GET, and nothing it is asked changes the worker.
package console

import (
	"errors"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"strings"
	"time"

	"tailweir/otlp"
)

// Source is what the console shows. Its methods are called from many requests at once and must be
// quick (the page asks every two seconds, Serve asks for Stats every second); what they return is
// not modified by the console and must not change afterwards.
type Source interface {
	// Stats returns the counters as of one moment, so that they add up.
	Stats() Stats
	// Pending returns at most limit traces that are undecided, those with the least time left first.
	Pending(limit int) []Pending
	// Latest returns at most limit kept traces, the newest decision first.
	Latest(limit int) []Summary
	// Trace returns a kept trace; ok is false when it was not kept or is no longer remembered.
	Trace(id otlp.TraceID) (t Trace, ok bool)
}

// Counts counts the same things in three units. Spans and log records count once per delivery, a trace
// when its first span comes.
type Counts struct {
	Spans  int64 `json:"spans"`
	Traces int64 `json:"traces"`
	Logs   int64 `json:"logs"`
}

// PolicyCounts is the outcome of one policy.
type PolicyCounts struct {
	Kept    Counts `json:"kept"`
	Dropped Counts `json:"dropped"`
}

// Stats is the answer of /api/stats. At all times Received is the sum of the six after it.
type Stats struct {
	Received     Counts `json:"received"`
	Kept         Counts `json:"kept"`
	Dropped      Counts `json:"dropped"`
	DeadLettered Counts `json:"deadlettered"`
	Returned     Counts `json:"returned"`
	Duplicate    Counts `json:"duplicate"`
	InFlight     Counts `json:"in_flight"`

	// ByPolicy has the policies by name; a name in parentheses stands for what no policy decided.
	ByPolicy map[string]PolicyCounts `json:"by_policy"`

	// Window and the fleet's Watermark are the sequencer's: zero on a worker of a fleet that does not lead.
	Window Window `json:"window"`
	Held   Held   `json:"held"`
	Fleet  Fleet  `json:"fleet"`
	// Exporters are those over the network.
	Exporters []Exporter `json:"exporters"`
	// Exporting is the number of traces decided to be kept whose export is not confirmed yet.
	Exporting int64 `json:"exporting"`
	UptimeMS  int64 `json:"uptime_ms"`
	// Unnamed is the spans and log records received whose resource has no service.name.
	Unnamed int64 `json:"unnamed"`
	// Ready is what /readyz answers: the worker can accept and decide.
	Ready bool `json:"ready"`
}

// Window is the fill of the decision window beside its budget; a budget of 0 is no limit.
type Window struct {
	Traces    int64 `json:"traces"`
	Bytes     int64 `json:"bytes"`
	MaxTraces int64 `json:"max_traces"`
	MaxBytes  int64 `json:"max_bytes"`
	// WatermarkLagMS is how far event time is behind the wall clock.
	WatermarkLagMS int64 `json:"watermark_lag_ms"`
}

// Held is what the worker holds un-acked; a budget of 0 is no limit.
type Held struct {
	Messages int64 `json:"messages"`
	Bytes    int64 `json:"bytes"`
	MaxBytes int64 `json:"max_bytes"`
	// Redelivered counts the deliveries since the start that were not the first of their message.
	Redelivered int64 `json:"redelivered"`
}

// Pending is a trace that waits for its decision. Its spans are held encoded, so only facts are
// known of it: no names, no service.
type Pending struct {
	TraceID otlp.TraceID
	Spans   int64
	Logs    int64
	Bytes   int64         // encoded size of the spans
	Root    bool          // a span without parent was seen
	Age     time.Duration // since its first message was published
	Left    time.Duration // until the watermark passes its deadline; <= 0 is due
}

// Summary is one line of the list of kept traces.
type Summary struct {
	TraceID  otlp.TraceID
	Root     string // name of the root span; "" when it was not received
	Service  string // service.name of the root span, or of the earliest span
	Spans    int64
	Logs     int64
	Start    time.Time
	Duration time.Duration
	Error    bool
	Policy   string // the policy that kept it
	Reason   string // why it was decided then: settled, idle, expired, evicted, drained
}

// Trace is a kept trace. Both payloads may be empty.
type Trace struct {
	Spans  []byte // one ExportTraceServiceRequest
	Logs   []byte // one ExportLogsServiceRequest
	Policy string
	Reason string
}

// Config of a Console; the zero value is usable.
type Config struct {
	// Endpoints are the lines shown to a visitor while nothing was received: what to set in an
	// app's environment, one shell line each. Default: none.
	Endpoints []string
	// AllowRemote lets Listen open other addresses than loopback. Default: false.
	AllowRemote bool
	// AllowedHosts are host names, without port, that the Host header may have on a loopback
	// connection beside localhost, 127.0.0.1 and [::1]. Default: none.
	AllowedHosts []string
	// Metrics serves /metrics. Default: nil, which answers 404.
	Metrics http.Handler
}

// Validate reports every AllowedHosts entry that can never match a Host header.
func (c Config) Validate() error {
	var faults []error
	for _, h := range c.AllowedHosts {
		bare := strings.Trim(h, "[]")
		if bare == "" || strings.ContainsAny(bare, "/ ") || (strings.Contains(bare, ":") && net.ParseIP(bare) == nil) {
			faults = append(faults, fmt.Errorf("console: allowed host %q: want a host name without scheme and port", h))
		}
	}
	return errors.Join(faults...)
}

// Console is the http.Handler of all pages. Safe for concurrent use.
type Console struct {
	source Source
	config Config
	hosts  map[string]bool
	mux    *http.ServeMux
	rates  rates

	fleetRates rates // in the places of received and kept: log messages read, fragments whose facts were sent
}

// New returns a Console over source. It starts nothing; see Serve.
func New(source Source, config Config) *Console {
	c := &Console{source: source, config: config, hosts: hostSet(config.AllowedHosts), mux: http.NewServeMux()}
	c.mux.HandleFunc("/{$}", c.overview)
	c.mux.HandleFunc("/trace/{id}", c.trace)
	c.mux.HandleFunc("/api/stats", c.apiStats)
	c.mux.HandleFunc("/api/traces", c.apiTraces)
	c.mux.HandleFunc("/api/traces/{id}", c.apiTrace(otlp.Traces))
	c.mux.HandleFunc("/api/traces/{id}/logs", c.apiTrace(otlp.Logs))
	c.mux.HandleFunc("/api/", func(w http.ResponseWriter, r *http.Request) {
		apiError(w, http.StatusNotFound, "no such route: "+r.URL.Path)
	})
	c.mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { plain(w, http.StatusOK, "ok") })
	c.mux.HandleFunc("/readyz", c.readyz)
	if config.Metrics != nil {
		c.mux.Handle("/metrics", config.Metrics)
	}
	c.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		c.notice(w, http.StatusNotFound, "No such page", r.URL.Path)
	})
	return c
}

func (c *Console) readyz(w http.ResponseWriter, _ *http.Request) {
	if !c.source.Stats().Ready {
		plain(w, http.StatusServiceUnavailable, "not ready")
		return
	}
	plain(w, http.StatusOK, "ready")
}

func plain(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	fmt.Fprintln(w, text)
}

// notice is a page with one sentence, for what cannot be shown.
func (c *Console) notice(w http.ResponseWriter, code int, title, text string) {
	render(w, code, "notice", struct {
		Head        template.HTML
		Title, Text string
	}{styleTag, title, text})
}
