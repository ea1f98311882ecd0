package broker_test

import (
	"context"
	"io"
	"slices"
	"testing"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"tailweir/queue/broker"
	"tailweir/queue/queuetest"
)

const (
	faultTopic = "projects/p/topics/topic"
	faultSub   = "projects/p/subscriptions/sub"
)

// client is a broker with one subscription, called over loopback.
type client struct {
	*testing.T
	srv *broker.Server
	pub pubsubpb.PublisherClient
	sub pubsubpb.SubscriberClient
}

func newClient(t *testing.T) *client {
	t.Helper()
	srv := broker.New(broker.Config{})
	conn := queuetest.Dial(t, serve(t, srv))
	c := &client{T: t, srv: srv, pub: pubsubpb.NewPublisherClient(conn), sub: pubsubpb.NewSubscriberClient(conn)}
	if _, err := c.pub.CreateTopic(t.Context(), &pubsubpb.Topic{Name: faultTopic}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.sub.CreateSubscription(t.Context(), &pubsubpb.Subscription{Name: faultSub, Topic: faultTopic}); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *client) publish(text string) codes.Code {
	_, err := c.pub.Publish(c.Context(), &pubsubpb.PublishRequest{Topic: faultTopic, Messages: []*pubsubpb.PubsubMessage{{Data: []byte(text)}}})
	return status.Code(err)
}

func (c *client) wantPublish(want ...codes.Code) {
	c.Helper()
	var got []codes.Code
	for range want {
		got = append(got, c.publish("a"))
	}
	if !slices.Equal(got, want) {
		c.Errorf("publishes: %v, want %v", got, want)
	}
}

func (c *client) pull() ([]*pubsubpb.ReceivedMessage, error) {
	resp, err := c.sub.Pull(c.Context(), &pubsubpb.PullRequest{Subscription: faultSub, MaxMessages: 10})
	return resp.GetReceivedMessages(), err
}

func (c *client) open() pubsubpb.Subscriber_StreamingPullClient {
	c.Helper()
	s, err := c.sub.StreamingPull(c.Context())
	if err != nil {
		c.Fatal(err)
	}
	// EOF: the server has ended the stream already, and Recv says why.
	if err := s.Send(&pubsubpb.StreamingPullRequest{Subscription: faultSub, StreamAckDeadlineSeconds: 10}); err != nil && err != io.EOF {
		c.Fatal(err)
	}
	return s
}

func (c *client) wantStats(want func(broker.Stats) bool) {
	c.Helper()
	if st := c.srv.Stats(); !want(st) {
		c.Errorf("stats: %+v", st)
	}
}

func TestFaultSkipCountCode(t *testing.T) {
	c := newClient(t)
	c.srv.Inject(broker.Fault{Method: "Publish", Skip: 1, Count: 2, Code: codes.Unavailable})
	c.wantPublish(codes.OK, codes.Unavailable, codes.Unavailable, codes.OK)
	c.wantStats(func(st broker.Stats) bool { return st.Faults == 2 && st.Published == 2 })
}

func TestFaultUntilRemoved(t *testing.T) {
	c := newClient(t)
	remove := c.srv.Inject(broker.Fault{Method: "Publish", Code: codes.Internal})
	other := c.srv.Inject(broker.Fault{Method: "Pull", Code: codes.Aborted})
	c.wantPublish(codes.Internal, codes.Internal, codes.Internal)
	remove()
	remove()
	c.wantPublish(codes.OK)
	if _, err := c.pull(); status.Code(err) != codes.Aborted {
		t.Errorf("pull after the removal of another fault: %v, want ABORTED", err)
	}
	other()
	if got, err := c.pull(); err != nil || len(got) != 1 {
		t.Errorf("pull without faults: %v, %v", got, err)
	}
}

func TestFaultsInOrder(t *testing.T) {
	c := newClient(t)
	c.srv.Inject(broker.Fault{Method: "Publish", Count: 1, Code: codes.Internal})
	c.srv.Inject(broker.Fault{Code: codes.Unavailable})
	c.wantPublish(codes.Internal, codes.Unavailable)
	if _, err := c.open().Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("stream under a fault of every RPC: %v, want UNAVAILABLE", err)
	}
	c.srv.Heal()
	c.wantPublish(codes.OK)
}

func TestFaultAfter(t *testing.T) {
	c := newClient(t)
	c.srv.Inject(broker.Fault{Method: "Publish", After: true, Count: 1, Code: codes.Unavailable})
	c.srv.Inject(broker.Fault{Method: "Acknowledge", After: true, Count: 1, Code: codes.DeadlineExceeded})
	c.wantPublish(codes.Unavailable)
	got, err := c.pull()
	if err != nil || len(got) != 1 {
		t.Fatalf("pull after the publish whose answer was lost: %v, %v", got, err)
	}
	_, err = c.sub.Acknowledge(t.Context(), &pubsubpb.AcknowledgeRequest{Subscription: faultSub, AckIds: []string{got[0].AckId}})
	if status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("acknowledge: %v, want DEADLINE_EXCEEDED", err)
	}
	c.wantStats(func(st broker.Stats) bool { return st.Subscriptions[0].Acked == 1 && st.Bytes == 0 })
}

