package broker

import (
	"context"
	"slices"
	"strings"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
)

// Limits of a Publish request, from https://cloud.google.com/pubsub/quotas#resource_limits.
const (
	maxRequestBytes   = 10_000_000
	maxRequestLen     = 1000
	maxAttributes     = 100
	maxAttributeKey   = 256
	maxAttributeValue = 1024
	maxOrderingKey    = 1024
)

// publisherService is the gRPC face of topics.
type publisherService struct {
	pubsubpb.UnimplementedPublisherServer
	srv *Server
}

func (p publisherService) Publish(_ context.Context, req *pubsubpb.PublishRequest) (*pubsubpb.PublishResponse, error) {
	t, err := p.srv.topic(req.Topic)
	if err != nil {
		return nil, err
	}
	if err := checkPublish(req); err != nil {
		return nil, err
	}
	ids, err := t.publish(req.Messages)
	if err != nil {
		return nil, err
	}
	return &pubsubpb.PublishResponse{MessageIds: ids}, nil
}

func checkPublish(req *pubsubpb.PublishRequest) error {
	if n := len(req.Messages); n == 0 || n > maxRequestLen {
		return invalid("publish to %s: %d messages in the request, want 1 to %d", req.Topic, n, maxRequestLen)
	}
	if n := proto.Size(req); n > maxRequestBytes {
		return invalid("publish to %s: request of %d bytes, at most %d are allowed", req.Topic, n, maxRequestBytes)
	}
	key := req.Messages[0].GetOrderingKey()
	for i, m := range req.Messages {
		if m.GetOrderingKey() != key {
			return invalid("publish to %s: messages[%d] has ordering key %q and messages[0] %q, one request takes one key", req.Topic, i, m.GetOrderingKey(), key)
		}
		if err := checkMessage(req.Topic, i, m); err != nil {
			return err
		}
	}
	return nil
}

func checkMessage(topic string, i int, m *pubsubpb.PubsubMessage) error {
	if len(m.GetData()) == 0 && len(m.GetAttributes()) == 0 {
		return invalid("publish to %s: messages[%d] is empty, it needs data or an attribute", topic, i)
	}
	if n := len(m.OrderingKey); n > maxOrderingKey {
		return invalid("publish to %s: messages[%d] has an ordering key of %d bytes, at most %d are allowed", topic, i, n, maxOrderingKey)
	}
	if n := len(m.Attributes); n > maxAttributes {
		return invalid("publish to %s: messages[%d] has %d attributes, at most %d are allowed", topic, i, n, maxAttributes)
	}
	for k, v := range m.Attributes {
		if n := len(k); n == 0 || n > maxAttributeKey {
			return invalid("publish to %s: messages[%d] has an attribute key of %d bytes, want 1 to %d", topic, i, n, maxAttributeKey)
		}
		if n := len(v); n > maxAttributeValue {
			return invalid("publish to %s: messages[%d] has a value of %d bytes for attribute %q, at most %d are allowed", topic, i, n, k, maxAttributeValue)
		}
	}
	return nil
}

func (p publisherService) CreateTopic(_ context.Context, req *pubsubpb.Topic) (*pubsubpb.Topic, error) {
	if err := checkTopic(req); err != nil {
		return nil, err
	}
	pb := proto.Clone(req).(*pubsubpb.Topic)
	pb.State = pubsubpb.Topic_ACTIVE
	s := p.srv
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.topics[req.Name] != nil {
		return nil, alreadyExists("topic", req.Name)
	}
	t := &topic{srv: s, name: req.Name, pb: pb, subscriptions: make(map[string]*subscription), snapshots: make(map[string]*snapshot)}
	t.retention.Store(int64(pb.MessageRetentionDuration.AsDuration()))
	s.topics[req.Name] = t
	return pb, nil
}

func checkTopic(req *pubsubpb.Topic) error {
	if err := checkName(topicName, "topic", req.Name); err != nil {
		return err
	}
	for _, f := range []struct {
		set  bool
		what string
	}{
		{req.SchemaSettings != nil, "a schema"},
		{req.IngestionDataSourceSettings != nil, "ingestion from a data source"},
		{len(req.MessageTransforms) > 0, "a message transform"},
	} {
		if f.set {
			return unimplemented(f.what)
		}
	}
	return checkRetention(req.Name, req.MessageRetentionDuration)
}

