package broker

import (
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
)

// Bounds and defaults of a subscription's policies, from the comments of the API.
const (
	minAttempts, defaultAttempts, maxAttempts = 5, 5, 100

	defaultMinBackoff = 10 * time.Second
	defaultMaxBackoff = 600 * time.Second
	maxBackoff        = 600 * time.Second
)

// setDefaults fills in what the service shows of settings that were left out.
func setDefaults(pb *pubsubpb.Subscription) {
	orDefault(&pb.MessageRetentionDuration, defaultRetention)
	if p := pb.DeadLetterPolicy; p != nil {
		p = proto.Clone(p).(*pubsubpb.DeadLetterPolicy)
		if p.MaxDeliveryAttempts == 0 {
			p.MaxDeliveryAttempts = defaultAttempts
		}
		pb.DeadLetterPolicy = p
	}
	if p := pb.RetryPolicy; p != nil {
		p = proto.Clone(p).(*pubsubpb.RetryPolicy)
		orDefault(&p.MinimumBackoff, defaultMinBackoff)
		orDefault(&p.MaximumBackoff, defaultMaxBackoff)
		pb.RetryPolicy = p
	}
}

func orDefault(d **durationpb.Duration, value time.Duration) {
	if *d == nil {
		*d = durationpb.New(value)
	}
}

func checkSubscription(pb *pubsubpb.Subscription) error {
	if err := checkName(subscriptionName, "subscription", pb.Name); err != nil {
		return err
	}
	if err := checkDeadline(pb.AckDeadlineSeconds, minAckDeadline); err != nil {
		return err
	}
	if n := pb.GetDeadLetterPolicy().GetMaxDeliveryAttempts(); pb.DeadLetterPolicy != nil && (n < minAttempts || n > maxAttempts) {
		return invalid("%s: max_delivery_attempts %d, want %d to %d", pb.Name, n, minAttempts, maxAttempts)
	}
	if p := pb.RetryPolicy; p != nil {
		if err := checkBackoff(pb.Name, p.MinimumBackoff.AsDuration(), p.MaximumBackoff.AsDuration()); err != nil {
			return err
		}
	}
	if err := checkRetention(pb.Name, pb.MessageRetentionDuration); err != nil {
		return err
	}
	return checkSupported(pb)
}

func checkBackoff(name string, least, most time.Duration) error {
	switch {
	case least < 0 || least > maxBackoff:
		return invalid("%s: minimum_backoff %v, want 0s to %v", name, least, maxBackoff)
	case most < least || most > maxBackoff:
		return invalid("%s: maximum_backoff %v, want minimum_backoff %v to %v", name, most, least, maxBackoff)
	}
	return nil
}

// checkRetention takes a topic's or a subscription's; nil is none.
func checkRetention(name string, pb *durationpb.Duration) error {
	if d := pb.AsDuration(); pb != nil && (d < minRetention || d > maxRetention) {
		return invalid("%s: message_retention_duration %v, want %v to %v", name, d, minRetention, maxRetention)
	}
	return nil
}

func checkFilter(pb *pubsubpb.Subscription) (filter, error) {
	if pb.Filter == "" {
		return nil, nil
	}
	if n := len(pb.Filter); n > maxFilterBytes {
		return nil, invalid("%s: filter of %d bytes, at most %d are allowed", pb.Name, n, maxFilterBytes)
	}
	match, err := parseFilter(pb.Filter)
	if err != nil {
		return nil, invalid("%s: filter: %v", pb.Name, err)
	}
	return match, nil
}

func checkSupported(pb *pubsubpb.Subscription) error {
	for _, f := range []struct {
		set  bool
		what string
	}{
		{pb.EnableExactlyOnceDelivery, "exactly once delivery"},
		{pb.GetPushConfig().GetPushEndpoint() != "", "push delivery"},
		{pb.BigqueryConfig != nil || pb.CloudStorageConfig != nil, "export to BigQuery or Cloud Storage"},
		{len(pb.MessageTransforms) > 0, "a message transform"},
	} {
		if f.set {
			return unimplemented(f.what)
		}
	}
	return nil
}

// checkDeadLetterLocked wants the dead-letter topic to exist when the policy is set; it may be deleted later.
func (s *Server) checkDeadLetterLocked(pb *pubsubpb.Subscription) error {
	if p := pb.DeadLetterPolicy; p != nil && s.topics[p.DeadLetterTopic] == nil {
		return notFound("dead-letter topic", p.DeadLetterTopic)
	}
	return nil
}

// configure takes new settings that were checked.
func (s *subscription) configure(pb *pubsubpb.Subscription) {
	s.mu.Lock()
	s.configureLocked(pb)
	s.mu.Unlock()
	if !pb.RetainAckedMessages {
		s.forgetAcked()
	}
	s.repurge()
}
