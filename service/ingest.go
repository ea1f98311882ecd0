package service

import (
	"context"
	"log/slog"
	"net"
	"net/http"

	"golang.org/x/sync/errgroup"

	"tailweir/auth"
	"tailweir/queue"
	"tailweir/receiver"
)

// Ingest is the process that takes OTLP in and answers once Pub/Sub has confirmed. Use NewIngest, then Run once.
type Ingest struct {
	receiver  *receiver.Receiver
	publisher *queue.Publisher
	gate      *auth.Gate // nil: nobody is asked
	admin     http.Handler
}

// NewIngest joins the parts and starts nothing. It is an error that nothing says who may send, unless Pub/Sub is an emulator.
func NewIngest(cfg Config, client *queue.Client, log *slog.Logger) (*Ingest, error) {
	rc := receiver.Config{
		MaxBody: int(cfg.Ingest.MaxBody), MaxInflated: int(cfg.Ingest.MaxInflated), MaxRequests: cfg.Ingest.MaxRequests,
		MaxBytesInFlight: int(cfg.Ingest.MaxInFlight), PublishTimeout: cfg.Ingest.PublishTimeout, Grace: cfg.Shutdown, Logger: log,
	}
	cfg.Ingest.apply(&rc)
	if err := rc.Validate(); err != nil {
		return nil, err
	}
	gate, err := openGate(cfg, log)
	if err != nil {
		return nil, err
	}
	if gate != nil {
		rc.Gate = door{gate}
	}
	in := &Ingest{gate: gate, publisher: client.Publisher(cfg.Queue.Topic, queue.PublisherConfig{Timeout: cfg.Ingest.PublishTimeout})}
	in.receiver = receiver.New(in.publisher, rc)
	metrics, err := ingestMetrics(in.receiver, gate)
	if err != nil {
		return nil, err
	}
	in.admin = adminHandler(metrics, func() bool { return true })
	return in, nil
}

// Run serves OTLP on every listener, and the process's own metrics on admin if it is not nil, until ctx is done; then it
// lets running requests finish and flushes the publisher. It closes the listeners.
func (in *Ingest) Run(ctx context.Context, admin net.Listener, listeners ...net.Listener) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, l := range listeners {
		g.Go(func() error { return in.receiver.Serve(ctx, l) })
	}
	if in.gate != nil {
		g.Go(func() error { return in.gate.Run(ctx) })
	}
	if admin != nil {
		g.Go(func() error { return serveAdmin(ctx, admin, in.admin) })
	}
	err := g.Wait()
	in.publisher.Close()
	return err
}

// Stats returns what the receiver counted.
func (in *Ingest) Stats() receiver.Stats { return in.receiver.Stats() }
