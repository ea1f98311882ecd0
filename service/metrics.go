package service

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/attribute"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"

	"tailweir/auth"
	"tailweir/fleet/member"
	"tailweir/otlp"
	"tailweir/pipeline"
	"tailweir/receiver"
	"tailweir/redact"
)

// meter returns an OpenTelemetry meter and the handler that shows it in the Prometheus format, together with own. Instruments are observed
// when they are asked for: the parts keep their own counters, so nothing is counted twice and a hot path has no metric.
func meter(name string, own ...prometheus.Collector) (metric.Meter, http.Handler, error) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(own...)
	reader, err := otelprometheus.New(otelprometheus.WithRegisterer(registry), otelprometheus.WithoutScopeInfo())
	if err != nil {
		return nil, nil, fmt.Errorf("metrics: %w", err)
	}
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	return provider.Meter(name), promhttp.HandlerFor(registry, promhttp.HandlerOpts{}), nil
}

// instrument is one metric: a running total, or a gauge of what is there now.
type instrument struct {
	name, unit, about string
	gauge             bool
	observe           func(see func(v int64, labels ...attribute.KeyValue))
}

func register(m metric.Meter, all []instrument) error {
	for _, i := range all {
		callback := func(_ context.Context, o metric.Int64Observer) error {
			i.observe(func(v int64, labels ...attribute.KeyValue) { o.Observe(v, metric.WithAttributes(labels...)) })
			return nil
		}
		var err error
		if i.gauge {
			_, err = m.Int64ObservableGauge(i.name, metric.WithUnit(i.unit), metric.WithDescription(i.about), metric.WithInt64Callback(callback))
		} else {
			_, err = m.Int64ObservableCounter(i.name, metric.WithUnit(i.unit), metric.WithDescription(i.about), metric.WithInt64Callback(callback))
		}
		if err != nil {
			return fmt.Errorf("metric %s: %w", i.name, err)
		}
	}
	return nil
}

func (w *Worker) metrics() (http.Handler, error) {
	m, handler, err := meter("tailweir/worker", latencies{w})
	if err != nil {
		return nil, err
	}
	hold := func(read func(pipeline.State) int64) func(func(int64, ...attribute.KeyValue)) {
		return func(see func(int64, ...attribute.KeyValue)) { see(read(w.pipeline.State())) }
	}
	return handler, register(m, slices.Concat(w.fleetInstruments(), w.exporterInstruments(), w.forward.instruments(), []instrument{
		{"tailweir.items", "{item}", "Spans, log records and traces by outcome; received is the sum of the others.", false, w.seeItems},
		{"tailweir.policy.items", "{item}", "Spans, log records and traces by the policy that decided.", false, w.seePolicies},
		{"tailweir.policy.errors", "{evaluation}", "Evaluations of a policy's conditions that failed on a span.", false, w.seeFailing},
		{"tailweir.hold.messages", "{message}", "Messages held un-acked.", true, hold(func(s pipeline.State) int64 { return int64(s.Messages) })},
		{"tailweir.hold.memory", "By", "Memory charged for held messages.", true, hold(func(s pipeline.State) int64 { return s.Bytes })},
		{"tailweir.hold.memory.limit", "By", "Budget of the hold; at 80 % the newest messages are handed back.", true, hold(func(s pipeline.State) int64 { return s.MaxBytes })},
		{"tailweir.export.waiting", "{trace}", "Traces decided to be kept that wait for their confirmation.", true, hold(func(s pipeline.State) int64 { return int64(s.Exporting) })},
		{"tailweir.export.refused", "{item}", "Items that a backend refused by partial success without naming them.", false, hold(func(s pipeline.State) int64 { return s.Refused })},
		{"tailweir.payloads.undecodable", "{message}", "Payloads dead-lettered because they could not be read.", false, hold(func(s pipeline.State) int64 { return s.Undecodable })},
		{"tailweir.payloads.panics", "{message}", "Payloads that made the reader panic.", false, hold(func(s pipeline.State) int64 { return s.Panics })},
		{"tailweir.window.traces", "{trace}", "Undecided traces in the window. A worker of a fleet shows the window only while it leads.", true, w.lead(func(l *member.Lead) int64 { return int64(l.Traces) })},
		{"tailweir.window.late", "{fact}", "Facts that came after their trace's deadline or decision.", false, w.lead(func(l *member.Lead) int64 { return l.Late })},
		{"tailweir.window.lag", "ms", "How far the watermark is behind the newest publish time; negative: not known yet.", true, w.lead(func(l *member.Lead) int64 { return l.Lag.Milliseconds() })},
		{"tailweir.window.pressed", "{trace}", "Traces decided early: the window was full, or they waited for too long.", false, w.lead(func(l *member.Lead) int64 { return l.Pressed })},
		{"tailweir.queue.messages", "{message}", "Messages by what became of them at the subscription.", false, w.seeQueue},
	}))
}

func (w *Worker) seeItems(see func(int64, ...attribute.KeyValue)) {
	t := w.pipeline.State().Totals
	for outcome, c := range map[string]pipeline.Count{
		"received": t.Received, "kept": t.Kept, "dropped": t.Dropped, "deadlettered": t.DeadLettered,
		"returned": t.Returned, "duplicate": t.Duplicate, "in_flight": t.InFlight,
	} {
		seeCount(see, c, attribute.String("outcome", outcome))
	}
}

