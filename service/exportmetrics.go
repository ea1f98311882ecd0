package service

import (
	"fmt"

	"go.opentelemetry.io/otel/attribute"

	"tailweir/console"
	"tailweir/exporter"
)

// exporterStats are the statistics of the exporters that keep some, in the order of the configuration. The name is the
// type, with a number from the second one of it on.
func (w *Worker) exporterStats(see func(name string, s exporter.Stats)) {
	seen := map[string]int{}
	for _, x := range w.exporters {
		s, ok := exporter.StatsOf(x)
		if !ok {
			continue
		}
		name := x.Name()
		if seen[name]++; seen[name] > 1 {
			name = fmt.Sprintf("%s-%d", name, seen[name])
		}
		see(name, s)
	}
}

func (w *Worker) exporterInstruments() []instrument {
	read := func(f func(exporter.Stats) int64) func(func(int64, ...attribute.KeyValue)) {
		return func(see func(int64, ...attribute.KeyValue)) {
			w.exporterStats(func(name string, s exporter.Stats) { see(f(s), attribute.String("exporter", name)) })
		}
	}
	by := func(label string, f func(exporter.Stats) map[string]int64) func(func(int64, ...attribute.KeyValue)) {
		return func(see func(int64, ...attribute.KeyValue)) {
			w.exporterStats(func(name string, s exporter.Stats) {
				for key, n := range f(s) {
					see(n, attribute.String("exporter", name), attribute.String(label, key))
				}
			})
		}
	}
	return []instrument{
		{"tailweir.exporter.attempts", "{request}", "Requests sent, retries too.", false, read(func(s exporter.Stats) int64 { return s.Attempts })},
		{"tailweir.exporter.failures", "{request}", "Requests that were not confirmed, by what they were answered with.", false, by("code", func(s exporter.Stats) map[string]int64 { return s.Failures })},
		{"tailweir.exporter.refused", "{item}", "Spans and log records that a backend will never take, by reason; they are dead letters.", false, by("reason", func(s exporter.Stats) map[string]int64 { return s.Refused })},
		{"tailweir.exporter.shortened", "{item}", "Spans and log records cut to fit a backend's limits; they say so.", false, read(func(s exporter.Stats) int64 { return s.Shortened })},
		{"tailweir.exporter.running", "{request}", "Requests under way.", true, read(func(s exporter.Stats) int64 { return int64(s.Running) })},
		{"tailweir.exporter.running.limit", "{request}", "How many there may be now; it falls when a quota is exceeded.", true, read(func(s exporter.Stats) int64 { return int64(s.Limit) })},
		{"tailweir.exporter.round_trip", "ms", "Time of the latest requests, smoothed.", true, read(func(s exporter.Stats) int64 { return s.RoundTrip.Milliseconds() })},
		{"tailweir.exporter.failing", "", "1 while the latest request was not confirmed.", true, read(func(s exporter.Stats) int64 {
			if s.Failing != "" {
				return 1
			}
			return 0
		})},
		{"tailweir.exporter.pending", "By", "What waits for an exporter that is not required.", true, read(func(s exporter.Stats) int64 { return int64(s.Pending) })},
		{"tailweir.exporter.pending.limit", "By", "Above it, what comes is lost to that exporter.", true, read(func(s exporter.Stats) int64 { return int64(s.MaxPending) })},
		{"tailweir.exporter.lost", "{item}", "Spans and log records that an exporter that is not required does not have.", false, read(func(s exporter.Stats) int64 { return s.Lost })},
	}
}

func (v view) exporters() []console.Exporter {
	all := []console.Exporter{}
	v.w.exporterStats(func(name string, s exporter.Stats) {
		e := console.Exporter{
			Name: name, Failing: s.Failing, Attempts: s.Attempts, Running: int64(s.Running), Limit: int64(s.Limit), Most: int64(s.Most),
			RoundTripMS: s.RoundTrip.Milliseconds(), Shortened: s.Shortened, Pending: int64(s.Pending), MaxPending: int64(s.MaxPending), Lost: s.Lost,
		}
		for _, n := range s.Failures {
			e.Failed += n
		}
		for _, n := range s.Refused {
			e.Refused += n
		}
		all = append(all, e)
	})
	return all
}
