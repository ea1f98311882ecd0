package exporter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"tailweir/otlp"
)

// OTLP sends batches to an OTLP backend over HTTP or gRPC, the payload's bytes as they are. Safe for
// concurrent use; at most Concurrency requests are in flight, and a batch that waits for its next attempt
// does not count.
type OTLP struct {
	send    sender
	slots   chan struct{}
	timeout time.Duration
	retry   retry
	log     *slog.Logger
	outages [otlp.Logs + 1]outage // by signal: a backend may take one and not the other
}

// sender does one attempt. encode is called once per piece and its result is sent at each attempt of it.
// The partial result is not nil when the backend confirmed with a partial success.
type sender interface {
	encode(payload []byte) ([]byte, error)
	attempt(ctx context.Context, signal otlp.Signal, body []byte) (*PartialError, *fault)
	endpoint(signal otlp.Signal) string // for people: without credentials
	close() error
}

// NewOTLP makes an exporter. It reads the TLS files and connects at the first Export.
func NewOTLP(c OTLPConfig) (*OTLP, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	t, err := c.targets()
	if err != nil {
		return nil, err
	}
	tlsConfig, err := c.TLS.load()
	if err != nil {
		return nil, fmt.Errorf("otlp exporter tls: %w", err)
	}
	var s sender
	if t.grpc != "" {
		s, err = newGRPCSender(c, t, tlsConfig)
	} else {
		s = newHTTPSender(c, t, tlsConfig)
	}
	if err != nil {
		return nil, err
	}
	return newOTLP(c, s), nil
}

func newOTLP(c OTLPConfig, s sender) *OTLP {
	return &OTLP{
		send:    s,
		slots:   make(chan struct{}, c.Concurrency),
		timeout: c.Timeout,
		retry:   retry{initial: c.InitialBackoff, max: c.MaxBackoff},
		log:     c.Logger,
	}
}

// Name is "otlp".
func (o *OTLP) Name() string { return "otlp" }

// Close frees idle connections. Call it after the last Export returned.
func (o *OTLP) Close() error { return o.send.close() }

// Export sends the batch and retries, until ctx is done, whatever is not the data's fault: also a refused key or a
// wrong path, which are logged as errors once a minute with what to do. A batch of n parts that is refused is sent in
// halves, until those at fault stand alone: at most 2n-1 requests, 2 log n where one part is at fault and all are alike.
// The caller could halve too, but then every exporter beside this one would be given the same data again.
func (o *OTLP) Export(ctx context.Context, b *Batch) error {
	if b.Items == 0 || len(b.Payload) == 0 {
		return nil
	}
	if b.Signal != otlp.Traces && b.Signal != otlp.Logs {
		return &PermanentError{Err: fmt.Errorf("export %s: otlp exporter sends traces and logs only", b.Signal)}
	}
	var d delivery
	if err := o.deliver(ctx, b, b.whole(), &d); err != nil {
		return fmt.Errorf("export %s to %w", b.Signal, err)
	}
	return d.result(b)
}

// maxCauses bounds the reasons that a refusal tells of all its parts: more than one is rare, and a dead letter's
// attribute (1024 bytes) has room for two or three.
const maxCauses = 3

// delivery gathers what became of the pieces of one batch.
type delivery struct {
	refused  []int    // parts, ascending
	causes   []string // of their refusals, each once, at most maxCauses
	rejected int
	message  string
}

// deliver sends one piece; it returns transient errors only, and refusals go to d.
func (o *OTLP) deliver(ctx context.Context, b *Batch, p piece, d *delivery) error {
	partial, err := o.sendPiece(ctx, b.Signal, p)
	var f *fault
	switch {
	case err == nil:
		d.confirm(partial)
		return nil
	case !errors.As(err, &f) || f.verdict.held():
		return err
	case f.verdict == refused && p.end-p.first > 1 && b.tiled():
		left, right := b.halve(p)
		if err := o.deliver(ctx, b, left, d); err != nil {
			return err
		}
		return o.deliver(ctx, b, right, d)
	}
	d.refuse(p, f)
	return nil
}

func (o *OTLP) sendPiece(ctx context.Context, signal otlp.Signal, p piece) (*PartialError, error) {
	body, err := o.send.encode(p.payload)
	if err != nil {
		return nil, err
	}
	log, outage := o.log.With("signal", signal.String()), &o.outages[signal]
	var partial *PartialError
	err = o.retry.do(ctx, func(ctx context.Context) (f *fault) {
		partial, f = o.attempt(ctx, signal, body)
		return f
	}, func(f *fault, wait time.Duration) {
		outage.failed(log, f, wait)
	})
	if err == nil {
		outage.worked(log)
	}
	if partial == nil {
		return nil, err
	}
	log.Warn("backend answered with a partial success", "items", p.items, "rejected", partial.Rejected, "message", partial.Msg)
	if partial.Rejected > 0 && partial.Rejected >= p.items {
		return nil, &fault{endpoint: o.send.endpoint(signal), code: "partial success that rejects all items", msg: partial.Msg, verdict: rejected}
	}
	return partial, nil
}

func (o *OTLP) attempt(ctx context.Context, signal otlp.Signal, body []byte) (*PartialError, *fault) {
	select {
	case o.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, &fault{endpoint: o.send.endpoint(signal), code: "not sent", verdict: busy, cause: context.Cause(ctx)}
	}
	defer func() { <-o.slots }()
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	return o.send.attempt(ctx, signal, body)
}

func (d *delivery) confirm(partial *PartialError) {
	if partial == nil || partial.Rejected <= 0 {
		return // a message without rejected items is a warning, and logged
	}
	d.rejected += partial.Rejected
	if d.message == "" {
		d.message = partial.Msg
	}
}

func (d *delivery) refuse(p piece, cause *fault) {
	if text := cause.Error(); len(d.causes) < maxCauses && !slices.Contains(d.causes, text) {
		d.causes = append(d.causes, text)
	}
	for i := p.first; i < p.end; i++ {
		d.refused = append(d.refused, i)
	}
}

func (d *delivery) result(b *Batch) error {
	var partial *PartialError
	if d.rejected > 0 {
		partial = &PartialError{Rejected: d.rejected, Msg: d.message}
	}
	if d.causes == nil {
		if partial == nil {
			return nil
		}
		return partial
	}
	permanent := &PermanentError{Err: fmt.Errorf("export %s to %s", b.Signal, strings.Join(d.causes, "; "))}
	if b.tiled() {
		permanent.Parts = d.refused
	}
	if partial == nil {
		return permanent
	}
	return errors.Join(permanent, partial)
}
