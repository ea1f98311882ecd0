package service

import (
	"context"
	"errors"
	"slices"

	"go.opentelemetry.io/otel/attribute"
	"golang.org/x/sync/errgroup"

	"tailweir/exporter"
	"tailweir/forward"
	"tailweir/queue"
	"tailweir/strictyaml"
)

// MetricsConfig says what becomes of metrics. Without Forward they are refused by partial success.
type MetricsConfig struct {
	Forward  bool            `yaml:"forward"`
	MaxBytes strictyaml.Size `yaml:"max_bytes"` // memory of what the worker holds of them
}

var errNoMetrics = errors.New("no exporter takes metrics, which would wait in Pub/Sub for ever: name one with signals: [metrics], of type telemetry or otlp")

// forwarding is the part of a worker that forwards metrics: a subscriber and what it feeds. A nil one does nothing.
type forwarding struct {
	*forward.Forwarder
	sub *queue.Subscriber
}

// openForwarding makes w.forward, if metrics are forwarded.
func (w *Worker) openForwarding() error {
	var all []exporter.Exporter
	for i, c := range w.cfg.Exporters {
		if slices.Contains(c.signals(), "metrics") {
			all = append(all, w.exporters[i])
		}
	}
	switch {
	case !w.cfg.Metrics.Forward && len(all) > 0:
		w.opts.Log.Warn("an exporter takes metrics, and none come: metrics.forward is off, here or at the ingest")
		return nil
	case !w.cfg.Metrics.Forward:
		return nil
	case len(all) == 0:
		return errNoMetrics
	}
	w.forward = &forwarding{
		Forwarder: forward.New(forward.Config{
			Exporter: exporter.All(all...), Dead: w.dead, MaxBytes: int64(w.cfg.Metrics.MaxBytes), MaxInflated: int(w.cfg.Ingest.MaxInflated),
			HandBack: w.cfg.Hold.HandBack, Log: w.opts.Log,
		}),
		// The credit bounds what comes compressed; the forwarder's own bound makes it wait for what is held inflated.
		sub: w.opts.Client.Subscriber(w.cfg.Queue.Forward, queue.SubscriberConfig{
			Lease: w.cfg.Hold.Lease, MaxMessages: 10_000, MaxBytes: int(w.cfg.Metrics.MaxBytes), Logger: w.opts.Log,
		}),
	}
	return nil
}

// run pulls and forwards until ctx is done, then gives back what is left and ends when the server has confirmed all that was settled.
func (f *forwarding) run(ctx context.Context) error {
	pulling, endPulling := context.WithCancel(context.WithoutCancel(ctx))
	defer endPulling()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer endPulling() // what goes back was issued before
		return f.Run(ctx)
	})
	group.Go(func() error {
		return f.sub.Run(pulling, func(m *queue.Message) {
			f.Handle(ctx, forward.Delivery{ID: m.ID, Data: m.Data, Attributes: m.Attributes, Publish: m.PublishTime, Receipt: m})
		})
	})
	return group.Wait()
}

// stop ends pulling; what is held goes on.
func (f *forwarding) stop() {
	if f != nil {
		f.sub.StopPulling()
	}
}

// stats are all zero where nothing is forwarded.
func (f *forwarding) stats() forward.Stats {
	if f == nil {
		return forward.Stats{}
	}
	return f.Stats()
}

// instruments are the metrics of forwarding; without it there are none.
func (f *forwarding) instruments() []instrument {
	if f == nil {
		return nil
	}
	count := func(of func(forward.Count) int64) func(func(int64, ...attribute.KeyValue)) {
		return func(see func(int64, ...attribute.KeyValue)) {
			s := f.Stats()
			for outcome, c := range map[string]forward.Count{
				"received": s.Received, "forwarded": s.Forwarded, "deadlettered": s.DeadLettered, "returned": s.Returned, "in_flight": s.InFlight,
			} {
				see(of(c), attribute.String("outcome", outcome))
			}
		}
	}
	read := func(of func(forward.Stats) int64) func(func(int64, ...attribute.KeyValue)) {
		return func(see func(int64, ...attribute.KeyValue)) { see(of(f.Stats())) }
	}
	return []instrument{
		{"tailweir.forward.points", "{data_point}", "Data points by outcome; received is the sum of the others.", false, count(func(c forward.Count) int64 { return c.Points })},
		{"tailweir.forward.messages", "{message}", "Messages of metrics by outcome; received is the sum of the others.", false, count(func(c forward.Count) int64 { return c.Messages })},
		{"tailweir.forward.rejected", "{data_point}", "Data points of forwarded messages that a backend rejected by partial success without naming them.", false, read(func(s forward.Stats) int64 { return s.Rejected })},
		{"tailweir.forward.memory", "By", "Memory charged for held messages of metrics.", true, read(func(s forward.Stats) int64 { return s.Bytes })},
		{"tailweir.forward.memory.limit", "By", "Above it the rest stays in Pub/Sub.", true, read(func(s forward.Stats) int64 { return s.MaxBytes })},
	}
}

// quiesce waits until everything held is settled, or ctx is done, and tells which.
func (f *forwarding) quiesce(ctx context.Context) bool { return f == nil || f.Quiesce(ctx) }
