package buffer

import (
	"cmp"
	"slices"
	"unsafe"

	"tailweir/otlp"
	"tailweir/sampler"
)

// What the budget charges: the list element and both map entries of a trace (measured about 330 B with the LRU's map at
// its load factor), and the fact itself.
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
	firstLog Stamp
	key      Stamp // the heap's lower bound of deadline
	at       int   // index in the heap
}

// fold is the canonical fold over facts in the order (publish, message): a fact later than the deadline so far, and all
// after it, are late. The outcome is a function of the set of facts, whatever the order in which they arrived.
type fold struct {
	inTime      int // how many of the facts are in time
	first, last Stamp
	root        bool
	deadline    Stamp
}

func (t *trace) add(f Fact, cfg *Config) {
	if f.Facts.Spans == 0 {
		t.addLogs(f, cfg)
		return
	}
	if at := slices.IndexFunc(t.facts, func(g Fact) bool { return g.Message == f.Message }); at >= 0 {
		if t.facts[at].Publish <= f.Publish {
			return // a repeat, and the earliest publish time wins
		}
		t.facts = slices.Delete(t.facts, at, at+1)
	}
	at, _ := slices.BinarySearchFunc(t.facts, f, canonical)
	t.facts = slices.Insert(t.facts, at, f)
	if at == len(t.facts)-1 && t.inTime == at {
		t.step(&t.facts[at], cfg)
		return
	}
	t.fold = fold{}
	for i := range t.facts {
		if !t.step(&t.facts[i], cfg) {
			break
		}
	}
}

func (t *trace) addLogs(f Fact, cfg *Config) {
	if t.logs == 0 || f.Publish < t.firstLog {
		t.firstLog = f.Publish
	}
	t.logs += f.Facts.Logs
	if len(t.facts) == 0 {
		t.deadline = t.firstLog.Add(cfg.MaxAge)
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
	f.last = x.Publish
	f.root = f.root || x.Facts.Root
	quiet := cfg.Idle
	if f.root {
		quiet = cfg.Settle
	}
	f.deadline = min(f.first.Add(cfg.MaxAge), f.last.Add(quiet))
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
	case t.root:
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
	return Release{Trace: t.id, Deadline: t.deadline, Facts: all, Late: len(t.facts) - t.inTime, Reason: why}
}

func canonical(a, b Fact) int {
	return cmp.Or(cmp.Compare(a.Publish, b.Publish), cmp.Compare(a.Message, b.Message))
}
