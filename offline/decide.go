package offline

import (
	"cmp"
	"slices"

	"tailweir/otlp"
	"tailweir/sampler"
)

// Verdict is the decision on one trace.
type Verdict struct {
	Trace    otlp.TraceID
	Facts    *sampler.Facts
	Decision sampler.Decision
	Reasons  []sampler.Reason // with explain
}

// Decide decides all traces and returns them in the order of their first appearance. With explain it says why.
//
// Limiters need a time. It is the trace's latest end, and traces that end in the same second are a tick, as they are for a worker
// whose messages come at once. Strict policies decide all in one tick, in the order of first appearance.
func (t *Traces) Decide(explain bool) []Verdict {
	verdicts := make([]Verdict, len(t.traces))
	for i := range t.traces {
		verdicts[i] = Verdict{Trace: t.traces[i].id, Facts: &t.traces[i].facts}
	}
	d := t.policies.NewDecider()
	if t.policies.Strict() {
		decideTick(d, verdicts, allOf(len(verdicts)), tickOf(0), explain)
		return verdicts
	}
	order := allOf(len(verdicts))
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(verdicts[i].Facts.End, verdicts[j].Facts.End) })
	for len(order) > 0 {
		at := tickOf(verdicts[order[0]].Facts.End)
		n := slices.IndexFunc(order, func(i int) bool { return tickOf(verdicts[i].Facts.End) != at })
		if n < 0 {
			n = len(order)
		}
		decideTick(d, verdicts, order[:n], at, explain)
		order = order[n:]
	}
	return verdicts
}

func allOf(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// tickOf is the end of the tick of a time in unix ns, in unix ms. A time on the border ends its tick, as a deadline does.
func tickOf(ns uint64) int64 {
	ticks := ns / uint64(sampler.Tick)
	if ns%uint64(sampler.Tick) != 0 {
		ticks++
	}
	return int64(ticks) * sampler.Tick.Milliseconds()
}

func decideTick(d *sampler.Decider, verdicts []Verdict, which []int, at int64, explain bool) {
	batch := make([]sampler.Candidate, len(which))
	for k, i := range which {
		batch[k] = sampler.Candidate{Trace: verdicts[i].Trace, Facts: verdicts[i].Facts}
	}
	if !explain {
		for k, decision := range d.Decide(nil, batch, at) {
			verdicts[which[k]].Decision = decision
		}
		return
	}
	decisions, reasons := d.Explain(batch, at)
	for k, i := range which {
		verdicts[i].Decision, verdicts[i].Reasons = decisions[k], reasons[k]
	}
}
