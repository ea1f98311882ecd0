// Package pipeline is the holder's walk: it holds payloads un-acked, says what is in them to the sequencer as facts,
// executes the decisions that come back, and settles each message once every trace in it has its outcome.
//
// A message is acked only when all its fragments were dropped by a decision, or exported with every exporter's
// confirmation, or put on the dead-letter topic; so the queue is the write-ahead log and a process may die at any moment.
// settle is the only place where a message is settled.
//
// The walk: Handle takes a delivery, a worker of Run inflates, scans and folds it without decoding a span, registers it
// and sends its facts; Apply executes decisions; senders of Run export what is kept.
package pipeline

import (
	"cmp"
	"container/heap"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/sync/errgroup"

	"tailweir/exporter"
	"tailweir/fleet"
	"tailweir/otlp"
	"tailweir/sampler"
)

// Receipt settles one delivery of a message. Exactly one of its methods is called, once. *queue.Message is one.
type Receipt interface {
	Ack()
	Nack()
	HandBack(delay time.Duration)
}

// Delivery is one message as the queue delivered it.
type Delivery struct {
	ID         string
	Data       []byte // not modified, and kept until the message is settled
	Attributes map[string]string
	Publish    time.Time // server's publish time: event time
	Attempt    int       // deliveries so far where the queue counts them, else 0
	Receipt    Receipt
}

// Sequencer takes facts. *fleet.Solo is one. Send may block for back-pressure, until ctx is done.
type Sequencer interface {
	Send(ctx context.Context, f fleet.Facts) error
}

// DeadLetters takes what will never be exported, with the attributes tailweir.reason and tailweir.error beside those the
// message came with. Publish returns nil only when it is durable.
type DeadLetters interface {
	Publish(ctx context.Context, data []byte, attrs map[string]string) error
}

// LogsKeep says which log records with a trace id are exported.
type LogsKeep string

const (
	LogsAll       LogsKeep = "all"        // all, at their trace's decision, which they carry; never dropped
	LogsWithTrace LogsKeep = "with_trace" // those whose trace is kept, or never shows a span
)

// Config configures a Pipeline.
type Config struct {
	Policies  *sampler.Policies
	Exporter  exporter.Exporter
	Sequencer Sequencer
	Dead      DeadLetters
	Log       *slog.Logger // default slog.Default

	LogsKeep    LogsKeep      // default LogsAll
	MaxBytes    int64         // held payloads and what belongs to them; at 80 % the newest messages are handed back; default 512 MiB
	HandBack    time.Duration // after how long a message handed back under pressure returns, longer after many deliveries; default 30 s
	History     int           // decisions remembered for late fragments, and again for fragments handed back, about 150 B each; default 200,000
	Settled     int           // settled messages remembered by payload hash, so that a repeat is seen; about 160 B each; default 100,000
	MaxInflated int           // a payload that inflates beyond is dead-lettered; default 64 MiB
	Workers     int           // deliveries read at once; default 2
	Senders     int           // exports at once of each signal; default 4
	BatchBytes  int           // an export batch is closed at this size; default 1 MiB
	Linger      time.Duration // how long a batch waits to be filled; default 50 ms
}

func (c Config) defaults() Config {
	c.Log = cmp.Or(c.Log, slog.Default())
	c.LogsKeep = cmp.Or(c.LogsKeep, LogsAll)
	c.MaxBytes = cmp.Or(c.MaxBytes, 512<<20)
	c.HandBack = cmp.Or(c.HandBack, 30*time.Second)
	c.History = cmp.Or(c.History, 200_000)
	c.Settled = cmp.Or(c.Settled, 100_000)
	c.MaxInflated = cmp.Or(c.MaxInflated, 64<<20)
	c.Workers = cmp.Or(c.Workers, 2)
	c.Senders = cmp.Or(c.Senders, 4)
	c.BatchBytes = cmp.Or(c.BatchBytes, 1<<20)
	c.Linger = cmp.Or(c.Linger, 50*time.Millisecond)
	return c
}

