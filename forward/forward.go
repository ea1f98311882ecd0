// Package forward takes metrics from their subscription to the backends, unsampled: it holds each message un-acked until every required
// exporter has confirmed it, or the dead-letter topic has. It decides nothing, and knows nothing of traces.
//
// A message goes to one of several lanes by the resource it begins with, and a lane sends one request after the other, of all that waits in it
// up to 4 MB, in the order of publishing. So the points of one app stay in their order within a worker, as far as Pub/Sub delivers them so,
// while apps do not wait for each other; batches grow by themselves when a backend is slow, and no timer delays what comes alone.
package forward

import (
	"cmp"
	"context"
	"hash/maphash"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"tailweir/exporter"
	"tailweir/otlp"
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
	Publish    time.Time
	Receipt    Receipt
}

// DeadLetters takes what will never be exported, with the attributes tailweir.reason and tailweir.error beside those the
// message came with. Publish returns nil only when it is durable.
type DeadLetters interface {
	Publish(ctx context.Context, data []byte, attrs map[string]string) error
}

// Config tells New what to do. Zero fields mean their defaults.
type Config struct {
	Exporter exporter.Exporter // required; retries by itself until its context ends
	Dead     DeadLetters       // required
	// MaxBytes bounds the memory of the messages held, compressed and inflated, at least that of one of them. Above it Handle waits, and
	// Pub/Sub keeps the rest. Each lane needs up to 4 MB more for its request. Default 64 MiB.
	MaxBytes int64
	// MaxInflated bounds a message after decompression, in bytes; a larger one is a dead letter. Default 64 MiB.
	MaxInflated int
	// HandBack is when a message returns that could not be dead-lettered. Default 30 s.
	HandBack time.Duration
	Log      *slog.Logger // default slog.Default()
}

const (
	// lanes is how many requests may be under way. An exporter's own pace bounds them too.
	lanes = 8
	// maxRequest bounds a request, in bytes: gRPC servers take 4 MiB unless they are told otherwise.
	maxRequest = 4_000_000
	// bookkeeping is charged for each message beside its bytes.
	bookkeeping = 600
)

// Forwarder is safe for concurrent use. Use New, then Run once.
type Forwarder struct {
	cfg     Config
	room    *semaphore.Weighted
	readers sync.Pool // *reader
	lanes   [lanes]lane

	mu          sync.Mutex // guards all below
	settled     *sync.Cond
	stats       Stats
	ended       bool
	lettersBack time.Time // the dead-letter topic is left alone until then
}

// lane is guarded by Forwarder.mu, but for wake.
type lane struct {
	wake    chan struct{}
	waiting []*message
}

// message is a delivery that is held.
type message struct {
	Delivery
	payload []byte // inflated
	points  int
	charge  int64
	refused *exporter.Refusal // of any of its pieces
}

// New returns a Forwarder that holds nothing.
func New(c Config) *Forwarder {
	c.MaxBytes = cmp.Or(c.MaxBytes, 64<<20)
	c.MaxInflated = cmp.Or(c.MaxInflated, 64<<20)
	c.HandBack = cmp.Or(c.HandBack, 30*time.Second)
	c.Log = cmp.Or(c.Log, slog.Default())
	f := &Forwarder{cfg: c, room: semaphore.NewWeighted(c.MaxBytes)}
	f.settled = sync.NewCond(&f.mu)
	f.stats.MaxBytes = c.MaxBytes
	f.readers.New = func() any { return new(reader) }
	for i := range f.lanes {
		f.lanes[i].wake = make(chan struct{}, 1)
	}
	return f
}

// Run sends until ctx is done, and then gives back what was not confirmed by then, and all that Handle is still given.
func (f *Forwarder) Run(ctx context.Context) error {
	var group errgroup.Group
	for i := range f.lanes {
		group.Go(func() error {
			for l := &f.lanes[i]; ; {
				if batch := f.take(l); len(batch) > 0 && ctx.Err() == nil {
					f.ship(ctx, batch)
					continue
				} else if len(batch) > 0 {
					f.giveBack(batch)
					continue
				}
				select {
				case <-l.wake:
				case <-ctx.Done():
					return nil
				}
			}
		})
	}
	err := group.Wait()
	f.mu.Lock()
	f.ended = true
	f.mu.Unlock()
	for i := range f.lanes {
		for batch := f.take(&f.lanes[i]); len(batch) > 0; batch = f.take(&f.lanes[i]) {
			f.giveBack(batch)
		}
	}
	return err
}

// seed keys the choice of lanes, which is of this process alone.
var seed = maphash.MakeSeed()

// Handle takes a message. It waits while there is no room for it; when ctx is done meanwhile, the message is given back. What cannot be read is
// dead-lettered before it returns.
func (f *Forwarder) Handle(ctx context.Context, d Delivery) {
	m := &message{Delivery: d}
	lane, err := f.read(m)
	f.mu.Lock()
	f.stats.Received.add(m)
	f.stats.InFlight.add(m)
	f.mu.Unlock()
	if err != nil {
		m.refused = &exporter.Refusal{Reason: reasonOf(err), Err: err}
		f.bury(ctx, m)
		return
	}
	charge := min(f.cfg.MaxBytes, m.size())
	if f.room.Acquire(ctx, charge) != nil {
		f.settle(m, &f.stats.Returned, Receipt.Nack)
		return
	}
	m.charge = charge
	f.mu.Lock()
	f.stats.Bytes += charge
	if ended := f.ended; ended {
		f.mu.Unlock()
		f.giveBack([]*message{m})
		return
	}
	l := &f.lanes[lane]
	l.waiting = append(l.waiting, m)
	f.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// size is the memory that the message takes.
func (m *message) size() int64 {
	n := int64(len(m.Data)) + bookkeeping
	if m.Attributes[otlp.AttrContentEncoding] == otlp.EncodingGzip {
		n += int64(cap(m.payload))
	}
	return n
}

// Quiesce waits until nothing is held, or ctx is done, and tells which.
func (f *Forwarder) Quiesce(ctx context.Context) bool {
	defer context.AfterFunc(ctx, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.settled.Broadcast()
	})()
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.stats.InFlight.Messages > 0 && ctx.Err() == nil {
		f.settled.Wait()
	}
	return f.stats.InFlight.Messages == 0
}