func TestFaultDelay(t *testing.T) {
	const delay = time.Second
	c := newClient(t)
	c.srv.Inject(broker.Fault{Method: "Publish", Count: 1, Delay: delay})
	start := time.Now()
	slow := make(chan codes.Code, 1)
	go func() { slow <- c.publish("slow") }()
	for c.srv.Stats().Faults == 0 {
		time.Sleep(time.Millisecond)
	}
	c.wantPublish(codes.OK) // does not wait behind it
	if n := c.srv.Stats().Published; n != 1 && time.Since(start) < delay {
		t.Errorf("%d messages published while one publish is delayed, want 1", n)
	}
	if code := <-slow; code != codes.OK || time.Since(start) < delay {
		t.Errorf("delayed publish: %v after %v, want OK after %v", code, time.Since(start), delay)
	}
}

func TestFaultDelayEndsWithItsCall(t *testing.T) {
	c := newClient(t)
	c.srv.Inject(broker.Fault{Delay: 24 * time.Hour, After: true, Code: codes.Internal})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := c.sub.Pull(ctx, &pubsubpb.PullRequest{Subscription: faultSub, MaxMessages: 1})
	if status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("pull: %v, want DEADLINE_EXCEEDED", err)
	}
	c.open() // Serve waits for its handlers, so a delay that outlived its call would hold up the test's end
	for c.srv.Stats().Faults < 2 {
		time.Sleep(time.Millisecond)
	}
}

func TestFaultDeliverCode(t *testing.T) {
	c := newClient(t)
	c.wantPublish(codes.OK, codes.OK)
	c.srv.Inject(broker.Fault{Method: "Deliver", Count: 1, Code: codes.Unavailable})
	if resp, err := c.open().Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("stream: %v, %v; want UNAVAILABLE", resp, err)
	}
	c.wantStats(func(st broker.Stats) bool { return st.Subscriptions[0].Outstanding == 2 })

	c.wantPublish(codes.OK)
	c.srv.Inject(broker.Fault{Method: "Deliver", Count: 1, Code: codes.Aborted})
	if got, err := c.pull(); status.Code(err) != codes.Aborted {
		t.Errorf("pull: %v, %v; want ABORTED", got, err)
	}
	c.wantStats(func(st broker.Stats) bool { return st.Subscriptions[0].Outstanding == 3 })

	c.wantPublish(codes.OK)
	c.srv.Inject(broker.Fault{Method: "Deliver", Count: 1, Code: codes.Unavailable, After: true})
	s := c.open()
	if resp, err := s.Recv(); err != nil || len(resp.ReceivedMessages) != 1 {
		t.Errorf("stream that ends after its first response: %v, %v", resp, err)
	}
	if _, err := s.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("stream after its first response: %v, want UNAVAILABLE", err)
	}
}

func TestFaultDuplicate(t *testing.T) {
	c := newClient(t)
	c.srv.Inject(broker.Fault{Method: "Deliver", Count: 2, Duplicate: true})
	c.wantPublish(codes.OK)
	got, err := c.pull()
	if err != nil || len(got) != 2 || got[0].AckId != got[1].AckId {
		t.Errorf("pull: %v, %v; want one message twice", got, err)
	}
	s := c.open()
	c.wantPublish(codes.OK)
	first, err1 := s.Recv()
	second, err2 := s.Recv()
	if err1 != nil || err2 != nil || first.ReceivedMessages[0].AckId != second.ReceivedMessages[0].AckId {
		t.Errorf("stream: %v, %v; then %v, %v; want the same twice", first, err1, second, err2)
	}
	c.wantStats(func(st broker.Stats) bool { return st.Subscriptions[0].Delivered == 2 })
}

func TestDropStreams(t *testing.T) {
	c := newClient(t)
	streams := []pubsubpb.Subscriber_StreamingPullClient{c.open(), c.open()}
	for _, s := range streams {
		if _, err := s.Header(); err != nil { // the stream stands
			t.Fatal(err)
		}
	}
	if n := c.srv.DropStreams(codes.Unavailable); n != 2 {
		t.Errorf("dropped %d streams, want 2", n)
	}
	for _, s := range streams {
		if _, err := s.Recv(); status.Code(err) != codes.Unavailable {
			t.Errorf("dropped stream: %v, want UNAVAILABLE", err)
		}
	}
	s := c.open()
	c.wantPublish(codes.OK)
	if resp, err := s.Recv(); err != nil || len(resp.ReceivedMessages) != 1 {
		t.Errorf("stream opened after the drop: %v, %v", resp, err)
	}
	if n := c.srv.DropStreams(codes.OK); n != 1 {
		t.Errorf("dropped %d streams, want 1", n)
	}
	if _, err := s.Recv(); err != io.EOF {
		t.Errorf("stream dropped with OK: %v, want EOF", err)
	}
}

// A handler that is blocked by a client that does not read must not keep its stream.
func TestDropUnreadStream(t *testing.T) {
	c := newClient(t)
	s := c.open()
	big := string(make([]byte, 9_000_000))
	for range 4 { // more than the windows of the stream take
		if code := c.publish(big); code != codes.OK {
			t.Fatal(code)
		}
	}
	for c.srv.Stats().Subscriptions[0].Outstanding == 0 {
		time.Sleep(time.Millisecond)
	}
	if n := c.srv.DropStreams(codes.Aborted); n != 1 {
		t.Errorf("dropped %d streams, want 1", n)
	}
	var err error
	for err == nil {
		_, err = s.Recv()
	}
	if status.Code(err) != codes.Aborted {
		t.Errorf("dropped stream: %v, want ABORTED", err)
	}
}

func TestInjectRefusesUnknownMethods(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a fault of an RPC that does not exist was taken")
		}
	}()
	broker.New(broker.Config{}).Inject(broker.Fault{Method: "Publihs"})
}
