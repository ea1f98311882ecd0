// Package buffer is the window: it gathers the facts of each trace and releases each trace exactly once, in event time.
//
// The window holds facts, a few dozen bytes a fragment, never spans; the payloads stay with whoever received them. Time is
// Pub/Sub's publish time: a trace's deadline follows from the publish times of its facts alone, and the trace is released
// when the watermark that the caller passes in has gone beyond it. So an hour of backlog, replayed in minutes and out of
// order, is released as it would have been live. The package does no I/O, starts no goroutine and reads no clock.
package buffer

import (
	"bytes"
	"cmp"
	"container/heap"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"tailweir/otlp"
	"tailweir/sampler"
)

// Stamp is a Pub/Sub publish time in milliseconds since the Unix epoch, the unit in which facts travel between workers.
type Stamp int64

// StampOf returns t as a Stamp, truncated to the millisecond.
func StampOf(t time.Time) Stamp { return Stamp(t.UnixMilli()) }

// Add returns s moved by d, truncated to the millisecond.
func (s Stamp) Add(d time.Duration) Stamp { return s + Stamp(d.Milliseconds()) }

// Sub returns the distance from t to s.
func (s Stamp) Sub(t Stamp) time.Duration { return time.Duration(s-t) * time.Millisecond }

// Config sets the window's deadlines and budgets. A trace's deadline is
//
//	min(first + MaxAge, root seen ? last + Settle : last + Idle)
//
// over the publish times of its facts.
type Config struct {
	Settle    time.Duration // quiet time after the root was seen; default 10 s: above the SDKs' batch delay of 5 s plus an asynchronous tail
	Idle      time.Duration // quiet time without a root; default 15 s
	MaxAge    time.Duration // the longest a trace is gathered; default 60 s
	MaxTraces int           // open traces; default 500,000
	MaxBytes  int64         // memory of the facts; default 256 MiB
	// MaxHold is the longest that a trace is in the window by the wall clock; default 10 min, or twice MaxAge where that is more.
	// It is the last resort: when every worker is full of traces whose other parts nobody has room for, event time stops.
	MaxHold time.Duration
}

// Defaults returns c with every zero field set to its default.
func (c Config) Defaults() Config {
	c.Settle = cmp.Or(c.Settle, 10*time.Second)
	c.Idle = cmp.Or(c.Idle, 15*time.Second)
	c.MaxAge = cmp.Or(c.MaxAge, 60*time.Second)
	c.MaxTraces = cmp.Or(c.MaxTraces, 500_000)
	c.MaxBytes = cmp.Or(c.MaxBytes, 256<<20)
	c.MaxHold = cmp.Or(c.MaxHold, max(10*time.Minute, 2*c.MaxAge))
	return c
}

// Validate reports every impossible setting of a Config that has its defaults (but for MaxHold, which may be 0), one line each.
func (c Config) Validate() []string {
	var faults []string
	say := func(bad bool, format string, args ...any) {
		if bad {
			faults = append(faults, fmt.Sprintf(format, args...))
		}
	}
	say(c.Settle < time.Millisecond, "settle (%s) must be at least 1ms", c.Settle)
	say(c.Idle < c.Settle, "idle (%s) must not be below settle (%s): a trace without its root would be decided sooner than one with it", c.Idle, c.Settle)
	say(c.MaxAge < c.Idle, "max_age (%s) must not be below idle (%s)", c.MaxAge, c.Idle)
	say(c.MaxTraces < 1, "max_traces (%d) must be at least 1", c.MaxTraces)
	say(c.MaxBytes < 1<<16, "max_bytes (%d) must be at least 64 KiB", c.MaxBytes)
	say(c.MaxHold != 0 && c.MaxHold < c.MaxAge, "max_hold (%s) must not be below max_age (%s)", c.MaxHold, c.MaxAge)
	return faults
}

// Reason says why a trace was released.
type Reason uint8

