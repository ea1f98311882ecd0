package queue

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"tailweir/queue/broker"
)

// server is an embedded broker on a port of its own, which can go away and come back with its messages.
type server struct {
	t      testing.TB
	broker *broker.Server
	addr   string
	cancel context.CancelFunc
	ended  chan error
}

func startServer(t testing.TB) *server {
	s := &server{t: t, broker: broker.New(broker.Config{}), addr: "127.0.0.1:0"}
	s.start()
	t.Cleanup(s.stop)
	return s
}

func (s *server) start() {
	l, err := net.Listen("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.addr = l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel, s.ended = cancel, make(chan error, 1)
	go func() { s.ended <- s.broker.Serve(ctx, l) }()
}

func (s *server) stop() {
	if s.cancel == nil {
		return
	}
	s.cancel()
	if err := <-s.ended; err != nil {
		s.t.Errorf("serve: %v", err)
	}
	s.cancel = nil
}

// open returns a client with topic "spans" and subscription "work" on it.
func (s *server) open() *Client {
	ctx := context.Background()
	c, err := Open(ctx, Config{Project: "p", Endpoint: s.addr})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	for range 2 { // both are to be fine when it exists
		if err := c.CreateTopic(ctx, "spans"); err != nil {
			s.t.Fatal(err)
		}
		if err := c.CreateSubscription(ctx, SubscriptionConfig{Subscription: "work", Topic: "spans"}); err != nil {
			s.t.Fatal(err)
		}
	}
	return c
}

// publish publishes n messages of size bytes with distinct data.
func publish(t testing.TB, c *Client, n, size int) {
	t.Helper()
	p := c.Publisher("spans", PublisherConfig{})
	defer p.Close()
	filler := bytes.Repeat([]byte{'x'}, size)
	var wg sync.WaitGroup
	for w := range 200 {
		wg.Go(func() {
			for i := w; i < n; i += 200 {
				data := fmt.Appendf(nil, "%d ", i)
				if len(data) < size {
					data = append(data, filler[len(data):]...)
				}
				if err := p.Publish(context.Background(), data, map[string]string{"k": "v"}); err != nil {
					t.Errorf("publish: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// run is a subscriber that is running.
type run struct {
	t        testing.TB
	sub      *Subscriber
	messages chan *Message
	cancel   context.CancelFunc
	result   chan error
}

// subscribe runs a subscriber to "work" that sends what it is handed to messages, which has room for n.
func subscribe(t testing.TB, c *Client, cfg SubscriberConfig, n int) *run {
	ctx, cancel := context.WithCancel(context.Background())
	r := &run{t: t, sub: c.Subscriber("work", cfg), messages: make(chan *Message, n), cancel: cancel, result: make(chan error, 1)}
	go func() { r.result <- r.sub.Run(ctx, func(m *Message) { r.messages <- m }) }()
	t.Cleanup(cancel)
	return r
}

// stop ends the subscriber and fails the test if that was not clean.
func (r *run) stop() {
	r.t.Helper()
	r.cancel()
	select {
	case err := <-r.result:
		if err != nil {
			r.t.Errorf("Run: %v", err)
		}
	case <-time.After(20 * time.Second):
		r.t.Fatal("Run did not return")
	}
}

func (r *run) take(n int, timeout time.Duration) []*Message {
	r.t.Helper()
	deadline := time.After(timeout)
	messages := make([]*Message, 0, n)
	for len(messages) < n {
		select {
		case m := <-r.messages:
			messages = append(messages, m)
		case err := <-r.result:
			r.t.Fatalf("Run returned %v after %d of %d messages", err, len(messages), n)
		case <-deadline:
			r.t.Fatalf("%d of %d messages after %v", len(messages), n, timeout)
		}
	}
	return messages
}

// none fails if anything is handed over within d.
func (r *run) none(d time.Duration) {
	r.t.Helper()
	select {
	case m := <-r.messages:
		r.t.Fatalf("message %s was handed over, want none", m.ID)
	case <-time.After(d):
	}
}

func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("still waiting for %s", what)
		}
	}
}
