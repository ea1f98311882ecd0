package pipeline

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"

	"tailweir/buffer"
	"tailweir/fleet"
	"tailweir/otlp"
	"tailweir/sampler"
)

// judge is the reference model: it knows what was published and what came out, and nothing of how.
type judge struct {
	faults   []string
	items    map[uint64]item     // by key
	keys     map[item]uint64     // the other way round: a key takes a while to make
	payloads map[uint64]*payload // by hash of the data
	bound    map[uint64]int      // how often the item may be exported: once for each payload with it and each worker that read that
	exported map[uint64]int
	letters  map[uint64]int
	refused  map[otlp.TraceID]bool // by the backend, at some time
}

func newJudge() judge {
	return judge{
		items: map[uint64]item{}, keys: map[item]uint64{}, payloads: map[uint64]*payload{}, bound: map[uint64]int{},
		exported: map[uint64]int{}, letters: map[uint64]int{}, refused: map[otlp.TraceID]bool{},
	}
}

func (j *judge) fault(format string, args ...any) {
	j.faults = append(j.faults, fmt.Sprintf(format, args...))
}

// publish returns p, or what was published before with the same bytes.
func (j *judge) publish(p *payload) *payload {
	hash := xxhash.Sum64(p.data)
	if old := j.payloads[hash]; old != nil {
		return old
	}
	j.payloads[hash] = p
	for _, x := range p.items {
		key := x.key()
		j.items[key], j.keys[x] = x, key
	}
	return p
}

func (j *judge) deliver(p *payload, worker int) {
	p.reads++
	if p.reader == worker {
		return
	}
	p.reader = worker
	for i, x := range p.items {
		if x.log || !slices.Contains(p.items[:i], x) {
			j.bound[j.keys[x]]++
		}
	}
}

// account is what one worker received and got rid of, in spans and log records.
type account struct {
	received, confirmed, lettered Count
	repeats                       Count // received after they were got rid of, or in two payloads or places: none of it need leave again
	out                           map[uint64]bool
	first                         map[uint64]*payload
}

func one(x item) Count {
	if x.log {
		return Count{Logs: 1}
	}
	return Count{Spans: 1}
}

func (a *account) deliver(p *payload, keys map[item]uint64) {
	for i, x := range p.items {
		key := keys[x]
		a.received.add(one(x))
		if first := a.first[key]; a.out[key] || (first != nil && first != p) || slices.Contains(p.items[:i], x) {
			a.repeats.add(one(x))
		}
		a.first[key] = p
	}
}

// told is what the pipeline told the sequencer about a trace: a message with spans of it.
type told struct {
	hash        uint64
	publish, at time.Time
	root, bad   bool
}

// hearLocked takes note of facts. What they say is taken from what was published, not from them.
func (l *life) hearLocked(f fleet.Facts) {
	p := l.w.judge.payloads[f.Message]
	if p == nil {
		l.w.judge.fault("facts about a message that nobody published")
		return
	}
	for _, g := range f.Fragments {
		x := told{hash: f.Message, publish: time.UnixMilli(int64(f.Publish)), at: time.Now()}
		spans := false
		for _, it := range p.items {
			if !it.log && it.traceID() == g.Trace {
				spans, x.root, x.bad = true, x.root || it.root, x.bad || it.bad
			}
		}
		if spans {
			l.told[g.Trace] = append(l.told[g.Trace], x)
		}
	}
}

