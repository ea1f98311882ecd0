package pipeline

import (
	"container/heap"
	"time"

	"tailweir/otlp"
)

// identity says which payload a message carries: an SDK that retries sends the same bytes under another message id. The
// length beside the 64-bit hash makes an accidental collision of different payloads rarer than a lost disk.
type identity struct {
	hash uint64
	size int
}

// message is a held payload. It is settled when none of its fragments is open any more.
type message struct {
	id       identity
	message  string // id of its first delivery
	publish  time.Time
	attrs    map[string]string
	attempt  int       // of its latest delivery, where the queue counts them
	receipts []Receipt // one for each delivery of the same payload
	parts    []*fragment
	open     int // fragments without an outcome
	charge   int64
	gone     bool // settled or returned: left in the heap until it comes up
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

// fragment is one trace's share of one message.
type fragment struct {
	msg   *message
	index *otlp.Index // of the message's payload; an export that is under way keeps it alive
	trace otlp.TraceID
	first int32 // of the chain in msg.index
	count Count // its spans or log records; Traces is counted by the trace
	state fragmentState
}

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

// charge is what a held message costs beside its payload: headers, index and fragments, as measured by the heap profile
// of the benchmark (BenchmarkHold).
func charge(payload, items, fragments int) int64 {
	return int64(payload) + int64(items)*16 + int64(fragments)*160 + 600
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
