package broker

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
)

const deadTopic = "projects/p/topics/dead"

// newDeadLetterRig has a dead-letter topic with a subscription, for what is given up after 5 attempts.
func newDeadLetterRig(t *testing.T, cfg Config, edit func(*pubsubpb.Subscription)) (r *rig, dead *subscription) {
	t.Helper()
	r = newRig(t, cfg, edit)
	dead = r.addSubscription(deadTopic, "dead", nil)
	r.update(&pubsubpb.Subscription{DeadLetterPolicy: &pubsubpb.DeadLetterPolicy{DeadLetterTopic: deadTopic}}, "dead_letter_policy")
	return r, dead
}

// addSubscription creates the topic if there is none.
func (r *rig) addSubscription(topic, id string, edit func(*pubsubpb.Subscription)) *subscription {
	r.Helper()
	if _, err := r.pub.CreateTopic(r.Context(), &pubsubpb.Topic{Name: topic}); err != nil && status.Code(err) != codes.AlreadyExists {
		r.Fatal(err)
	}
	pb := &pubsubpb.Subscription{Name: "projects/p/subscriptions/" + id, Topic: topic}
	if edit != nil {
		edit(pb)
	}
	if _, err := r.api.CreateSubscription(r.Context(), pb); err != nil {
		r.Fatal(err)
	}
	sub, _ := r.srv.subscription(pb.Name)
	return sub
}

func (r *rig) update(pb *pubsubpb.Subscription, path string) {
	r.Helper()
	pb.Name = testSubscription
	req := &pubsubpb.UpdateSubscriptionRequest{Subscription: pb, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{path}}}
	if _, err := r.api.UpdateSubscription(r.Context(), req); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) fail(c *consumer, times int, want ...string) {
	r.Helper()
	for range times {
		held := r.take(c)
		r.wantTexts(held, want...)
		r.modack(0, held[0])
	}
}

func TestDeadLetterCountsExpiriesToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, dead := newDeadLetterRig(t, Config{}, nil)
		c := newConsumer(10 * time.Second)
		r.publish("", "a")
		r.fail(c, 3, "a")
		for range 2 {
			r.wantTexts(r.take(c), "a")
			pass(11 * time.Second)
		}
		r.wantTexts(r.take(c))
		r.wantTexts(dead.next(newConsumer(10*time.Second), 10).GetReceivedMessages(), "a")
		if st := r.sub.reading(); st.DeadLettered != 1 || st.Unacked != 0 {
			t.Errorf("stats %+v, want one dead letter and nothing un-acked", st)
		}
	})
}

// A message that its key redelivers has not failed, and one that is forwarded lets its key go on.
func TestDeadLetterOfAKey(t *testing.T) {
	r, dead := newDeadLetterRig(t, Config{}, ordered)
	c := newConsumer(10 * time.Second)
	r.publish("k", "0", "1", "2")
	r.fail(c, 5, "0", "1", "2")
	held := r.take(c)
	r.wantTexts(held, "1", "2")
	for _, m := range held {
		if m.DeliveryAttempt != 1 {
			t.Errorf("%s has attempt %d, want 1", m.Message.Data, m.DeliveryAttempt)
		}
	}
	r.ack(held...)
	r.wantTexts(dead.next(newConsumer(10*time.Second), 10).GetReceivedMessages(), "0")
}

func TestDeadLetterStaysWhileTheBrokerIsFull(t *testing.T) {
	r, dead := newDeadLetterRig(t, Config{MaxBytes: 10_000}, nil)
	c := newConsumer(10 * time.Second)
	big := strings.Repeat("x", 3000)
	for range 2 {
		m := &pubsubpb.PubsubMessage{Data: []byte(big), Attributes: map[string]string{"a": "b"}}
		if _, err := r.pub.Publish(t.Context(), &pubsubpb.PublishRequest{Topic: testTopic, Messages: []*pubsubpb.PubsubMessage{m}}); err != nil {
			t.Fatal(err)
		}
	}
	held := r.take(c)
	r.modack(0, held[0])
	r.fail(c, 5, big) // at the fifth failure it does not fit a third time
	again := r.take(c)
	r.wantTexts(again, big)
	if diff := cmp.Diff(map[string]string{"a": "b"}, again[0].Message.Attributes); diff != "" {
		t.Errorf("attributes of what was not forwarded (-want +got):\n%s", diff)
	}
	r.ack(held[1])
	r.modack(0, again...)
	r.wantTexts(r.take(c))
	r.wantTexts(dead.next(newConsumer(10*time.Second), 10).GetReceivedMessages(), big)
}

