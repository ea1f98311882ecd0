// Package cloudtrace writes spans by the Cloud Trace API, through Google's exporter for the OpenTelemetry SDK
// (github.com/GoogleCloudPlatform/opentelemetry-operations-go/exporter/trace, "the package" here).
//
// Deprecated upstream: Google will archive the package after January 1st, 2027, and recommends OTLP. For a new setup take
// package telemetry, which sends spans as the bytes they came in.
//
// The package makes a request of spans that an SDK would give it, and loses what an SDK's spans do not have or it does not
// read. So what it is given is a payload's spans with all of that among the attributes: resource and scope with schema URLs,
// the labels of HTTP by current conventions, arrays and maps as JSON, trace state and flags, the source's dropped counts.
// Limits are kept before it, so that nothing is cut without being named in the attribute tailweir.shortened.
package cloudtrace

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"tailweir/exporter"
	"tailweir/exporter/gcp"
	"tailweir/otlp"
)

// Config tells New where spans go. The zero Config writes to the project of the environment's credentials.
type Config struct {
	Dial    gcp.Dial
	Routes  gcp.Routes
	Courier exporter.CourierConfig

	more []grpc.DialOption // of tests
}

// Validate reports all faults at once.
func (c Config) Validate() error {
	errs := []error{c.Dial.Validate(), c.Routes.Validate()}
	if c.Courier.Timeout < 0 {
		errs = append(errs, fmt.Errorf("timeout %s: want more than 0", c.Courier.Timeout))
	}
	return errors.Join(errs...)
}

const endpoint = "cloudtrace.googleapis.com:443"

// Exporter writes spans. Safe for concurrent use.
type Exporter struct {
	endpoint string // for people
	routes   gcp.Routes
	courier  *exporter.Courier
	projects *projects
	payloads sync.Pool // of *otlp.Payload
	now      func() time.Time
}

// New makes an exporter. It finds credentials, and the project if it is not set; it connects at the first Export.
func New(ctx context.Context, c Config) (*Exporter, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("cloudtrace exporter: %w", err)
	}
	if err := c.Dial.Authenticate(); err != nil {
		return nil, fmt.Errorf("cloudtrace exporter: %w", err)
	}
	if err := c.Routes.Complete(ctx, c.Dial.Credentials); err != nil {
		return nil, fmt.Errorf("cloudtrace exporter: %w", err)
	}
	p, err := newProjects(ctx, c.Dial, c.Routes.Project, c.more...)
	if err != nil {
		return nil, fmt.Errorf("cloudtrace exporter: %w", err)
	}
	e := &Exporter{
		endpoint: cmp.Or(c.Dial.Endpoint, endpoint), routes: c.Routes,
		courier: exporter.NewCourier(c.Courier), projects: p,
		payloads: sync.Pool{New: func() any { return new(otlp.Payload) }},
		now:      time.Now,
	}
	cmp.Or(c.Courier.Logger, slog.Default()).Warn("the exporter type cloudtrace uses a library that Google has deprecated " +
		"and will archive after 2027-01-01; the type telemetry writes to Cloud Trace, too, and loses less")
	return e, nil
}

// Name is "cloudtrace".
func (e *Exporter) Name() string { return "cloudtrace" }

// Stats is what the exporter did since New.
func (e *Exporter) Stats() exporter.Stats { return e.courier.Stats() }

// Close closes the connections; Exports that run fail.
func (e *Exporter) Close() error { return e.projects.close() }

// Export writes the spans of the batch, each project's by itself. Spans that Cloud Trace would refuse for their age or for what
// no shortening mends are refused here, so that they do not take the rest with them.
func (e *Exporter) Export(ctx context.Context, b *exporter.Batch) error {
	payload := e.payloads.Get().(*otlp.Payload)
	defer e.payloads.Put(payload)
	if err := payload.Scan(b.Signal, b.Payload); err != nil {
		return &exporter.PermanentError{Err: fmt.Errorf("export %s to %s: %w", b.Signal, e.endpoint, err)}
	}
	if b.Signal != otlp.Traces {
		return &exporter.PermanentError{Err: fmt.Errorf("export %s to %s: the API takes spans alone", b.Signal, e.endpoint)}
	}
	var group errgroup.Group
	group.SetLimit(maxRequests)
	var p *plan
	p = newPlan(payload, b, &e.routes, e.now(), func(r *request) {
		group.Go(func() error { return e.deliver(ctx, r, p) })
	})
	p.run()
	if err := group.Wait(); err != nil {
		return fmt.Errorf("export %s to %w", b.Signal, err)
	}
	e.courier.Count(b, p.refused, p.shortened)
	return exporter.Refuse(b, p.refused)
}

// maxRequests is how many of one batch there are at most, under way or waiting for that: they bound the memory of a batch.
const maxRequests = 8

// deliver sends one request. An error says that it can be sent later: then the batch will come again, and all of it be sent
// again, with the same content.
func (e *Exporter) deliver(ctx context.Context, r *request, p *plan) error {
	return exporter.Halve(len(r.spans), func(first, end int) error {
		return e.courier.Deliver(ctx, otlp.Traces, func(ctx context.Context) *exporter.Fault {
			return e.attempt(ctx, r, first, end)
		})
	}, func(at int, f *exporter.Fault) {
		p.refuse(r.items[at], exporter.ReasonRejected, f)
	})
}

// attempt is one request. What has no status of gRPC never came to the API.
func (e *Exporter) attempt(ctx context.Context, r *request, first, end int) *exporter.Fault {
	err := e.projects.write(ctx, r.project, r.spans[first:end])
	if err == nil {
		return nil
	}
	if _, answered := status.FromError(err); !answered {
		return &exporter.Fault{
			Endpoint: e.endpoint, Code: "not sent", Msg: exporter.Clip(err.Error()), Verdict: exporter.Busy, Cause: err,
		}
	}
	return exporter.StatusFault(e.endpoint, err, e.routes.Verdicts(r.project))
}
