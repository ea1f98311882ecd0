package broker

import (
	"context"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
)

// The service's default, the only retention that a subscription may ask for:
// here messages stay until they are acked.
const defaultRetention = 7 * 24 * time.Hour

func (u subscriberService) CreateSubscription(_ context.Context, req *pubsubpb.Subscription) (*pubsubpb.Subscription, error) {
	if err := checkSubscription(req); err != nil {
		return nil, err
	}
	pb := proto.Clone(req).(*pubsubpb.Subscription)
	pb.State = pubsubpb.Subscription_ACTIVE
	if pb.AckDeadlineSeconds == 0 {
		pb.AckDeadlineSeconds = defaultAckDeadline
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
	sub := newSubscription(s, t, pb)
	if err := t.attach(sub); err != nil {
		return nil, err
	}
	s.subscriptions[req.Name] = sub
	return sub.proto(), nil
}

func checkSubscription(req *pubsubpb.Subscription) error {
	if err := checkName(subscriptionName, "subscription", req.Name); err != nil {
		return err
	}
	if req.AckDeadlineSeconds != 0 {
		if err := checkDeadline(req.AckDeadlineSeconds, minAckDeadline); err != nil {
			return err
		}
	}
	if n := req.GetDeadLetterPolicy().GetMaxDeliveryAttempts(); n != 0 && (n < 5 || n > 100) {
		return invalid("subscription %s: max_delivery_attempts %d, want 5 to 100", req.Name, n)
	}
	return checkSupported(req)
}

func checkSupported(req *pubsubpb.Subscription) error {
	retention := req.MessageRetentionDuration
	for _, f := range []struct {
		set  bool
		what string
	}{
		{req.Filter != "", "a filter"},
		{req.RetainAckedMessages, "retain_acked_messages"},
		{retention != nil && retention.AsDuration() != defaultRetention, "message_retention_duration (messages stay until they are acked)"},
		{req.EnableExactlyOnceDelivery, "exactly once delivery"},
		{req.RetryPolicy != nil, "a retry policy"},
		{req.GetPushConfig().GetPushEndpoint() != "", "push delivery"},
		{req.BigqueryConfig != nil || req.CloudStorageConfig != nil, "export to BigQuery or Cloud Storage"},
		{len(req.MessageTransforms) > 0, "a message transform"},
	} {
		if f.set {
			return unimplemented(f.what)
		}
	}
	return nil
}

func (u subscriberService) GetSubscription(_ context.Context, req *pubsubpb.GetSubscriptionRequest) (*pubsubpb.Subscription, error) {
	sub, err := u.srv.subscription(req.Subscription)
	if err != nil {
		return nil, err
	}
	return sub.proto(), nil
}

// UpdateSubscription changes ack_deadline_seconds, labels and dead_letter_policy.
func (u subscriberService) UpdateSubscription(_ context.Context, req *pubsubpb.UpdateSubscriptionRequest) (*pubsubpb.Subscription, error) {
	want := req.GetSubscription()
	sub, err := u.srv.subscription(want.GetName())
	if err != nil {
		return nil, err
	}
	pb := sub.proto()
	for _, path := range req.GetUpdateMask().GetPaths() {
		switch path {
		case "ack_deadline_seconds":
			pb.AckDeadlineSeconds = want.AckDeadlineSeconds
		case "labels":
			pb.Labels = want.Labels
		case "dead_letter_policy":
			pb.DeadLetterPolicy = want.DeadLetterPolicy
		default:
			return nil, unimplemented("an update of " + path)
		}
	}
	if err := checkDeadline(pb.AckDeadlineSeconds, minAckDeadline); err != nil {
		return nil, err
	}
	if err := checkSubscription(pb); err != nil {
		return nil, err
	}
	sub.mu.Lock()
	sub.pb = pb
	sub.mu.Unlock()
	return sub.proto(), nil
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

func (u subscriberService) Seek(context.Context, *pubsubpb.SeekRequest) (*pubsubpb.SeekResponse, error) {
	return nil, unimplemented("Seek")
}

func (u subscriberService) GetSnapshot(context.Context, *pubsubpb.GetSnapshotRequest) (*pubsubpb.Snapshot, error) {
	return nil, unimplemented("GetSnapshot")
}

func (u subscriberService) ListSnapshots(context.Context, *pubsubpb.ListSnapshotsRequest) (*pubsubpb.ListSnapshotsResponse, error) {
	return nil, unimplemented("ListSnapshots")
}

func (u subscriberService) CreateSnapshot(context.Context, *pubsubpb.CreateSnapshotRequest) (*pubsubpb.Snapshot, error) {
	return nil, unimplemented("CreateSnapshot")
}

func (u subscriberService) UpdateSnapshot(context.Context, *pubsubpb.UpdateSnapshotRequest) (*pubsubpb.Snapshot, error) {
	return nil, unimplemented("UpdateSnapshot")
}

func (u subscriberService) DeleteSnapshot(context.Context, *pubsubpb.DeleteSnapshotRequest) (*emptypb.Empty, error) {
	return nil, unimplemented("DeleteSnapshot")
}
