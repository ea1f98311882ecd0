package member_test

import (
	"container/heap"
	"context"
	"time"

	"tailweir/fleet/member"
)

// logTopic is the log: every subscription gets every entry, each publisher's own in order, and entries more than 0.8 s
// apart by publish time in that order.
type logTopic struct {
	w        *world
	all      []logEntry
	last     map[string]time.Time // by publisher
	readings []*reading
	stops    time.Time // nothing is delivered before
}

type logEntry struct {
	data      []byte
	publish   time.Time
	publisher string
	number    int // of the publisher's publishes
}

// swapped is how far entries of different publishers may change places: below δ, with the clocks' 200 ms.
const swapped = 800 * time.Millisecond

// publish is member.Log for one worker.
func (l *logTopic) publish(ctx context.Context, k *worker, data []byte) error {
	w := l.w
	w.mu.Lock()
	k.logPublishes++
	n := k.logPublishes
	data = w.judge.send(k, data)
	w.mu.Unlock()
	if err := k.control(ctx); err != nil {
		return err
	}
	r := w.die("log publish", k.name, n)
	request, reply := w.trip(r)
	if request >= 0 {
		w.after(request, func() { l.stamp(k.name, n, data) })
	}
	if request < 0 || reply < 0 {
		<-ctx.Done()
		return ctx.Err()
	}
	err := sleep(ctx, request+reply)
	if err == nil {
		err = k.control(ctx)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil && !k.dead {
		w.judge.replied(k, data)
	}
	return err
}

// trip is how long a request to publish and its reply take; -1: lost.
func (w *world) trip(r interface{ Float64() float64 }) (request, reply time.Duration) {
	x := w.die("trip", int(r.Float64()*1e15))
	whole := delay(x, false)
	request = time.Duration((0.2 + 0.6*x.Float64()) * float64(whole))
	reply = whole - request
	if !w.setup.bad {
		return request, reply
	}
	switch u := x.Float64(); {
	case u < 0.005:
		request += between(x, 500*time.Millisecond, 20*time.Second)
	case u < 0.01:
		reply += between(x, 500*time.Millisecond, 20*time.Second)
	case u < 0.02:
		reply = -1
	case u < 0.025:
		request = -1
	}
	return request, reply
}

// stamp takes an entry in; w.mu is held.
func (l *logTopic) stamp(publisher string, number int, data []byte) {
	e := logEntry{data, l.w.stamp(l.last, publisher), publisher, number}
	l.all = append(l.all, e)
	l.w.judge.read(e)
	for _, r := range l.readings {
		r.offer(e, false)
	}
}

// reading is one subscription on the log.
type reading struct {
	w      *world
	k      *worker
	name   int // of the worker's readings
	start  time.Time
	queue  arrivals
	ahead  map[string]time.Time // latest arrival, by publisher
	recent []arrival            // entries whose order may still change
	floor  time.Time            // latest arrival of those whose order may not
	wake   chan struct{}
}

type arrival struct {
	logEntry
	at time.Time
}

type arrivals []arrival

func (q arrivals) Len() int           { return len(q) }
func (q arrivals) Less(i, j int) bool { return q[i].at.Before(q[j].at) }
func (q arrivals) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *arrivals) Push(x any)        { *q = append(*q, x.(arrival)) }
func (q *arrivals) Pop() any {
	old := *q
	x := old[len(old)-1]
	*q = old[:len(old)-1]
	return x
}

// offer puts an entry into the queue of r; w.mu is held. Retained entries come fast.
func (r *reading) offer(e logEntry, retained bool) {
	if e.publish.Before(r.start) {
		return
	}
	x := r.w.die("log delivery", r.k.name, r.name, e.publisher, e.number)
	wait := delay(x, false)
	if retained {
		wait = between(x, 50*time.Millisecond, 300*time.Millisecond)
	} else if x.Float64() < r.w.setup.swap {
		wait += between(x, 0, swapped)
	}
	r.push(e, time.Now().Add(wait))
	if !retained && x.Float64() < r.w.setup.twice {
		heap.Push(&r.queue, arrival{e, time.Now().Add(wait + between(x, 0, 5*time.Second))})
	}
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// push keeps assumptions A and B.
func (r *reading) push(e logEntry, at time.Time) {
	kept := r.recent[:0]
	for _, f := range r.recent {
		if f.publish.Before(e.publish.Add(-swapped)) {
			r.floor = later(r.floor, f.at)
		} else {
			kept = append(kept, f)
		}
	}
	at = later(at, later(r.floor, r.ahead[e.publisher]).Add(time.Microsecond))
	r.ahead[e.publisher] = at
	r.recent = append(kept, arrival{e, at})
	heap.Push(&r.queue, arrival{e, at})
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// subscribe is member.Log for one worker.
func (l *logTopic) subscribe(ctx context.Context, k *worker, from time.Time) (member.Reading, error) {
	if err := k.control(ctx); err != nil {
		return nil, err
	}
	if err := sleep(ctx, 100*time.Millisecond); err != nil {
		return nil, err
	}
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	k.readings++
	r := &reading{w: l.w, k: k, name: k.readings, start: from, ahead: map[string]time.Time{}, wake: make(chan struct{}, 1)}
	for _, e := range l.all {
		r.offer(e, true)
	}
	l.readings = append(l.readings, r)
	return r, nil
}

func (r *reading) Start() time.Time { return r.start }

func (r *reading) Run(ctx context.Context, handle func(data []byte, publish time.Time)) error {
	for ctx.Err() == nil {
		e, wait, ok := r.next()
		switch {
		case ok:
			handle(e.data, e.publish)
		case wait > 0:
			r.doze(ctx, wait)
		default:
			select {
			case <-r.wake:
			case <-ctx.Done():
			}
		}
	}
	return nil
}

func (r *reading) doze(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-r.wake: // something may come sooner
	case <-ctx.Done():
	}
}

func (r *reading) next() (e logEntry, wait time.Duration, ok bool) {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	if len(r.queue) == 0 {
		return e, 0, false
	}
	at := later(r.queue[0].at, later(r.k.blocked(), later(r.k.lags, r.w.log.stops)))
	if wait = time.Until(at); wait > 0 {
		return e, wait, false
	}
	return heap.Pop(&r.queue).(arrival).logEntry, 0, true
}

func (r *reading) Close(ctx context.Context) error {
	if err := r.k.control(ctx); err != nil {
		return err
	}
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	r.w.log.drop(func(x *reading) bool { return x == r })
	return nil
}

func (l *logTopic) drop(gone func(*reading) bool) {
	kept := l.readings[:0]
	for _, r := range l.readings {
		if !gone(r) {
			kept = append(kept, r)
		}
	}
	l.readings = kept
}
