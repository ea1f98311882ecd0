package member_test

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"sync"
	"time"

	"tailweir/fleet"
	"tailweir/fleet/member"
	"tailweir/otlp"
	"tailweir/pipeline"
	"tailweir/sampler"
)

// worker is a process of the fleet: a real member and a real pipeline, and what joins them to the topics.
type worker struct {
	w      *world
	name   string // in the simulation
	m      *member.Member
	p      *pipeline.Pipeline
	ctx    context.Context
	cancel context.CancelFunc
	done   sync.WaitGroup

	gate    sync.Mutex // of Resume and Fence, held over no virtual time
	session *session

	// Guarded by the world's mutex.
	dead, gone    bool      // killed; ended in any way
	leaving       bool      // says goodbye
	paused, cut   time.Time // nothing gets on before; nothing of the control plane
	lags          time.Time // nothing of the log is delivered before
	deaf          time.Time // nothing of the facts is delivered before
	logPublishes  int
	factPublishes int
	readings      int
	exports       int
	idle          int // samples in a row in which it should hold nothing
	final         member.State
}

// session is one subscriber's life.
type session struct {
	p      *puller
	cancel context.CancelFunc
	done   chan struct{}
}

// start starts a worker with the policy set.
func (w *world) start(set *sampler.Policies) *worker {
	w.mu.Lock()
	k := &worker{w: w, name: fmt.Sprintf("w%d", w.started)}
	w.started++
	w.mu.Unlock()
	r := w.die("worker", k.name)
	k.ctx, k.cancel = context.WithCancel(w.ctx)
	k.m = member.New(member.Config{
		Fleet: cmp.Or(w.setup.fleet, "spans"), Policies: set, Replay: w.setup.replay, Log: (*logOf)(k), Facts: (*factsOf)(k), Logger: w.logger(k.name),
		Rand:              rand.New(rand.NewPCG(r.Uint64(), r.Uint64())),
		Tick:              func(ctx context.Context) error { return w.tick(ctx, k) },
		ClearUnseenParent: w.setup.rootless > 0,
	})
	k.p = pipeline.New(pipeline.Config{
		Policies: set, Exporter: (*exporterOf)(k), Sequencer: k.m, Dead: deadTopic{w}, Heard: k.m.Heard, Log: w.logger(k.name), MaxBytes: w.setup.maxBytes,
	})
	id := k.m.Name()
	w.mu.Lock()
	w.workers = append(w.workers, k)
	w.judge.names[id] = k
	w.note("%s starts, named %s", k.name, id)
	w.mu.Unlock()
	k.done.Go(func() { _ = k.p.Run(k.ctx) })
	k.done.Go(func() {
		if err := k.m.Run(k.ctx, (*holder)(k)); err != nil && k.ctx.Err() == nil {
			w.t.Errorf("%s: run: %v", k.name, err)
		}
	})
	return k
}

// blocked is until when the control plane is out of reach; the world's mutex is held.
func (k *worker) blocked() time.Time { return later(k.paused, k.cut) }

// control waits until k reaches the control plane. A pause does not see that ctx ends.
func (k *worker) control(ctx context.Context) error {
	for {
		k.w.mu.Lock()
		dead, paused, cut := k.dead, time.Until(k.paused), time.Until(k.cut)
		k.w.mu.Unlock()
		switch {
		case dead:
			return errDead
		case paused > 0:
			time.Sleep(paused)
		case cut > 0:
			if err := sleep(ctx, cut); err != nil {
				return err
			}
			return errAway
		default:
			return ctx.Err()
		}
	}
}

// kill ends k at once: nothing it does from now on reaches anybody.
func (k *worker) kill() {
	was := k.m.State()
	k.w.mu.Lock()
	if k.gone {
		k.w.mu.Unlock()
		return
	}
	k.w.note("%s is killed, %s", k.name, was.Phase)
	k.dead = true
	k.end(was)
	for _, s := range []*subscription{k.w.payloads, k.w.facts} {
		for _, p := range append([]*puller(nil), s.pullers...) {
			if p.k == k {
				s.drop(p)
			}
		}
		for _, m := range s.all {
			for _, h := range m.holds {
				if h.k == k && h.to.IsZero() {
					h.to = time.Now()
				}
			}
		}
	}
	k.w.mu.Unlock()
	k.cancel()
}

// end takes k out of what goes on; the world's mutex is held.
func (k *worker) end(was member.State) {
	k.gone, k.final = true, was
	k.w.log.drop(func(r *reading) bool { return r.k == k })
}

// leave ends k as a service does: it stops pulling, says goodbye, finishes its exports and gives the rest back.
func (k *worker) leave() {
	was := k.m.State()
	k.w.mu.Lock()
	if k.gone || k.leaving {
		k.w.mu.Unlock()
		return
	}
	k.leaving = true
	k.w.note("%s leaves, %s", k.name, was.Phase)
	k.w.mu.Unlock()
	k.gate.Lock()
	s := k.session
	k.session = nil
	k.gate.Unlock()
	s.stop()
	ctx, cancel := context.WithTimeout(k.ctx, 8*time.Second)
	defer cancel()
	k.m.Leave(ctx)
	k.p.Quiesce(ctx)
	was = k.m.State()
	k.w.mu.Lock()
	dead := k.gone
	if !dead {
		k.w.note("%s has left", k.name)
		k.gone, k.final = true, was
	}
	k.w.mu.Unlock()
	k.cancel()
	if dead {
		return
	}
	k.done.Wait()
	k.p.Release()
	k.w.mu.Lock()
	defer k.w.mu.Unlock()
	k.end(was)
}