const (
	Settled  Reason = iota + 1 // its root was seen, then it was quiet for Settle
	Idle                       // no root, quiet for Idle
	Expired                    // MaxAge since its first fact
	Evicted                    // the window was full and this trace the coldest: decided early, on what was known
	Drained                    // the process was asked to decide everything now
	Orphan                     // only log records were ever seen, for MaxAge; the release does not bind spans that come later
	Pressure                   // MaxHold by the wall clock while event time stood still: decided early, on what was known
)

// String returns the reason as it is shown and logged, in lower case.
func (r Reason) String() string {
	names := [...]string{"", "settled", "idle", "expired", "evicted", "drained", "orphan", "pressure"}
	if int(r) < len(names) {
		return names[r]
	}
	return fmt.Sprintf("reason %d", uint8(r))
}

// Fact is what one message says about one trace.
type Fact struct {
	Message uint64 // identity of the message: the hash of its uncompressed payload
	Publish Stamp
	Facts   sampler.Facts
}

// Release is a trace that has left the window.
type Release struct {
	Trace    otlp.TraceID
	Deadline Stamp
	Facts    sampler.Facts // merged over the facts that were in time
	Late     int           // facts that came after the deadline so far; they follow the decision and do not shape it
	Reason   Reason
}

// Open is a trace that is still being gathered, as shown to people.
type Open struct {
	Trace    otlp.TraceID
	First    Stamp // its earliest fact
	Deadline Stamp
	Facts    sampler.Facts
}

// Window gathers facts. Use New. It is not safe for concurrent use; memory is bounded by Config.MaxTraces and MaxBytes.
type Window struct {
	cfg    Config
	traces *simplelru.LRU[otlp.TraceID, *trace]
	queue  deadlines // the same traces as in the LRU, by deadline
	bytes  int64

	began          time.Time     // what now counts from; zero before the first Clock
	now            time.Duration // never goes back
	oldest, newest *trace        // the same traces, in the order of arrival
}

// New returns an empty window. Its Config must have its defaults and be valid.
func New(cfg Config) *Window {
	lru, err := simplelru.NewLRU[otlp.TraceID, *trace](cfg.MaxTraces+1, nil) // one above: the window evicts, never the list by itself
	if err != nil {
		panic(fmt.Sprintf("buffer: New: %v", err)) // only a size below 1, which Validate refuses
	}
	return &Window{cfg: cfg.Defaults(), traces: lru}
}

// Clock sets the wall clock's time, which is when the traces of the following Adds arrive.
func (w *Window) Clock(now time.Time) {
	if w.began.IsZero() {
		w.began = now
	}
	w.now = max(w.now, now.Sub(w.began))
}

// Add puts a fact to its trace. The same message counts once, with its earliest publish time. Traces that have to
// leave early because a budget is full are passed to evict, coldest first, before Add returns.
func (w *Window) Add(id otlp.TraceID, f Fact, evict func(Release)) {
	t, known := w.traces.Get(id)
	if !known {
		t = &trace{id: id}
		w.traces.Add(id, t)
		w.arrive(t)
		w.bytes += t.bytes()
	}
	before := t.bytes()
	t.add(f, &w.cfg)
	w.bytes += t.bytes() - before
	switch {
	case !known:
		t.key = t.deadline
		heap.Push(&w.queue, t)
	case t.deadline < t.key: // a later deadline is seen to when the old one comes up: most facts push it out
		t.key = t.deadline
		heap.Fix(&w.queue, int(t.at))
	}
	for w.traces.Len() > w.cfg.MaxTraces || (w.bytes > w.cfg.MaxBytes && w.traces.Len() > 1) {
		_, coldest, _ := w.traces.GetOldest()
		w.remove(coldest)
		evict(coldest.release(Evicted))
	}
}

