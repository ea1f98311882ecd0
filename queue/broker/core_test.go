package broker

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	testTopic        = "projects/p/topics/topic"
	testSubscription = "projects/p/subscriptions/sub"
)

// rig is a broker with one subscription, called without a network so that it runs in a synctest bubble.
type rig struct {
	*testing.T
	srv *Server
	pub publisherService
	api subscriberService
	sub *subscription
}

func newRig(t *testing.T, cfg Config, edit func(*pubsubpb.Subscription)) *rig {
	t.Helper()
	srv := New(cfg)
	r := &rig{T: t, srv: srv, pub: publisherService{srv: srv}, api: subscriberService{srv: srv}}
	if _, err := r.pub.CreateTopic(t.Context(), &pubsubpb.Topic{Name: testTopic}); err != nil {
		t.Fatal(err)
	}
	pb := &pubsubpb.Subscription{Name: testSubscription, Topic: testTopic}
	if edit != nil {
		edit(pb)
	}
	if _, err := r.api.CreateSubscription(t.Context(), pb); err != nil {
		t.Fatal(err)
	}
	r.sub, _ = srv.subscription(testSubscription)
	return r
}

func ordered(pb *pubsubpb.Subscription) { pb.EnableMessageOrdering = true }

func (r *rig) publish(key string, texts ...string) {
	r.Helper()
	req := &pubsubpb.PublishRequest{Topic: testTopic}
	for _, text := range texts {
		req.Messages = append(req.Messages, &pubsubpb.PubsubMessage{Data: []byte(text), OrderingKey: key})
	}
	if _, err := r.pub.Publish(r.Context(), req); err != nil {
		r.Fatal(err)
	}
}

// take returns what c is sent at once.
func (r *rig) take(c *consumer) []*pubsubpb.ReceivedMessage {
	return r.sub.next(c, batchMessages).GetReceivedMessages()
}

func (r *rig) wantTexts(received []*pubsubpb.ReceivedMessage, want ...string) {
	r.Helper()
	var got []string
	for _, m := range received {
		got = append(got, string(m.Message.Data))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		r.Fatalf("messages (-want +got):\n%s", diff)
	}
}

func (r *rig) ids(received ...*pubsubpb.ReceivedMessage) []ackID {
	r.Helper()
	var texts []string
	for _, m := range received {
		texts = append(texts, m.AckId)
	}
	ids, err := parseAckIDs(texts)
	if err != nil {
		r.Fatal(err)
	}
	return ids
}

func (r *rig) ack(received ...*pubsubpb.ReceivedMessage) { r.sub.ack(r.ids(received...)) }

func (r *rig) modack(lease time.Duration, received ...*pubsubpb.ReceivedMessage) {
	r.sub.extend(r.ids(received...), func(int) time.Duration { return lease })
}

func (r *rig) wantEmpty() {
	r.Helper()
	st := r.srv.Stats()
	if st.Bytes != 0 || st.Topics[0].Messages != 0 || st.Topics[0].Bytes != 0 {
		r.Errorf("kept after all acks: %d bytes, topic %+v", st.Bytes, st.Topics[0])
	}
	if sub := st.Subscriptions[0]; sub.Unacked != 0 || sub.Outstanding != 0 || sub.OutstandingBytes != 0 {
		r.Errorf("subscription after all acks: %+v", sub)
	}
}

func TestLeaseExpiresAtDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{}, nil)
		c := newConsumer(10 * time.Second)
		r.publish("", "a", "b", "c")
		held := r.take(c)
		r.modack(30*time.Second, held[1])
		r.modack(5*time.Second, held[2])
		for _, step := range []struct {
			at   time.Duration
			want []string
		}{{4900, nil}, {5100, []string{"c"}}, {9900, nil}, {10_100, []string{"a"}}, {15_200, []string{"c"}}} {
			time.Sleep(step.at*time.Millisecond - r.srv.now())
			synctest.Wait()
			r.wantTexts(r.take(c), step.want...)
		}
	})
}

