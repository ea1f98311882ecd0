package pipeline

import (
	"cmp"
	"iter"
	"slices"

	"tailweir/buffer"
	"tailweir/fleet"
	"tailweir/otlp"
	"tailweir/sampler"
)

// Held yields the facts of all that is held and undecided, one for each message, the earliest publish time first, for a
// sequencer that does not know them or knows them by another policy set. They are folded anew from the payloads, with the
// policies in use: kept facts would take as much memory as the index. So it costs about what reading costs, without
// holding anybody up. What is delivered or decided meanwhile may be missing or there.
func (p *Pipeline) Held() iter.Seq[fleet.Facts] {
	return func(yield func(fleet.Facts) bool) {
		r := p.readers.Get().(*reader)
		defer p.readers.Put(r)
		for _, m := range p.byPublish() {
			if facts := p.foldAgain(r, m.message); len(facts.Fragments) > 0 && !yield(facts) {
				return
			}
		}
	}
}

type dated struct {
	publish buffer.Stamp
	message *message
}

// byPublish is what is held now, sorted. It does not keep the payloads of what is settled later.
func (p *Pipeline) byPublish() []dated {
	p.mu.Lock()
	all := make([]dated, 0, len(p.messages))
	for _, m := range p.messages {
		all = append(all, dated{buffer.StampOf(m.publish), m})
	}
	p.mu.Unlock()
	slices.SortFunc(all, func(a, b dated) int {
		return cmp.Or(cmp.Compare(a.publish, b.publish), cmp.Compare(a.message.hash, b.message.hash))
	})
	return all
}

// foldAgain is the facts of a message's undecided fragments. A part is a group of the payload: reading the same bytes
// again yields the same groups.
func (p *Pipeline) foldAgain(r *reader, m *message) fleet.Facts {
	data, publish := p.undecided(r, m)
	set := p.policies.Load()
	if len(r.open) == 0 || r.scan(set, m.id.signal, data) != nil { // which was scanned before without an error
		return fleet.Facts{}
	}
	facts := fleet.Facts{Message: m.hash, Publish: publish, Policy: set.Hash(), Fragments: make([]fleet.Fragment, 0, len(r.open))}
	groups := r.payload.Groups()
	for _, part := range r.open {
		tell(&facts, groups[part].Trace, r.observer.Fold(groups[part]))
	}
	return facts
}

// tell adds what a part says of its trace, to what the part before said where that is of the same trace: a trace's classes come in
// a row, and who hears of a trace twice from one message takes it for a repeat.
func tell(f *fleet.Facts, trace otlp.TraceID, facts sampler.Facts) {
	if n := len(f.Fragments); n > 0 && f.Fragments[n-1].Trace == trace {
		f.Fragments[n-1].Facts.Merge(&facts)
		return
	}
	f.Fragments = append(f.Fragments, fleet.Fragment{Trace: trace, Facts: facts})
}

// undecided leaves in r.open the parts of m that wait for a decision, which have a trace id: none once m is settled or given back.
func (p *Pipeline) undecided(r *reader, m *message) ([]byte, buffer.Stamp) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r.open = r.open[:0]
	for i, f := range m.parts {
		if f.state == undecided {
			r.open = append(r.open, i)
		}
	}
	return m.data, buffer.StampOf(m.publish)
}