// judgeDecisionLocked compares a decision with what the facts so far say. Facts of this very instant may or may not have
// reached the window.
func (l *life) judgeDecisionLocked(d fleet.Decision) {
	j := &l.w.judge
	facts := l.told[d.Trace]
	verdict, decided := l.verdicts[d.Trace]
	if d.Reason == 0 || decided { // a reminder
		if !decided || verdict != d.Keep || !d.Binding() {
			j.fault("trace %s was decided before: %v %v, now %v, reason %v", d.Trace, decided, verdict, d.Keep, d.Reason)
		}
		return
	}
	known := len(facts)
	for known > 0 && facts[known-1].at.Equal(time.Now()) {
		known--
	}
	for ; known <= len(facts); known++ {
		if l.w.allows(d, facts[:known]) {
			break
		}
	}
	if known > len(facts) {
		j.fault("trace %s: keep %v (%s, %s), deadline %s, which the facts do not say: %+v", d.Trace, d.Keep, d.Policy, d.Reason, time.UnixMilli(int64(d.Deadline)), facts)
	}
	if !d.Binding() {
		l.orphans[d.Trace] = true
		return
	}
	l.verdicts[d.Trace], l.thresholds[d.Trace] = d.Keep, d.Threshold
}

// allows is the window and the policies in a few lines: whether the facts say what the decision says.
func (w *world) allows(d fleet.Decision, facts []told) bool {
	if len(facts) == 0 || !d.Binding() {
		return len(facts) == 0 && !d.Binding()
	}
	earliest := map[uint64]told{} // a repeat counts once, with its earliest publish time
	for _, x := range facts {
		if e, ok := earliest[x.hash]; !ok || x.publish.Before(e.publish) {
			earliest[x.hash] = x
		}
	}
	all := slices.SortedFunc(maps.Values(earliest), func(a, b told) int { return a.publish.Compare(b.publish) })
	deadline, root, bad := all[0].publish, false, false
	for _, x := range all {
		if x.publish.After(deadline) {
			break // late, and everything after it
		}
		root, bad = root || x.root, bad || x.bad
		quiet := w.window.Idle
		if root {
			quiet = w.window.Settle
		}
		deadline = x.publish.Add(quiet)
		if end := all[0].publish.Add(w.window.MaxAge); end.Before(deadline) {
			deadline = end
		}
	}
	return d.Keep == (bad || d.Trace == item{trace: luckyTrace}.traceID()) && d.Deadline == buffer.StampOf(deadline)
}

// repeatDecisions tells the worker decisions that it had, and contradicts some: the first one stands.
func (w *world) repeatDecisions(rng *rand.Rand) {
	var again []fleet.Decision
	w.mu.Lock()
	for _, id := range slices.SortedFunc(maps.Keys(w.life.verdicts), func(a, b otlp.TraceID) int { return bytes.Compare(a[:], b[:]) }) {
		d := sampler.Decision{Keep: w.life.verdicts[id] != (rng.IntN(2) == 0), Policy: "another", Threshold: 1 + rng.Uint64N(1<<56)}
		again = append(again, fleet.Decision{Trace: id, Decision: d})
	}
	w.mu.Unlock()
	w.life.p.Apply(again)
}

// judgeHeld compares what the worker says it holds undecided with what it was given and what was decided.
func (w *world) judgeHeld(l *life) {
	held := slices.Collect(l.p.Held())
	busy := l.p.Busy()
	w.mu.Lock()
	defer w.mu.Unlock()
	said := map[*payload]bool{}
	for i, f := range held {
		p := w.judge.payloads[f.Message]
		said[p] = true
		if p == nil || f.First || f.Again || f.Policy != w.policies.Hash() || (i > 0 && held[i-1].Publish > f.Publish) {
			w.judge.fault("held: %+v", f)
			continue
		}
		for _, g := range f.Fragments {
			want := sampler.Facts{}
			for _, x := range p.items {
				if x.traceID() == g.Trace && (!x.log || w.waits(x)) {
					want.Spans, want.Logs = want.Spans+uint32(one(x).Spans), want.Logs+uint32(one(x).Logs)
					want.Root = want.Root || (x.root && !x.log)
				}
			}
			_, decided := l.verdicts[g.Trace]
			if got := (sampler.Facts{Spans: g.Facts.Spans, Logs: g.Facts.Logs, Root: g.Facts.Root}); decided || g.Trace.IsZero() || got != want {
				w.judge.fault("held: %+v, decided: %v, want %+v", g, decided, want)
			}
		}
	}
	for r := range l.open {
		for _, x := range r.m.items {
			if _, decided := l.verdicts[x.traceID()]; x.trace != 0 && !decided && !x.log && !said[r.m.payload] && !busy {
				w.judge.fault("%s holds the undecided %+v and is not among what is held", r.m.id, x)
			}
		}
	}
}

