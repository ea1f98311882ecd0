package service

import (
	"context"
	"time"

	"tailweir/exporter"
	"tailweir/fleet/order"
	"tailweir/forward"
	"tailweir/pipeline"
)

// statusEvery is how often a worker says in its log how it is. Cloud Monitoring makes metrics of these lines: a Cloud Run worker pool has no
// address that anybody could scrape, and lines need no sidecar. A minute is the shortest alignment period of an alert; a line of
// 700 B from 5 workers is 150 MB a month.
const statusEvery = time.Minute

// statusCounts is what the next line compares with.
type statusCounts struct {
	pipeline.Totals
	undecodable, pressed                 int64
	anomalies, fences, publishFailed     int64
	failures, lost, refused              int64
	redelivered, handedBack, ackFailures int64
	metrics                              forward.Stats
}

// sayStatus logs a line each time that tick comes, and a last one when ctx is done, so that no count is missing.
func (w *Worker) sayStatus(ctx context.Context, tick <-chan time.Time) {
	var last statusCounts
	for {
		select {
		case <-ctx.Done():
			w.logStatus(&last)
			return
		case <-tick:
			w.logStatus(&last)
		}
	}
}

// logStatus says gauges as they are and counts as they grew since last. Log-based metrics and alerts of the Terraform module name these
// fields; its test reads them here.
func (w *Worker) logStatus(last *statusCounts) {
	p, s, q := w.pipeline.State(), w.sequencer.State(), w.holder.stats()
	now := statusCounts{
		Totals: p.Totals, undecodable: p.Undecodable, fences: s.Fences, publishFailed: s.PublishFailed,
		redelivered: int64(q.Redelivered), handedBack: int64(q.HandedBack), ackFailures: int64(q.FailedAcks),
	}
	for kind, n := range s.Anomalies {
		if order.Kind(kind).String() != "" {
			now.anomalies += n
		}
	}
	failing := 0
	w.exporterStats(func(_ string, x exporter.Stats) {
		if x.Failing != "" {
			failing++
		}
		now.lost += x.Lost
		for _, n := range x.Failures {
			now.failures += n
		}
		for _, n := range x.Refused {
			now.refused += n
		}
	})
	fields := []any{
		"worker", s.Name, "phase", string(s.Phase), "ready", w.ready(), "members", len(s.Members),
		"spans_received", now.Received.Spans - last.Received.Spans, "spans_kept", now.Kept.Spans - last.Kept.Spans,
		"spans_dropped", now.Dropped.Spans - last.Dropped.Spans, "spans_dead_lettered", now.DeadLettered.Spans - last.DeadLettered.Spans,
		"logs_received", now.Received.Logs - last.Received.Logs, "logs_kept", now.Kept.Logs - last.Kept.Logs,
		"payloads_undecodable", now.undecodable - last.undecodable,
		"hold_messages", p.Messages, "hold_share", float64(p.Bytes) / float64(p.MaxBytes),
		"redelivered", now.redelivered - last.redelivered, "handed_back", now.handedBack - last.handedBack, "ack_failures", now.ackFailures - last.ackFailures,
		"exporters_failing", failing, "export_failures", now.failures - last.failures, "export_refused", now.refused - last.refused, "export_lost", now.lost - last.lost,
		"anomalies", now.anomalies - last.anomalies, "fences", now.fences - last.fences, "publish_failed", now.publishFailed - last.publishFailed,
		"policy_pending", policyPending(s),
	}
	kept, dropped := now.Kept.Traces-last.Kept.Traces, now.Dropped.Traces-last.Dropped.Traces
	if kept+dropped > 0 { // a share of nothing would be a zero that alerts
		fields = append(fields, "traces_decided", kept+dropped, "kept_share", float64(kept)/float64(kept+dropped))
	}
	if w.forward != nil {
		now.metrics = w.forward.Stats()
		fields = append(fields, "points_received", now.metrics.Received.Points-last.metrics.Received.Points,
			"points_forwarded", now.metrics.Forwarded.Points-last.metrics.Forwarded.Points,
			"points_dead_lettered", now.metrics.DeadLettered.Points-last.metrics.DeadLettered.Points,
			"points_rejected", now.metrics.Rejected-last.metrics.Rejected, "metrics_messages", now.metrics.InFlight.Messages)
	}
	if s.Lead != nil {
		now.pressed = s.Lead.Pressed
		fields = append(fields, "window_traces", s.Lead.Traces, "window_lag_seconds", max(0, s.Lead.Lag.Seconds()), "window_pressed", max(0, now.pressed-last.pressed))
	}
	*last = now
	w.opts.Log.Info("worker status", fields...)
}
