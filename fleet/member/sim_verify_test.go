package member_test

import (
	"slices"
	"time"

	"tailweir/buffer"
	"tailweir/fleet/member"
	"tailweir/fleet/order"
)

// result is what came of a run.
type result struct {
	traces, kept, torn, deviating, excused, partial, twice, fences, terms int
	logged, pressed, cleared                                              int
	attempts, delayed                                                     int           // deliveries of one message, at most; messages given back for a while
	latest                                                                time.Duration // from deadline to decision, at worst
}

// watch looks at what must hold at all times, every quarter of a second, until the world is over.
func (w *world) watch() {
	for {
		_ = sleep(w.ctx, 250*time.Millisecond)
		w.mu.Lock()
		over, all := w.over, slices.DeleteFunc(slices.Clone(w.workers), func(k *worker) bool { return k.gone })
		w.mu.Unlock()
		if over {
			return
		}
		for _, k := range all {
			w.watchWorker(k)
		}
	}
}

// watchWorker is the rule that whoever is fenced, or not listed, holds nothing and pulls nothing. It may take a moment.
func (w *world) watchWorker(k *worker) {
	state, held, pulls := k.m.State(), k.p.State().Messages, (*holder)(k).pulls()
	w.mu.Lock()
	defer w.mu.Unlock()
	may := state.Phase == member.Holding || state.Phase == member.Leading || state.Phase == member.Leaving
	if may || k.gone || k.leaving || !pulls && held == 0 || time.Now().Before(k.paused) {
		k.idle = 0
		return
	}
	if k.idle++; k.idle == 5 {
		w.judge.fault("%s is %s and pulls: %t, holds: %d", k.name, state.Phase, pulls, held)
	}
}

// unsettled is the messages that are not acked; ticks of the last seconds do not count.
func (w *world) unsettled() (all []*message) {
	for _, m := range w.payloads.all {
		if !m.acked && (len(m.spans) > 0 || time.Since(m.publish) > 15*time.Second) {
			all = append(all, m)
		}
	}
	return all
}

// verify judges the run at its end; the world's mutex is held.
func (w *world) verify() (r result) {
	j := w.judge
	for i, m := range w.unsettled() {
		if i < 3 {
			j.fault("message %s, published %s before, %s", m.id, time.Since(m.publish), w.whereabouts(m))
		} else {
			j.more++
		}
	}
	for _, t := range w.load.traces {
		r.traces++
		w.verifyTrace(t, &r)
	}
	for _, p := range w.load.payloads {
		w.verifyCopies(p)
	}
	r.twice, r.terms, r.logged = j.differ, j.opens, len(w.log.all)
	r.cleared = j.cleared
	r.attempts, r.delayed = w.payloads.most, w.payloads.delayed
	return r
}

func (w *world) whereabouts(m *message) string {
	if len(m.holds) == 0 {
		return "was never delivered"
	}
	h := m.holds[len(m.holds)-1]
	for _, s := range m.spans {
		if w.judge.verdicts[s.trace.id] == nil {
			return "last had by " + h.k.name + ", not decided"
		}
	}
	if !h.to.IsZero() {
		return "last had and given back by " + h.k.name + ", decided"
	}
	return "held by " + h.k.name + ", decided"
}

