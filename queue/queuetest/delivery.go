package queuetest

import (
	"fmt"
	"strings"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
)

func publishAck(f *fixture) {
	ids := f.publish(numbered(0, 20, "")...)
	s := f.open(credit{})
	received := s.receive(20)
	got := map[string]string{}
	for _, r := range received {
		got[r.Message.MessageId] = string(r.Message.Data)
	}
	want := map[string]string{}
	for i, id := range ids {
		want[id] = fmt.Sprint(i)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		f.Errorf("messages by id (-want +got):\n%s", diff)
	}
	s.ack(received[:10]...)
	f.ack(received[10:]...)
	s.none(ackDeadline + 2*time.Second)
}

func attributesAndIDs(f *fixture) {
	long := strings.Repeat("v", 1024)
	want := map[string]string{"ce-type": "org.opentelemetry.otlp.traces.v1", "empty": "", "long": long, "ключ": "значение"}
	before := time.Now()
	ids := f.publish(&pubsubpb.PubsubMessage{Data: []byte{0, 0xff}, Attributes: want}, &pubsubpb.PubsubMessage{Attributes: want})
	s := f.open(credit{})
	byID := map[string]*pubsubpb.PubsubMessage{}
	for _, r := range s.receive(2) {
		byID[r.Message.MessageId] = r.Message
		if diff := cmp.Diff(want, r.Message.Attributes); diff != "" {
			f.Errorf("attributes (-want +got):\n%s", diff)
		}
		if at := r.Message.PublishTime.AsTime(); at.Before(before.Add(-time.Minute)) || at.After(time.Now().Add(time.Minute)) {
			f.Errorf("publish time %v, want about %v", at, before)
		}
		if r.DeliveryAttempt != 0 {
			f.Errorf("delivery attempt %d without a dead-letter policy, want 0", r.DeliveryAttempt)
		}
		s.ack(r)
	}
	if len(byID) != 2 || byID[ids[0]] == nil || string(byID[ids[0]].Data) != "\x00\xff" || len(byID[ids[1]].GetData()) != 0 {
		f.Errorf("messages by id %v, want ids %v", byID, ids)
	}
}

func twoSubscriptions(f *fixture) {
	other := f.subscribe("-other", nil)
	f.publish(numbered(0, 10, "")...)
	a, b := f.open(credit{}), other.open(credit{})
	a.ack(a.receive(10)...)
	received := b.receive(10)
	b.modack(0, received...)
	b.ack(b.receive(10)...)
	a.none(silence)
}

func holdExtended(f *fixture) {
	f.publish(numbered(0, 50, "")...)
	s := f.open(credit{})
	received := s.receive(50)
	for end := time.Now().Add(2 * ackDeadline); time.Now().Before(end); {
		s.modack(ackDeadline, received[:25]...)
		f.modack(ackDeadline, received[25:]...)
		s.none(2 * time.Second)
	}
	s.ack(received...)
	s.none(ackDeadline + 2*time.Second)
}

func redeliveryExpiry(f *fixture) {
	start := time.Now()
	ids := f.publish(numbered(0, 1, "")...)
	s := f.open(credit{})
	first := s.receive(1)[0]
	again := s.receive(1)[0]
	if held := time.Since(start); held < ackDeadline-time.Second {
		f.Errorf("redelivered after %v, want after the ack deadline of %v", held, ackDeadline)
	}
	if again.Message.MessageId != ids[0] || again.Message.MessageId != first.Message.MessageId {
		f.Errorf("redelivered %s, want %s", again.Message.MessageId, ids[0])
	}
	s.ack(again)
	s.none(silence)
}

func redeliveryDroppedStream(f *fixture) {
	start := time.Now()
	f.publish(numbered(0, 10, "")...)
	dropped := f.open(credit{})
	dropped.receive(10)
	dropped.close()
	// Google's emulator at times goes on delivering to a stream that is gone, lease after lease: one of two streams then gets
	// nothing for 30 s and more. Among eight it is rarely chosen twice.
	var all []*stream
	for range 8 {
		all = append(all, f.open(credit{}))
	}
	received := receiveFromAny(all, 10)
	if held := time.Since(start); held < ackDeadline-time.Second {
		f.Errorf("redelivered after %v: a lease must outlive its stream, for %v", held, ackDeadline)
	}
	all[0].ack(received...)
}

