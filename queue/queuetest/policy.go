package queuetest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
)

// withDeadLetters returns a subscription of f's topic that gives up after 5
// attempts, and one that gets what it gave up.
func (f *fixture) withDeadLetters() (source, dead *fixture) {
	f.Helper()
	dead = f.onTopic("-dead", nil).subscribe("-dead", nil)
	source = f.subscribe("-source", func(pb *pubsubpb.Subscription) {
		pb.DeadLetterPolicy = &pubsubpb.DeadLetterPolicy{DeadLetterTopic: dead.topic}
	})
	return source, dead
}

// nackTimes nacks the one message and checks its attempts, of which first is the next.
func (s *stream) nackTimes(first, last int32) *pubsubpb.ReceivedMessage {
	s.f.Helper()
	for attempt := first; ; attempt++ {
		r := s.receive(1)[0]
		if r.DeliveryAttempt != attempt {
			s.f.Fatalf("delivery attempt %d, want %d", r.DeliveryAttempt, attempt)
		}
		s.modack(0, r)
		if attempt == last {
			return r
		}
	}
}

func deadLetter(f *fixture) {
	source, dead := f.withDeadLetters()
	s, d := source.open(credit{}), dead.open(credit{})
	f.publish(&pubsubpb.PubsubMessage{Data: []byte("poison"), OrderingKey: "key", Attributes: map[string]string{"a": "b"}})
	last := s.nackTimes(1, 5).Message
	got := d.receive(1)[0]
	stamp := got.Message.Attributes["CloudPubSubDeadLetterSourceTopicPublishTime"]
	name := source.subscription[strings.LastIndexByte(source.subscription, '/')+1:]
	want := map[string]string{
		"a": "b",
		"CloudPubSubDeadLetterSourceSubscription":        name,
		"CloudPubSubDeadLetterSourceSubscriptionProject": f.queue.Project,
		"CloudPubSubDeadLetterSourceDeliveryCount":       "5",
		"CloudPubSubDeadLetterSourceTopicPublishTime":    stamp,
	}
	if diff := cmp.Diff(want, got.Message.Attributes); diff != "" {
		f.Errorf("attributes of the dead letter (-want +got):\n%s", diff)
	}
	at, err := time.Parse(time.RFC3339, stamp)
	if off := at.Sub(last.PublishTime.AsTime()).Abs(); err != nil || off > time.Millisecond {
		f.Errorf("publish time %q of the source, %v; want %v", stamp, err, last.PublishTime.AsTime())
	}
	m := got.Message
	if string(m.Data) != "poison" || m.OrderingKey != "key" || m.MessageId == last.MessageId || m.PublishTime.AsTime().Before(last.PublishTime.AsTime()) {
		f.Errorf("dead letter %v, want a new message like %v", m, last)
	}
	if got.DeliveryAttempt != 0 {
		f.Errorf("delivery attempt %d of the dead letter, whose subscription has no policy", got.DeliveryAttempt)
	}
	d.ack(got)
	s.none(silence)
}

// Where the dead-letter topic is gone the message goes on being delivered.
func deadLetterGone(f *fixture) {
	source, dead := f.withDeadLetters()
	dead.removeTopic()
	s := source.open(credit{})
	f.publish(numbered(0, 1, "")...)
	s.nackTimes(1, 7)
	s.ack(s.receive(1)...)
	s.none(silence)
}

func retryPolicy(f *fixture) {
	patient := f.subscribe("-patient", func(pb *pubsubpb.Subscription) {
		pb.RetryPolicy = &pubsubpb.RetryPolicy{MinimumBackoff: durationpb.New(time.Second), MaximumBackoff: durationpb.New(3 * time.Second)}
	})
	s := patient.open(credit{})
	f.publish(numbered(0, 1, "")...)
	held := s.receive(1)
	for _, least := range []time.Duration{1, 2, 3, 3} {
		start := time.Now()
		s.modack(0, held...)
		held = s.receive(1)
		// The service shortens and lengthens backoffs at random.
		if rest := time.Since(start); rest < least*time.Second*8/10 {
			f.Errorf("redelivered %v after the nack, want after %v", rest, least*time.Second)
		}
	}
	s.ack(held...)
}

