package pipeline

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing/synctest"
	"time"

	"tailweir/buffer"
	"tailweir/fleet"
	"tailweir/otlp"
	"tailweir/sampler"
)

// The outside of a pipeline as the model test and the outage test see it: a queue that knows what was published and how
// each delivery was answered, a backend, a dead-letter topic, and one worker's life after the other. What the pipeline
// does there is judged in model_judge_test.go and, as it happens, in model_backend_test.go.

// scenario is what a world is made of.
type scenario struct {
	maxBytes   int64
	batchBytes int
	keep       LogsKeep // of records that no rule names
	rules      []modelRule
	orphans    LogsKeep      // LogsNever: dropped
	attempts   bool          // the queue counts deliveries
	delay      time.Duration // of a worker's first decision
	handBack   time.Duration
	window     buffer.Config
	slack      time.Duration
}

const (
	leaseTime = 10 * time.Second
	plenty    = 10 << 20 // a hold that nothing in a test fills
)

// world is everything around the pipeline. Its time is the bubble's; deliveries happen in milliseconds of their own and
// never in one in which a worker decides, so that a decision's facts are known.
type world struct {
	scenario
	policies *sampler.Policies

	mu       sync.Mutex // guards all below; taken inside the pipeline's lock, never around it
	judge    judge
	slots    map[int64]bool
	messages []*published
	life     *life // nil while no worker runs
	lives    int
	export   mode
	dead     mode
	rng      *rand.Rand // for delays of the backend
	nacks    int
	loaded   int // messages of the outage test
}

// mode is how the backend or the dead-letter topic behaves.
type mode struct {
	kind string // "" is well
	n    byte   // a trace
}

// payload is what was published, once or several times.
type payload struct {
	data    []byte
	attrs   map[string]string
	items   []item // nil when it cannot be decoded
	good    bool
	letters int // how often it is on the dead-letter topic as it came
	reads   int // deliveries
	reader  int // the last worker that had it
}

// published is a message on the queue.
type published struct {
	*payload
	id       string
	at       time.Time
	acked    bool
	until    time.Time // when it was
	leases   int       // deliveries without an answer
	attempts int
	ready    time.Time // when it is to be delivered
	due      bool      // it was to be, and there was no worker
	returns  int       // how often it was handed back
}

// life is one worker from its start to its end.
type life struct {
	w                 *world
	ctx               context.Context
	end, endDeciding  context.CancelFunc
	done              chan struct{}
	p                 *Pipeline
	solo              *fleet.Solo
	stopping, gone    bool // deliveries have stopped; nothing that it says is heard
	account           account
	peak              int64
	open              map[*modelReceipt]bool
	verdicts, orphans map[otlp.TraceID]bool
	thresholds        map[otlp.TraceID]uint64
	told              map[otlp.TraceID][]told
}

func newWorld(s scenario, seed uint64) (*world, error) {
	policies, err := sampler.Parse("policies", []byte("policies:\n- {name: errors, type: status_code, status_code: {status_codes: [ERROR]}}\n"+
		"- {name: some, type: probabilistic, probabilistic: {sampling_percentage: 50}}\n"))
	w := &world{scenario: s, policies: policies, slots: map[int64]bool{}, rng: rand.New(rand.NewPCG(seed, 7))}
	w.judge = newJudge()
	return w, err
}

// slotLocked returns a millisecond at or after t that nothing else happens in.
func (w *world) slotLocked(t time.Time) time.Time {
	ms := t.UnixMilli()
	if time.UnixMilli(ms).Before(t) {
		ms++
	}
	for w.slots[ms] || ms%10 == 0 {
		ms++
	}
	w.slots[ms] = true
	return time.UnixMilli(ms)
}

