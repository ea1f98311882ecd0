package probe

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"tailweir/queue"
)

const (
	lane = "lane-0" // the ordering key, as the fleet's
	// pace is the mean pause between two entries of a publisher: a leader's is 100 ms at the least.
	pace = 100 * time.Millisecond
	// Entries of the load are small, for the 1 kB that Pub/Sub charges at least; the burst also tries large ones.
	smallEntry, largeEntry = 500, 100_000
	// unanswered is when an answer is given up; a leader gives up far earlier.
	unanswered = 15 * time.Second
	// drainPatience is how long entries are waited for before they count as lost.
	drainPatience = 30 * time.Second
	// logRetention is what Pub/Sub takes at the least, and a minute; replay is how far back a starting worker reads.
	logRetention, replay = 11 * time.Minute, 10 * time.Minute
)

// run is one measurement of the log.
type run struct {
	cfg     Config
	objects *objects
	topic   string
	tracker *tracker
	epoch   time.Time
	clients []*queue.Client
	readers []*queue.LogReader
	mu      sync.Mutex // guards readErr
	readErr error
}

// newRun makes the log and its subscriptions. Each publisher and each reader has a connection of its own, as workers have.
func newRun(ctx context.Context, cfg Config, o *objects) (*run, error) {
	r := &run{
		cfg: cfg, objects: o, topic: o.name("topics", "-log"), epoch: time.Now(),
		tracker: newTracker(cfg.Publishers, cfg.Publishers+2, cfg.Subscriptions),
	}
	r.tracker.subs[cfg.Subscriptions-1].kind = reconnecting
	for range cfg.Publishers + cfg.Subscriptions + 1 {
		c, err := queue.Open(ctx, cfg.Queue)
		if err != nil {
			return r, err
		}
		r.clients = append(r.clients, c)
	}
	if err := r.spare().CreateRetainingTopic(ctx, r.topic, logRetention); err != nil {
		return r, err
	}
	for i := range cfg.Subscriptions {
		reader, err := r.subscribe(ctx, r.clients[cfg.Publishers+i], fmt.Sprint("-log-", i), time.Now())
		if err != nil {
			return r, err
		}
		r.readers = append(r.readers, reader)
	}
	return r, nil
}

// spare is the client for what is not the load.
func (r *run) spare() *queue.Client { return r.clients[len(r.clients)-1] }

func (r *run) subscribe(ctx context.Context, c *queue.Client, suffix string, from time.Time) (*queue.LogReader, error) {
	return c.SubscribeLog(ctx, queue.LogConfig{
		Topic: r.topic, Subscription: r.objects.name("subscriptions", suffix), From: from, Logger: slog.New(slog.DiscardHandler),
	})
}

func (r *run) close() {
	for _, c := range r.clients {
		_ = c.Close() // nothing is under way any more
	}
}

// now is the local clock in µs, which no correction makes jump during the run.
func (r *run) now() int64 { return r.epoch.UnixMicro() + time.Since(r.epoch).Microseconds() }

