package broker

import (
	"context"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
)

func (u subscriberService) CreateSubscription(_ context.Context, req *pubsubpb.Subscription) (*pubsubpb.Subscription, error) {
	pb := proto.Clone(req).(*pubsubpb.Subscription)
	pb.State, pb.Detached = pubsubpb.Subscription_ACTIVE, false
	if pb.AckDeadlineSeconds == 0 {
		pb.AckDeadlineSeconds = defaultAckDeadline
	}
	setDefaults(pb)
	if err := checkSubscription(pb); err != nil {
		return nil, err
	}
	match, err := checkFilter(pb)
	if err != nil {
		return nil, err
	}
	s := u.srv
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.subscriptions[req.Name] != nil {
		return nil, alreadyExists("subscription", req.Name)
	}
	t := s.topics[req.Topic]
	if t == nil {
		return nil, notFound("topic", req.Topic)
	}
	if err := s.checkDeadLetterLocked(pb); err != nil {
		return nil, err
	}
	sub := newSubscription(s, t, pb, match)
	if err := t.attach(sub); err != nil {
		return nil, err
	}
	s.subscriptions[req.Name] = sub
	return sub.proto(), nil
}

func (u subscriberService) GetSubscription(_ context.Context, req *pubsubpb.GetSubscriptionRequest) (*pubsubpb.Subscription, error) {
	sub, err := u.srv.subscription(req.Subscription)
	if err != nil {
		return nil, err
	}
	return sub.proto(), nil
}

// UpdateSubscription changes what the service lets change, but for push and exports.
func (u subscriberService) UpdateSubscription(_ context.Context, req *pubsubpb.UpdateSubscriptionRequest) (*pubsubpb.Subscription, error) {
	want := req.GetSubscription()
	s := u.srv
	s.mu.Lock()
	defer s.mu.Unlock()
	sub := s.subscriptions[want.GetName()]
	if sub == nil {
		return nil, notFound("subscription", want.GetName())
	}
	pb := sub.proto()
	if err := applyMask(pb, want, req.GetUpdateMask().GetPaths()); err != nil {
		return nil, err
	}
	setDefaults(pb)
	if err := checkSubscription(pb); err != nil {
		return nil, err
	}
	if err := s.checkDeadLetterLocked(pb); err != nil {
		return nil, err
	}
	sub.configure(pb)
	return sub.proto(), nil
}

func applyMask(pb, want *pubsubpb.Subscription, paths []string) error {
	if len(paths) == 0 {
		return invalid("update of %s: the update mask is empty", pb.Name)
	}
	for _, path := range paths {
		switch path {
		case "ack_deadline_seconds":
			pb.AckDeadlineSeconds = want.AckDeadlineSeconds
		case "labels":
			pb.Labels = want.Labels
		case "dead_letter_policy":
			pb.DeadLetterPolicy = want.DeadLetterPolicy
		case "retry_policy":
			pb.RetryPolicy = want.RetryPolicy
		case "message_retention_duration":
			pb.MessageRetentionDuration = want.MessageRetentionDuration
		case "retain_acked_messages":
			pb.RetainAckedMessages = want.RetainAckedMessages
		case "expiration_policy":
			pb.ExpirationPolicy = want.ExpirationPolicy
		case "name", "topic", "filter", "enable_message_ordering":
			return invalid("update of %s: %s cannot be changed", pb.Name, path)
		default:
			return unimplemented("an update of " + path)
		}
	}
	return nil
}

func (u subscriberService) ListSubscriptions(_ context.Context, req *pubsubpb.ListSubscriptionsRequest) (*pubsubpb.ListSubscriptionsResponse, error) {
	u.srv.mu.RLock()
	defer u.srv.mu.RUnlock()
	names, next := page(u.srv.subscriptions, req.Project+"/subscriptions/", req.PageSize, req.PageToken)
	resp := &pubsubpb.ListSubscriptionsResponse{NextPageToken: next}
	for _, name := range names {
		resp.Subscriptions = append(resp.Subscriptions, u.srv.subscriptions[name].proto())
	}
	return resp, nil
}

func (u subscriberService) DeleteSubscription(_ context.Context, req *pubsubpb.DeleteSubscriptionRequest) (*emptypb.Empty, error) {
	s := u.srv
	s.mu.Lock()
	sub := s.subscriptions[req.Subscription]
	delete(s.subscriptions, req.Subscription)
	s.mu.Unlock()
	if sub == nil {
		return nil, notFound("subscription", req.Subscription)
	}
	sub.topic.detach(sub)
	sub.close()
	return &emptypb.Empty{}, nil
}

func (u subscriberService) ModifyPushConfig(context.Context, *pubsubpb.ModifyPushConfigRequest) (*emptypb.Empty, error) {
	return nil, unimplemented("push delivery")
}
