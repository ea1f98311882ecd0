package service

import (
	"time"

	"tailweir/buffer"
	"tailweir/console"
	"tailweir/otlp"
	"tailweir/pipeline"
)

// view shows a worker to the console.
type view struct{ w *Worker }

func (v view) Stats() console.Stats {
	p, s := v.w.pipeline.State(), v.w.solo.State()
	st := console.Stats{
		Received: counts(p.Received), Kept: counts(p.Kept), Dropped: counts(p.Dropped), DeadLettered: counts(p.DeadLettered),
		Returned: counts(p.Returned), Duplicate: counts(p.Duplicate), InFlight: counts(p.InFlight),
		ByPolicy: make(map[string]console.PolicyCounts, len(p.ByPolicy)),
		Window: console.Window{
			Traces: int64(s.Traces), Bytes: s.Bytes, MaxTraces: int64(s.MaxTraces), MaxBytes: s.MaxBytes, WatermarkLagMS: s.Lag.Milliseconds(),
		},
		Held:      console.Held{Messages: int64(p.Messages), Bytes: p.Bytes, MaxBytes: p.MaxBytes, Redelivered: int64(v.w.subscriber.Stats().Redelivered)},
		Exporting: int64(p.Exporting), UptimeMS: time.Since(v.w.started).Milliseconds(), Ready: v.w.ready(),
	}
	for name, t := range p.ByPolicy {
		st.ByPolicy[name] = console.PolicyCounts{Kept: counts(t.Kept), Dropped: counts(t.Dropped)}
	}
	return st
}

func counts(c pipeline.Count) console.Counts {
	return console.Counts{Spans: c.Spans, Traces: c.Traces, Logs: c.Logs}
}

func (v view) Pending(limit int) []console.Pending {
	state := v.w.solo.State()
	mark := state.Newest.Add(-state.Lag)
	var out []console.Pending
	for _, t := range v.w.solo.Next(limit) {
		out = append(out, pending(t, mark))
	}
	return out
}

func pending(t buffer.Open, mark buffer.Stamp) console.Pending {
	return console.Pending{
		TraceID: t.Trace, Spans: int64(t.Facts.Spans), Logs: int64(t.Facts.Logs), Bytes: int64(t.Facts.Bytes), Root: t.Facts.Root,
		Age: time.Since(time.UnixMilli(int64(t.First))), Left: t.Deadline.Sub(mark),
	}
}

func (v view) Latest(limit int) []console.Summary {
	var out []console.Summary
	for _, s := range v.w.kept.Latest(limit) {
		out = append(out, console.Summary{
			TraceID: s.TraceID, Root: s.Root, Service: s.Service, Spans: int64(s.Spans), Logs: int64(s.Logs),
			Start: s.Start, Duration: s.Duration, Error: s.Error, Policy: s.Policy, Reason: s.Reason,
		})
	}
	return out
}

func (v view) Trace(id otlp.TraceID) (console.Trace, bool) {
	t, ok := v.w.kept.Trace(id)
	return console.Trace{Spans: t.Traces, Logs: t.Logs, Policy: t.Policy, Reason: t.Reason}, ok && len(t.Traces) > 0
}

// ready reports whether the worker can accept and decide: its hold is below its budget.
func (w *Worker) ready() bool {
	p := w.pipeline.State()
	return p.Bytes < p.MaxBytes
}