// UpdateTopic changes labels and message_retention_duration.
func (p publisherService) UpdateTopic(_ context.Context, req *pubsubpb.UpdateTopicRequest) (*pubsubpb.Topic, error) {
	want, paths := req.GetTopic(), req.GetUpdateMask().GetPaths()
	p.srv.mu.Lock()
	defer p.srv.mu.Unlock()
	t := p.srv.topics[want.GetName()]
	if t == nil {
		return nil, notFound("topic", want.GetName())
	}
	pb := proto.Clone(t.proto()).(*pubsubpb.Topic)
	if len(paths) == 0 {
		return nil, invalid("update of %s: the update mask is empty", t.name)
	}
	for _, path := range paths {
		switch path {
		case "labels":
			pb.Labels = want.Labels
		case "message_retention_duration":
			pb.MessageRetentionDuration = want.MessageRetentionDuration
		default:
			return nil, unimplemented("an update of " + path)
		}
	}
	if err := checkTopic(pb); err != nil {
		return nil, err
	}
	t.mu.Lock()
	t.pb = pb
	t.mu.Unlock()
	t.setRetention(pb.MessageRetentionDuration.AsDuration())
	return pb, nil
}

func (p publisherService) GetTopic(_ context.Context, req *pubsubpb.GetTopicRequest) (*pubsubpb.Topic, error) {
	t, err := p.srv.topic(req.Topic)
	if err != nil {
		return nil, err
	}
	return t.proto(), nil
}

func (p publisherService) ListTopics(_ context.Context, req *pubsubpb.ListTopicsRequest) (*pubsubpb.ListTopicsResponse, error) {
	p.srv.mu.RLock()
	defer p.srv.mu.RUnlock()
	names, next := page(p.srv.topics, req.Project+"/topics/", req.PageSize, req.PageToken)
	resp := &pubsubpb.ListTopicsResponse{NextPageToken: next}
	for _, name := range names {
		resp.Topics = append(resp.Topics, p.srv.topics[name].proto())
	}
	return resp, nil
}

func (p publisherService) ListTopicSubscriptions(_ context.Context, req *pubsubpb.ListTopicSubscriptionsRequest) (*pubsubpb.ListTopicSubscriptionsResponse, error) {
	t, err := p.srv.topic(req.Topic)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	names, next := page(t.subscriptions, "", req.PageSize, req.PageToken)
	return &pubsubpb.ListTopicSubscriptionsResponse{Subscriptions: names, NextPageToken: next}, nil
}

func (p publisherService) DeleteTopic(_ context.Context, req *pubsubpb.DeleteTopicRequest) (*emptypb.Empty, error) {
	t, err := p.srv.topic(req.Topic)
	if err != nil {
		return nil, err
	}
	p.srv.mu.Lock()
	if p.srv.topics[req.Topic] != t {
		p.srv.mu.Unlock()
		return nil, notFound("topic", req.Topic)
	}
	delete(p.srv.topics, req.Topic)
	p.srv.mu.Unlock()
	t.orphan()
	return &emptypb.Empty{}, nil
}

// orphan leaves the subscriptions with the messages that they have, as the service does.
func (t *topic) orphan() {
	t.mu.Lock()
	t.deleted = true
	subscriptions := t.attachedLocked()
	t.mu.Unlock()
	t.setRetention(0)
	for _, sub := range subscriptions {
		sub.mu.Lock()
		sub.pb.Topic = deletedTopic
		sub.mu.Unlock()
	}
}

func (p publisherService) DetachSubscription(_ context.Context, req *pubsubpb.DetachSubscriptionRequest) (*pubsubpb.DetachSubscriptionResponse, error) {
	sub, err := p.srv.subscription(req.Subscription)
	if err != nil {
		return nil, err
	}
	sub.topic.detach(sub)
	sub.mu.Lock()
	sub.pb.Detached = true
	sub.mu.Unlock()
	sub.close()
	return &pubsubpb.DetachSubscriptionResponse{}, nil
}

func (s *Server) topic(name string) (*topic, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if t := s.topics[name]; t != nil {
		return t, nil
	}
	return nil, notFound("topic", name)
}

// page returns the keys with the prefix after the token, in order, and the next token.
func page[T any](m map[string]T, prefix string, size int32, token string) (names []string, next string) {
	for name := range m {
		if strings.HasPrefix(name, prefix) && name > token {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	if size > 0 && len(names) > int(size) {
		names = names[:size]
		next = names[size-1]
	}
	return names, next
}
