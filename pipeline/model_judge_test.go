package pipeline

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"

	"tailweir/buffer"
	"tailweir/exporter"
	"tailweir/fleet"
	"tailweir/otlp"
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
	l.verdicts[d.Trace] = d.Keep
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

// judgeAckLocked says whether a message may be acked now: when each of its items has its outcome, or when its bytes had
// theirs before, or are with a worker in another message that is un-acked and keeps them durable.
func (w *world) judgeAckLocked(l *life, m *published) {
	if !m.good && m.letters == 0 {
		w.judge.fault("%s cannot be decoded and is acked before it is a dead letter", m.id)
	}
	open := slices.DeleteFunc(slices.Clone(m.items), func(x item) bool { return w.finalLocked(l, x) })
	if len(open) == 0 {
		m.final = true
		return
	}
	if !m.final && !w.twinHeldLocked(m) {
		w.judge.fault("%s is acked, and neither exported nor dropped nor a dead letter are its %+v", m.id, open)
	}
}

func (w *world) finalLocked(l *life, x item) bool {
	if key := w.judge.keys[x]; w.judge.exported[key] > 0 || w.judge.letters[key] > 0 {
		return true
	}
	keep, decided := l.verdicts[x.traceID()]
	return decided && !keep && (!x.log || w.keep == LogsWithTrace)
}

func (w *world) twinHeldLocked(m *published) bool {
	return slices.ContainsFunc(w.messages, func(o *published) bool {
		return o != m && !o.acked && o.leases > 0 && o.payload == m.payload
	})
}

// accept takes a batch into the backend without the refused parts, and answers.
func (l *life) accept(b *exporter.Batch, refused []int, partial error) error {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	if l.gone {
		return errors.New("connection closed")
	}
	j, end := &l.w.judge, 0
	for i, part := range b.Parts {
		if part.Off != end || part.Reason == "" {
			j.fault("part %d of a batch: %+v, want it at %d", i, part, end)
		}
		end = part.Off + part.Len
		if slices.Contains(refused, i) {
			j.refused[part.Trace] = true
			continue
		}
		l.acceptPartLocked(b, part)
	}
	if end != len(b.Payload) {
		j.fault("parts end at %d of %d bytes", end, len(b.Payload))
	}
	if refused == nil {
		return partial
	}
	return &exporter.PermanentError{Err: errors.New("400"), Parts: refused}
}

func (l *life) refuse(p exporter.Part) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	l.w.judge.refused[p.Trace] = true
}

func (l *life) acceptPartLocked(b *exporter.Batch, part exporter.Part) {
	j, n := &l.w.judge, 0
	var keys []uint64
	err := decodeItems(b.Payload[part.Off:part.Off+part.Len], func(resource, scope, body []byte) {
		n++
		key, kept := plainKey(j, b.Signal, resource, scope, body)
		x, known := j.items[key]
		if !known || x.traceID() != part.Trace {
			j.fault("exported with trace %s what nobody published: %q", part.Trace, body)
			return
		}
		j.exported[key]++
		l.account.confirmed.add(one(x))
		l.account.out[key] = true
		if j.exported[key] > j.bound[key] || (!x.log && slices.Contains(keys, key)) {
			j.fault("%+v is exported for the %d. time, want at most %d", x, j.exported[key], j.bound[key])
		}
		keys = append(keys, key)
		if why := l.mayLeaveLocked(x, kept); why != "" {
			j.fault("%+v exported: %s", x, why)
		}
		if keep := l.verdicts[part.Trace]; part.Kept != keep && x.trace != 0 && !(x.log && l.orphans[part.Trace]) {
			j.fault("part of trace %s says kept: %v", part.Trace, part.Kept)
		}
	})
	if err != nil || n != part.Items || n == 0 {
		j.fault("part of trace %s has %d items, says %d: %v", part.Trace, n, part.Items, err)
	}
}

// plainKey is the key of an exported item without the attribute that says whether a record's trace was kept, and its value.
func plainKey(j *judge, s otlp.Signal, resource, scope, body []byte) (key uint64, kept string) {
	for _, v := range []bool{true, false} {
		plain, found := bytes.CutSuffix(body, otlp.BoolAttributeField(otlp.Logs, AttrKept, v))
		if found && s == otlp.Logs {
			return keyOf(s, resource, scope, plain), fmt.Sprint(v)
		}
	}
	return keyOf(s, resource, scope, body), ""
}

// mayLeaveLocked says why an item must not be exported now with this attribute, "" when it may.
func (l *life) mayLeaveLocked(x item, kept string) string {
	keep, decided := l.verdicts[x.traceID()]
	switch {
	case x.trace == 0 && x.log:
		if kept != "" {
			return "a record without a trace says kept: " + kept
		}
	case x.trace == 0:
		return "it has no trace id"
	case x.log && kept == "":
		if !l.orphans[x.traceID()] {
			return "a record does not say whether its trace was kept"
		}
	case !decided:
		return "its trace is not decided"
	case x.log:
		if kept != fmt.Sprint(keep) || (!keep && l.w.keep == LogsWithTrace) {
			return fmt.Sprintf("its trace's verdict is %v, it says kept: %s", keep, kept)
		}
	case !keep:
		return "its trace was dropped"
	}
	return ""
}

// judgeLetterLocked takes a dead letter.
func (w *world) judgeLetterLocked(l *life, data []byte, attrs map[string]string) {
	j, reason := &w.judge, attrs[AttrReason]
	if attrs[AttrError] == "" {
		j.fault("dead letter without %s", AttrError)
	}
	delete(attrs, AttrReason)
	delete(attrs, AttrError)
	if reason == ReasonUndecodable {
		p := j.payloads[xxhash.Sum64(data)]
		if p == nil || p.good || !maps.Equal(p.attrs, attrs) {
			j.fault("dead letter %q with %v is none, or with other attributes", data, attrs)
			return
		}
		if p.letters++; p.letters > p.reads {
			j.fault("%d dead letters of %d deliveries", p.letters, p.reads)
		}
		return
	}
	signal, _ := otlp.SignalOf(attrs[otlp.AttrType])
	if len(attrs) != 2 || attrs[otlp.AttrContentType] != otlp.ContentTypeProtobuf {
		j.fault("dead letter with %v", attrs)
	}
	err := decodeItems(data, func(resource, scope, body []byte) {
		key, kept := plainKey(j, signal, resource, scope, body)
		x, known := j.items[key]
		invalid := x.trace == 0 && !x.log
		switch {
		case !known, reason != ReasonInvalidID && reason != ReasonRejected, (reason == ReasonInvalidID) != invalid:
			j.fault("dead letter of %+v, reason %s: %q", x, reason, body)
		case reason == ReasonRejected && !j.refused[x.traceID()]:
			j.fault("dead letter of %+v, which no backend refused", x)
		case reason == ReasonRejected:
			if why := l.mayLeaveLocked(x, kept); why != "" {
				j.fault("dead letter of %+v: %s", x, why)
			}
		}
		j.letters[key]++
		l.account.lettered.add(one(x))
		l.account.out[key] = true
	})
	if err != nil {
		j.fault("dead letter: %v", err)
	}
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
