package queuetest

import (
	"fmt"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"github.com/google/go-cmp/cmp"
)

func flowMessages(f *fixture) {
	f.publish(numbered(0, 20, "")...)
	s := f.open(credit{messages: 5})
	held := s.receive(5)
	s.none(silence)
	s.ack(held[:2]...)
	held = append(held[2:], s.receive(2)...)
	s.none(silence)
	for left := 13; left > 0; left -= len(held) {
		f.ack(held...)
		held = s.receive(min(5, left))
	}
	f.ack(held...)
	s.none(silence)
}

func flowBytes(f *fixture) {
	const size, limit = 10_000, 45_000
	for range 20 {
		f.publish(&pubsubpb.PubsubMessage{Data: make([]byte, size)})
	}
	s := f.open(credit{bytes: limit})
	held := s.receive(5) // the bound is reached by the fifth
	s.none(silence)
	for left := 15; left > 0; left-- {
		s.ack(held[0])
		held = append(held[1:], s.receive(1)...)
	}
	s.ack(held...)
	s.none(silence)
}

// Credit comes back with a nack and with the end of a lease as with an ack.
func flowAfterNack(f *fixture) {
	f.publish(numbered(0, 4, "")...)
	s := f.open(credit{messages: 2})
	f.modack(0, s.receive(2)...)
	s.receive(2)
	seen := map[string]bool{}
	for timeout := time.Now().Add(patience); len(seen) < 4; {
		for _, r := range s.receive(1) {
			seen[r.Message.MessageId] = true
			s.ack(r)
		}
		if time.Now().After(timeout) {
			f.Fatalf("%d of 4 messages in %v", len(seen), patience)
		}
	}
}

// A client that does not read its stream must not hinder the others.
func unreadStream(f *fixture) {
	unread := f.openUnread(credit{messages: 100_000})
	s := f.open(credit{})
	seen := map[string]bool{}
	const total = 12 // each more than the stream's window
	for n := range total {
		f.publish(&pubsubpb.PubsubMessage{Data: make([]byte, 1_000_000), Attributes: map[string]string{"n": fmt.Sprint(n)}})
		unread.send(&pubsubpb.StreamingPullRequest{})
	}
	for len(seen) < total {
		r := s.receive(1)[0]
		seen[r.Message.MessageId] = true
		s.ack(r)
		if len(seen) == 3 {
			unread.close()
		}
	}
}

func twoStreamsShare(f *fixture) {
	a, b := f.open(credit{messages: 1000}), f.open(credit{messages: 1000})
	seen := map[string]int{}
	got := map[*stream]int{}
	published := 0
	take := func(s *stream, r *pubsubpb.ReceivedMessage) {
		seen[r.Message.MessageId]++
		got[s]++
		s.ack(r)
	}
	for end := time.Now().Add(patience); got[a] < 50 || got[b] < 50 || len(seen) < published; {
		if time.Now().After(end) {
			f.Fatalf("streams got %d and %d messages of %d published", got[a], got[b], published)
		}
		if got[a] < 50 || got[b] < 50 {
			f.publish(numbered(0, 10, "")...)
			published += 10
		}
		for range 10 {
			select {
			case r := <-a.in:
				take(a, r)
			case r := <-b.in:
				take(b, r)
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
	for id, n := range seen {
		if n > 1 {
			f.Errorf("message %s delivered %d times", id, n)
		}
	}
}

func ordering(f *fixture) {
	const keys, perKey = 5, 40
	s := f.open(credit{})
	want := map[string][]string{}
	for n := 0; n < perKey; n += 10 {
		for k := range keys {
			key := fmt.Sprint("key-", k)
			batch := numbered(n, n+10, key)
			f.publish(batch...)
			for _, m := range batch {
				want[key] = append(want[key], string(m.Data))
			}
		}
	}
	received := s.receive(keys * perKey) // none of them acked
	got := map[string][]string{}
	for _, r := range received {
		got[r.Message.OrderingKey] = append(got[r.Message.OrderingKey], string(r.Message.Data))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		f.Errorf("messages by key (-want +got):\n%s", diff)
	}
	s.ack(received...)
	s.none(silence)
}

// A nack brings the message and all later ones of its key again, in order.
// Whether those already acked come again is left to the server.
func orderingRedelivery(f *fixture) {
	f.publish(numbered(0, 10, "key")...)
	s := f.open(credit{})
	received := s.receive(10)
	s.modack(10*ackDeadline, received...)
	s.ack(received[0], received[1], received[5])
	s.modack(0, received[3])
	next := 3
	for next < 10 {
		r := s.receive(1)[0]
		want := fmt.Sprint(next)
		if next == 5 && string(r.Message.Data) == "6" {
			next, want = 6, "6"
		}
		if string(r.Message.Data) != want {
			f.Fatalf("redelivered %s, want %s", r.Message.Data, want)
		}
		next++
	}
}

// Later messages of a key go to the stream that holds earlier ones.
func orderingAffinity(f *fixture) {
	a, b := f.open(credit{messages: 100}), f.open(credit{messages: 100})
	f.publish(numbered(0, 1, "key")...)
	var owner, other *stream
	var held []*pubsubpb.ReceivedMessage
	select {
	case r := <-a.in:
		owner, other, held = a, b, append(held, r)
	case r := <-b.in:
		owner, other, held = b, a, append(held, r)
	case <-time.After(patience):
		f.Fatalf("no message in %v", patience)
	}
	for n := 1; n < 20; n++ {
		f.publish(numbered(n, n+1, "key")...)
		held = append(held, owner.receive(1)...)
	}
	other.none(silence)
	for i, text := range texts(held) {
		if text != fmt.Sprint(i) {
			f.Fatalf("message %d is %s, want %d", i, text, i)
		}
	}
	owner.ack(held...)
}
