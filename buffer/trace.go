package buffer

import (
	"cmp"
	"slices"
	"time"
	"unsafe"

	"tailweir/otlp"
	"tailweir/sampler"
)

// What the budget charges: the list element and both map entries of a trace (measured 250 to 330 B, by the load of the
// LRU's map), and the fact itself.
const (
	traceBytes = 330
	factBytes  = int64(unsafe.Sizeof(Fact{}))
)

// trace is an open trace. The facts that carry spans are kept one by one, not merged: which of them are in time depends
// on their order by publish time, and that is known only when the last one is in.
type trace struct {
	id    otlp.TraceID
	facts []Fact // with spans, sorted by (publish, message)
	fold
	logs     uint32 // log records; they never move a deadline
	at       int32  // index in the heap
	firstLog Stamp
	key      Stamp     // the heap's lower bound of deadline
	messages *messages // nil while the facts alone tell a repeat

	arrived      time.Duration // by the window's clock
	older, newer *trace        // neighbours in the order of arrival
}

// fold is the canonical fold over facts in the order (publish, message): a fact later than the deadline so far, and all
// after it, are late. The outcome is a function of the set of facts, whatever the order in which they arrived.
type fold struct {
	inTime   int32 // how many of the facts are in time
	root     int32 // 1 + the index of the first fact with the root; 0 is none
	first    Stamp
	deadline Stamp
}

func (t *trace) add(f Fact, cfg *Config) {
	if f.Facts.Spans == 0 {
		t.addLogs(f, cfg)
		return
	}
	if publish, again := t.publish(f.Message); again {
		if publish <= f.Publish {
			return // a repeat, and the earliest publish time wins
		}
		if at, found := slices.BinarySearchFunc(t.facts, Fact{Message: f.Message, Publish: publish}, canonical); found {
			t.facts = slices.Delete(t.facts, at, at+1)
		}
	}
	at, _ := slices.BinarySearchFunc(t.facts, f, canonical)
	t.facts = slices.Insert(t.facts, at, f)
	t.remember(f.Message, f.Publish)
	t.refold(at, cfg)
}

func (t *trace) addLogs(f Fact, cfg *Config) {
	if t.logs == 0 || f.Publish < t.firstLog {
		t.firstLog = f.Publish
	}
	if !t.repeatsLogs(f) {
		t.logs += f.Facts.Logs
	}
	if len(t.facts) == 0 {
		t.deadline = t.firstLog.Add(cfg.MaxAge)
	}
}

// refold folds the facts from index at on, where one was put in: those before it stand. Facts come nearly in order, so
// that these are few; folding all for each would cost the square of their number. The deadline is that of the former fold
// until the first step, which is no harm: what was put in before a fact in time is in time.
func (t *trace) refold(at int, cfg *Config) {
	if at > int(t.inTime) {
		return // late, like the one before it
	}
	t.inTime = int32(at)
	if t.root > t.inTime {
		t.root = 0
	}
	for i := at; i < len(t.facts) && t.step(&t.facts[i], cfg); i++ {
	}
}

// step folds the next fact in canonical order and reports whether it was in time.
func (f *fold) step(x *Fact, cfg *Config) bool {
	if f.inTime > 0 && x.Publish > f.deadline {
		return false
	}
	if f.inTime == 0 {
		f.first = x.Publish
	}
	f.inTime++
	if x.Facts.Root && f.root == 0 {
		f.root = f.inTime
	}
	quiet := cfg.Idle
	if f.root > 0 {
		quiet = cfg.Settle
	}
	f.deadline = min(f.first.Add(cfg.MaxAge), x.Publish.Add(quiet))
	return true
}

// begin is the publish time of the earliest fact, log records included.
func (t *trace) begin() Stamp {
	if t.inTime == 0 || (t.logs > 0 && t.firstLog < t.first) {
		return t.firstLog
	}
	return t.first
}

func (t *trace) reason(cfg *Config) Reason {
	switch {
	case t.inTime == 0:
		return Orphan
	case t.deadline == t.first.Add(cfg.MaxAge):
		return Expired
	case t.root > 0:
		return Settled
	default:
		return Idle
	}
}

func (t *trace) release(why Reason) Release {
	var all sampler.Facts
	for i := range t.facts[:t.inTime] {
		all.Merge(&t.facts[i].Facts)
	}
	all.Logs += t.logs
	if t.inTime == 0 && why != 0 {
		why = Orphan // whatever made it leave: without a span there is nothing to decide
	}
	return Release{Trace: t.id, Deadline: t.deadline, Facts: all, Late: len(t.facts) - int(t.inTime), Reason: why}
}

// bytes is what the budget charges for the trace.
func (t *trace) bytes() int64 { return traceBytes + int64(cap(t.facts))*factBytes + t.messages.bytes() }

func canonical(a, b Fact) int {
	return cmp.Or(cmp.Compare(a.Publish, b.Publish), cmp.Compare(a.Message, b.Message))
}