// stop ends pulling. The streams are closed a little later.
func (s *session) stop() {
	if s == nil {
		return
	}
	s.p.stop()
	s.cancel()
	<-s.done
}

// streamsClose is how long a worker waits after it has stopped pulling before it nacks what it holds, which would come back
// on the streams that are still open, again and again.
const streamsClose = 600 * time.Millisecond

// holder is k as member.Holder.
type holder worker

func (h *holder) pulls() bool {
	h.gate.Lock()
	defer h.gate.Unlock()
	return h.session != nil
}

func (h *holder) Apply(ds []fleet.Decision)                        { h.p.Apply(ds) }
func (h *holder) Decided(id otlp.TraceID) (sampler.Decision, bool) { return h.p.Decided(id) }
func (h *holder) Held() iter.Seq[fleet.Facts]                      { return h.p.Held() }
func (h *holder) Use(set *sampler.Policies)                        { h.p.Use(set) }
func (h *holder) Back() time.Time                                  { return h.p.Back() }
func (h *holder) Busy() bool                                       { return h.p.Busy() }

func (h *holder) Resume() {
	k := (*worker)(h)
	k.w.mu.Lock()
	stop := k.gone || k.leaving
	k.w.note("%s resumes", k.name)
	k.w.mu.Unlock()
	k.gate.Lock()
	defer k.gate.Unlock()
	if stop || k.session != nil {
		return
	}
	ctx, cancel := context.WithCancel(k.ctx)
	s := &session{p: k.w.payloads.open(k), cancel: cancel, done: make(chan struct{})}
	k.session = s
	go func() {
		defer close(s.done)
		for d := s.p.next(ctx); d != nil; d = s.p.next(ctx) {
			k.p.Handle(ctx, pipeline.Delivery{
				ID: d.m.id, Data: d.m.data, Attributes: map[string]string{otlp.AttrType: otlp.Traces.EventType()},
				Publish: d.m.publish, Attempt: d.attempt, Receipt: (*receipt)(d),
			})
		}
	}()
}

func (h *holder) Fence() {
	k := (*worker)(h)
	k.w.mu.Lock()
	k.w.note("%s fences", k.name)
	k.w.mu.Unlock()
	k.gate.Lock()
	s := k.session
	k.session = nil
	k.gate.Unlock()
	if s == nil {
		return
	}
	s.stop()
	_ = sleep(k.ctx, streamsClose)
	ctx, cancel := context.WithTimeout(k.ctx, time.Second)
	defer cancel()
	k.p.Surrender(ctx)
	if n := k.p.State().Messages; n > 0 && k.ctx.Err() == nil {
		k.w.t.Errorf("%s: %s: %d messages held after a fence", k.w.now(), k.name, n)
	}
}

// breakStream breaks the stream of k's payloads: what is on its way is lost until its lease ends.
func (k *worker) breakStream() {
	k.gate.Lock()
	s := k.session
	k.gate.Unlock()
	if s == nil {
		return
	}
	k.w.mu.Lock()
	k.w.note("%s: a stream breaks", k.name)
	s.p.life++
	k.w.mu.Unlock()
	k.m.Hold()
}

// receipt is a delivery as the pipeline settles it.
type receipt delivery

func (r *receipt) do(what func(*subscription, *delivery)) {
	d := (*delivery)(r)
	d.m.sub.w.mu.Lock()
	defer d.m.sub.w.mu.Unlock()
	what(d.m.sub, d)
}

func (r *receipt) Ack()  { r.do((*subscription).ack) }
func (r *receipt) Nack() { r.HandBack(0) }
func (r *receipt) HandBack(wait time.Duration) {
	r.do(func(s *subscription, d *delivery) { s.giveBack(d, wait) })
}

type logOf worker

func (l *logOf) Publish(ctx context.Context, data []byte) error {
	return l.w.log.publish(ctx, (*worker)(l), data)
}

func (l *logOf) Subscribe(ctx context.Context, from time.Time) (member.Reading, error) {
	r, err := l.w.log.subscribe(ctx, (*worker)(l), from)
	if err != nil {
		return nil, err
	}
	return r, nil
}

type factsOf worker

func (f *factsOf) Publish(ctx context.Context, data []byte) error {
	return f.w.publishFacts(ctx, (*worker)(f), data)
}

func (f *factsOf) Pull(ctx context.Context, handle func([]byte, time.Time) member.Settle) error {
	return f.w.pullFacts(ctx, (*worker)(f), handle)
}

type deadTopic struct{ w *world }

func (d deadTopic) Publish(_ context.Context, _ []byte, attrs map[string]string) error {
	d.w.t.Errorf("a dead letter: %v", attrs)
	return nil
}