func filter(f *fixture) {
	messages := map[string]map[string]string{
		"com":  {"domain": "com", "lang": "en-us"},
		"org":  {"domain": "org", "x y": "z"},
		"none": {"lang": "en-gb"},
		"jp":   {"lang": "jp"},
	}
	streams := map[string]*stream{}
	cases := map[string][]string{
		`attributes:domain`:                                        {"com", "org"},
		`NOT attributes:domain`:                                    {"jp", "none"},
		`attributes.domain = "com"`:                                {"com"},
		`attributes.domain != "com"`:                               {"jp", "none", "org"},
		`hasPrefix(attributes.lang, "en-") AND -attributes:domain`: {"none"},
		`attributes:"x y" OR (attributes.lang = "jp" OR attributes.lang = "en")`: {"jp", "org"},
	}
	i := 0
	for text := range cases {
		i++
		streams[text] = f.subscribe(fmt.Sprint("-", i), func(pb *pubsubpb.Subscription) { pb.Filter = text }).open(credit{})
	}
	for text, attributes := range messages {
		f.publish(&pubsubpb.PubsubMessage{Data: []byte(text), Attributes: attributes})
	}
	for text, want := range cases {
		s := streams[text]
		received := s.receive(len(want))
		got := slices.Sorted(slices.Values(texts(received)))
		if diff := cmp.Diff(want, got); diff != "" {
			f.Errorf("%s: messages (-want +got):\n%s", text, diff)
		}
		s.ack(received...)
	}
	for _, s := range streams {
		s.none(silence / 4)
	}
}

func filterErrors(f *fixture) {
	long := `attributes.a = "` + strings.Repeat("x", 256) + `"`
	for _, text := range []string{`attributes`, `attributes.a = b`, `attributes:a AND`, `(attributes:a`, `data:a`, long} {
		_, err := f.sub.CreateSubscription(f.ctx, &pubsubpb.Subscription{Name: f.subscription + "-bad", Topic: f.topic, Filter: text})
		f.wantCode(text, err, codes.InvalidArgument)
	}
	_, err := f.update(&pubsubpb.Subscription{Filter: `attributes:a`}, "filter")
	f.wantCode("a change of the filter", err, codes.InvalidArgument)
}

func (f *fixture) update(pb *pubsubpb.Subscription, paths ...string) (*pubsubpb.Subscription, error) {
	pb.Name = f.subscription
	return f.sub.UpdateSubscription(f.ctx, &pubsubpb.UpdateSubscriptionRequest{Subscription: pb, UpdateMask: &fieldmaskpb.FieldMask{Paths: paths}})
}

func policyBounds(f *fixture) {
	const day = 24 * time.Hour
	retry := func(least, most time.Duration) *pubsubpb.Subscription {
		return &pubsubpb.Subscription{RetryPolicy: &pubsubpb.RetryPolicy{MinimumBackoff: durationpb.New(least), MaximumBackoff: durationpb.New(most)}}
	}
	retention := func(d time.Duration) *pubsubpb.Subscription {
		return &pubsubpb.Subscription{MessageRetentionDuration: durationpb.New(d)}
	}
	deadLetter := func(topic string) *pubsubpb.Subscription {
		return &pubsubpb.Subscription{DeadLetterPolicy: &pubsubpb.DeadLetterPolicy{DeadLetterTopic: topic}}
	}
	for _, c := range []struct {
		name string
		pb   *pubsubpb.Subscription
		want codes.Code
	}{
		{"backoff of 0 to 600 s", retry(0, 600*time.Second), codes.OK},
		{"backoff of 601 s", retry(0, 601*time.Second), codes.InvalidArgument},
		{"least above most backoff", retry(20*time.Second, 10*time.Second), codes.InvalidArgument},
		{"retention of 10 min", retention(10 * time.Minute), codes.OK},
		{"retention of 9 min", retention(9 * time.Minute), codes.InvalidArgument},
		{"retention of 32 days", retention(32 * day), codes.InvalidArgument},
		{"dead-letter topic", deadLetter(f.topic), codes.OK},
		{"dead-letter topic that is not there", deadLetter(f.project + "/topics/not-there"), codes.NotFound},
	} {
		c.pb.Name, c.pb.Topic = f.subscription+"-policy", f.topic
		_, err := f.sub.CreateSubscription(f.ctx, c.pb)
		f.wantCode(c.name, err, c.want)
		if err == nil {
			(&fixture{T: f.T, sub: f.sub, subscription: c.pb.Name}).removeSubscription()
		}
	}
}