// Advance releases every trace whose deadline is at or before the watermark, in the order (deadline, trace id).
func (w *Window) Advance(watermark Stamp, release func(Release)) {
	for len(w.queue) > 0 && w.queue[0].key <= watermark {
		t := w.queue[0]
		if t.key != t.deadline {
			t.key = t.deadline
			heap.Fix(&w.queue, 0)
			continue
		}
		w.remove(t)
		release(t.release(t.reason(&w.cfg)))
	}
}

// Expire sets the clock and releases every trace that is in the window for MaxHold or longer, in the order of arrival, with
// the reason Pressure.
func (w *Window) Expire(now time.Time, release func(Release)) {
	w.Clock(now)
	for t := w.oldest; t != nil && w.now-t.arrived >= w.cfg.MaxHold; t = w.oldest {
		w.remove(t)
		release(t.release(Pressure))
	}
}

// Drain releases everything, in the order (deadline, trace id), with the reason Drained.
func (w *Window) Drain(release func(Release)) {
	all := w.sorted()
	for _, t := range all {
		w.remove(t)
		release(t.release(Drained))
	}
}

// Len returns the number of open traces and Bytes the memory charged for them.
func (w *Window) Len() int { return w.traces.Len() }

// Bytes returns the memory charged for the open traces.
func (w *Window) Bytes() int64 { return w.bytes }

// Next returns up to limit open traces, those with the earliest deadlines first. It looks at all of them: for people, not for loops.
func (w *Window) Next(limit int) []Open {
	if limit <= 0 {
		return nil
	}
	first := make([]*trace, 0, min(limit, len(w.queue))+1)
	for _, t := range w.queue {
		if len(first) == limit && byDeadline(t, first[limit-1]) > 0 {
			continue // nearly always, so no copy of a million traces is sorted while the caller's lock is held
		}
		at, _ := slices.BinarySearchFunc(first, t, byDeadline)
		first = slices.Insert(first, at, t)
		first = first[:min(len(first), limit)]
	}
	out := make([]Open, len(first))
	for i, t := range first {
		out[i] = Open{Trace: t.id, First: t.begin(), Deadline: t.deadline, Facts: t.release(0).Facts}
	}
	return out
}

func (w *Window) sorted() []*trace {
	all := slices.Clone(w.queue)
	slices.SortFunc(all, byDeadline)
	return all
}

func byDeadline(a, b *trace) int {
	return cmp.Or(cmp.Compare(a.deadline, b.deadline), bytes.Compare(a.id[:], b.id[:]))
}

func (w *Window) remove(t *trace) {
	w.traces.Remove(t.id)
	heap.Remove(&w.queue, int(t.at))
	w.leave(t)
	w.bytes -= t.bytes()
}

func (w *Window) arrive(t *trace) {
	t.arrived, t.older = w.now, w.newest
	if w.newest == nil {
		w.oldest = t
	} else {
		w.newest.newer = t
	}
	w.newest = t
}

func (w *Window) leave(t *trace) {
	if t.older == nil {
		w.oldest = t.newer
	} else {
		t.older.newer = t.newer
	}
	if t.newer == nil {
		w.newest = t.older
	} else {
		t.newer.older = t.older
	}
	t.older, t.newer = nil, nil
}

// deadlines is a heap by (key, trace id). The key is a lower bound of the deadline, made exact when it comes up.
type deadlines []*trace

func (q deadlines) Len() int { return len(q) }
func (q deadlines) Less(i, j int) bool {
	if q[i].key != q[j].key {
		return q[i].key < q[j].key
	}
	return bytes.Compare(q[i].id[:], q[j].id[:]) < 0
}
func (q deadlines) Swap(i, j int) { q[i], q[j] = q[j], q[i]; q[i].at, q[j].at = int32(i), int32(j) }
func (q *deadlines) Push(x any)   { t := x.(*trace); t.at = int32(len(*q)); *q = append(*q, t) }
func (q *deadlines) Pop() any {
	old := *q
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return t
}
