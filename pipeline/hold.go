package pipeline

import (
	"container/heap"
	"slices"
	"time"

	"tailweir/otlp"
	"tailweir/sampler"
)

// identity says which payload a message carries: an SDK that retries sends the same bytes under another message id. The
// hash is keyed, so that nobody can make two payloads with one identity; the length beside it makes an accident rarer than a
// lost disk. The same bytes can be another payload as another signal.
type identity struct {
	hash   uint64
	size   int
	signal otlp.Signal
}

// message is a held payload. It is settled when none of its fragments is open any more.
type message struct {
	id       identity
	hash     uint64 // of the payload as facts name it: the same in every process
	message  string // id of its first delivery
	publish  time.Time
	attrs    map[string]string
	data     []byte    // uncompressed
	attempt  int       // of its latest delivery, where the queue counts them
	receipts []Receipt // one for each delivery of the same payload
	parts    []*fragment
	open     int // fragments without an outcome
	charge   int64
	dead     partSet // parts that are dead letters
	gone     bool    // settled or returned: left in the heap until it comes up
}

// ended is what is remembered of a settled message.
type ended struct {
	message string
	dead    partSet // parts that are dead letters
}

// finished says which parts of the same payload, under another message id, need nothing: all but those that are dead letters.
// Somebody may have published such a letter again, and it must not pass for a repeat.
func (e ended) finished(parts int) (done partSet) {
	for i := range parts {
		if !e.dead.has(i) {
			done.add(i)
		}
	}
	return done
}

// handedBack is what is remembered of a message that was given back: the parts that have their outcome, and the decisions of
// those that waited for their export. The history may have forgotten these when the message returns.
type handedBack struct {
	finished partSet
	decided  []decided
}

type decided struct {
	part     int
	decision *sampler.Decision
}

func (h handedBack) decision(part int) (d sampler.Decision, known bool) {
	i, known := slices.BinarySearchFunc(h.decided, part, func(x decided, part int) int { return x.part - part })
	if known {
		d = *h.decided[i].decision
	}
	return d, known
}

// partSet is a set of a message's parts, by number: reading the same payload again yields the same parts. nil is empty.
type partSet []uint64

func (s partSet) has(i int) bool { return i/64 < len(s) && s[i/64]&(1<<(i%64)) != 0 }

func (s *partSet) add(i int) {
	for len(*s) <= i/64 {
		*s = append(*s, 0)
	}
	(*s)[i/64] |= 1 << (i % 64)
}

// fragment is one trace's share of one message, or of its records those of one class.
type fragment struct {
	msg   *message
	index *otlp.Index // of the message's payload; an export that is under way keeps it alive
	trace otlp.TraceID
	first int32 // of the chain in msg.index
	count Count // its spans or log records; Traces is counted by the trace
	state fragmentState
	class uint8 // of its records

	decision *sampler.Decision // binding, while it waits to be exported
}

// source is the hash of the message, and of the class: places are counted in each of them anew.
func (f *fragment) source() uint64 { return f.msg.hash + uint64(f.class)*0x9e3779b97f4a7c15 }

type fragmentState uint8

const (
	undecided fragmentState = iota
	waiting                 // to be exported: in an outbox
	sending                 // in an export
	closed                  // has its outcome
)

// trace is the undecided fragments of one trace.
type trace struct {
	fragments []*fragment
	spans     int // fragments with spans; at the first one the trace begins to count
}

// charge is what a held message costs: payload, index, fragments and headers, as measured by the heap profile of the
// benchmark (BenchmarkHold).
func charge(payload, index, fragments int) int64 {
	return int64(payload) + int64(index) + int64(fragments)*170 + 600
}

// newest is a heap of held messages, the latest publish time first: those are given back under pressure. Settled
// messages stay until they come up or make up half of the heap.
type newest []*message

func (q newest) Len() int           { return len(q) }
func (q newest) Less(i, j int) bool { return q[i].publish.After(q[j].publish) }
func (q newest) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *newest) Push(x any)        { *q = append(*q, x.(*message)) }
func (q *newest) Pop() any {
	old := *q
	m := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return m
}

// shed removes messages that are gone once they make up more than half of the heap.
func (q *newest) shed(live int) {
	if len(*q) < 2*live+1024 {
		return
	}
	kept := (*q)[:0]
	for _, m := range *q {
		if !m.gone {
			kept = append(kept, m)
		}
	}
	clear((*q)[len(kept):])
	*q = kept
	heap.Init(q)
}
