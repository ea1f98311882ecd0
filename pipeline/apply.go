package pipeline

import (
	"cmp"
	"slices"

	"tailweir/buffer"
	"tailweir/fleet"
	"tailweir/otlp"
	"tailweir/sampler"
)

// applyAtOnce is how many decisions are executed under one lock: at 0.1 to 0.2 µs for a trace that is new and held elsewhere,
// readers and senders wait 0.1 ms, where 20,000 would be 4 ms.
const applyAtOnce = 512

// Apply executes decisions, in order. The first decision on a trace that this worker remembers stands: fragments that wait
// follow it, whatever a repeat says, and so do those that arrive later.
func (p *Pipeline) Apply(decisions []fleet.Decision) {
	for some := range slices.Chunk(decisions, applyAtOnce) {
		p.mu.Lock()
		for i := range some {
			p.applyLocked(&some[i])
		}
		p.mu.Unlock()
	}
}

func (p *Pipeline) applyLocked(d *fleet.Decision) {
	first := d.Binding() && p.history.Put(d.Trace, d.Decision)
	t := p.traces[d.Trace]
	if t == nil {
		return // the usual case in a fleet
	}
	if !d.Binding() {
		p.orphanLocked(d.Trace, t)
		return
	}
	delete(p.traces, d.Trace)
	way := departure{decision: d.Decision, reason: cmp.Or(d.Reason.String(), "late"), trace: d.Trace, fragments: t.fragments}
	if !first {
		if was, known := p.history.Get(d.Trace); known {
			way.decision, way.reason = was, "late"
		}
	}
	if t.spans > 0 {
		way.traces = 1
	}
	p.executeLocked(way)
}

// Decided is the decision on a trace, if it is remembered, which counts as its use.
func (p *Pipeline) Decided(id otlp.TraceID) (sampler.Decision, bool) { return p.history.Get(id) }

// orphanLocked exports the log records of a trace without a decision, or drops them. A span whose facts crossed the release on their way
// stays held: the sequencer has opened the trace anew with it.
func (p *Pipeline) orphanLocked(id otlp.TraceID, t *trace) {
	way := departure{decision: sampler.Decision{Keep: true, Policy: PolicyNoSpans}, reason: buffer.Orphan.String(), trace: id, undecided: true}
	var spans []*fragment
	for _, f := range t.fragments {
		switch {
		case f.count.Spans > 0:
			spans = append(spans, f)
		case p.cfg.DropOrphans:
			p.settle(f, Dropped, PolicyOrphans)
		default:
			way.fragments = append(way.fragments, f)
		}
	}
	if t.fragments = spans; len(spans) == 0 {
		delete(p.traces, id)
	}
	p.leaveLocked(way)
}

// executeLocked drops or sends off decided fragments. Log records of a trace that is not kept are exported all the same
// where they are LogsAll, and say so.
func (p *Pipeline) executeLocked(d departure) {
	if d.decision.Keep {
		p.leaveLocked(d)
		return
	}
	logs := d
	logs.fragments, logs.traces = nil, 0
	for _, f := range d.fragments {
		if f.count.Logs > 0 && p.classes.all[f.class].keep == LogsAll {
			logs.fragments = append(logs.fragments, f)
			continue
		}
		p.settle(f, Dropped, d.decision.Policy)
	}
	p.ledger.book(Dropped, d.decision.Policy, Count{Traces: d.traces})
	if len(logs.fragments) > 0 {
		p.leaveLocked(logs)
	}
}
