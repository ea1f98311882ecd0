package queue

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// hold keeps n messages for d, acks them, and wants each delivered once.
func hold(t *testing.T, n int, d time.Duration) {
	s := startServer(t)
	c := s.open()
	publish(t, c, n, 100)
	r := subscribe(t, c, SubscriberConfig{MaxMessages: 2 * n}, 2*n)
	messages := r.take(n, time.Minute)
	r.none(d)
	if held, _ := r.sub.Held(); held != n {
		t.Errorf("Held() = %d, want %d", held, n)
	}
	for _, m := range messages {
		m.Ack()
	}
	waitFor(t, "acks", func() bool { return r.sub.Stats().Acked == uint64(n) })
	r.none(100 * time.Millisecond)
	r.stop()
	stats := r.sub.Stats()
	if stats.Redelivered != 0 || stats.Received != uint64(n) || stats.FailedExtensions != 0 {
		t.Errorf("stats = %+v, want %d received once", stats, n)
	}
	if want := uint64(n) * uint64(d/(5*time.Second)-1); stats.Extensions < want {
		t.Errorf("Extensions = %d, want at least %d", stats.Extensions, want)
	}
	t.Logf("%+v", stats)
}

func TestHold(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		hold(t, 2_000, 11*time.Second) // longer than a lease
		return
	}
	hold(t, 100_000, 30*time.Second)
}

func TestDrainLosesNoAck(t *testing.T) {
	t.Parallel()
	const n = 1000
	s := startServer(t)
	c := s.open()
	publish(t, c, n, 100)
	r := subscribe(t, c, SubscriberConfig{}, n)
	for _, m := range r.take(n, 10*time.Second) {
		m.Ack()
	}
	r.stop()
	if got := r.sub.Stats().Acked; got != n {
		t.Errorf("Acked = %d when Run returned, want %d", got, n)
	}
	after := subscribe(t, c, SubscriberConfig{}, n)
	after.none(11 * time.Second) // a lost ack would show when its lease ends
	after.stop()
}

func TestStopPullingKeepsLeasesAndAcks(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c := s.open()
	publish(t, c, 10, 100)
	r := subscribe(t, c, SubscriberConfig{}, 100)
	messages := r.take(10, 10*time.Second)
	r.sub.StopPulling()
	r.sub.StopPulling()
	publish(t, c, 5, 100)
	r.none(300 * time.Millisecond)
	other := subscribe(t, c, SubscriberConfig{}, 100)
	rest := other.take(5, 5*time.Second)
	other.none(11 * time.Second)
	for _, m := range append(messages, rest...) {
		m.Ack()
	}
	other.stop()
	r.stop()
	if a, b := r.sub.Stats().Acked, other.sub.Stats().Acked; a != 10 || b != 5 {
		t.Errorf("acked %d and %d, want 10 and 5", a, b)
	}
}

// What was received but not handed over when pulling stops is free for others at once.
func TestStopPullingNacksTheRest(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c := s.open()
	publish(t, c, 50, 100)
	entered, leave := make(chan *Message, 50), make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	sub := c.Subscriber("work", SubscriberConfig{})
	result := make(chan error, 1)
	go func() { result <- sub.Run(ctx, func(m *Message) { entered <- m; <-leave }) }()
	first := <-entered
	waitFor(t, "a response of several", func() bool { n, _ := sub.Held(); return n > 1 })
	sub.StopPulling()
	close(leave)
	other := subscribe(t, c, SubscriberConfig{}, 100)
	for _, m := range other.take(49, 5*time.Second) {
		m.Ack()
	}
	first.Ack()
	cancel()
	if err := <-result; err != nil {
		t.Error(err)
	}
	if len(entered) != 0 {
		t.Errorf("%d calls of handle began after StopPulling", len(entered))
	}
	other.stop()
}

func TestReconnectKeepsLeases(t *testing.T) {
	t.Parallel()
	const n = 100
	s := startServer(t)
	c := s.open()
	publish(t, c, n, 100)
	var broken atomic.Int64
	r := subscribe(t, c, SubscriberConfig{Broken: func() { broken.Add(1) }}, 2*n)
	messages := r.take(n, 10*time.Second)
	if broken.Load() != 0 {
		t.Error("a stream that lives was told as broken")
	}
	s.stop()
	for _, m := range messages[:n/2] {
		m.Ack() // while the server is gone
	}
	s.start()
	r.none(11 * time.Second)
	publish(t, c, 1, 100)
	messages = append(messages, r.take(1, 5*time.Second)...)
	for _, m := range messages[n/2:] {
		m.Ack()
	}
	r.stop()
	stats := r.sub.Stats()
	if uint64(broken.Load()) != stats.Reconnects { // StopPulling is no break
		t.Errorf("%d streams told as broken, %d reconnects", broken.Load(), stats.Reconnects)
	}
	if stats.Acked != n+1 || stats.Redelivered != 0 || stats.FailedAcks != 0 || stats.Reconnects == 0 {
		t.Errorf("stats = %+v, want %d acked, none redelivered, reconnects", stats, n+1)
	}
}

