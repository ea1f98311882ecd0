// Package telemetry sends spans, log records and metrics to Google's Telemetry API (telemetry.googleapis.com) as OTLP over gRPC: the
// bytes as they came, but for the project on the resource, which the API demands, and the decision in a record's flags.
//
// What the API would refuse is dealt with before it is sent, since it names nothing that it refuses: what is too old, or ahead
// of time, is refused item by item; what is beyond a limit is shortened, and says so in the attribute tailweir.shortened.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"cloud.google.com/go/auth/grpctransport"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding/gzip"

	"tailweir/exporter"
	"tailweir/exporter/gcp"
	"tailweir/otlp"
)

const (
	// maxRequest bounds a request, in bytes: gRPC servers take 4 MiB unless they are told otherwise, and Google documents nothing else.
	maxRequest = 4_000_000

	// maxDestinations is how many projects' requests of one batch are under way at once.
	maxDestinations = 8
)

// Telemetry is the exporter. Safe for concurrent use.
type Telemetry struct {
	routes  gcp.Routes
	conn    grpctransport.GRPCClientConnPool
	server  string // for people
	courier *exporter.Courier
	log     *slog.Logger
	now     func() time.Time
	works   sync.Pool // *work
	bodies  sync.Pool // *[]byte
}

// New makes an exporter. It finds the credentials, and connects at the first Export.
func New(ctx context.Context, c Config) (*Telemetry, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	if err := c.Authenticate(); err != nil {
		return nil, fmt.Errorf("telemetry exporter: %w", err)
	}
	if err := c.Routes.Complete(ctx, c.Credentials); err != nil {
		return nil, fmt.Errorf("telemetry exporter: %w", err)
	}
	if c.QuotaProject == "" {
		c.QuotaProject = c.Routes.Project
	}
	var calls []grpc.CallOption
	if c.Compression == exporter.CompressionGzip {
		calls = append(calls, grpc.UseCompressor(gzip.Name))
	}
	conn, err := c.Connect(ctx, defaultEndpoint, grpc.WithDefaultCallOptions(calls...))
	if err != nil {
		return nil, fmt.Errorf("telemetry exporter: %w", err)
	}
	t := &Telemetry{routes: c.Routes, conn: conn, server: defaultEndpoint, log: c.Logger, now: time.Now}
	if c.Endpoint != "" {
		t.server = c.Endpoint
	}
	t.courier = exporter.NewCourier(exporter.CourierConfig{
		Timeout: c.Timeout, Concurrency: c.Concurrency, InitialBackoff: c.InitialBackoff, MaxBackoff: c.MaxBackoff, Logger: c.Logger,
	})
	t.works.New = func() any { return new(work) }
	t.bodies.New = func() any { return new([]byte) }
	return t, nil
}

// Name is "telemetry".
func (t *Telemetry) Name() string { return "telemetry" }

// Stats says what was sent, and how fast.
func (t *Telemetry) Stats() exporter.Stats { return t.courier.Stats() }

// Close frees the connections. Call it after the last Export returned.
func (t *Telemetry) Close() error { return t.conn.Close() }

// Export sends the batch in requests of one project and at most 4 MB each, and retries until ctx is done whatever is not the
// data's fault. A request that is refused is sent in halves, until the items at fault stand alone.
func (t *Telemetry) Export(ctx context.Context, b *exporter.Batch) error {
	if b.Items == 0 || len(b.Payload) == 0 {
		return nil
	}
	d := newDelivery(b)
	if b.Signal == otlp.Metrics {
		return t.exportMetrics(ctx, b, d)
	}
	w := t.works.Get().(*work)
	defer t.works.Put(w)
	if err := w.plan(b, &t.routes, t.now(), d); err != nil {
		return &exporter.PermanentError{Err: fmt.Errorf("export %s to %s: %w", b.Signal, t.server, err)}
	}
	var group errgroup.Group
	group.SetLimit(maxDestinations)
	for _, to := range w.destinations {
		group.Go(func() error { return t.sendAll(ctx, w, to, d) })
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("export %s to %w", b.Signal, err)
	}
	t.courier.Count(b, d.refused, w.shortened)
	return d.result()
}