// load reads with all subscriptions while all publishers publish, and then while one publishes as fast as it is answered.
func (r *run) load(ctx context.Context) (bursts []burst, err error) {
	reading, stop := context.WithCancel(ctx)
	var readers sync.WaitGroup
	defer readers.Wait()
	defer stop()
	for i := range r.readers {
		readers.Go(func() { r.keepReading(reading, i) })
	}
	_ = r.publish(ctx, r.spare().OrderedPublisher(r.topic, lane), r.cfg.Publishers, smallEntry)
	r.drain(ctx) // all subscriptions are connected: what comes now counts
	r.tracker.begin(r.now())
	r.publishAll(ctx)
	r.tracker.end(r.now())
	r.drain(ctx)
	for i, size := range []int{smallEntry, largeEntry} {
		bursts = append(bursts, r.burst(ctx, r.cfg.Publishers+i, size))
		r.drain(ctx)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return bursts, errors.Join(r.readErr, ctx.Err())
}

// runs is how often the reconnecting reader stops and goes on during the load.
const runs = 8

func (r *run) keepReading(ctx context.Context, sub int) {
	for ctx.Err() == nil {
		once, cancel := ctx, context.CancelFunc(func() {})
		if r.tracker.subs[sub].kind == reconnecting {
			once, cancel = context.WithTimeout(ctx, max(r.cfg.Duration/runs, time.Second))
		}
		err := r.readers[sub].Run(once, r.handler(sub))
		cancel()
		if err != nil {
			r.mu.Lock()
			r.readErr = errors.Join(r.readErr, err)
			r.mu.Unlock()
			return
		}
	}
}

// header is what an entry begins with: its publisher, number and the time of its sending.
const header = 2 + 4 + 8

func (r *run) handler(sub int) func(data []byte, publish time.Time) {
	return func(data []byte, publish time.Time) {
		if len(data) < header {
			return
		}
		e := entry{binary.BigEndian.Uint16(data), binary.BigEndian.Uint32(data[2:])}
		r.tracker.read(sub, e, publish.UnixMicro(), int64(binary.BigEndian.Uint64(data[6:])), r.now())
	}
}

// publishAll lets all publishers publish for the duration.
func (r *run) publishAll(ctx context.Context) {
	until, cancel := context.WithTimeout(ctx, r.cfg.Duration)
	defer cancel()
	var publishers errgroup.Group
	for i := range r.cfg.Publishers {
		publishers.Go(func() error {
			for p := r.clients[i].OrderedPublisher(r.topic, lane); until.Err() == nil; {
				_ = r.publish(ctx, p, i, smallEntry) // the tracker has it
				select {
				case <-time.After(rand.N(2 * pace)):
				case <-until.Done():
				}
			}
			return nil
		})
	}
	_ = publishers.Wait()
}

func (r *run) publish(ctx context.Context, p *queue.OrderedPublisher, publisher, size int) error {
	ctx, cancel := context.WithTimeout(ctx, unanswered)
	defer cancel()
	e := r.tracker.send(publisher)
	sent := r.now()
	data := make([]byte, size)
	binary.BigEndian.PutUint16(data, e.publisher)
	binary.BigEndian.PutUint32(data[2:], e.seq)
	binary.BigEndian.PutUint64(data[6:], uint64(sent))
	err := p.Publish(ctx, data)
	r.tracker.answered(e, sent, r.now(), err)
	return err
}

// burst is how much one publisher got through.
type burst struct {
	size, entries int
	took          time.Duration
}

func (b burst) perSecond() float64 { return float64(b.entries) / max(b.took.Seconds(), 1e-9) }

// burstTime bounds a burst: a twentieth of the load's time, at least 1 s.
func (c Config) burstTime() time.Duration {
	return min(max(c.Duration/20, time.Second), 15*time.Second)
}

// burstBytes bounds a burst where the server takes more than Pub/Sub's 1 MB/s of one key: it must retain them.
const burstBytes = 20_000_000

func (r *run) burst(ctx context.Context, publisher, size int) burst {
	b, start := burst{size: size}, time.Now()
	p := r.spare().OrderedPublisher(r.topic, lane)
	for ctx.Err() == nil && b.entries*size < burstBytes && time.Since(start) < r.cfg.burstTime() {
		if r.publish(ctx, p, publisher, size) == nil {
			b.entries++
		} else {
			time.Sleep(pace)
		}
	}
	b.took = time.Since(start)
	return b
}

// drain waits until all subscriptions have read everything, or it is lost.
func (r *run) drain(ctx context.Context) { r.await(ctx, r.tracker.behind) }

func (r *run) await(ctx context.Context, still func() bool) {
	ctx, cancel := context.WithTimeout(ctx, drainPatience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for still() && ctx.Err() == nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}