func TestExtensionsHoldForever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{}, nil)
		c := newConsumer(10 * time.Second)
		r.publish("", "a")
		held := r.take(c)
		for range 1000 {
			time.Sleep(9 * time.Second)
			synctest.Wait()
			r.modack(10*time.Second, held...)
		}
		r.wantTexts(r.take(c))
		r.ack(held...)
		r.wantEmpty()
	})
}

func TestStaleAckIsIgnored(t *testing.T) {
	r := newRig(t, Config{}, nil)
	c := newConsumer(10 * time.Second)
	r.publish("", "a")
	first := r.take(c)
	r.modack(0, first...)
	second := r.take(c)
	r.ack(first...)
	r.modack(0, first...)
	r.wantTexts(r.take(c))
	id := r.ids(second...)[0]
	id.epoch++
	r.sub.ack([]ackID{id})
	if got := r.srv.Stats().Subscriptions[0].Outstanding; got != 1 {
		t.Errorf("%d outstanding after stale acks, want 1", got)
	}
	r.ack(second...)
	r.wantEmpty()
}

func TestNackRedeliversLaterOfKeyAckedOrNot(t *testing.T) {
	r := newRig(t, Config{}, ordered)
	c := newConsumer(10 * time.Second)
	r.publish("k", "0", "1", "2", "3", "4")
	r.publish("other", "x")
	held := r.take(c)
	r.wantTexts(held, "0", "1", "2", "3", "4", "x")
	r.ack(held[0], held[3])
	r.modack(0, held[2])
	again := r.take(c)
	r.wantTexts(again, "2", "3", "4")
	r.ack(held[4]) // stale: 4 has been redelivered
	r.ack(held[1], held[5])
	r.ack(again...)
	r.wantEmpty()
	if len(r.sub.keys) != 0 {
		t.Errorf("%d keys kept after all acks", len(r.sub.keys))
	}
}

func TestKeyStaysWithItsConsumer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{}, ordered)
		a, b := newConsumer(10*time.Second), newConsumer(10*time.Second)
		r.publish("k", "0")
		r.wantTexts(r.take(a), "0")
		r.publish("k", "1", "2")
		r.wantTexts(r.take(b))
		r.sub.leave(a)
		r.wantTexts(r.take(b)) // the lease outlives the stream, and 1 must not pass 0
		time.Sleep(11 * time.Second)
		synctest.Wait()
		held := r.take(b)
		r.wantTexts(held, "0", "1", "2")
		r.ack(held...)
		r.wantEmpty()
	})
}

func TestKeyIsFreeWhenNothingIsOutstanding(t *testing.T) {
	r := newRig(t, Config{}, ordered)
	a, b := newConsumer(10*time.Second), newConsumer(10*time.Second)
	a.maxMessages = 1
	r.publish("k", "0", "1")
	held := r.take(a)
	r.wantTexts(held, "0")
	r.wantTexts(r.take(b))
	r.ack(held...)
	r.wantTexts(r.take(b), "1")
}

func TestWakesEveryConsumerThatIsNeeded(t *testing.T) {
	r := newRig(t, Config{}, nil)
	var consumers []*consumer
	for range 4 {
		c := newConsumer(10 * time.Second)
		c.maxMessages = 2
		r.wantTexts(r.take(c))
		consumers = append(consumers, c)
	}
	r.publish("", "0", "1", "2", "3", "4", "5", "6", "7")
	got := 0
	for i := 0; i < len(consumers); i++ {
		select {
		case <-consumers[i].wake:
			got += len(r.take(consumers[i]))
			i = -1 // it may have woken an earlier one
		default:
		}
	}
	if got != 8 {
		t.Errorf("woken consumers took %d of 8 messages", got)
	}
}

