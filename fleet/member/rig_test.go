package member

import (
	"context"
	"errors"
	"io"
	"iter"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"tailweir/fleet"
	"tailweir/fleet/facts"
	"tailweir/fleet/order"
	"tailweir/otlp"
	"tailweir/sampler"
)

// topics is a log and a facts topic without faults but those that a test makes. Use in a bubble.
type topics struct {
	mu         sync.Mutex
	log        []published
	facts      []published
	mute, away bool          // nothing of the log is delivered; no publish is confirmed
	forgets    bool          // the log cannot be read from before
	from       []time.Time   // of each subscription on the log
	slow       time.Duration // what a publish on the facts topic takes
}

type published struct {
	data []byte
	at   time.Time
}

const way = 50 * time.Millisecond // of a message

func (o *topics) put(to *[]published, data []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.away {
		return errors.New("unavailable")
	}
	*to = append(*to, published{data, time.Now()})
	return nil
}

// next returns the message i of a topic that has come by now.
func (o *topics) next(of *[]published, i int, mute *bool) (p published, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if i >= len(*of) || *mute || time.Since((*of)[i].at) < way {
		return p, false
	}
	return (*of)[i], true
}

func (o *topics) Publish(ctx context.Context, data []byte) error {
	pause(ctx, way)
	return o.put(&o.log, data)
}

func (o *topics) Subscribe(_ context.Context, from time.Time) (Reading, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.from = append(o.from, from)
	r := &logReading{o: o, start: from, mute: o.mute}
	if o.forgets && len(o.from) > 1 {
		r.start, r.next = time.Now(), len(o.log)
	}
	return r, nil
}

// logReading is mute for ever when it began or once was so: a subscription of a topic that was made again.
type logReading struct {
	o     *topics
	start time.Time
	next  int
	mute  bool
}

func (r *logReading) Start() time.Time            { return r.start }
func (r *logReading) Close(context.Context) error { return nil }
func (r *logReading) Run(ctx context.Context, handle func([]byte, time.Time)) error {
	for ; ctx.Err() == nil; pause(ctx, way/5) {
		for p, ok := r.o.next(&r.o.log, r.next, &r.mute); ok; p, ok = r.o.next(&r.o.log, r.next, &r.mute) {
			if r.next++; !p.at.Before(r.start) {
				handle(p.data, p.at)
				pause(ctx, way/5)
			}
		}
		r.o.mu.Lock()
		r.mute = r.mute || r.o.mute
		r.o.mu.Unlock()
	}
	return nil
}

type factsTopic struct{ *topics }

func (o factsTopic) Publish(ctx context.Context, data []byte) error {
	pause(ctx, way+o.slow)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return o.put(&o.facts, data)
}

// Pull forgets what nobody wants at once: these tests have no use for what comes again.
func (o factsTopic) Pull(ctx context.Context, handle func([]byte, time.Time) Settle) error {
	never := false
	for i := 0; ctx.Err() == nil; pause(ctx, way) {
		for p, ok := o.next(&o.facts, i, &never); ok; p, ok = o.next(&o.facts, i, &never) {
			i++
			handle(p.data, p.at)
		}
	}
	return nil
}

// batches is what was sent to the facts topic.
func (o *topics) batches(t *testing.T) (all []facts.Batch) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, p := range o.facts {
		var b facts.Batch
		if err := b.Parse(p.data); err != nil {
			t.Fatal(err)
		}
		all = append(all, b)
	}
	return all
}

// entries is what was said in the log.
func (o *topics) entries(t *testing.T) (all []order.Entry) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, p := range o.log {
		msg, err := order.Parse(p.data)
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := msg.(order.Entry); ok {
			all = append(all, e)
		}
	}
	return all
}

func (o *topics) set(what *bool, to bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	*what = to
}

func (o *topics) subscriptions() []time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]time.Time(nil), o.from...)
}

// holding is a holder that counts what it is told.
type holding struct {
	mu              sync.Mutex
	resumed, fenced int
	used            []*sampler.Policies
	applied         []fleet.Decision
	known           map[otlp.TraceID]sampler.Decision
	busy            bool
}

func (h *holding) Apply(all []fleet.Decision) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.applied = append(h.applied, all...)
}

func (h *holding) Decided(id otlp.TraceID) (sampler.Decision, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	d, ok := h.known[id]
	return d, ok
}

func (*holding) Held() iter.Seq[fleet.Facts] { return func(func(fleet.Facts) bool) {} }
func (*holding) Back() time.Time             { return time.Time{} }

func (h *holding) Use(set *sampler.Policies) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.used = append(h.used, set)
}

func (h *holding) Busy() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.busy
}

func (h *holding) Resume() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.resumed++
}

func (h *holding) Fence() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fenced++
}

func (h *holding) counts() (resumed, fenced int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.resumed, h.fenced
}

func quietLog() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// errorsLogged counts what is logged as an error.
type errorsLogged struct{ n int }

func (l *errorsLogged) Write(line []byte) (int, error) {
	if strings.Contains(string(line), "level=ERROR") {
		l.n++
	}
	return len(line), nil
}

// config is that of a member of its own on topics.
func (o *topics) config() Config {
	return Config{
		Fleet: "spans", Policies: parsed("policies: [{name: all, type: always_sample}]"), Log: o, Facts: factsTopic{o}, Logger: quietLog(),
		Rand: rand.New(rand.NewPCG(1, 2)),
	}
}

func parsed(source string) *sampler.Policies {
	p, err := sampler.Parse("policies.yaml", []byte(source))
	if err != nil {
		panic(err)
	}
	return p
}

// run runs a member until the end of the test, or the call of end.
func run(t *testing.T, cfg Config, h Holder) (m *Member, end func()) {
	m = New(cfg)
	return m, start(t, m, h)
}

func start(t *testing.T, m *Member, h Holder) (end func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx, h) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	}
}

// still is a member that does not run: a test calls its parts.
func still(cfg Config, h Holder) *Member {
	m := New(cfg)
	m.holder = h
	m.life.begin(time.Now())
	m.beginReading(time.Now(), func() {})
	return m
}

// leading makes m lead, with an Open that is accepted, at publish times that begin at ms.
func leading(t *testing.T, m *Member, ms int64) *lead {
	t.Helper()
	m.replica = order.New(m.cfg.Order, ms-100_000)
	claim := order.ID{1}
	m.replica.Read(order.Claim{ID: claim, Worker: m.name}, ms, 1)
	m.replica.Read(order.Entry{ID: claim, Worker: m.name, ClaimPublish: ms, Seq: 1, Body: order.Body{Open: true}}, ms+2100, 2)
	o, err := order.Lead(m.replica, claim)
	if err != nil {
		t.Fatal(err)
	}
	own := m.cfg.Policies
	m.policy = newPolicy(1, own.Hash(), own, own.Source())
	l := &lead{order: o, term: o.Term(), ctx: t.Context(), end: func() {}, opened: true, seats: map[[16]byte]*seat{}, inbox: facts.NewInbox(m.fleet, claim, 1)}
	m.newSequencer(l)
	m.lead = l
	return l
}