func updateSubscription(f *fixture) {
	got, err := f.update(&pubsubpb.Subscription{
		AckDeadlineSeconds:       20,
		RetryPolicy:              &pubsubpb.RetryPolicy{},
		MessageRetentionDuration: durationpb.New(time.Hour),
		RetainAckedMessages:      true,
		DeadLetterPolicy:         &pubsubpb.DeadLetterPolicy{DeadLetterTopic: f.topic},
		EnableMessageOrdering:    true, // not in the mask
	}, "ack_deadline_seconds", "retry_policy", "message_retention_duration", "retain_acked_messages", "dead_letter_policy")
	if err != nil {
		f.Fatal(err)
	}
	stored, err := f.sub.GetSubscription(f.ctx, &pubsubpb.GetSubscriptionRequest{Subscription: f.subscription})
	if err != nil {
		f.Fatal(err)
	}
	for what, pb := range map[string]*pubsubpb.Subscription{"answer": got, "stored": stored} {
		summary := fmt.Sprint(pb.AckDeadlineSeconds, pb.RetryPolicy.GetMinimumBackoff().AsDuration(), pb.RetryPolicy.GetMaximumBackoff().AsDuration(),
			pb.MessageRetentionDuration.AsDuration(), pb.RetainAckedMessages, pb.DeadLetterPolicy.GetMaxDeliveryAttempts(), pb.EnableMessageOrdering)
		if want := "20 10s 10m0s 1h0m0s true 5 false"; summary != want {
			f.Errorf("%s: %s, want %s", what, summary, want)
		}
	}
	for name, paths := range map[string][]string{"empty mask": nil, "the name": {"name"}, "the ordering": {"enable_message_ordering"}} {
		_, err := f.update(&pubsubpb.Subscription{}, paths...)
		f.wantCode("update of "+name, err, codes.InvalidArgument)
	}
}

func updateTopic(f *fixture) {
	update := func(pb *pubsubpb.Topic, paths ...string) (*pubsubpb.Topic, error) {
		pb.Name = f.topic
		return f.pub.UpdateTopic(f.ctx, &pubsubpb.UpdateTopicRequest{Topic: pb, UpdateMask: &fieldmaskpb.FieldMask{Paths: paths}})
	}
	if _, err := update(&pubsubpb.Topic{MessageRetentionDuration: durationpb.New(time.Hour)}, "message_retention_duration"); err != nil {
		f.Fatal(err)
	}
	labels := map[string]string{"team": "a"}
	if _, err := update(&pubsubpb.Topic{Labels: labels}, "labels"); err != nil {
		f.Fatal(err)
	}
	got, err := f.pub.GetTopic(f.ctx, &pubsubpb.GetTopicRequest{Topic: f.topic})
	if err != nil || got.MessageRetentionDuration.AsDuration() != time.Hour || !maps.Equal(got.Labels, labels) {
		f.Errorf("topic %v, %v; want a retention of 1h and labels %v", got, err, labels)
	}
	_, err = update(&pubsubpb.Topic{})
	f.wantCode("an empty mask", err, codes.InvalidArgument)
	_, err = update(&pubsubpb.Topic{MessageRetentionDuration: durationpb.New(time.Minute)}, "message_retention_duration")
	f.wantCode("a retention of 1 min", err, codes.InvalidArgument)
}

func detach(f *fixture) {
	s := f.open(credit{})
	f.publish(numbered(0, 1, "")...)
	s.receive(1)
	if _, err := f.pub.DetachSubscription(f.ctx, &pubsubpb.DetachSubscriptionRequest{Subscription: f.subscription}); err != nil {
		f.Fatal(err)
	}
	select {
	case err := <-s.ended:
		f.wantCode("stream of a detached subscription", err, codes.FailedPrecondition)
	case <-time.After(patience):
		f.Fatal("the stream of a detached subscription goes on")
	}
	_, err := f.sub.Pull(f.ctx, &pubsubpb.PullRequest{Subscription: f.subscription, MaxMessages: 1})
	f.wantCode("pull from a detached subscription", err, codes.FailedPrecondition)
	f.publish(numbered(1, 2, "")...)
	got, err := f.sub.GetSubscription(f.ctx, &pubsubpb.GetSubscriptionRequest{Subscription: f.subscription})
	if err != nil || !got.Detached {
		f.Errorf("detached subscription: %v, %v", got, err)
	}
}
