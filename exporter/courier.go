package exporter

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"

	"tailweir/otlp"
)

// CourierConfig tells NewCourier how to deliver. Zero fields mean their defaults.
type CourierConfig struct {
	Timeout     time.Duration // of one attempt; default 10 s
	Concurrency int           // attempts of one signal under way, at most; default 8

	InitialBackoff time.Duration // before the first retry; default 1 s
	MaxBackoff     time.Duration // between retries; default 30 s

	Logger *slog.Logger // outages; default slog.Default()
}

// Courier delivers the requests of one exporter. It is the only owner of retries, of how many attempts are under way (see
// pace), and of what the log says of outages. Safe for concurrent use.
type Courier struct {
	timeout time.Duration
	retry   retry
	log     *slog.Logger

	// By signal: a backend may take one and not the other, and quotas differ.
	paces   [otlp.Metrics + 1]*pace
	outages [otlp.Metrics + 1]outage

	mu    sync.Mutex
	stats Stats
}

// Stats is what an exporter did since it was made, and how it does now.
type Stats struct {
	Attempts int64            // requests sent, retries too
	Failures map[string]int64 // of these, by the code they were answered with
	Refused  map[string]int64 // spans, log records and data points refused for good, by the reason of their Refusal
	// Shortened is how many spans and log records had to be cut to fit a limit of the backend, and say so.
	Shortened int64
	Running   int           // attempts under way
	Limit     float64       // how many there may be now, at most Most; of the signals that were sent, together
	Most      int           // and at most
	RoundTrip time.Duration // of the latest attempts, smoothed, of the slower signal; 0 before the first
	Failing   string        // what the latest attempt failed with, "" when it did not

	Pending, MaxPending int   // bytes that wait for an exporter that is not required, see Optional
	Lost                int64 // spans and log records that such an exporter does not have
}

// StatsOf returns the statistics of an exporter that keeps some.
func StatsOf(e Exporter) (s Stats, ok bool) {
	if o, is := e.(only); is {
		e = o.Exporter
	}
	if r, keeps := e.(interface{ Stats() Stats }); keeps {
		return r.Stats(), true
	}
	return s, false
}

// NewCourier returns one that delivers nothing yet.
func NewCourier(c CourierConfig) *Courier {
	courier := &Courier{
		timeout: cmp.Or(c.Timeout, 10*time.Second),
		retry:   retry{cmp.Or(c.InitialBackoff, time.Second), cmp.Or(c.MaxBackoff, 30*time.Second)},
		log:     cmp.Or(c.Logger, slog.Default()),
		stats:   Stats{Failures: map[string]int64{}, Refused: map[string]int64{}},
	}
	for signal := range courier.paces {
		courier.paces[signal] = newPace(cmp.Or(c.Concurrency, 8))
	}
	return courier
}

// unsureTries is how often data is tried that may be at fault itself, with the waits between: about half a minute by default.
// Fewer, and an outage that answers INTERNAL makes dead letters; more, and one span that a backend stumbles over stops a
// sender for longer.
const unsureTries = 6

// Deliver attempts one request until the backend confirmed it (nil), refused it (a *Fault, see errors.AsType), or ctx is done,
// which is any other error. attempt gets the time of one attempt; while it waits to be sent a request takes no place.
func (c *Courier) Deliver(ctx context.Context, signal otlp.Signal, attempt func(ctx context.Context) *Fault) error {
	log, outage, unsure := c.log.With("signal", signal.String()), &c.outages[signal], 0
	err := c.retry.do(ctx, func(ctx context.Context) *Fault {
		f := c.attempt(ctx, c.paces[signal], attempt)
		if f != nil && f.Verdict == Unsure {
			if unsure++; unsure == unsureTries {
				f.Verdict = Refused
			}
		}
		return f
	}, func(f *Fault, wait time.Duration) {
		outage.failed(log, f, wait)
	})
	if err == nil {
		outage.worked(log)
	}
	return err
}

func (c *Courier) attempt(ctx context.Context, pace *pace, attempt func(ctx context.Context) *Fault) *Fault {
	if err := pace.enter(ctx); err != nil {
		return &Fault{Code: "not sent", Verdict: Busy, Cause: err}
	}
	start := time.Now()
	timed, cancel := context.WithTimeout(ctx, c.timeout)
	f := attempt(timed)
	cancel()
	cut := f != nil && ctx.Err() != nil // off from here
	if cut {
		pace.quit()
	} else {
		pace.leave(start, f)
	}
	c.note(f, cut)
	return f
}

func (c *Courier) note(f *Fault, cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Attempts++
	if f != nil {
		c.stats.Failures[f.Code]++
	}
	switch {
	case cut: // it says nothing of the backend
	case f != nil:
		c.stats.Failing = f.Error()
	default:
		c.stats.Failing = ""
	}
}

// Count adds to Stats what became of a batch: the refusals that Export returns, and how many items were shortened.
func (c *Courier) Count(b *Batch, refused []Refusal, shortened int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Shortened += int64(shortened)
	for _, r := range refused {
		c.stats.Refused[r.Reason] += int64(r.count(b))
	}
}

// Stats returns a snapshot.
func (c *Courier) Stats() Stats {
	c.mu.Lock()
	s := c.stats
	s.Failures, s.Refused = maps.Clone(s.Failures), maps.Clone(s.Refused)
	c.mu.Unlock()
	for _, p := range c.paces {
		p.fill(&s)
	}
	if s.Most == 0 { // nothing was sent yet
		s.Most = c.paces[0].most
		s.Limit = float64(s.Most)
	}
	return s
}
