package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"tailweir/fleet/member"
	"tailweir/queue"
)

// logKey is the log's ordering key. There is one: a fleet has one order.
const logKey = "lane-0"

// fleetLog is the log topic and this worker's subscription on it, a member.Log.
type fleetLog struct {
	client  *queue.Client
	names   QueueConfig
	name    string // of the worker, and what follows the prefix in its subscription's
	out     *queue.OrderedPublisher
	publish probation
	read    probation
	log     *slog.Logger

	mu      sync.Mutex      // one sweep at a time
	missing map[string]bool // subscriptions whose worker was gone when sweep was last called
}

func (w *Worker) newLog() *fleetLog {
	names := w.cfg.Queue
	return &fleetLog{
		client: w.opts.Client, names: names, log: w.opts.Log, out: w.opts.Client.OrderedPublisher(names.Log, logKey),
		publish: probation{fail: w.fail, need: fmt.Sprintf("queue.log_topic is %s, and a worker needs pubsub.topics.publish on it", names.Log)},
		read: probation{fail: w.fail, need: fmt.Sprintf("queue.log_topic is %s, and a worker needs pubsub.topics.attachSubscription on it and "+
			"pubsub.subscriptions.create, get, consume and delete for its own subscription, %s and its name", names.Log, names.LogPrefix)},
	}
}

func (l *fleetLog) Publish(ctx context.Context, data []byte) error {
	return l.publish.judge(ctx, l.out.Publish(ctx, data))
}

// subscribePatience bounds an attempt to subscribe, so that what is wrong is told: the library by itself repeats for a minute.
const subscribePatience = 8 * time.Second

func (l *fleetLog) Subscribe(ctx context.Context, from time.Time) (member.Reading, error) {
	ctx, cancel := context.WithTimeout(ctx, subscribePatience)
	defer cancel()
	r, err := l.client.SubscribeLog(ctx, queue.LogConfig{
		Topic: l.names.Log, Subscription: l.names.LogPrefix + l.name, From: from, Logger: l.log,
	})
	switch err := l.read.judge(ctx, err); {
	case err == nil:
		return r, nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%w: no answer from Pub/Sub within %v", err, subscribePatience)
	default:
		return nil, err
	}
}

// workerName is how workers are named. Subscriptions of others, such as those of "tailweir fleet", expire by themselves.
var workerName = regexp.MustCompile("^[0-9a-f]{16}$")

// sweep deletes the log subscriptions of workers that were gone at the last call already: one that is only joining, or
// fenced for a moment, is alive by the next.
func (l *fleetLog) sweep(ctx context.Context, alive func(name string) bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	all, err := l.client.LogSubscriptions(ctx, l.names.Log, l.names.LogPrefix)
	if err != nil {
		return err
	}
	missing := map[string]bool{}
	var errs []error
	for _, sub := range all {
		name := strings.TrimPrefix(sub, l.names.LogPrefix)
		switch {
		case !workerName.MatchString(name) || name == l.name || alive(name):
		case !l.missing[sub]:
			missing[sub] = true
		default:
			l.log.Info("deleting the log subscription of a worker that is gone", "subscription", sub)
			errs = append(errs, l.client.DeleteSubscription(ctx, sub))
		}
	}
	l.missing = missing
	return errors.Join(errs...)
}

// fleetFacts is the facts topic and its one subscription, a member.Facts.
type fleetFacts struct {
	out     *queue.Publisher
	open    func() *queue.Subscriber
	publish probation
	pull    probation
}

// The leader's credit for facts: what it takes in within a second even when a large fleet says everything again. Batches that
// it has no claim for yet come back after factsLater.
const (
	factsMessages = 1000
	factsBytes    = 64 << 20
	factsLater    = time.Second
)

func (w *Worker) newFacts() *fleetFacts {
	client, names := w.opts.Client, w.cfg.Queue
	// Members gather for 100 ms and more; there is nothing to wait for.
	w.facts = client.Publisher(names.Facts, queue.PublisherConfig{Delay: time.Millisecond})
	return &fleetFacts{
		out: w.facts,
		open: func() *queue.Subscriber {
			return client.Subscriber(names.Sequencer, queue.SubscriberConfig{
				MaxMessages: factsMessages, MaxBytes: factsBytes, Linger: 500 * time.Millisecond, Grace: time.Second, Logger: w.opts.Log,
			})
		},
		publish: probation{fail: w.fail, need: fmt.Sprintf("queue.facts_topic is %s, and a worker needs pubsub.topics.publish on it", names.Facts)},
		pull: probation{fail: w.fail, need: fmt.Sprintf("queue.facts_subscription is %s, a pull subscription on %s, and a worker needs "+
			"pubsub.subscriptions.consume on it", names.Sequencer, names.Facts)},
	}
}

func (f *fleetFacts) Publish(ctx context.Context, data []byte) error {
	return f.publish.judge(ctx, f.out.Publish(ctx, data, nil))
}

func (f *fleetFacts) Pull(ctx context.Context, handle func(data []byte, publish time.Time) member.Settle) error {
	err := f.open().Run(ctx, func(m *queue.Message) {
		f.pull.passed.Store(true)
		if handle(m.Data, m.PublishTime) == member.Later {
			m.HandBack(factsLater)
		} else {
			m.Ack()
		}
	})
	if ctx.Err() != nil {
		return nil // acks that are not confirmed: the batches come again, to whoever leads then
	}
	return f.pull.judge(ctx, err)
}

// probation tells what a person must mend from what passes: a call that has never succeeded and is refused for want of the
// object or the permission ends the worker, with what it needs. Once it has succeeded, only the member judges.
type probation struct {
	fail   func(error)
	need   string
	passed atomic.Bool
}

func (p *probation) judge(ctx context.Context, err error) error {
	switch {
	case err == nil:
		p.passed.Store(true)
	case ctx.Err() == nil && !p.passed.Load() && refused(err):
		p.fail(fmt.Errorf("%w; %s: docs/fleet.md has the list", err, p.need))
	}
	return err
}

func refused(err error) bool {
	switch status.Code(err) {
	case codes.NotFound, codes.PermissionDenied, codes.Unauthenticated, codes.InvalidArgument, codes.FailedPrecondition, codes.Unimplemented:
		return true
	}
	return false
}