// begin starts a worker.
func (w *world) begin() {
	time.Sleep(time.Until(time.Now().Truncate(10 * time.Millisecond).Add(10 * time.Millisecond)))
	l := &life{w: w, done: make(chan struct{}), open: map[*modelReceipt]bool{}, verdicts: map[otlp.TraceID]bool{}, orphans: map[otlp.TraceID]bool{}, thresholds: map[otlp.TraceID]uint64{}, told: map[otlp.TraceID][]told{}}
	l.account.out, l.account.first = map[uint64]bool{}, map[uint64]*payload{}
	var deciding context.Context
	l.ctx, l.end = context.WithCancel(context.Background())
	deciding, l.endDeciding = context.WithCancel(l.ctx)
	l.solo = fleet.NewSolo(fleet.SoloConfig{
		Policies: w.policies, Window: w.window, Slack: w.slack, History: 100_000, Delay: w.delay,
		Tick: func(context.Context) error { w.publish(&payload{attrs: attrs(otlp.Traces), good: true}); return nil },
	})
	l.p = New(Config{
		Policies: w.policies, Exporter: l, Sequencer: l, Dead: topic{l}, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		LogsKeep: w.keep, LogRules: w.logRules(), DropOrphans: w.orphans == LogsNever, MaxBytes: w.maxBytes, HandBack: w.handBack, BatchBytes: w.batchBytes, History: 100_000, Settled: 100_000,
	})
	go func() {
		defer close(l.done)
		var wg sync.WaitGroup
		wg.Go(func() { _ = l.p.Run(l.ctx) })
		wg.Go(func() { _ = l.solo.Run(deciding, l.apply) })
		wg.Wait()
	}()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.life = l
	w.lives++
	w.scheduleDueLocked()
}

// surrender makes the worker give everything back and go on after a pause, as it does when it no longer hears the others.
func (w *world) surrender(pause time.Duration) {
	l := w.life
	time.Sleep(500 * time.Microsecond) // no export ends at this very moment
	w.mu.Lock()
	l.stopping = true
	w.lives++ // what comes again may be exported again
	w.mu.Unlock()
	ctx, cancel := context.WithTimeout(l.ctx, time.Minute)
	l.p.Surrender(ctx)
	cancel()
	synctest.Wait()
	s, busy := l.p.State(), l.p.Busy()
	w.mu.Lock()
	if s.InFlight != (Count{}) || s.Messages != 0 || s.Bytes != 0 || s.Exporting != 0 || busy {
		w.judge.fault("after Surrender: %d messages, %d bytes, exporting %d, in flight %+v", s.Messages, s.Bytes, s.Exporting, s.InFlight)
	}
	for r := range l.open {
		if r.m.good { // else it is on its way to the dead-letter topic
			w.judge.fault("message %s has no answer after Surrender", r.m.id)
		}
	}
	w.mu.Unlock()
	time.Sleep(pause)
	w.mu.Lock()
	defer w.mu.Unlock()
	l.stopping = false
	w.scheduleDueLocked()
}

func (w *world) scheduleDueLocked() {
	for _, m := range w.messages {
		if m.due {
			w.scheduleLocked(m, time.Now())
		}
	}
}

// crash ends the worker without a word: its leases run out.
func (w *world) crash() {
	l := w.life
	w.mu.Lock()
	l.gone, w.life = true, nil
	for _, m := range w.messages {
		if m.leases > 0 {
			m.leases = 0
			w.scheduleLocked(m, time.Now().Add(leaseTime))
		}
	}
	w.mu.Unlock()
	l.end()
	<-l.done
}

// stop ends the worker as the service does.
func (w *world) stop(grace time.Duration) {
	l := w.life
	w.mu.Lock()
	l.stopping = true
	w.mu.Unlock()
	l.endDeciding()
	ctx, cancel := context.WithTimeout(l.ctx, grace)
	l.p.Quiesce(ctx)
	cancel()
	l.end()
	<-l.done
	synctest.Wait()
	l.p.Release()
	w.mu.Lock()
	defer w.mu.Unlock()
	l.gone, w.life = true, nil
	for r := range l.open {
		w.judge.fault("message %s has no answer after Release", r.m.id)
		r.m.leases = 0
		w.scheduleLocked(r.m, time.Now().Add(leaseTime))
	}
	if s := l.p.State(); s.InFlight != (Count{}) || s.Messages != 0 || s.Bytes != 0 {
		w.judge.fault("after Release: %d messages, %d bytes, in flight %+v", s.Messages, s.Bytes, s.InFlight)
	}
}

