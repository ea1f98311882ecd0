package queuetest

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	"tailweir/queue"
)

// lane is the ordering key of the log.
const lane = "lane-0"

// entry is what a reader was handed.
type entry struct {
	text        string
	publish, at time.Time
}

// reader runs a LogReader.
type reader struct {
	*queue.LogReader
	f       *fixture
	entries chan entry
	stop    context.CancelFunc
	ended   chan error
}

func (f *fixture) client() *queue.Client {
	f.Helper()
	c, err := queue.Open(f.ctx, f.queue)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = c.Close() })
	return c
}

// retainingLog returns the fixture on a topic that retains messages for 10 minutes.
func (f *fixture) retainingLog() *fixture {
	return f.onTopic("-log", func(pb *pubsubpb.Topic) { pb.MessageRetentionDuration = durationpb.New(10 * time.Minute) })
}

// subscribeLog makes a reader, named with the suffix, that does not run yet.
func (f *fixture) subscribeLog(c *queue.Client, suffix string, from time.Time) *reader {
	f.Helper()
	other := *f
	other.subscription += suffix
	log, err := c.SubscribeLog(f.ctx, queue.LogConfig{
		Topic: f.topic, Subscription: other.subscription, From: from, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(other.removeSubscription)
	return &reader{LogReader: log, f: &other, entries: make(chan entry, 1000)}
}

func (r *reader) run() *reader {
	ctx, cancel := context.WithCancel(r.f.ctx)
	r.stop, r.ended = cancel, make(chan error, 1)
	go func() {
		r.ended <- r.Run(ctx, func(data []byte, publish time.Time) { r.entries <- entry{string(data), publish, time.Now()} })
	}()
	return r
}

// end ends the run and wants it to have been clean.
func (r *reader) end() {
	r.f.Helper()
	r.stop()
	if err := r.wait(); err != nil {
		r.f.Errorf("Run: %v", err)
	}
}

func (r *reader) wait() error {
	r.f.Helper()
	select {
	case err := <-r.ended:
		return err
	case <-time.After(patience):
		r.f.Fatalf("Run has not returned after %v", patience)
	}
	return nil
}

func (r *reader) read(n int) []entry {
	r.f.Helper()
	timeout := time.After(patience)
	var entries []entry
	for len(entries) < n {
		select {
		case e := <-r.entries:
			entries = append(entries, e)
		case err := <-r.ended:
			r.f.Fatalf("Run ended after %d of %d entries: %v", len(entries), n, err)
		case <-timeout:
			r.f.Fatalf("%d of %d entries in %v", len(entries), n, patience)
		}
	}
	return entries
}

// readTexts wants the next entries to be the numbers from "from" to "to-1".
func (r *reader) readTexts(from, to int) []entry {
	r.f.Helper()
	entries := r.read(to - from)
	var got []string
	for _, e := range entries {
		got = append(got, e.text)
	}
	if diff := cmp.Diff(countTexts(from, to), got); diff != "" {
		r.f.Fatalf("entries (-want +got):\n%s", diff)
	}
	return entries
}

// write publishes the numbers one by one, and returns when each was sent.
func (f *fixture) write(c *queue.Client, from, to int) (sent []time.Time) {
	f.Helper()
	p := c.OrderedPublisher(f.topic, lane)
	for i := from; i < to; i++ {
		sent = append(sent, time.Now())
		if err := p.Publish(f.ctx, fmt.Append(nil, i)); err != nil {
			f.Fatal(err)
		}
	}
	return sent
}

// All readers read what one publisher wrote, in its order, with the same publish times.
func logOrder(f *fixture) {
	c := f.client()
	var readers []*reader
	for i := range 3 {
		readers = append(readers, f.subscribeLog(c, fmt.Sprint("-", i), time.Now()).run())
	}
	f.write(c, 0, 100)
	first := readers[0].readTexts(0, 100)
	for _, r := range readers[1:] {
		for i, e := range r.readTexts(0, 100) {
			if !e.publish.Equal(first[i].publish) {
				f.Errorf("entry %d was published at %v and at %v", i, e.publish, first[i].publish)
			}
		}
	}
	if !slices.IsSortedFunc(first, func(a, b entry) int { return a.publish.Compare(b.publish) }) {
		f.Error("publish times go back within one publisher's entries")
	}
}

// Acks leave 50 ms after the message: were the next one of the key held back for them, the last of 60 would take 3 s.
func logLatency(f *fixture) {
	c := f.client()
	r := f.subscribeLog(c, "-log", time.Now()).run()
	f.write(c, 0, 1)
	r.readTexts(0, 1) // the connections are made
	sent := f.write(c, 1, 61)
	var took []time.Duration
	for i, e := range r.readTexts(1, 61) {
		took = append(took, e.at.Sub(sent[i]))
	}
	slices.Sort(took)
	f.Logf("publish to read: median %v, greatest %v", took[30], took[59])
	if took[30] > 700*time.Millisecond {
		f.Errorf("publish to read takes %v in the median, want far less: does delivery wait for acks?", took[30])
	}
}

func logSeek(f *fixture) {
	f, c := f.retainingLog(), f.client()
	early := f.subscribeLog(c, "-early", time.Now()).run()
	f.write(c, 0, 3)
	time.Sleep(20 * time.Millisecond) // servers stamp in milliseconds
	f.write(c, 3, 6)
	from := early.readTexts(0, 6)[3].publish
	early.end()
	for _, name := range []string{"-late", "-early"} { // a new subscription, and one that has acked everything
		r := f.subscribeLog(c, name, from).run()
		if !r.Start().Equal(from) {
			f.Errorf("the log starts at %v, want what was asked for: %v", r.Start(), from)
		}
		r.readTexts(3, 6)
		r.end()
	}
	all := f.subscribeLog(c, "-all", time.Time{})
	if ago := time.Since(all.Start()); ago > 10*time.Minute || ago < 9*time.Minute {
		f.Errorf("the whole log starts %v ago, want just under the retention of 10 minutes", ago)
	}
	all.run().readTexts(0, 6)
}

// What was published before a reader was made comes first, where the topic retains it.
func logReplay(f *fixture) {
	f, c := f.retainingLog(), f.client()
	f.write(c, 0, 20)
	r := f.subscribeLog(c, "-late", time.Now().Add(-time.Minute))
	f.write(c, 20, 30)
	r.run().readTexts(0, 30)
	f.write(c, 30, 40)
	r.readTexts(30, 40)
}

// Without retention a log starts after its reader was made, whatever was asked for, and is complete from then on.
func logBeginsNow(f *fixture) {
	c := f.client()
	f.write(c, 0, 3)
	before := time.Now()
	r := f.subscribeLog(c, "-log", before.Add(-time.Hour))
	if r.Start().Before(before) || r.Start().After(time.Now().Add(5*time.Second)) {
		f.Fatalf("the log starts at %v, want soon after %v", r.Start(), before)
	}
	time.Sleep(time.Until(r.Start()))
	f.write(c, 3, 10) // before it runs
	r.run()
	f.write(c, 10, 20)
	for _, e := range r.readTexts(3, 20) {
		if e.publish.Before(r.Start().Add(-time.Second)) {
			f.Errorf("entry %s was published at %v, the log starts at %v", e.text, e.publish, r.Start())
		}
	}
}

// A run goes on where the last one ended, and repeats nothing: acks are sent before it returns.
func logRunAgain(f *fixture) {
	c := f.client()
	r := f.subscribeLog(c, "-log", time.Now()).run()
	f.write(c, 0, 10)
	r.readTexts(0, 10)
	r.end()
	f.write(c, 10, 20)
	r.run().readTexts(10, 20)
	r.end()
}

func logDeleted(f *fixture) {
	c := f.client()
	r := f.subscribeLog(c, "-log", time.Now()).run()
	f.write(c, 0, 1)
	r.readTexts(0, 1)
	if err := c.DeleteSubscription(f.ctx, r.f.subscription); err != nil {
		f.Fatal(err)
	}
	f.wantCode("Run of a reader whose subscription was deleted", r.wait(), codes.NotFound)
	f.wantCode("another Run", r.run().wait(), codes.NotFound)
}

func logSubscriptions(f *fixture) {
	c := f.client()
	prefix := f.subscription[strings.LastIndexByte(f.subscription, '/')+1:] + "-log"
	want := func(ids ...string) {
		f.Helper()
		got, err := c.LogSubscriptions(f.ctx, f.topic, prefix)
		slices.Sort(got)
		if diff := cmp.Diff(ids, got); diff != "" || err != nil {
			f.Errorf("subscriptions of the log: %v (-want +got):\n%s", err, diff)
		}
	}
	want()
	a := f.subscribeLog(c, "-log-a", time.Now())
	f.subscribeLog(c, "-log-b", time.Now())
	want(prefix+"-a", prefix+"-b")
	pb, err := f.sub.GetSubscription(f.ctx, &pubsubpb.GetSubscriptionRequest{Subscription: a.f.subscription})
	expiry, retention := pb.GetExpirationPolicy().GetTtl().AsDuration(), pb.GetMessageRetentionDuration().AsDuration()
	if err != nil || expiry != 24*time.Hour || retention != time.Hour {
		f.Errorf("a reader's subscription expires after %v and retains messages for %v, %v; want 24h and 1h", expiry, retention, err)
	}
	for range 2 {
		if err := a.Close(f.ctx); err != nil {
			f.Error(err)
		}
	}
	want(prefix + "-b")
	for range 2 {
		if err := c.DeleteTopic(f.ctx, f.topic); err != nil {
			f.Error(err)
		}
	}
}

// A subscription that is there already must be a log's, and this log's.
func logRefused(f *fixture) {
	c := f.client()
	f.subscribeLog(c, "-log", time.Now())
	f.subscribeLog(c, "-log", time.Now())
	other := f.onTopic("-other", nil)
	for name, cfg := range map[string]queue.LogConfig{
		"of another topic": {Topic: other.topic, Subscription: f.subscription + "-log"},
		"not ordered":      {Topic: f.topic, Subscription: f.subscription},
		"of no topic":      {Topic: f.topic + "-none", Subscription: f.subscription + "-none"},
	} {
		if _, err := c.SubscribeLog(f.ctx, cfg); err == nil {
			f.Errorf("a log was read by a subscription %s", name)
		}
	}
}

func logPublishRefused(f *fixture) {
	c := f.client()
	id, err := c.OrderedPublisher(f.topic, lane).PublishID(f.ctx, []byte("x"))
	if r := f.open(credit{}).receive(1)[0].Message; err != nil || r.MessageId != id || r.OrderingKey != lane {
		f.Errorf("published message %q, %v; received %v", id, err, r)
	}
	start := time.Now()
	err = c.OrderedPublisher(f.topic+"-none", lane).Publish(f.ctx, []byte("x"))
	f.wantCode("publish to a missing topic", err, codes.NotFound)
	if took := time.Since(start); took > 10*time.Second {
		f.Errorf("publish to a missing topic took %v, want an answer at once", took)
	}
}