// Pipeline is a holder. Use New, then Run; Handle and Apply are safe for concurrent use.
type Pipeline struct {
	cfg     Config
	in      chan Delivery
	readers *sync.Pool // of *reader

	mu       sync.Mutex // guards all below
	ledger   ledger
	traces   map[otlp.TraceID]*trace
	messages map[identity]*message
	newest   newest
	bytes    int64
	history  *sampler.History
	settled  *simplelru.LRU[identity, ended]
	returned *simplelru.LRU[identity, handedBack]
	outbox   [2]outbox  // decided to be kept, waiting for a sender: spans, log records
	sending  int        // departures in an export
	stale    int        // fragments given back while they waited in an outbox, since it was last swept
	busy     int        // deliveries between Handle and registration
	buried   int64      // payloads dead-lettered because they could not be read
	idle     *sync.Cond // signalled when busy, sending or an outbox falls to zero
	refused  int64      // items that a backend refused by partial success, unnamed
	panics   int64

	remembered  int       // decisions in returned
	lettersBack time.Time // when the dead-letter topic, found away, is tried again
}

// New returns a pipeline that holds nothing.
func New(cfg Config) *Pipeline {
	cfg = cfg.defaults()
	p := &Pipeline{
		cfg:      cfg,
		in:       make(chan Delivery, cfg.Workers),
		traces:   map[otlp.TraceID]*trace{},
		messages: map[identity]*message{},
		history:  sampler.NewHistory(cfg.History),
		settled:  newLRU[ended](cfg.Settled, nil),
	}
	p.returned = newLRU(cfg.Settled, func(_ identity, was handedBack) { p.remembered -= len(was.decided) })
	for i, signal := range []otlp.Signal{otlp.Traces, otlp.Logs} {
		p.outbox[i] = outbox{signal: signal, wake: make(chan struct{}, cfg.Senders)}
	}
	p.ledger.ByPolicy = map[string]Tally{}
	p.idle = sync.NewCond(&p.mu)
	p.readers = &sync.Pool{New: func() any { return newReader(&p.cfg) }}
	return p
}

func newLRU[V any](size int, evicted func(identity, V)) *simplelru.LRU[identity, V] {
	l, err := simplelru.NewLRU(size, evicted)
	if err != nil {
		panic(fmt.Sprintf("pipeline: New: %v", err)) // only a size below 1
	}
	return l
}

// Handle takes a delivery and blocks while the workers are busy: that is the back-pressure on the queue. After ctx is
// done the delivery is given back.
func (p *Pipeline) Handle(ctx context.Context, d Delivery) {
	p.mu.Lock()
	p.busy++
	p.mu.Unlock()
	select {
	case p.in <- d:
	case <-ctx.Done():
		d.Receipt.Nack()
		p.done()
	}
}

func (p *Pipeline) done() {
	p.mu.Lock()
	p.busy--
	p.idle.Broadcast()
	p.mu.Unlock()
}

// Run reads deliveries and exports what is kept until ctx is done.
func (p *Pipeline) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for range p.cfg.Workers {
		g.Go(func() error { return p.work(ctx) })
	}
	for i := range p.outbox {
		for range p.cfg.Senders {
			g.Go(func() error { return p.send(ctx, &p.outbox[i]) })
		}
	}
	return g.Wait()
}

func (p *Pipeline) work(ctx context.Context) error {
	for {
		select {
		case d := <-p.in:
			p.take(ctx, d)
			p.done()
		case <-ctx.Done():
			return nil
		}
	}
}

// take reads one delivery and holds it. A payload that cannot be read, or that makes the reader panic, goes to the
// dead-letter topic at once: no redelivery would mend it.
func (p *Pipeline) take(ctx context.Context, d Delivery) {
	r := p.readers.Get().(*reader)
	got, err := p.read(r, d)
	if err != nil {
		p.bury(ctx, d, err)
		return // and the reader with whatever state it was left in
	}
	facts, tell := p.hold(d, got)
	p.readers.Put(r)
	if tell {
		if err := p.cfg.Sequencer.Send(ctx, facts); err != nil {
			return // ctx is done; what is held goes back to the queue
		}
	}
	p.relieve()
}