// sendAll delivers all items of one project; it returns transient errors only, and refusals go to d.
func (t *Telemetry) sendAll(ctx context.Context, w *work, to destination, d *delivery) error {
	for items := to.items; len(items) > 0; {
		body := t.bodies.Get().(*[]byte)
		var n int
		*body, n = w.encode((*body)[:0], to.project, items)
		once := true
		err := exporter.Halve(n, func(first, end int) error {
			b := *body
			if end-first < n {
				b, _ = w.encode(nil, to.project, items[first:end])
			}
			return t.send(ctx, d, to.project, b, end-first, &once)
		}, func(i int, f *exporter.Fault) { d.refuse(items[i], exporter.ReasonRejected, f) })
		if once {
			t.bodies.Put(body) // nobody reads it any more: its only call was answered
		}
		if err != nil {
			return err
		}
		items = items[n:]
	}
	return nil
}

// send delivers one request. It clears once unless the first attempt is confirmed.
func (t *Telemetry) send(ctx context.Context, d *delivery, project string, body []byte, items int, once *bool) error {
	var partial *exporter.PartialError
	err := t.courier.Deliver(ctx, d.batch.Signal, func(ctx context.Context) (f *exporter.Fault) {
		partial, f = exporter.SendGRPC(ctx, t.conn, t.server, t.routes.Verdicts(project), d.batch.Signal, body)
		*once = *once && f == nil
		return f
	})
	if err != nil {
		*once = false
		return err
	}
	if partial == nil {
		return nil
	}
	t.log.Warn("backend answered with a partial success", "signal", d.batch.Signal.String(), "project", project, "items", items,
		"rejected", partial.Rejected, "said", partial.Msg)
	if partial.Rejected >= items {
		return &exporter.Fault{Endpoint: t.server, Code: "partial success that rejects all items", Msg: partial.Msg, Verdict: exporter.Rejected}
	}
	d.confirm(partial)
	return nil
}

// delivery gathers what became of one batch. Safe for concurrent use.
type delivery struct {
	batch *exporter.Batch
	ends  []int // of each part, in items

	mu      sync.Mutex
	refused []exporter.Refusal
	partial *exporter.PartialError // the sum of all
}

func newDelivery(b *exporter.Batch) *delivery {
	d := &delivery{batch: b, ends: make([]int, len(b.Parts))}
	end := 0
	for i := range b.Parts {
		end += b.Parts[i].Items
		d.ends[i] = end
	}
	return d
}

func (d *delivery) refuse(item int32, reason string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	part, i := d.locate(int(item))
	if last := len(d.refused) - 1; last >= 0 && d.refused[last].Part == part && d.refused[last].Reason == reason {
		d.refused[last].Items = append(d.refused[last].Items, i)
		return
	}
	d.refused = append(d.refused, exporter.Refusal{Part: part, Items: []int{i}, Reason: reason, Err: err})
}

// reject refuses a part as a whole.
func (d *delivery) reject(part int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refused = append(d.refused, exporter.Refusal{Part: part, Reason: exporter.ReasonRejected, Err: err})
}

// locate returns the part of an item of the payload, and its index there.
func (d *delivery) locate(item int) (part, index int) {
	part, _ = slices.BinarySearch(d.ends, item+1)
	if part > 0 {
		item -= d.ends[part-1]
	}
	return part, item
}

func (d *delivery) confirm(p *exporter.PartialError) {
	if p.Rejected <= 0 {
		return // a message without rejected items is a warning, and logged
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.partial == nil {
		d.partial = &exporter.PartialError{Msg: p.Msg}
	}
	d.partial.Rejected += p.Rejected
}

// result is what Export returns of it.
func (d *delivery) result() error {
	err := exporter.Refuse(d.batch, d.refused)
	if permanent, ok := errors.AsType[*exporter.PermanentError](err); ok && len(d.ends) == 0 {
		permanent.Refused = nil // there is nothing to name it by
	}
	switch {
	case d.partial == nil:
		return err
	case err == nil:
		return d.partial
	}
	return errors.Join(err, d.partial)
}
