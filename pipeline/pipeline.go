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
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
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

	session context.Context // in which it was handed over
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

// Config configures a Pipeline.
type Config struct {
	Policies  *sampler.Policies // until Use
	Exporter  exporter.Exporter
	Sequencer Sequencer
	Dead      DeadLetters
	// Heard reports whether facts sent now reach somebody who decides. While they do not, a full hold hands nothing back but
	// takes nothing in either. It is called without the pipeline's lock. nil: always.
	Heard func() bool
	Log   *slog.Logger // default slog.Default

	LogsKeep    LogsKeep      // what becomes of the log records with a trace id that no rule names; default LogsAll
	LogRules    []LogRule     // the first that matches a record counts; MaxLogRules at most
	DropOrphans bool          // drop records that waited for a trace that showed no span, instead of exporting them
	MaxBytes    int64         // held payloads and what belongs to them; at 80 % the newest messages are handed back; default 512 MiB
	HandBack    time.Duration // after how long a message handed back under pressure returns, longer after many deliveries; default 30 s
	History     int           // decisions remembered for late fragments, and again for fragments handed back, 32 B each, and 62 at most; default 200,000
	Settled     int           // settled messages remembered by payload hash, so that a repeat is seen; about 160 B each; default 100,000
	MaxInflated int           // a payload that inflates beyond is dead-lettered; default 64 MiB
	Workers     int           // deliveries read at once; default 2
	Senders     int           // exports at once of each signal; default 4
	BatchBytes  int           // an export batch is closed at this size; default 1 MiB
	Linger      time.Duration // how long a batch waits to be filled; default 200 ms
}

func (c Config) defaults() Config {
	c.Log = cmp.Or(c.Log, slog.Default())
	if c.Heard == nil {
		c.Heard = func() bool { return true }
	}
	c.LogsKeep = cmp.Or(c.LogsKeep, LogsAll)
	c.MaxBytes = cmp.Or(c.MaxBytes, 512<<20)
	c.HandBack = cmp.Or(c.HandBack, 30*time.Second)
	c.History = cmp.Or(c.History, 200_000)
	c.Settled = cmp.Or(c.Settled, 100_000)
	c.MaxInflated = cmp.Or(c.MaxInflated, 64<<20)
	c.Workers = cmp.Or(c.Workers, 2)
	c.Senders = cmp.Or(c.Senders, 4)
	c.BatchBytes = cmp.Or(c.BatchBytes, 1<<20)
	c.Linger = cmp.Or(c.Linger, 200*time.Millisecond)
	return c
}

// Pipeline is a holder. Use New, then Run; all other methods are safe for concurrent use.
type Pipeline struct {
	cfg      Config
	in       chan Delivery
	readers  *sync.Pool // of *reader
	policies atomic.Pointer[sampler.Policies]
	classes  *classes
	failing  failing

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
	ending   int        // calls of Surrender and Quiesce: for their sake nobody waits to be heard
	busy     int        // deliveries between Handle and the sending of their facts
	burying  int        // payloads that cannot be read, on their way to the dead-letter topic
	buried   int64      // those that got there
	unnamed  int64      // items received without service.name
	idle     *sync.Cond // signalled when busy, burying, sending or an outbox falls to zero
	refused  int64      // items that a backend refused by partial success, unnamed
	panics   int64

	remembered  int       // decisions in returned
	back        time.Time // when the last message returns that was handed back for a while
	lettersBack time.Time // when the dead-letter topic, found away, is tried again

	session    context.Context // from one Surrender to the next: exports end with it, and what came before is not held after
	endSession context.CancelFunc
}

// New returns a pipeline that holds nothing.
func New(cfg Config) *Pipeline {
	cfg = cfg.defaults()
	p := &Pipeline{
		cfg:      cfg,
		in:       make(chan Delivery, cfg.Workers),
		traces:   map[otlp.TraceID]*trace{},
		messages: map[identity]*message{},
		classes:  newClasses(cfg.LogRules, cfg.LogsKeep),
		failing:  failing{log: cfg.Log, seen: map[string]*failure{}},
		history:  sampler.NewHistory(cfg.History),
		settled:  newLRU[ended](cfg.Settled, nil),
	}
	p.returned = newLRU(cfg.Settled, func(_ identity, was handedBack) { p.remembered -= len(was.decided) })
	for i, signal := range []otlp.Signal{otlp.Traces, otlp.Logs} {
		p.outbox[i] = outbox{signal: signal, wake: make(chan struct{}, cfg.Senders)}
	}
	p.ledger.ByPolicy = map[string]Tally{}
	p.idle = sync.NewCond(&p.mu)
	p.readers = &sync.Pool{New: func() any { return &reader{max: p.cfg.MaxInflated, classes: p.classes, failed: p.failing.add} }}
	p.session, p.endSession = context.WithCancel(context.Background())
	p.Use(cfg.Policies)
	return p
}

func newLRU[V any](size int, evicted func(identity, V)) *simplelru.LRU[identity, V] {
	l, err := simplelru.NewLRU(size, evicted)
	if err != nil {
		panic(fmt.Sprintf("pipeline: New: %v", err)) // only a size below 1
	}
	return l
}

// Use makes set the policies of what is read from now on. Deliveries that are being read may still be folded with the
// former set and sent afterwards: Facts.Policy says so, and who collects them must not mix them.
func (p *Pipeline) Use(set *sampler.Policies) { p.policies.Store(set) }

// Handle takes a delivery and blocks while the workers are busy: that is the back-pressure on the queue. After ctx is
// done, or Surrender, the delivery is given back.
func (p *Pipeline) Handle(ctx context.Context, d Delivery) {
	p.mu.Lock()
	p.busy++
	d.session = p.session
	p.mu.Unlock()
	select {
	case p.in <- d:
		return
	case <-ctx.Done():
	case <-d.session.Done():
	}
	d.Receipt.Nack()
	p.done(&p.busy)
}

// done takes one off a number that somebody may wait for.
func (p *Pipeline) done(n *int) {
	p.mu.Lock()
	*n--
	p.idle.Broadcast()
	p.mu.Unlock()
}

// Busy reports whether a delivery was handed to Handle whose facts have not been sent. One that cannot be read has none.
func (p *Pipeline) Busy() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.busy > 0
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
		err = p.cfg.Sequencer.Send(ctx, facts)
	}
	p.done(&p.busy)
	if err == nil && p.heard(ctx) { // else what is held goes back to the queue soon
		p.relieve()
	}
}