// judgeAckLocked says whether a message may be acked now: when each of its items has its outcome, or when another message
// with the same bytes is with the worker un-acked and keeps them durable.
func (w *world) judgeAckLocked(l *life, m *published) {
	if !m.good && m.letters == 0 {
		w.judge.fault("%s cannot be decoded and is acked before it is a dead letter", m.id)
	}
	open := slices.DeleteFunc(slices.Clone(m.items), func(x item) bool { return w.finalLocked(l, x) })
	if len(open) > 0 && !w.twinHeldLocked(m) {
		w.judge.fault("%s is acked, and neither exported nor dropped nor a dead letter are its %+v", m.id, open)
	}
}

func (w *world) finalLocked(l *life, x item) bool {
	if key := w.judge.keys[x]; w.judge.exported[key] > 0 || w.judge.letters[key] > 0 {
		return true
	}
	keep, decided := l.verdicts[x.traceID()]
	dropped := decided && !keep
	if !x.log {
		return dropped
	}
	fate := w.fate(x)
	return fate == LogsNever || w.waits(x) && (dropped && fate == LogsWithTrace || w.orphans == LogsNever && l.orphans[x.traceID()])
}

func (w *world) twinHeldLocked(m *published) bool {
	return slices.ContainsFunc(w.messages, func(o *published) bool {
		return o != m && !o.acked && o.leases > 0 && o.payload == m.payload
	})
}

// judgeTotals fails unless the ledger adds up, at any time.
func (w *world) judgeTotals(l *life) {
	s := l.p.State()
	var sum Count
	var policies Tally
	for _, c := range []Count{s.Kept, s.Dropped, s.DeadLettered, s.Returned, s.Duplicate, s.InFlight} {
		sum.add(c)
	}
	for _, t := range s.ByPolicy {
		policies.Kept.add(t.Kept)
		policies.Dropped.add(t.Dropped)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if sum != s.Received || policies != (Tally{s.Kept, s.Dropped}) {
		w.judge.fault("totals do not add up: %+v", s.Totals)
	}
	if low := min(s.InFlight.Spans, s.InFlight.Logs, s.InFlight.Traces); low < 0 {
		w.judge.fault("in flight: %+v", s.InFlight)
	}
}

// judgeEnd judges when everything was settled.
func (w *world) judgeEnd(l *life) {
	s := l.p.State()
	w.mu.Lock()
	defer w.mu.Unlock()
	j, a := &w.judge, &l.account
	if s.InFlight != (Count{}) || s.Messages != 0 || s.Bytes != 0 || s.Exporting != 0 {
		j.fault("at the end: %d messages, %d bytes, exporting %d, in flight %+v", s.Messages, s.Bytes, s.Exporting, s.InFlight)
	}
	j.between("received", s.Received, a.received, Count{})
	j.between("kept", s.Kept, a.confirmed, a.repeats)
	j.between("dead-lettered", s.DeadLettered, a.lettered, a.repeats)
	for _, p := range j.payloads {
		for _, x := range p.items {
			if x.trace == luckyTrace && !x.log && j.exported[j.keys[x]]+j.letters[j.keys[x]] == 0 {
				j.fault("%+v had to be kept and is lost", x)
			}
		}
		if !p.good && p.letters == 0 {
			j.fault("a payload that cannot be decoded is no dead letter: %q", p.data)
		}
	}
}

// between says that a total is at least what was seen of it, and more by no more than what was received again.
func (j *judge) between(what string, total, seen, repeats Count) {
	low, high := seen, seen
	high.add(repeats)
	if total.Spans < low.Spans || total.Spans > high.Spans || total.Logs < low.Logs || total.Logs > high.Logs {
		j.fault("%s: the ledger says %+v, the outside saw %+v, and %+v were repeats", what, total, seen, repeats)
	}
}
