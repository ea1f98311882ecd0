package service

import (
	"fmt"
	"time"

	"tailweir/buffer"
	"tailweir/console"
	"tailweir/fleet/member"
	"tailweir/fleet/order"
	"tailweir/otlp"
	"tailweir/pipeline"
)

// view shows a worker to the console.
type view struct{ w *Worker }

func (v view) Stats() console.Stats {
	p, s := v.w.pipeline.State(), v.w.sequencer.State()
	st := console.Stats{
		Received: counts(p.Received), Kept: counts(p.Kept), Dropped: counts(p.Dropped), DeadLettered: counts(p.DeadLettered),
		Returned: counts(p.Returned), Duplicate: counts(p.Duplicate), InFlight: counts(p.InFlight),
		ByPolicy:  make(map[string]console.PolicyCounts, len(p.ByPolicy)),
		Window:    window(s.Lead),
		Held:      console.Held{Messages: int64(p.Messages), Bytes: p.Bytes, MaxBytes: p.MaxBytes, Redelivered: int64(v.w.holder.stats().Redelivered)},
		Fleet:     v.fleet(s),
		Exporters: v.exporters(),
		Unnamed:   p.Unnamed,
		Exporting: int64(p.Exporting), UptimeMS: time.Since(v.w.started).Milliseconds(), Ready: v.w.ready(),
	}
	for name, t := range p.ByPolicy {
		st.ByPolicy[name] = console.PolicyCounts{Kept: counts(t.Kept), Dropped: counts(t.Dropped)}
	}
	return st
}

func window(l *member.Lead) console.Window {
	if l == nil {
		return console.Window{}
	}
	return console.Window{
		Traces: int64(l.Traces), Bytes: l.Bytes, MaxTraces: int64(l.MaxTraces), MaxBytes: l.MaxBytes, WatermarkLagMS: l.Lag.Milliseconds(),
	}
}

func (v view) fleet(s member.State) console.Fleet {
	f := console.Fleet{Mode: string(v.w.cfg.Fleet)}
	if v.w.cfg.Fleet == FleetOff {
		return f
	}
	m := &console.FleetMember{
		Name: s.Name, Phase: string(s.Phase), Leader: s.Leader, Term: s.Term, Seq: s.Seq, Epoch: s.Epoch,
		Active: hash(s.Policy), Wanted: hash(s.Wanted), Leading: s.Lead != nil, Members: members(s), Anomalies: map[string]int64{},
		LogRead: s.LogRead, LogBytes: s.LogBytes, EntriesSent: s.EntriesSent, FactsSent: s.FactsSent, FactsBytes: s.FactsBytes,
		FragmentsSent: s.FragmentsSent, PublishFailed: s.PublishFailed, Decisions: s.Decisions, Streams: s.Restarts,
		Fences: s.Fences, FencedMS: s.FencedFor.Milliseconds(), Claims: s.Claims, Terms: s.Terms, SteppedDown: s.SteppedDown,
	}
	if !s.Since.IsZero() {
		m.LedMS = time.Since(s.Since).Milliseconds()
	}
	for kind, n := range s.Anomalies {
		if n > 0 {
			m.Anomalies[order.Kind(kind).String()] = n
		}
	}
	if l := s.Lead; l != nil {
		m.Gathered, m.Late, m.Reannounced, m.Pressed = l.Fragments, l.Late, l.Again, l.Pressed
	}
	f.FleetMember = m
	return f
}

// hash is a policy set as logs and pages name it.
func hash(h uint64) string { return fmt.Sprintf("%016x", h) }

func members(s member.State) []console.Member {
	known := map[string]member.Seat{}
	if s.Lead != nil {
		for _, h := range s.Lead.Holders {
			known[h.Name] = h
		}
	}
	all := []console.Member{}
	for _, name := range s.Members {
		m := console.Member{Name: name, BehindMS: -1}
		if h, ok := known[name]; ok {
			m.SilentMS, m.LagMS = h.Silent.Milliseconds(), h.Lag.Milliseconds()
			if h.Newest > 0 {
				m.BehindMS = max(0, s.Newest.Sub(h.Newest).Milliseconds())
			}
		}
		all = append(all, m)
	}
	return all
}

func counts(c pipeline.Count) console.Counts {
	return console.Counts{Spans: c.Spans, Traces: c.Traces, Logs: c.Logs}
}

func (v view) Pending(limit int) []console.Pending {
	state := v.w.sequencer.State()
	if state.Lead == nil {
		return nil
	}
	var out []console.Pending
	for _, t := range v.w.sequencer.Next(limit) {
		out = append(out, pending(t, state.Lead.Watermark))
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

// ready reports whether the worker can accept and its decisions come: its hold is below its budget, and it has its place in
// the fleet.
func (w *Worker) ready() bool {
	p, phase := w.pipeline.State(), w.sequencer.State().Phase
	return p.Bytes < p.MaxBytes && (phase == member.Holding || phase == member.Leading)
}
