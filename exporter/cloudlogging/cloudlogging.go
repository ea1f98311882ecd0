// Package cloudlogging exports log records to Google Cloud Logging, by its API v2.
//
// Each record becomes an entry that looks like one of Google's own agents, connected to its trace and with the tail decision as
// traceSampled; the mapping is in docs/exporters.md. An entry is a function of the record and of where it came from alone, its
// insertId too: what is sent again, by a retry, a redelivery or a replay, is one entry in a query. Nothing is cut without
// a label that says what.
package cloudlogging

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	logging "cloud.google.com/go/logging/apiv2"
	loggingpb "cloud.google.com/go/logging/apiv2/loggingpb"
	"github.com/googleapis/gax-go/v2"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/status"

	"tailweir/exporter"
	"tailweir/otlp"
)

// CloudLogging exports logs. Safe for concurrent use.
type CloudLogging struct {
	config  *Config
	client  *logging.Client
	courier *exporter.Courier
	target  string // for people
}

// New makes an exporter. Credentials are looked for at once, but nothing is sent before the first Export.
func New(ctx context.Context, c Config) (*CloudLogging, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("cloudlogging exporter: %w", err)
	}
	config := c.withDefaults()
	err := config.Dial.Authenticate()
	if err == nil {
		err = config.Routes.Complete(ctx, config.Dial.Credentials)
	}
	if err != nil {
		return nil, fmt.Errorf("cloudlogging exporter: %w", err)
	}
	client, err := logging.NewClient(ctx, config.Dial.Options()...)
	if err != nil {
		return nil, fmt.Errorf("cloudlogging exporter: connect: %w", err)
	}
	client.CallOptions.WriteLogEntries = nil // among them retries of its own: the courier is the one who repeats
	if config.Compression == compressionGzip {
		client.CallOptions.WriteLogEntries = []gax.CallOption{gax.WithGRPCOptions(grpc.UseCompressor(gzip.Name))}
	}
	return &CloudLogging{
		config: config, client: client, target: config.target(),
		courier: exporter.NewCourier(exporter.CourierConfig{
			Timeout: config.Timeout, Concurrency: config.Concurrency, InitialBackoff: config.InitialBackoff, MaxBackoff: config.MaxBackoff,
			Logger: config.Logger,
		}),
	}, nil
}

// Name is "cloudlogging".
func (x *CloudLogging) Name() string { return "cloudlogging" }

// Close frees the connections. Call it after the last Export returned.
func (x *CloudLogging) Close() error { return x.client.Close() }

// Stats says what was sent, and how fast.
func (x *CloudLogging) Stats() exporter.Stats { return x.courier.Stats() }

// Export writes the records of the batch. What is refused are records, never their neighbours: those too old or too new for
// Logging, without being sent, and those that it says it will never take.
func (x *CloudLogging) Export(ctx context.Context, b *exporter.Batch) error {
	if b.Items == 0 || len(b.Payload) == 0 {
		return nil
	}
	if b.Signal != otlp.Logs {
		return &exporter.PermanentError{Err: fmt.Errorf("export %s: cloudlogging exporter sends logs only", b.Signal)}
	}
	m := &mapper{config: x.config, now: time.Now()}
	if err := m.mapBatch(b); err != nil {
		return &exporter.PermanentError{Err: fmt.Errorf("export logs: %w", err)}
	}
	d := delivery{CloudLogging: x, refused: m.refused}
	if err := d.all(ctx, pack(m.entries)); err != nil {
		return fmt.Errorf("export logs to %w", err)
	}
	x.courier.Count(b, d.refused, m.shortened)
	return exporter.Refuse(b, d.refused)
}

// delivery is that of one batch.
type delivery struct {
	*CloudLogging
	mu      sync.Mutex
	refused []exporter.Refusal
}

// all sends the requests, as many at once as the courier lets. Errors are transient.
func (d *delivery) all(ctx context.Context, requests [][]entry) error {
	errs := make([]error, len(requests))
	var wg sync.WaitGroup
	for i, r := range requests {
		wg.Go(func() { errs[i] = d.request(ctx, r) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// request sends the entries of one request. Where it is refused as one, Logging does not say for which entry: they are sent in
// halves, and sent again they are the same entries.
func (d *delivery) request(ctx context.Context, entries []entry) error {
	return exporter.Halve(len(entries), func(first, end int) error {
		return d.write(ctx, entries[first:end])
	}, func(i int, f *exporter.Fault) { d.refuse(entries[i], f) })
}

// write writes the entries until each is written or refused. An error is about all of them: where only some were left when
// the rest was refused, these begin anew, lest what is written is refused with them.
func (d *delivery) write(ctx context.Context, all []entry) error {
	left, request := all, newRequest(all)
	err := d.courier.Deliver(ctx, otlp.Logs, func(ctx context.Context) *exporter.Fault {
		_, err := d.client.WriteLogEntries(ctx, request)
		if err == nil {
			return nil
		}
		failed := partialErrors(err)
		if len(failed) == 0 {
			return d.fault(err, left[0].project)
		}
		var f *exporter.Fault
		if left, f = d.sort(left, failed); f != nil {
			request = newRequest(left)
		}
		return f
	})
	if f, ok := errors.AsType[*exporter.Fault](err); ok && final(f) && len(left) < len(all) {
		return d.request(ctx, left)
	}
	return err
}

// final tells whether what the fault is about is not sent again.
func final(f *exporter.Fault) bool {
	return f.Verdict == exporter.Refused || f.Verdict == exporter.Rejected
}

// partialErrors returns what became of the entries that were not written, by index, when the others were.
func partialErrors(err error) map[int32]*statuspb.Status {
	for _, detail := range status.Convert(err).Details() {
		if p, ok := detail.(*loggingpb.WriteLogEntriesPartialErrors); ok {
			return p.LogEntryErrors
		}
	}
	return nil
}

// sort refuses the failed entries that will never be taken, and returns those to be sent again, with the first one's fault.
func (d *delivery) sort(sent []entry, failed map[int32]*statuspb.Status) (again []entry, first *exporter.Fault) {
	for i, e := range sent {
		st, ok := failed[int32(i)]
		if !ok {
			continue
		}
		f := d.fault(status.FromProto(st).Err(), e.project)
		if final(f) {
			d.refuse(e, f)
			continue
		}
		again = append(again, e)
		if first == nil {
			first = f
		}
	}
	return again, first
}

// fault classifies what a request to the project, or an entry of it, was answered with.
func (d *delivery) fault(err error, project string) *exporter.Fault {
	return exporter.StatusFault(d.target, err, d.config.Routes.Verdicts(project))
}

func (d *delivery) refuse(e entry, f *exporter.Fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refused = append(d.refused, exporter.Refusal{Part: e.part, Items: []int{e.item}, Reason: exporter.ReasonRejected, Err: f})
}
