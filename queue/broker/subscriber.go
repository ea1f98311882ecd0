package broker

import (
	"context"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

const (
	defaultAckDeadline = 10
	minAckDeadline     = 10
	maxAckDeadline     = 600

	// How long a Pull waits for a first message; then it answers without any, as the service does.
	pullWait = 20 * time.Second
)

// subscriberService is the gRPC face of subscriptions.
type subscriberService struct {
	pubsubpb.UnimplementedSubscriberServer
	srv *Server
}

func (s *Server) subscription(name string) (*subscription, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if sub := s.subscriptions[name]; sub != nil {
		return sub, nil
	}
	return nil, notFound("subscription", name)
}

func (u subscriberService) Acknowledge(_ context.Context, req *pubsubpb.AcknowledgeRequest) (*emptypb.Empty, error) {
	sub, err := u.srv.subscription(req.Subscription)
	if err != nil {
		return nil, err
	}
	ids, err := parseAckIDs(req.AckIds)
	if err != nil {
		return nil, err
	}
	sub.ack(ids)
	return &emptypb.Empty{}, nil
}

func (u subscriberService) ModifyAckDeadline(_ context.Context, req *pubsubpb.ModifyAckDeadlineRequest) (*emptypb.Empty, error) {
	sub, err := u.srv.subscription(req.Subscription)
	if err != nil {
		return nil, err
	}
	if err := checkDeadline(req.AckDeadlineSeconds, 0); err != nil {
		return nil, err
	}
	ids, err := parseAckIDs(req.AckIds)
	if err != nil {
		return nil, err
	}
	lease := time.Duration(req.AckDeadlineSeconds) * time.Second
	sub.extend(ids, func(int) time.Duration { return lease })
	return &emptypb.Empty{}, nil
}

func (u subscriberService) Pull(ctx context.Context, req *pubsubpb.PullRequest) (*pubsubpb.PullResponse, error) {
	sub, err := u.srv.subscription(req.Subscription)
	if err != nil {
		return nil, err
	}
	if req.MaxMessages <= 0 {
		return nil, invalid("pull from %s: max_messages %d, want at least 1", req.Subscription, req.MaxMessages)
	}
	c := newConsumer(sub.ackDeadline())
	defer sub.leave(c)
	wait := time.NewTimer(pullWait)
	defer wait.Stop()
	for {
		if resp := sub.next(c, int(req.MaxMessages)); resp != nil {
			return &pubsubpb.PullResponse{ReceivedMessages: resp.ReceivedMessages}, nil
		}
		//lint:ignore SA1019 deprecated by the service, yet part of its API
		if req.ReturnImmediately {
			return &pubsubpb.PullResponse{}, nil
		}
		select {
		case <-c.wake:
		case <-wait.C:
			return &pubsubpb.PullResponse{}, nil
		case <-sub.gone:
			return nil, sub.ended()
		case <-ctx.Done():
			return nil, status.FromContextError(ctx.Err()).Err()
		}
	}
}

func (s *subscription) ackDeadline() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Duration(s.pb.AckDeadlineSeconds) * time.Second
}

func parseAckIDs(texts []string) ([]ackID, error) {
	ids := make([]ackID, len(texts))
	for i, text := range texts {
		id, ok := parseAckID(text)
		if !ok {
			return nil, invalid("ack id %q is malformed", text)
		}
		ids[i] = id
	}
	return ids, nil
}

// checkDeadline takes the seconds of a lease, or 0 for a nack when least is 0.
func checkDeadline(seconds, least int32) error {
	if seconds < least || seconds > maxAckDeadline {
		return invalid("ack deadline of %d seconds, want %d to %d", seconds, least, maxAckDeadline)
	}
	return nil
}
