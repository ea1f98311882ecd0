package probe

import (
	"math"
	"time"
)

// Bounds of what is remembered to compare orders: at 50 entries/s the last minutes. Entries further apart than that which
// change places are still seen as an inversion of publish times inside one subscription.
const (
	comparedRows = 8192
	openRows     = 50_000
)

// row is what is known of one entry until all subscriptions have read it and its publisher has its answer.
type row struct {
	publish, sent, answered int64 // µs; 0 = not known yet
	place                   []uint32
	left                    int
	odd                     bool // a subscription had read something published later before it
}

// window compares the orders in which subscriptions read the same entries.
type window struct {
	subs  int
	open  map[entry]*row
	queue []entry // of open, oldest first; done ones are skipped
	done  []*row
	next  int // in done, the oldest once it is full
	worst time.Duration
	clock clock
}

func newWindow(subs int) window { return window{subs: subs, open: map[entry]*row{}} }

func (w *window) row(e entry) *row {
	r := w.open[e]
	if r == nil {
		r = &row{place: make([]uint32, w.subs), left: w.subs + 1}
		w.open[e] = r
		if w.queue = append(w.queue, e); len(w.queue) > openRows {
			delete(w.open, w.queue[0])
			w.queue = w.queue[1:]
		}
	}
	return r
}

// read notes that the subscription read the entry as its place-th.
func (w *window) read(sub int, e entry, publish int64, place uint32, odd bool) {
	r := w.row(e)
	r.publish, r.place[sub], r.odd = publish, place, r.odd || odd
	w.advance(e, r)
}

// answered notes when the entry was published, by the local clock.
func (w *window) answered(e entry, sent, at int64) {
	r := w.row(e)
	r.sent, r.answered = sent, at
	w.advance(e, r)
}

func (w *window) advance(e entry, r *row) {
	if r.left--; r.left > 0 {
		return
	}
	delete(w.open, e)
	w.clock.add(r.publish, r.sent, r.answered)
	for _, other := range w.done {
		if (r.odd || other.odd) && differs(r.place, other.place) {
			w.worst = max(w.worst, micros(abs(r.publish-other.publish)))
		}
	}
	if len(w.done) < comparedRows {
		w.done = append(w.done, r)
		return
	}
	w.done[w.next] = r
	w.next = (w.next + 1) % comparedRows
}

// differs reports whether two subscriptions read the entries of these places in different order.
func differs(a, b []uint32) bool {
	for i := range a {
		if (a[i] < b[i]) != (a[0] < b[0]) {
			return true
		}
	}
	return false
}

// clock bounds the offset of the server's clock from the local one. Each publish time is from between the sending and the
// answer, so it bounds the offset from both sides; bounds that contradict each other show that the server has several clocks.
// They are gathered for a minute at a time, or a slow drift of the local clock would count.
type clock struct {
	begin       int64
	low, high   int64 // of this minute: the offset is between, when low <= high
	spread      int64 // the worst contradiction
	first, last int64 // offsets of the first and the last minute
	any         bool
}

func (c *clock) add(publish, sent, answered int64) {
	if c.begin == 0 || answered-c.begin > time.Minute.Microseconds() {
		c.close()
		c.begin, c.low, c.high = answered, math.MinInt64, math.MaxInt64
	}
	c.low, c.high = max(c.low, publish-answered), min(c.high, publish-sent)
	c.spread = max(c.spread, c.low-c.high)
}

// close ends the minute.
func (c *clock) close() {
	if c.begin == 0 {
		return
	}
	if c.last = (c.low + c.high) / 2; !c.any {
		c.first, c.any = c.last, true
	}
}

func abs(v int64) int64 { return max(v, -v) }

func micros(us int64) time.Duration { return time.Duration(us) * time.Microsecond }
