package broker

import (
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
)

func (r *rig) setTopicRetention(d time.Duration) {
	r.Helper()
	topic := &pubsubpb.Topic{Name: testTopic}
	if d != 0 {
		topic.MessageRetentionDuration = durationpb.New(d)
	}
	mask := &fieldmaskpb.FieldMask{Paths: []string{"message_retention_duration"}}
	if _, err := r.pub.UpdateTopic(r.Context(), &pubsubpb.UpdateTopicRequest{Topic: topic, UpdateMask: mask}); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) wantKept(messages int) {
	r.Helper()
	st := r.srv.Stats()
	if st.Topics[0].Messages != messages || (st.Bytes == 0) != (messages == 0) {
		r.Errorf("%d messages and %d bytes kept, want %d messages", st.Topics[0].Messages, st.Bytes, messages)
	}
}

func retained(d time.Duration) func(*pubsubpb.Subscription) {
	return func(pb *pubsubpb.Subscription) { pb.MessageRetentionDuration = durationpb.New(d) }
}

// Whatever a message waits for, it goes when it is older than the retention.
func TestRetentionDropsTheUnacked(t *testing.T) {
	for name, prepare := range map[string]func(*rig, *consumer){
		"never delivered": func(*rig, *consumer) {},
		"leased":          func(r *rig, c *consumer) { r.modack(600*time.Second, r.take(c)...) },
		"nacked":          func(r *rig, c *consumer) { r.modack(0, r.take(c)...) },
		"partly acked":    func(r *rig, c *consumer) { held := r.take(c); r.ack(held[1]); r.modack(600*time.Second, held...) },
	} {
		for key, ordering := range map[string]func(*pubsubpb.Subscription){"": nil, "k": ordered} {
			t.Run(name+" "+key, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, Config{}, func(pb *pubsubpb.Subscription) {
						retained(10 * time.Minute)(pb)
						if ordering != nil {
							ordering(pb)
						}
					})
					c := newConsumer(10 * time.Second)
					r.publish(key, "old", "old too", "third")
					prepare(r, c)
					pass(5 * time.Minute)
					r.publish(key, "new")
					pass(5*time.Minute + time.Second)
					r.wantKept(1)
					held := r.take(c)
					r.wantTexts(held, "new")
					r.ack(held...)
					r.wantEmpty()
				})
			})
		}
	}
}

func TestRetentionFreesWhatNobodyPulls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{}, retained(10*time.Minute))
		for range 100 {
			r.publish("", "a")
			pass(time.Minute)
		}
		r.wantKept(9) // the tenth is 10 min old now
		if n := r.sub.fresh.len(); n != 9 {
			t.Errorf("%d messages queued, want 9", n)
		}
		r.update(&pubsubpb.Subscription{MessageRetentionDuration: durationpb.New(time.Hour)}, "message_retention_duration")
		pass(30 * time.Minute)
		r.wantKept(9)
		r.update(&pubsubpb.Subscription{MessageRetentionDuration: durationpb.New(35 * time.Minute)}, "message_retention_duration")
		r.wantKept(4)
	})
}

func TestRetainedAckedMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{}, func(pb *pubsubpb.Subscription) {
			retained(10 * time.Minute)(pb)
			ordered(pb)
			pb.RetainAckedMessages = true
		})
		c := newConsumer(10 * time.Second)
		r.publish("k", "0")
		r.publish("", "1")
		r.ack(r.take(c)...)
		pass(8 * time.Minute)
		r.wantKept(2)
		r.publish("k", "2")
		r.ack(r.take(c)...)
		pass(3 * time.Minute)
		r.wantKept(1)
		r.seek(time.Time{})
		held := r.take(c)
		r.wantTexts(held, "2")
		r.ack(held...)
		r.update(&pubsubpb.Subscription{}, "retain_acked_messages")
		r.wantEmpty()
	})
}

func TestTopicRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{}, retained(10*time.Minute))
		c := newConsumer(10 * time.Second)
		r.setTopicRetention(time.Hour)
		if d := r.sub.proto().TopicMessageRetentionDuration.AsDuration(); d != time.Hour {
			t.Errorf("the subscription shows a topic retention of %v, want 1h", d)
		}
		r.publish("", "0")
		pass(30 * time.Minute)
		r.publish("", "1")
		held := r.take(c)
		r.wantTexts(held, "0", "1") // the longer retention counts
		r.ack(held...)
		pass(29 * time.Minute)
		r.wantKept(2)
		pass(2 * time.Minute)
		r.wantKept(1)
		r.seek(time.Time{})
		held = r.take(c)
		r.wantTexts(held, "1")
		r.ack(held...)
		r.publish("", "2")
		r.setTopicRetention(10 * time.Minute)
		r.wantKept(1)
		r.ack(r.take(c)...)
		r.setTopicRetention(0)
		r.wantEmpty()
		r.publish("", "3")
		r.ack(r.take(c)...)
		r.wantEmpty()
	})
}

// What a seek brings back goes when its own time comes, not with what was there before.
func TestRetentionAfterSeek(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{}, retained(10*time.Minute))
		r.setTopicRetention(time.Hour)
		r.publish("", "0")
		late := r.addSubscription(testTopic, "late", retained(10*time.Minute))
		pass(30 * time.Minute)
		r.publish("", "1")
		if err := late.seek(nil, time.Time{}); err != nil {
			t.Fatal(err)
		}
		if n := late.reading().Unacked; n != 2 {
			t.Errorf("%d un-acked after the seek, want 2", n)
		}
		pass(30*time.Minute + time.Second)
		if n := late.reading().Unacked; n != 1 {
			t.Errorf("%d un-acked after the retention of the first, want 1", n)
		}
		r.setTopicRetention(0)
		r.wantKept(0)
	})
}

func TestDeletedTopicRetainsNothing(t *testing.T) {
	r := newRig(t, Config{}, nil)
	r.setTopicRetention(time.Hour)
	r.publish("", "a")
	r.ack(r.take(newConsumer(10 * time.Second))...)
	r.wantKept(1)
	if _, err := r.pub.DeleteTopic(t.Context(), &pubsubpb.DeleteTopicRequest{Topic: testTopic}); err != nil {
		t.Fatal(err)
	}
	if got := r.srv.Stats().Bytes; got != 0 {
		t.Errorf("%d bytes kept by a topic that was deleted", got)
	}
}

func TestRetainedMessagesCountAgainstTheBound(t *testing.T) {
	r := newRig(t, Config{MaxBytes: 2000}, nil)
	r.setTopicRetention(time.Hour)
	for range 3 {
		r.publish("", "a")
		r.ack(r.take(newConsumer(10 * time.Second))...)
	}
	_, err := r.pub.Publish(t.Context(), &pubsubpb.PublishRequest{Topic: testTopic, Messages: []*pubsubpb.PubsubMessage{{Data: []byte("a")}}})
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("publish: %v, want RESOURCE_EXHAUSTED", err)
	}
}