// While a dead letter is published, without the lock, anything may happen to its message.
func TestForwardedTooLate(t *testing.T) {
	purge := func(r *rig, _ *consumer) { r.seek(time.Now().Add(time.Hour)) }
	failEarlier := func(r *rig, _ *consumer) {
		first := r.sub.log.at(0)
		r.sub.extend([]ackID{{epoch: r.sub.epoch, seq: first.seq, number: first.number}}, func(int) time.Duration { return 0 })
	}
	for name, c := range map[string]struct {
		meanwhile func(*rig, *consumer)
		published bool
		want      []string // delivered afterwards
		unacked   int
	}{
		"nothing":                         {func(*rig, *consumer) {}, true, nil, 1},
		"nothing, and it is not taken":    {func(*rig, *consumer) {}, false, nil, 2},
		"seek":                            {func(r *rig, _ *consumer) { r.seek(time.Time{}) }, true, []string{"0", "1"}, 2},
		"purge":                           {purge, true, nil, 0},
		"purge, and it is not taken":      {purge, false, nil, 0},
		"an earlier one fails":            {failEarlier, true, []string{"0"}, 1},
		"an earlier one fails, not taken": {failEarlier, false, []string{"0", "1"}, 2},
		"both are sent again":             {func(r *rig, c *consumer) { failEarlier(r, c); pass(2 * time.Second); r.wantTexts(r.take(c), "0", "1") }, true, nil, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, _ := newDeadLetterRig(t, Config{}, func(pb *pubsubpb.Subscription) {
					ordered(pb)
					retry(time.Second, time.Minute)(pb)
				})
				consumer := newConsumer(10 * time.Second)
				r.publish("k", "0", "1")
				r.take(consumer)
				r.sub.mu.Lock()
				d := r.sub.log.at(1)
				d.failed = defaultAttempts - 1
				r.sub.failLocked(d, r.srv.now())
				r.sub.outbox = nil
				r.sub.mu.Unlock()
				c.meanwhile(r, consumer)
				release(r.sub.forwarded(d, c.published))
				pass(2 * time.Second) // more than the backoff of a first failure, less than that of a fifth
				checkBooks(t, r.sub)
				r.wantTexts(r.take(consumer), c.want...)
				if got := r.sub.reading().Unacked; got != c.unacked {
					t.Errorf("%d un-acked, want %d", got, c.unacked)
				}
			})
		})
	}
}

func retry(least, most time.Duration) func(*pubsubpb.Subscription) {
	return func(pb *pubsubpb.Subscription) {
		pb.RetryPolicy = &pubsubpb.RetryPolicy{MinimumBackoff: durationpb.New(least), MaximumBackoff: durationpb.New(most)}
	}
}

func TestBackoffDoublesForNacksAndExpiries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{}, retry(time.Second, 6*time.Second))
		c := newConsumer(10 * time.Second)
		r.publish("", "a")
		for i, wait := range []time.Duration{1, 2, 4, 6, 6} {
			held := r.take(c)
			r.wantTexts(held, "a")
			if i%2 == 0 {
				r.modack(0, held...)
			} else {
				time.Sleep(10*time.Second + leaseGrain)
			}
			pass(wait*time.Second - 2*leaseGrain)
			r.wantTexts(r.take(c))
			pass(4 * leaseGrain)
		}
		r.ack(r.take(c)...)
		r.wantEmpty()
	})
}

// While a message rests its key does, and no other.
func TestBackoffHoldsItsKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{}, func(pb *pubsubpb.Subscription) {
			ordered(pb)
			retry(10*time.Second, 20*time.Second)(pb)
		})
		c, other := newConsumer(60*time.Second), newConsumer(60*time.Second)
		r.publish("k", "0", "1", "2")
		held := r.take(c)
		r.modack(0, held[1])
		r.publish("k", "3")
		r.publish("free", "x")
		free := r.take(c)
		r.wantTexts(free, "x")
		time.Sleep(5 * time.Second)
		r.modack(0, held[0]) // an earlier one: the key rests anew, for this
		pass(6 * time.Second)
		r.wantTexts(r.take(c))
		pass(5 * time.Second)
		again := r.take(other)
		r.wantTexts(again, "0", "1", "2", "3")
		r.ack(append(again, free...)...)
		r.wantEmpty()
	})
}

func TestFilteredMessagesAreNotKept(t *testing.T) {
	r := newRig(t, Config{}, func(pb *pubsubpb.Subscription) { pb.Filter = `attributes:a` })
	r.publish("", "no")
	r.wantTexts(r.take(newConsumer(10 * time.Second)))
	r.wantEmpty()
}

func TestDetachFreesTheBacklog(t *testing.T) {
	r := newRig(t, Config{}, nil)
	r.publish("", "a", "b")
	if _, err := r.pub.DetachSubscription(t.Context(), &pubsubpb.DetachSubscriptionRequest{Subscription: testSubscription}); err != nil {
		t.Fatal(err)
	}
	r.publish("", "c")
	r.wantEmpty()
	_, err := r.api.CreateSnapshot(t.Context(), &pubsubpb.CreateSnapshotRequest{Subscription: testSubscription})
	if status.Code(err) != codes.FailedPrecondition {
		t.Errorf("snapshot of a detached subscription: %v, want FAILED_PRECONDITION", err)
	}
	_, err = r.api.Seek(t.Context(), &pubsubpb.SeekRequest{Subscription: testSubscription, Target: &pubsubpb.SeekRequest_Time{}})
	if status.Code(err) != codes.FailedPrecondition {
		t.Errorf("seek of a detached subscription: %v, want FAILED_PRECONDITION", err)
	}
}
