package pipeline

import (
	"cmp"

	"tailweir/buffer"
	"tailweir/fleet"
	"tailweir/otlp"
	"tailweir/sampler"
)

// Apply executes decisions, in order. Fragments of a trace that arrive later follow its decision.
func (p *Pipeline) Apply(decisions []fleet.Decision) {
	if len(decisions) == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range decisions {
		d := &decisions[i]
		if d.Binding() {
			p.history.Put(d.Trace, d.Decision)
		}
		t := p.traces[d.Trace]
		if t == nil {
			continue
		}
		if !d.Binding() {
			p.orphanLocked(d.Trace, t)
			continue
		}
		delete(p.traces, d.Trace)
		way := departure{decision: d.Decision, reason: cmp.Or(d.Reason.String(), "late"), trace: d.Trace, fragments: t.fragments}
		if t.spans > 0 {
			way.traces = 1
		}
		p.executeLocked(way)
	}
}

// orphanLocked lets the log records of a trace go without a decision. A span whose facts crossed the release on their way
// stays held: the sequencer has opened the trace anew with it.
func (p *Pipeline) orphanLocked(id otlp.TraceID, t *trace) {
	way := departure{decision: sampler.Decision{Keep: true, Policy: PolicyNoSpans}, reason: buffer.Orphan.String(), trace: id, orphan: true}
	var spans []*fragment
	for _, f := range t.fragments {
		if f.count.Spans > 0 {
			spans = append(spans, f)
		} else {
			way.fragments = append(way.fragments, f)
		}
	}
	if t.fragments = spans; len(spans) == 0 {
		delete(p.traces, id)
	}
	p.leaveLocked(way)
}

// executeLocked drops or sends off decided fragments. Log records of a trace that is not kept are exported all the same
// under LogsAll, and say so.
func (p *Pipeline) executeLocked(d departure) {
	if d.decision.Keep {
		p.leaveLocked(d)
		return
	}
	logs := d
	logs.fragments, logs.traces = nil, 0
	for _, f := range d.fragments {
		if f.count.Logs > 0 && p.cfg.LogsKeep == LogsAll {
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