func TestDeliveryAttemptWithDeadLetterPolicy(t *testing.T) {
	r := newRig(t, Config{}, func(pb *pubsubpb.Subscription) {
		pb.DeadLetterPolicy = &pubsubpb.DeadLetterPolicy{DeadLetterTopic: testTopic}
	})
	c := newConsumer(10 * time.Second)
	r.publish("", "a")
	for attempt := int32(1); attempt < 4; attempt++ {
		held := r.take(c)
		if len(held) != 1 || held[0].DeliveryAttempt != attempt {
			t.Fatalf("delivery %v, want attempt %d", held, attempt)
		}
		r.modack(0, held...)
	}
}

func TestMemoryBound(t *testing.T) {
	r := newRig(t, Config{MaxBytes: 10_000}, nil)
	c := newConsumer(10 * time.Second)
	big := strings.Repeat("x", 9000)
	r.publish("", big)
	req := &pubsubpb.PublishRequest{Topic: testTopic, Messages: []*pubsubpb.PubsubMessage{{Data: []byte(big)}}}
	if _, err := r.pub.Publish(t.Context(), req); status.Code(err) != codes.ResourceExhausted {
		t.Fatalf("publish over the bound: %v, want RESOURCE_EXHAUSTED", err)
	}
	r.ack(r.take(c)...)
	r.publish("", big)
	if _, err := r.api.DeleteSubscription(t.Context(), &pubsubpb.DeleteSubscriptionRequest{Subscription: testSubscription}); err != nil {
		t.Fatal(err)
	}
	for range 10 { // nobody waits for these
		r.publish("", big)
	}
	if got := r.srv.Stats().Bytes; got != 0 {
		t.Errorf("%d bytes kept without a subscription", got)
	}
}

func TestNotFoundNamesWhatIsMissing(t *testing.T) {
	r := newRig(t, Config{}, nil)
	_, err := r.api.Pull(t.Context(), &pubsubpb.PullRequest{Subscription: "projects/p/subscriptions/gone", MaxMessages: 1})
	if status.Code(err) != codes.NotFound || !strings.Contains(err.Error(), "projects/p/subscriptions/gone") {
		t.Errorf("pull: %v, want NOT_FOUND with the name", err)
	}
}

func TestUnsupportedIsRefused(t *testing.T) {
	r := newRig(t, Config{}, nil)
	for name, edit := range map[string]func(*pubsubpb.Subscription){
		"exactly once": func(s *pubsubpb.Subscription) { s.EnableExactlyOnceDelivery = true },
		"push":         func(s *pubsubpb.Subscription) { s.PushConfig = &pubsubpb.PushConfig{PushEndpoint: "http://localhost"} },
		"BigQuery":     func(s *pubsubpb.Subscription) { s.BigqueryConfig = &pubsubpb.BigQueryConfig{} },
	} {
		pb := &pubsubpb.Subscription{Name: testSubscription + "2", Topic: testTopic}
		edit(pb)
		if _, err := r.api.CreateSubscription(t.Context(), pb); status.Code(err) != codes.Unimplemented {
			t.Errorf("%s: %v, want UNIMPLEMENTED", name, err)
		}
	}
}

func TestPullGivesUpWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{}, nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := r.api.Pull(ctx, &pubsubpb.PullRequest{Subscription: testSubscription, MaxMessages: 1})
		if status.Code(err) != codes.DeadlineExceeded || r.srv.now() != time.Second {
			t.Errorf("pull: %v after %v, want DEADLINE_EXCEEDED after 1s", err, r.srv.now())
		}
	})
}

func FuzzParseAckID(f *testing.F) {
	f.Add("a-b-c")
	f.Add("--")
	f.Add("zzzzzzzzzzzzzz-1-1")
	f.Fuzz(func(t *testing.T, text string) {
		id, ok := parseAckID(text)
		if !ok {
			return
		}
		if again, ok := parseAckID(string(id.append(nil))); !ok || again != id {
			t.Errorf("%q parses as %v, its text as %v", text, id, again)
		}
	})
}