func (w *world) publish(p *payload) *published {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := &published{payload: w.judge.publish(p), id: fmt.Sprint("m", len(w.messages)), at: time.Now()}
	w.messages = append(w.messages, m)
	w.scheduleLocked(m, m.at)
	return m
}

// scheduleLocked delivers a message at a time, or to the first worker after it.
func (w *world) scheduleLocked(m *published, at time.Time) {
	m.ready = w.slotLocked(at)
	time.AfterFunc(time.Until(m.ready), func() { w.deliver(m, false) })
}

// deliver delivers a message when it is due, or whatever it is when again is true: Pub/Sub may, and what was acked comes
// again when the ack was lost.
func (w *world) deliver(m *published, again bool) {
	w.mu.Lock()
	l := w.life
	switch off := l == nil || l.stopping; {
	case again && off, !again && (m.acked || m.leases > 0 || time.Now().Before(m.ready)):
		w.mu.Unlock()
		return
	case off:
		m.due = true
		w.mu.Unlock()
		return
	}
	m.due, m.acked = false, false
	m.leases++
	m.attempts++
	r := &modelReceipt{l: l, m: m}
	l.open[r] = true
	l.account.deliver(m.payload, w.judge.keys)
	w.judge.deliver(m.payload, w.lives)
	d := Delivery{ID: m.id, Data: m.data, Attributes: m.attrs, Publish: m.at, Receipt: r}
	if w.attempts {
		d.Attempt = m.attempts
	}
	w.mu.Unlock()
	l.p.Handle(l.ctx, d)
}

// modelReceipt is the queue's side of one delivery.
type modelReceipt struct {
	l      *life
	m      *published
	answer string
}

func (r *modelReceipt) Ack()                     { r.settle("ack", 0) }
func (r *modelReceipt) Nack()                    { r.settle("nack", 0) }
func (r *modelReceipt) HandBack(d time.Duration) { r.settle("hand back", d) }

func (r *modelReceipt) settle(what string, delay time.Duration) {
	w := r.l.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.l.gone {
		return
	}
	if r.answer != "" {
		w.judge.fault("a delivery of %s is settled twice: %s, then %s", r.m.id, r.answer, what)
		return
	}
	r.answer = what
	delete(r.l.open, r)
	r.m.leases--
	if what == "ack" {
		w.judgeAckLocked(r.l, r.m)
		r.m.acked, r.m.until = true, time.Now()
		return
	}
	switch {
	case what == "nack":
		w.nacks++
		if !r.l.stopping {
			w.judge.fault("%s is nacked by a worker that goes on", r.m.id)
		}
	case delay < w.handBack || (r.m.good && w.maxBytes == plenty):
		w.judge.fault("%s is handed back for %s, want %s at least and a full hold", r.m.id, delay, w.handBack)
	default:
		r.m.returns++
	}
	if !r.m.acked && r.m.leases == 0 {
		w.scheduleLocked(r.m, time.Now().Add(delay))
	}
}

// Send passes facts on and takes note of them.
func (l *life) Send(ctx context.Context, f fleet.Facts) error {
	bytes := l.p.State().Bytes // before the pipeline relieves itself: its peak
	l.w.mu.Lock()
	l.peak = max(l.peak, bytes)
	l.hearLocked(f)
	l.w.mu.Unlock()
	return l.solo.Send(ctx, f)
}

func (l *life) apply(decisions []fleet.Decision) {
	l.w.mu.Lock()
	for _, d := range decisions {
		l.judgeDecisionLocked(d)
	}
	l.w.mu.Unlock()
	l.p.Apply(decisions)
}
