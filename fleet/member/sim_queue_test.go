package member_test

import (
	"context"
	"time"

	"github.com/cespare/xxhash/v2"

	"tailweir/fleet/member"
)

// subscription is a Pub/Sub subscription without order: messages are leased to one of the pullers, and come again when
// the lease ends or they are given back.
type subscription struct {
	w       *world
	name    string
	pullers []*puller
	waiting []*message // for a puller
	most    int        // deliveries of one message, at most
	delayed int        // messages given back for a while
	all     []*message
	stops   time.Time // nothing is delivered before
	quick   func(*message) time.Duration
}

type message struct {
	sub     *subscription
	id      string
	data    []byte
	publish time.Time
	attempt int
	acked   bool
	ackedAt time.Time
	holds   []*hold
	*payload
}

// hold is the time for which a worker had a message.
type hold struct {
	k        *worker
	from, to time.Time // to is zero while it has it
}

type puller struct {
	sub   *subscription
	k     *worker
	queue []*delivery
	wake  chan struct{}
	shut  bool
	stops bool // pulls no more: what still comes is nacked, until the server has closed the stream
	life  int  // streams so far: what is on its way when one breaks comes again
}

type delivery struct {
	m       *message
	to      *puller
	life    int
	attempt int
	until   time.Time // of the lease
	over    bool      // settled, or expired and given to somebody else
	hold    *hold
}

// add takes a published message in; w.mu is held.
func (s *subscription) add(m *message) {
	m.sub = s
	s.all = append(s.all, m)
	s.offer(m)
	if s.w.die(s.name+" twice", m.id).Float64() < s.w.setup.twice {
		s.offer(m)
	}
}

// offer delivers m to somebody; w.mu is held.
func (s *subscription) offer(m *message) {
	if m.acked {
		return
	}
	if stopped := time.Until(s.stops); stopped > 0 {
		extra := time.Duration(0)
		if s.quick != nil {
			extra = s.quick(m)
		}
		s.w.after(stopped+extra+time.Millisecond, func() { s.offer(m) })
		return
	}
	var best *puller
	var score uint64
	for _, p := range s.pullers {
		if x := s.w.die(s.name+" puller", m.id, m.attempt, p.k.name).Uint64(); best == nil || x > score {
			best, score = p, x
		}
	}
	if best == nil {
		s.waiting = append(s.waiting, m)
		return
	}
	s.deliver(m, best)
}

// attempts is those of the dead-letter policy. A healthy message must not come near: it would be lost.
const attempts = 100

func (s *subscription) deliver(m *message, to *puller) {
	m.attempt++
	if s.most = max(s.most, m.attempt); s == s.w.payloads && m.attempt == attempts {
		s.w.judge.fault("message %s is a dead letter, after %d deliveries", m.id, m.attempt)
	}
	d := &delivery{m: m, to: to, attempt: m.attempt, life: to.life}
	s.w.after(delay(s.w.die(s.name+" delivery", m.id, m.attempt), true), func() { s.arrive(d) })
}

func (s *subscription) arrive(d *delivery) {
	d.until = time.Now().Add(ackDeadline)
	switch p := d.to; {
	case d.m.acked:
	case p.k.dead:
		s.lease(d)
	case p.life != d.life:
		s.w.after(ackDeadline, func() { s.offer(d.m) })
	case p.shut:
		s.offer(d.m)
	case p.stops:
		s.giveBack(d, 0)
		s.lease(d) // it may die before it has said so
	default:
		p.queue = append(p.queue, d)
		p.poke()
		s.lease(d)
	}
}

func (p *puller) poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// lease extends the lease of d at half its time while its worker lives; w.mu is held.
func (s *subscription) lease(d *delivery) {
	s.w.after(ackDeadline/2, func() {
		switch {
		case d.over || d.m.acked:
		case s.reaches(d.to.k):
			d.until = time.Now().Add(ackDeadline)
			s.lease(d)
		case !time.Now().Before(d.until):
			d.over = true
			s.offer(d.m)
		default:
			s.lease(d)
		}
	})
}

// reaches reports whether k can talk to s now. A cut of the control plane leaves the payloads alone.
func (s *subscription) reaches(k *worker) bool {
	until := k.paused
	if s == s.w.facts {
		until = later(k.blocked(), k.deaf)
	}
	return !k.dead && !time.Now().Before(until)
}

// open begins to pull.
func (s *subscription) open(k *worker) *puller {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	p := &puller{sub: s, k: k, wake: make(chan struct{}, 1)}
	s.pullers = append(s.pullers, p)
	waiting := s.waiting
	s.waiting = nil
	for _, m := range waiting {
		s.offer(m)
	}
	return p
}

// stop ends pulling. Until the server has closed the stream, half a second at most, it goes on to deliver.
func (p *puller) stop() {
	w := p.sub.w
	w.mu.Lock()
	defer w.mu.Unlock()
	p.stops = true
	for _, d := range p.queue {
		p.sub.giveBack(d, 0)
	}
	p.queue = nil
	w.after(between(w.die("close", p.k.name, int(w.now()/time.Millisecond)), 100*time.Millisecond, 500*time.Millisecond), func() { p.sub.drop(p) })
}

