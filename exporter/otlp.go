package exporter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"tailweir/otlp"
)

// OTLP sends batches to an OTLP backend over HTTP or gRPC, the payload's bytes as they are. Safe for
// concurrent use.
type OTLP struct {
	send    sender
	courier *Courier
	log     *slog.Logger
}

// sender does one attempt. encode is called once per piece and its result is sent at each attempt of it.
// The partial result is not nil when the backend confirmed with a partial success.
type sender interface {
	encode(payload []byte) ([]byte, error)
	attempt(ctx context.Context, signal otlp.Signal, body []byte) (*PartialError, *Fault)
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
		send: s,
		courier: NewCourier(CourierConfig{
			Timeout: c.Timeout, Concurrency: c.Concurrency, InitialBackoff: c.InitialBackoff, MaxBackoff: c.MaxBackoff, Logger: c.Logger,
		}),
		log: c.Logger,
	}
}

// Name is "otlp".
func (o *OTLP) Name() string { return "otlp" }

// Close frees idle connections. Call it after the last Export returned.
func (o *OTLP) Close() error { return o.send.close() }

// Stats says what was sent, and how fast.
func (o *OTLP) Stats() Stats { return o.courier.Stats() }

// Export sends the batch and retries, until ctx is done, whatever is not the data's fault: also a refused key or a
// wrong path, which are logged as errors once a minute with what to do. A batch that is refused is sent in halves, see
// Halve. The caller could halve too, but then every exporter beside this one would be given the same data again.
func (o *OTLP) Export(ctx context.Context, b *Batch) error {
	if b.Items == 0 || len(b.Payload) == 0 {
		return nil
	}
	if b.Signal < otlp.Traces || b.Signal > otlp.Metrics {
		return &PermanentError{Err: fmt.Errorf("export %s: not a signal", b.Signal)}
	}
	d := delivery{batch: b}
	if err := o.deliver(ctx, &d); err != nil {
		return fmt.Errorf("export %s to %w", b.Signal, err)
	}
	o.courier.Count(b, d.refused, 0)
	return d.result()
}

// delivery gathers what became of one batch.
type delivery struct {
	batch   *Batch
	refused []Refusal
	partial *PartialError // the sum of all
}

// deliver sends the batch, in pieces if need be; it returns transient errors only.
func (o *OTLP) deliver(ctx context.Context, d *delivery) error {
	pieces, payload, items := len(d.batch.Parts), d.batch.Payload, d.batch.Items
	tiled := d.batch.tiled()
	if !tiled {
		pieces = 1
	}
	return Halve(pieces, func(first, end int) error {
		if tiled {
			payload, items = d.batch.run(first, end)
		}
		return o.sendPiece(ctx, d, payload, items)
	}, func(i int, f *Fault) { d.refused = append(d.refused, Refusal{Part: i, Reason: ReasonRejected, Err: f}) })
}

func (o *OTLP) sendPiece(ctx context.Context, d *delivery, payload []byte, items int) error {
	body, err := o.send.encode(payload)
	if err != nil {
		return err
	}
	signal := d.batch.Signal
	var partial *PartialError
	err = o.courier.Deliver(ctx, signal, func(ctx context.Context) (f *Fault) {
		partial, f = o.send.attempt(ctx, signal, body)
		return f
	})
	if err != nil || partial == nil {
		return err
	}
	o.log.Warn("backend answered with a partial success", "signal", signal.String(), "items", items, "rejected", partial.Rejected, "said", partial.Msg)
	if partial.Rejected > 0 && partial.Rejected >= items {
		return &Fault{Endpoint: o.send.endpoint(signal), Code: "partial success that rejects all items", Msg: partial.Msg, Verdict: Rejected}
	}
	d.confirm(partial)
	return nil
}

func (d *delivery) confirm(partial *PartialError) {
	if partial.Rejected <= 0 {
		return // a message without rejected items is a warning, and logged
	}
	if d.partial == nil {
		d.partial = &PartialError{Msg: partial.Msg}
	}
	d.partial.Rejected += partial.Rejected
}

func (d *delivery) result() error {
	permanent := Refuse(d.batch, d.refused)
	if pe, refused := permanent.(*PermanentError); refused && !d.batch.tiled() {
		pe.Refused = nil
	}
	switch {
	case d.partial == nil:
		return permanent
	case permanent == nil:
		return d.partial
	}
	return errors.Join(permanent, d.partial)
}