func TestHandBackReturnsAfterDelay(t *testing.T) {
	t.Parallel()
	const delay = 3 * time.Second
	s := startServer(t)
	c := s.open()
	publish(t, c, 1, 100)
	r := subscribe(t, c, SubscriberConfig{}, 10)
	m := r.take(1, 5*time.Second)[0]
	start := time.Now()
	m.HandBack(delay)
	if n, _ := r.sub.Held(); n != 0 {
		t.Errorf("Held() = %d after HandBack", n)
	}
	again := r.take(1, delay+4*time.Second)[0]
	if waited := time.Since(start); waited < delay {
		t.Errorf("message came back after %v, want %v at least", waited, delay)
	}
	if again.ID != m.ID {
		t.Errorf("message %s came back, want %s", again.ID, m.ID)
	}
	again.Ack()
	r.stop()
	if stats := r.sub.Stats(); stats.HandedBack != 1 || stats.Acked != 1 {
		t.Errorf("stats = %+v", stats)
	}
}

func TestNackReturnsAtOnce(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c := s.open()
	publish(t, c, 1, 100)
	r := subscribe(t, c, SubscriberConfig{}, 10)
	start := time.Now()
	for range 3 {
		r.take(1, 5*time.Second)[0].Nack()
	}
	r.take(1, 5*time.Second)[0].Ack()
	if waited := time.Since(start); waited > 5*time.Second {
		t.Errorf("three nacks took %v, want far less than a lease", waited)
	}
	r.stop()
	if stats := r.sub.Stats(); stats.Nacked != 3 || stats.Acked != 1 {
		t.Errorf("stats = %+v", stats)
	}
}

func TestCreditIsRespected(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		cfg  SubscriberConfig
		want int
	}{
		{"messages", SubscriberConfig{MaxMessages: 7}, 7},
		{"messages over streams", SubscriberConfig{MaxMessages: 8, Streams: 2}, 8},
		{"bytes", SubscriberConfig{MaxBytes: 10_000}, 10},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := startServer(t)
			c := s.open()
			publish(t, c, 40, 1000)
			r := subscribe(t, c, test.cfg, 100)
			waitFor(t, "credit to be used", func() bool { n, _ := r.sub.Held(); return n >= test.want-1 })
			time.Sleep(300 * time.Millisecond) // time to be wrong in
			if n, _ := r.sub.Held(); n > test.want+1 {
				t.Errorf("Held() = %d, want about %d", n, test.want)
			}
			for range 40 {
				r.take(1, 5*time.Second)[0].Ack()
			}
			r.stop()
			if stats := r.sub.Stats(); stats.Acked != 40 || stats.Received != 40 {
				t.Errorf("stats = %+v, want 40 received and acked", stats)
			}
		})
	}
}

// A blocked handle stops reading, but not leases and acks.
func TestBlockedHandleKeepsLeases(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c := s.open()
	publish(t, c, 20, 100)
	r := subscribe(t, c, SubscriberConfig{MaxMessages: 20}, 5) // the sixth call blocks
	waitFor(t, "messages", func() bool { n, _ := r.sub.Held(); return n == 20 })
	time.Sleep(11 * time.Second)
	first := <-r.messages
	first.Ack()
	waitFor(t, "the ack", func() bool { return r.sub.Stats().Acked == 1 })
	for _, m := range r.take(19, 5*time.Second) {
		m.Ack()
	}
	r.stop()
	if stats := r.sub.Stats(); stats.Received != 20 || stats.Acked != 20 {
		t.Errorf("stats = %+v, want 20 received once and acked", stats)
	}
}

func TestDrainIsBoundedByGrace(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c := s.open()
	publish(t, c, 1, 100)
	r := subscribe(t, c, SubscriberConfig{Grace: 200 * time.Millisecond}, 10)
	m := r.take(1, 5*time.Second)[0]
	s.stop()
	m.Ack()
	r.cancel()
	select {
	case err := <-r.result:
		if err == nil || !strings.Contains(err.Error(), "1 acks unconfirmed") {
			t.Errorf("Run = %v, want an error that counts the ack", err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("Run did not return within the grace")
	}
}

func TestRefusedSubscriptionIsAnError(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c := s.open()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err := c.Subscriber("missing", SubscriberConfig{}).Run(ctx, func(*Message) {})
	if status.Code(err) != codes.NotFound || !strings.Contains(err.Error(), "projects/p/subscriptions/missing") {
		t.Errorf("Run = %v, want NotFound that names the subscription", err)
	}
}

// A subscription that was pulled from before comes back: nobody has to start the process again.
func TestInsists(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c := s.open()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	sub := c.Subscriber("missing", SubscriberConfig{Insist: true})
	if err := sub.Run(ctx, func(*Message) {}); err != nil || ctx.Err() == nil {
		t.Errorf("Run = %v before its time, want nil when its context ends", err)
	}
	if sub.Stats().Reconnects == 0 {
		t.Error("it was not tried again")
	}
}

func TestRunTwiceIsAnError(t *testing.T) {
	t.Parallel()
	c := startServer(t).open()
	sub := c.Subscriber("work", SubscriberConfig{})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := sub.Run(ctx, nil); err != nil {
		t.Errorf("first Run: %v", err)
	}
	if err := sub.Run(ctx, nil); err == nil {
		t.Error("second Run returned nil")
	}
}
