package service

import (
	"go.opentelemetry.io/otel/attribute"

	"tailweir/fleet/member"
	"tailweir/fleet/order"
)

// fleetInstruments are a member's metrics; without a fleet there are none.
func (w *Worker) fleetInstruments() []instrument {
	if w.cfg.Fleet == FleetOff {
		return nil
	}
	read := func(f func(member.State) int64) func(func(int64, ...attribute.KeyValue)) {
		return func(see func(int64, ...attribute.KeyValue)) { see(f(w.sequencer.State())) }
	}
	return []instrument{
		{"tailweir.fleet.anomalies", "{anomaly}", "Breaches of what Pub/Sub promises of the log, by kind. Any is worth an alert: traces may have been decided twice.", false, w.seeAnomalies},
		{"tailweir.fleet.phase", "", "1 for the phase that this worker is in.", true, w.seePhase},
		{"tailweir.fleet.members", "{worker}", "Workers listed, as this one knows.", true, read(func(s member.State) int64 { return int64(len(s.Members)) })},
		{"tailweir.fleet.policy.pending", "", "1 while the policies that this worker was configured with are not the active ones.", true, read(policyPending)},
		{"tailweir.fleet.policy.epoch", "", "Changes of the active policies.", true, read(func(s member.State) int64 { return int64(s.Epoch) })},
		{"tailweir.fleet.decisions", "{decision}", "Decisions read from the log.", false, read(func(s member.State) int64 { return s.Decisions })},
		{"tailweir.fleet.reannounced", "{decision}", "Decisions that this worker, leading, said again for a holder that did not know them.", false, w.lead(func(l *member.Lead) int64 { return l.Again })},
		{"tailweir.fleet.fences", "{fence}", "Times that this worker gave everything back for want of a live log.", false, read(func(s member.State) int64 { return s.Fences })},
		{"tailweir.fleet.fenced", "ms", "Time that it held nothing for that.", false, read(func(s member.State) int64 { return s.FencedFor.Milliseconds() })},
		{"tailweir.fleet.terms", "{term}", "Claims made, terms led, and terms given up for another reason than leaving.", false, w.seeTerms},
		{"tailweir.fleet.streams", "{stream}", "Times that this worker said again all that it holds.", false, read(func(s member.State) int64 { return s.Restarts })},
		{"tailweir.fleet.log.messages", "{message}", "Messages read from the log.", false, read(func(s member.State) int64 { return s.LogRead })},
		{"tailweir.fleet.log.bytes", "By", "Bytes of them.", false, read(func(s member.State) int64 { return s.LogBytes })},
		{"tailweir.fleet.log.entries", "{entry}", "Entries that this worker, leading, has written.", false, read(func(s member.State) int64 { return s.EntriesSent })},
		{"tailweir.fleet.facts.batches", "{batch}", "Batches of facts sent.", false, read(func(s member.State) int64 { return s.FactsSent })},
		{"tailweir.fleet.facts.bytes", "By", "Bytes of them.", false, read(func(s member.State) int64 { return s.FactsBytes })},
		{"tailweir.fleet.facts.fragments", "{fragment}", "Fragments, one trace's share of one payload each, whose facts were sent.", false, read(func(s member.State) int64 { return s.FragmentsSent })},
		{"tailweir.fleet.publish.failed", "{message}", "Publishes on log and facts topic that failed.", false, read(func(s member.State) int64 { return s.PublishFailed })},
	}
}

func policyPending(s member.State) int64 {
	if s.Policy != s.Wanted {
		return 1
	}
	return 0
}

// seeAnomalies shows every kind from the beginning, so that the first anomaly is an increase.
func (w *Worker) seeAnomalies(see func(int64, ...attribute.KeyValue)) {
	for kind, n := range w.sequencer.State().Anomalies {
		if name := order.Kind(kind).String(); name != "" {
			see(n, attribute.String("kind", name))
		}
	}
}

func (w *Worker) seePhase(see func(int64, ...attribute.KeyValue)) {
	now := w.sequencer.State().Phase
	for _, p := range []member.Phase{member.Joining, member.Waiting, member.Holding, member.Leading, member.Fenced, member.Leaving, member.Breaking} {
		n := int64(0)
		if p == now {
			n = 1
		}
		see(n, attribute.String("phase", string(p)))
	}
}

func (w *Worker) seeTerms(see func(int64, ...attribute.KeyValue)) {
	s := w.sequencer.State()
	for what, n := range map[string]int64{"claimed": s.Claims, "led": s.Terms, "given_up": s.SteppedDown} {
		see(n, attribute.String("what", what))
	}
}