// close ends the stream: what was not handed out yet goes back.
func (p *puller) close() {
	p.sub.w.mu.Lock()
	defer p.sub.w.mu.Unlock()
	p.sub.drop(p)
	if p.k.dead {
		return
	}
	for _, d := range p.queue {
		p.sub.giveBack(d, 0)
	}
	p.queue = nil
}

func (s *subscription) drop(p *puller) {
	p.shut = true
	for i, q := range s.pullers {
		if q == p {
			s.pullers = append(s.pullers[:i:i], s.pullers[i+1:]...)
			return
		}
	}
}

// next returns the next delivery, nil when ctx is done.
func (p *puller) next(ctx context.Context) *delivery {
	for ctx.Err() == nil {
		d, wait := p.take()
		switch {
		case d != nil:
			return d
		case wait > 0:
			_ = sleep(ctx, wait)
		default:
			select {
			case <-p.wake:
			case <-ctx.Done():
			}
		}
	}
	return nil
}

func (p *puller) take() (*delivery, time.Duration) {
	w := p.sub.w
	w.mu.Lock()
	defer w.mu.Unlock()
	until := p.k.paused
	if p.sub == w.facts {
		until = later(p.k.blocked(), p.k.deaf)
	}
	if wait := time.Until(until); wait > 0 {
		return nil, wait
	}
	for len(p.queue) > 0 {
		d := p.queue[0]
		p.queue = p.queue[1:]
		if d.over { // the client drops what it knows to be expired
			continue
		}
		d.hold = &hold{k: p.k, from: time.Now()}
		d.m.holds = append(d.m.holds, d.hold)
		return d, 0
	}
	return nil, 0
}

// settle ends a delivery from the worker's side; w.mu is held. It reports whether it counts: the dead say nothing.
func (d *delivery) settle() bool {
	if d.to.k.dead {
		return false
	}
	if d.hold != nil && d.hold.to.IsZero() {
		d.hold.to = time.Now()
	}
	return true
}

// ack reaches the server after a while, if the worker lives so long. An ack after the lease counts all the same.
func (s *subscription) ack(d *delivery) {
	if !d.settle() {
		return
	}
	if s == s.w.payloads {
		s.w.judge.ack(d)
	}
	s.send(d, func() {
		d.over = true
		if !d.m.acked {
			d.m.acked, d.m.ackedAt = true, time.Now()
		}
	})
}

// giveBack makes the message come again after wait; w.mu is held. What is nacked while the stream is open likes to come back
// on it at once.
func (s *subscription) giveBack(d *delivery, wait time.Duration) {
	if !d.settle() {
		return
	}
	s.send(d, func() {
		if d.over {
			return
		}
		d.over = true
		switch {
		case wait > 0:
			s.delayed++
			s.w.after(wait, func() { s.offer(d.m) })
		case !d.to.shut && s.w.die(s.name+" back", d.m.id, d.attempt).Float64() < 0.7:
			s.deliver(d.m, d.to)
		default:
			s.offer(d.m)
		}
	})
}

// send lets what a worker says about a delivery reach the server, unless it dies first.
func (s *subscription) send(d *delivery, then func()) {
	wait := between(s.w.die(s.name+" settle", d.m.id, d.attempt), 20*time.Millisecond, 150*time.Millisecond)
	s.w.after(wait+max(0, time.Until(d.to.k.paused)), func() {
		if !d.to.k.dead {
			then()
		}
	})
}

// publishFacts is member.Facts for one worker: it sends again until there is a reply.
func (w *world) publishFacts(ctx context.Context, k *worker, data []byte) error {
	w.mu.Lock()
	w.judge.batch(data)
	w.mu.Unlock()
	for {
		if err := k.control(ctx); err != nil {
			return err
		}
		w.mu.Lock()
		k.factPublishes++
		id := k.name + "/" + time.Duration(k.factPublishes).String()
		stopped := time.Until(w.facts.stops)
		w.mu.Unlock()
		if stopped > 0 {
			if err := sleep(ctx, min(stopped, time.Second)); err != nil {
				return err
			}
			continue
		}
		request, reply := w.trip(w.die("facts publish", id))
		if request >= 0 {
			w.after(request, func() { w.facts.add(&message{id: id, data: data, publish: time.Now()}) })
		}
		if request < 0 || reply < 0 {
			request, reply = 2*time.Second, 0
			if err := sleep(ctx, request); err != nil {
				return err
			}
			continue
		}
		if err := sleep(ctx, request+reply); err != nil {
			return err
		}
		return k.control(ctx)
	}
}

// pullFacts is member.Facts for one worker.
func (w *world) pullFacts(ctx context.Context, k *worker, handle func(data []byte, publish time.Time) member.Settle) error {
	p := w.facts.open(k)
	defer p.close()
	for d := p.next(ctx); d != nil; d = p.next(ctx) {
		what := handle(d.m.data, d.m.publish)
		w.mu.Lock()
		if what == member.Ack {
			if !k.dead {
				w.judge.took(k, d.m.data)
			}
			w.facts.ack(d)
		} else {
			w.facts.giveBack(d, time.Second)
		}
		w.mu.Unlock()
	}
	return nil
}

func sum(b []byte) uint64 { return xxhash.Sum64(b) }
