package queuetest

import (
	"context"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
)

// stream is a StreamingPull whose messages a goroutine puts into in.
type stream struct {
	f     *fixture
	raw   pubsubpb.Subscriber_StreamingPullClient
	in    chan *pubsubpb.ReceivedMessage
	empty chan *pubsubpb.StreamingPullResponse // responses without messages
	ended chan error
	close context.CancelFunc
}

// credit is a stream's server-side flow control; 0 = unlimited.
type credit struct{ messages, bytes int64 }

// open starts a stream with leases of ackDeadline and reads it.
func (f *fixture) open(c credit) *stream {
	f.Helper()
	s := f.openUnread(c)
	go s.read()
	return s
}

func (f *fixture) openUnread(c credit) *stream {
	f.Helper()
	ctx, cancel := context.WithCancel(f.ctx)
	f.Cleanup(cancel)
	raw, err := f.sub.StreamingPull(ctx)
	if err != nil {
		f.Fatalf("streaming pull: %v", err)
	}
	s := &stream{f: f, raw: raw, close: cancel, ended: make(chan error, 1),
		in: make(chan *pubsubpb.ReceivedMessage, 1000), empty: make(chan *pubsubpb.StreamingPullResponse, 100)}
	s.send(&pubsubpb.StreamingPullRequest{
		Subscription:             f.subscription,
		StreamAckDeadlineSeconds: int32(ackDeadline / time.Second),
		MaxOutstandingMessages:   c.messages,
		MaxOutstandingBytes:      c.bytes,
	})
	return s
}

func (s *stream) send(req *pubsubpb.StreamingPullRequest) {
	s.f.Helper()
	if err := s.raw.Send(req); err != nil {
		s.f.Fatalf("streaming pull: send: %v", err)
	}
}

func (s *stream) read() {
	for {
		resp, err := s.raw.Recv()
		if err != nil {
			s.ended <- err
			return
		}
		if len(resp.ReceivedMessages) == 0 {
			select {
			case s.empty <- resp:
			default:
			}
		}
		for _, r := range resp.ReceivedMessages {
			select {
			case s.in <- r:
			case <-s.raw.Context().Done():
				return
			}
		}
	}
}

// receive returns the next n messages or fails the case.
func (s *stream) receive(n int) []*pubsubpb.ReceivedMessage {
	s.f.Helper()
	timeout := time.After(patience)
	received := make([]*pubsubpb.ReceivedMessage, 0, n)
	for len(received) < n {
		select {
		case r := <-s.in:
			received = append(received, r)
		case err := <-s.ended:
			s.f.Fatalf("stream ended after %d of %d messages: %v", len(received), n, err)
		case <-timeout:
			s.f.Fatalf("%d of %d messages in %v", len(received), n, patience)
		}
	}
	return received
}

// receiveFromAny returns the next n messages that come by any of the streams, or fails the case.
func receiveFromAny(all []*stream, n int) (received []*pubsubpb.ReceivedMessage) {
	f := all[0].f
	f.Helper()
	for deadline := time.Now().Add(patience); len(received) < n; time.Sleep(10 * time.Millisecond) {
		for _, s := range all {
			select {
			case r := <-s.in:
				received = append(received, r)
			case err := <-s.ended:
				f.Fatalf("stream ended after %d of %d messages: %v", len(received), n, err)
			default:
			}
		}
		if time.Now().After(deadline) {
			f.Fatalf("%d of %d messages in %v", len(received), n, patience)
		}
	}
	return received
}

// none fails the case if a message comes within d.
func (s *stream) none(d time.Duration) {
	s.f.Helper()
	select {
	case r := <-s.in:
		s.f.Fatalf("message %s (%.40q) came, want none", r.Message.MessageId, r.Message.Data)
	case err := <-s.ended:
		s.f.Fatalf("stream ended: %v", err)
	case <-time.After(d):
	}
}

func (s *stream) ack(received ...*pubsubpb.ReceivedMessage) {
	s.f.Helper()
	s.send(&pubsubpb.StreamingPullRequest{AckIds: ackIDs(received)})
}

func (s *stream) modack(lease time.Duration, received ...*pubsubpb.ReceivedMessage) {
	s.f.Helper()
	seconds := make([]int32, len(received))
	for i := range seconds {
		seconds[i] = int32(lease / time.Second)
	}
	s.send(&pubsubpb.StreamingPullRequest{ModifyDeadlineAckIds: ackIDs(received), ModifyDeadlineSeconds: seconds})
}