func (w *world) verifyTrace(t *traceRun, r *result) {
	j, v := w.judge, w.judge.verdicts[t.id]
	if v == nil {
		j.fault("trace %d was never decided", t.number)
		return
	}
	exported := 0
	for _, s := range t.spans {
		if j.spans[s.key()] != nil && j.spans[s.key()].copies > 0 {
			exported++
		}
	}
	if v.keep {
		r.kept++
	}
	switch {
	case v.keep && exported < len(t.spans), !v.keep && exported > 0:
		r.torn++
		j.fault("trace %d is torn: kept is %t, exported are %d of %d spans", t.number, v.keep, exported, len(t.spans))
	}
	if v.reason == buffer.Pressure {
		r.pressed++
	}
	percent, slow := float64(oldPercent), oldSlow*time.Millisecond
	if v.policy == order.Hash(w.setup.new.Hash()) {
		percent, slow = newPercent, newSlow*time.Millisecond
	}
	early := v.reason == buffer.Evicted || v.reason == buffer.Pressure
	keep, deadline, inTime := t.ideal(percent, slow)
	if late := v.at.Sub(time.UnixMilli(deadline)); !early {
		r.latest = max(r.latest, late)
	}
	if w.setup.coin || w.setup.limited {
		return
	}
	known := w.known(v, inTime)
	if known && !early && v.reached-buffer.Stamp(slack.Milliseconds()) < buffer.Stamp(deadline) {
		j.fault("trace %d is decided at %s, whose deadline is %d ms after the watermark that its members' batches allow (%.4x/%d, %s)",
			t.number, v.at.Sub(w.begin), deadline-int64(v.reached)+slack.Milliseconds(), v.term, v.seq, v.slowest)
	}
	if !known { // under pressure a message is given back for a while, and may be known to nobody
		r.partial++
		if r.partial < 4 {
			w.tell(t, v, deadline)
		}
	}
	if want := w.first(t, inTime); known && v.keep && !early && v.first != want {
		j.fault("trace %d: its first span is said to start at %d, should be %d", t.number, v.first, want)
	}
	if v.keep == keep {
		return
	}
	if known {
		r.deviating++
		w.tell(t, v, deadline)
		j.fault("trace %d: kept is %t, should be %t, and all that was in time was known (decided at %s by %.4x/%d, %s)", t.number, v.keep, keep, v.at.Sub(w.begin), v.term, v.seq, v.reason)
	} else {
		r.excused++
	}
}

// first is the low bits of the earliest start where there is no root, and that is asked for.
func (w *world) first(t *traceRun, parts []*payload) uint32 {
	if w.setup.rootless == 0 {
		return 0
	}
	var first *span
	for _, s := range t.spans {
		switch {
		case !slices.Contains(parts, s.in):
		case s.parent == none:
			return 0
		case first == nil || s.start.Before(first.start):
			first = s
		}
	}
	return uint32(first.start.UnixNano())
}

// tell notes all there is to say of a trace.
func (w *world) tell(t *traceRun, v *verdict, deadline int64) {
	w.note("trace %d, decided %.3fs by %.4x/%d, ideal deadline %.3fs:", t.number, v.at.Sub(w.begin).Seconds(), v.term, v.seq, time.UnixMilli(deadline).Sub(w.begin).Seconds())
	for _, p := range t.parts {
		for _, m := range p.messages {
			w.note("  message %s, published %.3fs, acked %.3fs", m.id, m.publish.Sub(w.begin).Seconds(), m.ackedAt.Sub(w.begin).Seconds())
			for _, h := range m.holds {
				w.note("    %s had it %.3fs to %.3fs", h.k.name, h.from.Sub(w.begin).Seconds(), h.to.Sub(w.begin).Seconds())
				for _, told := range v.known[w.judge.orderName(h.k)] {
					w.note("      and the leader knew what it had %.3fs to %.3fs", told.first.Sub(w.begin).Seconds(), told.last.Sub(w.begin).Seconds())
				}
			}
		}
	}
}

// known reports whether the leader had been told of all those payloads when it decided: by batches that were made after
// their delivery, and without a hole before them.
func (w *world) known(v *verdict, parts []*payload) bool {
	for _, p := range parts {
		told := false
		for _, m := range p.messages {
			for _, h := range m.holds {
				for _, at := range v.known[w.judge.orderName(h.k)] {
					since := h.to.IsZero() || h.to.After(at.first) && !at.first.IsZero() // what was given back before is not said again
					told = told || since && h.from.Add(time.Millisecond).Before(at.last)
				}
			}
		}
		if !told {
			return false
		}
	}
	return true
}

// verifyCopies is the rule that a fragment is exported once for each delivery at most.
func (w *world) verifyCopies(p *payload) {
	deliveries := 0
	for _, m := range p.messages {
		deliveries += len(m.holds)
	}
	for _, s := range p.spans {
		if x := w.judge.spans[s.key()]; x != nil && x.copies > deliveries {
			w.judge.fault("span %d of trace %d was exported %d times and delivered %d times", s.number, s.trace.number, x.copies, deliveries)
		}
	}
}