func nack(f *fixture) {
	f.publish(numbered(0, 10, "")...)
	s := f.open(credit{})
	received := s.receive(10)
	s.modack(10*ackDeadline, received...)
	start := time.Now()
	s.modack(0, received[:5]...)
	f.modack(0, received[5:]...)
	again := s.receive(10)
	if took := time.Since(start); took > 5*ackDeadline {
		f.Errorf("redelivered %v after the nack, want at once", took)
	}
	s.ack(again...)
	s.none(silence)
}

func modackDelay(f *fixture) {
	f.publish(numbered(0, 2, "")...)
	s := f.open(credit{})
	received := s.receive(2)
	start := time.Now()
	f.modack(15*time.Second, received[0])
	s.modack(15*time.Second, received[1])
	s.ack(s.receive(2)...)
	if held := time.Since(start); held < 14*time.Second {
		f.Errorf("redelivered after %v, want after the 15 s asked for", held)
	}
}

func staleAck(f *fixture) {
	f.publish(numbered(0, 1, "")...)
	s := f.open(credit{})
	first := s.receive(1)[0]
	f.modack(0, first)
	second := s.receive(1)[0]
	f.ack(first)
	f.modack(0, second)
	third := s.receive(1)[0]
	f.ack(third)
	f.ack(third) // acking twice is no error
	s.none(silence)
}

func bogusAck(f *fixture) {
	_, err := f.sub.Acknowledge(f.ctx, &pubsubpb.AcknowledgeRequest{Subscription: f.subscription, AckIds: []string{"?"}})
	f.wantCode("acknowledge of a malformed id", err, codes.InvalidArgument)
}

func ping(f *fixture) {
	s := f.open(credit{})
	for range 3 {
		s.send(&pubsubpb.StreamingPullRequest{})
		select {
		case resp := <-s.empty:
			if resp.SubscriptionProperties == nil {
				f.Error("answer to a ping without subscription properties")
			}
		case err := <-s.ended:
			f.Fatalf("stream ended: %v", err)
		case <-time.After(patience):
			f.Fatalf("no answer to a ping in %v", patience)
		}
	}
}

func hold100k(f *fixture) {
	const total = 100_000
	const hold = ackDeadline + 2*time.Second
	s := f.open(credit{messages: total + 1000})
	for range 3 { // the emulator sends 1,700 messages a second on each stream
		more := f.openUnread(credit{messages: total + 1000})
		more.in = s.in
		go more.read()
	}
	go func() {
		for n := 0; n < total; n += 500 {
			_, err := f.pub.Publish(f.ctx, &pubsubpb.PublishRequest{Topic: f.topic, Messages: numbered(n, n+500, "")})
			if err != nil {
				f.Errorf("publish: %v", err)
				return
			}
		}
	}()
	held := s.gather(total)
	for end := time.Now().Add(hold); time.Now().Before(end); {
		s.inPieces(held, func(piece []*pubsubpb.ReceivedMessage) { s.modack(ackDeadline, piece...) })
		s.none(3 * time.Second)
	}
	s.inPieces(held, func(piece []*pubsubpb.ReceivedMessage) { s.ack(piece...) })
	s.none(ackDeadline + 2*time.Second)
}

// gather receives total distinct messages, and extends each once by more than that takes.
func (s *stream) gather(total int) []*pubsubpb.ReceivedMessage {
	s.f.Helper()
	held := make([]*pubsubpb.ReceivedMessage, 0, total)
	seen := make(map[string]bool, total)
	extended, last := 0, time.Now()
	for len(held) < total {
		r := s.receive(1)[0]
		if seen[r.Message.MessageId] {
			s.f.Fatalf("message %s redelivered while held", r.Message.MessageId)
		}
		seen[r.Message.MessageId] = true
		held = append(held, r)
		if time.Since(last) > ackDeadline/4 {
			s.inPieces(held[extended:], func(piece []*pubsubpb.ReceivedMessage) { s.modack(10*ackDeadline, piece...) })
			extended, last = len(held), time.Now()
		}
	}
	return held
}

// inPieces calls send with 2,500 messages at a time, as clients do to stay under 512 KB per request.
func (s *stream) inPieces(received []*pubsubpb.ReceivedMessage, send func([]*pubsubpb.ReceivedMessage)) {
	for len(received) > 0 {
		n := min(2500, len(received))
		send(received[:n])
		received = received[n:]
	}
}