func (w *Worker) seePolicies(see func(int64, ...attribute.KeyValue)) {
	for name, t := range w.pipeline.State().ByPolicy {
		seeCount(see, t.Kept, attribute.String("policy", name), attribute.String("decision", "keep"))
		seeCount(see, t.Dropped, attribute.String("policy", name), attribute.String("decision", "drop"))
	}
}

func (w *Worker) seeFailing(see func(int64, ...attribute.KeyValue)) {
	for name, n := range w.pipeline.State().Failing {
		see(n, attribute.String("policy", name))
	}
}

func seeCount(see func(int64, ...attribute.KeyValue), c pipeline.Count, labels ...attribute.KeyValue) {
	for kind, n := range map[string]int64{"spans": c.Spans, "traces": c.Traces, "logs": c.Logs} {
		see(n, append(labels[:len(labels):len(labels)], attribute.String("kind", kind))...)
	}
}

// lead reads the window of a worker that decides.
func (w *Worker) lead(read func(*member.Lead) int64) func(func(int64, ...attribute.KeyValue)) {
	return func(see func(int64, ...attribute.KeyValue)) {
		if l := w.sequencer.State().Lead; l != nil {
			see(read(l))
		}
	}
}

func (w *Worker) seeQueue(see func(int64, ...attribute.KeyValue)) {
	s := w.holder.stats()
	for what, n := range map[string]uint64{
		"received": s.Received, "redelivered": s.Redelivered, "acked": s.Acked, "nacked": s.Nacked,
		"handed_back": s.HandedBack, "ack_failed": s.FailedAcks, "return_failed": s.FailedReturns,
	} {
		see(int64(n), attribute.String("what", what))
	}
}

func ingestMetrics(r *receiver.Receiver, gate *auth.Gate, rules *redact.Rules) (http.Handler, error) {
	m, handler, err := meter("tailweir/ingest")
	if err != nil {
		return nil, err
	}
	read := func(f func(receiver.Stats) int64) func(func(int64, ...attribute.KeyValue)) {
		return func(see func(int64, ...attribute.KeyValue)) { see(f(r.Stats())) }
	}
	all := []instrument{
		{"tailweir.ingest.requests", "{request}", "Requests by signal, encoding and outcome; those of who may not send are denied_… by reason.", false, func(see func(int64, ...attribute.KeyValue)) {
			for _, c := range r.Stats().Requests {
				see(int64(c.Count), attribute.String("signal", c.Signal.String()), attribute.String("encoding", c.Encoding.String()), attribute.String("outcome", c.Outcome.String()))
			}
		}},
		{"tailweir.ingest.items", "{item}", "Spans, log records and data points, accepted or rejected by partial success.", false, func(see func(int64, ...attribute.KeyValue)) {
			s := r.Stats()
			for signal, c := range map[otlp.Signal]receiver.ItemCount{otlp.Traces: s.Spans, otlp.Logs: s.Records, otlp.Metrics: s.Points} {
				see(int64(c.Accepted), attribute.String("signal", signal.String()), attribute.String("outcome", "accepted"))
				see(int64(c.Rejected), attribute.String("signal", signal.String()), attribute.String("outcome", "rejected"))
			}
		}},
		{"tailweir.ingest.unnamed", "{item}", "Spans and log records whose resource has no service.name: set OTEL_SERVICE_NAME in the app.", false, func(see func(int64, ...attribute.KeyValue)) {
			s := r.Stats()
			see(int64(s.UnnamedSpans), attribute.String("signal", otlp.Traces.String()))
			see(int64(s.UnnamedRecords), attribute.String("signal", otlp.Logs.String()))
		}},
		{"tailweir.ingest.bytes", "By", "Request bodies as they came.", false, read(func(s receiver.Stats) int64 { return int64(s.Bytes) })},
		{"tailweir.ingest.messages", "{message}", "Messages that Pub/Sub confirmed.", false, read(func(s receiver.Stats) int64 { return int64(s.Messages) })},
		{"tailweir.ingest.connections", "{connection}", "Connections that are open.", true, read(func(s receiver.Stats) int64 { return s.Connections })},
		{"tailweir.ingest.connections.limit", "{connection}", "For one more an idle one is closed.", true, read(func(s receiver.Stats) int64 { return s.MaxConnections })},
		{"tailweir.ingest.connections.ended", "{connection}", "Connections over the limit: idle ones closed, new ones refused because all were busy.", false, func(see func(int64, ...attribute.KeyValue)) {
			s := r.Stats()
			see(int64(s.ClosedIdle), attribute.String("which", "idle"))
			see(int64(s.RefusedConnections), attribute.String("which", "new"))
		}},
		{"tailweir.ingest.in_flight", "By", "Memory of the requests in flight.", true, read(func(s receiver.Stats) int64 { return s.BytesInFlight })},
		{"tailweir.ingest.in_flight.limit", "By", "Above it requests are answered UNAVAILABLE before their body is read.", true, read(func(s receiver.Stats) int64 { return s.MaxBytesInFlight })},
	}
	if gate != nil {
		all = append(all, keyInstruments(gate)...)
	}
	return handler, register(m, append(all, redactInstruments(rules)...))
}
