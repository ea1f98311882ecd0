package service

import (
	"github.com/prometheus/client_golang/prometheus"

	"tailweir/fleet"
)

// latencies shows a worker's histograms, which it keeps itself: OpenTelemetry has no instrument that observes one.
type latencies struct{ w *Worker }

var (
	decisionLatency = prometheus.NewDesc("tailweir_decision_latency_seconds",
		"From a trace's deadline, in publish time, to its decision's execution by the worker that leads, without traces decided early. Shown while it leads.", nil, nil)
	logLatency = prometheus.NewDesc("tailweir_fleet_log_latency_seconds",
		"From the publish time of a decision in the log to its execution by this worker.", nil, nil)
)

func (latencies) Describe(to chan<- *prometheus.Desc) {
	to <- decisionLatency
	to <- logLatency
}

func (l latencies) Collect(to chan<- prometheus.Metric) {
	s := l.w.sequencer.State()
	if s.Lead != nil {
		to <- histogram(decisionLatency, &s.Lead.Decided)
	}
	if l.w.cfg.Fleet != FleetOff {
		to <- histogram(logLatency, &s.Read)
	}
}

func histogram(desc *prometheus.Desc, l *fleet.Latency) prometheus.Metric {
	below, buckets := uint64(0), make(map[float64]uint64, len(l.Counts))
	for i, bound := range fleet.LatencyBounds {
		below += uint64(l.Counts[i])
		buckets[bound] = below
	}
	return prometheus.MustNewConstHistogram(desc, below+uint64(l.Counts[len(l.Counts)-1]), l.Sum.Seconds(), buckets)
}
