package probe

import (
	"sync"
	"time"
)

// entry is the name of a published entry: the publisher and its number.
type entry struct {
	publisher uint16
	seq       uint32
}

// tracker gathers what was published and what subscriptions read of it, at about 8 bytes and a bit for each subscription
// of memory per entry. All times are in µs: publish times of the server's clock, all others of the local one.
type tracker struct {
	mu         sync.Mutex // guards all below
	loading    bool
	loaders    int // publishers whose entries' latency counts
	publishers []*published
	subs       []*reading
	window     window
	unequal    int64 // deliveries with another publish time than the first
}

// published is one publisher's entries.
type published struct {
	times  []int64         // publish times by number; 0 = nobody has read it
	unsure map[uint32]bool // not answered: they may be there or not, and come late
	took   histogram
	failed int64
}

// reading is what one subscription was handed.
type reading struct {
	kind       kind
	from       int64 // publish time from which on it must get everything; 0 also means what nobody has read
	seen       [][]uint64
	last       []int64 // greatest number of each publisher, -1 none
	count      uint32
	first      int64 // least publish time
	newest     int64 // greatest
	repeated   int64
	breaks     int64 // entries read after a later one of their publisher
	inversions int64 // entries read after one that was published later
	inversion  int64 // the furthest of those
	latency    histogram
	heard      int64
	silence    int64
}

// kind is how a subscription is read.
type kind int

const (
	steady       kind = iota // without a break
	reconnecting             // in many runs
	late                     // made late and sought back
)

func newTracker(loaders, publishers, subs int) *tracker {
	t := &tracker{loaders: loaders, window: newWindow(subs)}
	for range publishers {
		t.publishers = append(t.publishers, &published{unsure: map[uint32]bool{}})
	}
	for range subs {
		t.subscribe(steady, 0)
	}
	return t
}

// subscribe adds a subscription and returns its number. Those after the first ones are not part of the window.
func (t *tracker) subscribe(k kind, from int64) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := &reading{kind: k, from: from, seen: make([][]uint64, len(t.publishers)), last: make([]int64, len(t.publishers))}
	for i := range r.last {
		r.last[i] = -1
	}
	t.subs = append(t.subs, r)
	return len(t.subs) - 1
}

// begin and end are the time in which silence counts.
func (t *tracker) begin(now int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.loading = true
	for _, r := range t.subs {
		r.heard = now
	}
}

func (t *tracker) end(now int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range t.subs {
		r.hear(now)
	}
	t.loading = false
}

func (r *reading) hear(now int64) {
	r.silence = max(r.silence, now-r.heard)
	r.heard = now
}

// send names the publisher's next entry.
func (t *tracker) send(publisher int) entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.publishers[publisher]
	p.times = append(p.times, 0)
	return entry{uint16(publisher), uint32(len(p.times) - 1)}
}

// answered notes the answer to a publish, or that there was none.
func (t *tracker) answered(e entry, sent, now int64, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.publishers[e.publisher]
	if err != nil {
		p.failed++
		p.unsure[e.seq] = true
		return
	}
	p.took.add(micros(now - sent))
	t.window.answered(e, sent, now)
}

// read notes a delivery.
func (t *tracker) read(sub int, e entry, publish, sent, now int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if int(e.publisher) >= len(t.publishers) || int(e.seq) >= len(t.publishers[e.publisher].times) {
		return // not ours
	}
	p, r := t.publishers[e.publisher], t.subs[sub]
	if t.loading {
		r.hear(now)
	}
	if p.times[e.seq] == 0 {
		p.times[e.seq] = publish
	} else if p.times[e.seq] != publish {
		t.unequal++
	}
	if !r.mark(e) {
		r.repeated++
		return
	}
	odd := r.order(e, publish, p.unsure[e.seq])
	if int(e.publisher) < t.loaders {
		r.latency.add(micros(now - sent))
	}
	if sub < t.window.subs {
		t.window.read(sub, e, publish, r.count, odd)
	}
}

// order judges the entry's place among those read before, and reports whether it is an inversion.
func (r *reading) order(e entry, publish int64, unsure bool) bool {
	if int64(e.seq) < r.last[e.publisher] && !unsure {
		r.breaks++
	}
	r.last[e.publisher] = max(r.last[e.publisher], int64(e.seq))
	if r.first == 0 || publish < r.first {
		r.first = publish
	}
	odd := publish < r.newest
	if odd {
		r.inversions++
		r.inversion = max(r.inversion, r.newest-publish)
	}
	r.newest = max(r.newest, publish)
	return odd
}

// mark reports whether the entry is read for the first time.
func (r *reading) mark(e entry) bool {
	bits := r.seen[e.publisher]
	for int(e.seq/64) >= len(bits) {
		bits = append(bits, 0)
	}
	r.seen[e.publisher] = bits
	bit := uint64(1) << (e.seq % 64)
	if bits[e.seq/64]&bit != 0 {
		return false
	}
	bits[e.seq/64] |= bit
	r.count++
	return true
}

func (r *reading) has(publisher int, seq uint32) bool {
	bits := r.seen[publisher]
	return int(seq/64) < len(bits) && bits[seq/64]&(1<<(seq%64)) != 0
}

// missing counts the entries that were confirmed and that the subscription must have, and has not.
func (t *tracker) missing(sub int) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, n := t.subs[sub], 0
	for i, p := range t.publishers {
		for seq, publish := range p.times {
			if publish >= r.from && !r.has(i, uint32(seq)) && !p.unsure[uint32(seq)] {
				n++
			}
		}
	}
	return n
}

// behind reports whether a subscription has still something to read.
func (t *tracker) behind() bool {
	for i := range t.subs {
		if t.missing(i) > 0 {
			return true
		}
	}
	return false
}

// worst is the furthest inversion of any subscription, which bounds any difference between two: of entries that two
// subscriptions read in different order, one has read the later one first.
func (t *tracker) worst() time.Duration {
	worst := t.window.worst
	for _, r := range t.subs {
		worst = max(worst, micros(r.inversion))
	}
	return worst
}

// readBack is the latency of all steady subscriptions, and the longest silence of any.
func (t *tracker) readBack() (latency histogram, silence time.Duration) {
	for _, r := range t.subs {
		if r.kind == steady {
			latency.merge(&r.latency)
			silence = max(silence, micros(r.silence))
		}
	}
	return latency, silence
}

// published is how many entries were confirmed.
func (t *tracker) published() (n int) {
	for _, p := range t.publishers {
		n += len(p.times) - len(p.unsure)
	}
	return n
}