// hold registers a delivery and returns the facts to send. All its fragments come into flight in the same moment.
func (p *Pipeline) hold(d Delivery, got reading) (facts fleet.Facts, tell bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ledger.receive(got.count)
	before, returned := p.returned.Peek(got.id)
	facts = fleet.Facts{Message: got.hash, Publish: got.publish, First: !returned, Again: d.Attempt > 1}
	if got.items() == 0 {
		d.Receipt.Ack() // a tick, or an empty request: nothing to settle but the time it carries
		return facts, true
	}
	if held, ok := p.messages[got.id]; ok {
		return p.repeatLocked(held, d, got)
	}
	if e, known := p.settled.Peek(got.id); known && (e.dead == nil || e.message == d.ID) {
		p.ledger.book(Duplicate, policyNotNamed, got.count)
		d.Receipt.Ack()
		return facts, false
	} else if known {
		before.finished = e.finished(len(got.fragments))
	}
	m := &message{
		id: got.id, hash: got.hash, message: d.ID, publish: d.Publish, attrs: d.Attributes, attempt: d.Attempt,
		receipts: []Receipt{d.Receipt}, open: len(got.fragments),
		charge: charge(got.id.size, got.index.Footprint(), len(got.fragments)),
	}
	if len(d.Data) != got.id.size {
		m.charge += int64(len(d.Data)) // the receipt keeps the compressed form
	}
	p.returned.Remove(m.id)
	p.messages[m.id] = m
	p.bytes += m.charge
	heap.Push(&p.newest, m)
	facts.Fragments = p.enterLocked(m, got, before)
	return facts, true
}

// repeatLocked books a payload that is held already. Another message with the same bytes, an SDK's retry, is acked at
// once: the one that is held keeps the payload durable. The same message again, because its lease was lost, is acked with
// the first, and charged for what it keeps in memory. The facts are told again only when the repeat was published earlier:
// the earliest publish time wins.
func (p *Pipeline) repeatLocked(m *message, d Delivery, got reading) (fleet.Facts, bool) {
	p.ledger.book(Duplicate, policyNotNamed, got.count)
	if d.ID != m.message {
		d.Receipt.Ack()
	} else {
		m.receipts = append(m.receipts, d.Receipt)
		m.attempt = max(m.attempt, d.Attempt)
		m.charge += int64(len(d.Data))
		p.bytes += int64(len(d.Data))
	}
	facts := fleet.Facts{Message: m.hash, Publish: got.publish}
	if !d.Publish.Before(m.publish) {
		return facts, false
	}
	m.publish = d.Publish
	heap.Init(&p.newest)
	for i, f := range m.parts {
		if f.state == undecided && !f.trace.IsZero() {
			facts.Fragments = append(facts.Fragments, fleet.Fragment{Trace: f.trace, Facts: got.fragments[i].facts})
		}
	}
	return facts, true
}

// enterLocked gives each fragment of a new message its way: with its trace into the window, after a decision that was
// made already, or out at once for what has no trace. Those that had their outcome, or their
// decision, before the message was handed back have it still. It returns the facts of those that go into the window.
func (p *Pipeline) enterLocked(m *message, got reading, before handedBack) []fleet.Fragment {
	facts := make([]fleet.Fragment, 0, len(got.fragments))
	all := make([]fragment, len(got.fragments))
	m.parts = make([]*fragment, len(got.fragments))
	for i, g := range got.fragments {
		f := &all[i]
		*f = fragment{msg: m, index: got.index, trace: g.trace, first: g.first, count: g.count}
		m.parts[i] = f
	}
	for i, f := range m.parts {
		if before.finished.has(i) {
			p.settle(f, Duplicate, policyNotNamed)
			continue
		}
		if f.trace.IsZero() {
			p.withoutTraceLocked(f)
			continue
		}
		d, known := before.decision(i)
		if known {
			p.history.Put(f.trace, d)
		} else {
			d, known = p.history.Get(f.trace)
		}
		if known {
			p.executeLocked(departure{decision: d, reason: "late", trace: f.trace, fragments: []*fragment{f}})
			continue
		}
		p.gatherLocked(f)
		facts = append(facts, fleet.Fragment{Trace: f.trace, Facts: got.fragments[i].facts})
	}
	return facts
}

func (p *Pipeline) gatherLocked(f *fragment) {
	t := p.traces[f.trace]
	if t == nil {
		t = &trace{}
		p.traces[f.trace] = t
	}
	t.fragments = append(t.fragments, f)
	if f.count.Spans == 0 {
		return
	}
	if t.spans == 0 {
		p.ledger.receive(Count{Traces: 1})
	}
	t.spans++
}

// withoutTraceLocked sends a log record without a trace id on its way; it waits for nothing. Spans without a trace or
// span id belong to no trace, can be decided by no policy and are refused by every backend: dead letters.
func (p *Pipeline) withoutTraceLocked(f *fragment) {
	d := departure{decision: sampler.Decision{Keep: true, Policy: PolicyNoTrace}, reason: "no trace id", fragments: []*fragment{f}}
	d.invalid = f.count.Spans > 0
	p.leaveLocked(d)
}
