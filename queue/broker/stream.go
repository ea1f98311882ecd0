package broker

import (
	"errors"
	"io"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/grpc/status"
)

// StreamingPull sends from this goroutine and receives in another, so that a client that does not
// read can still ack; the receiver ends with the stream, which ends when this returns.
func (u subscriberService) StreamingPull(stream pubsubpb.Subscriber_StreamingPullServer) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	sub, err := u.srv.subscription(first.Subscription)
	if err != nil {
		return err
	}
	c, err := openConsumer(sub, first)
	if err != nil {
		return err
	}
	defer sub.leave(c)
	if err := stream.SendHeader(nil); err != nil { // tells the client that the stream stands
		return err
	}
	received := make(chan error, 1)
	go func() { received <- receive(stream, sub, c) }()
	return send(stream, sub, c, received)
}

func openConsumer(sub *subscription, first *pubsubpb.StreamingPullRequest) (*consumer, error) {
	if err := checkDeadline(first.StreamAckDeadlineSeconds, minAckDeadline); err != nil {
		return nil, err
	}
	c := newConsumer(time.Duration(first.StreamAckDeadlineSeconds) * time.Second)
	c.maxMessages = max(0, first.MaxOutstandingMessages)
	c.maxBytes = max(0, first.MaxOutstandingBytes)
	return c, applySettlements(sub, first)
}

func send(stream pubsubpb.Subscriber_StreamingPullServer, sub *subscription, c *consumer, received <-chan error) error {
	for {
		if resp := sub.next(c, batchMessages); resp != nil {
			if err := stream.Send(resp); err != nil {
				return err
			}
			c.nudge() // there may be more; meanwhile the select looks at the other ends
		}
		select {
		case err := <-received:
			return err
		case <-stream.Context().Done():
			return status.FromContextError(stream.Context().Err()).Err()
		case <-sub.gone:
			return sub.ended()
		case <-c.wake:
		}
	}
}

// receive works off the client's requests until it closes its side, which is no error.
func receive(stream pubsubpb.Subscriber_StreamingPullServer, sub *subscription, c *consumer) error {
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := apply(sub, c, req); err != nil {
			return err
		}
	}
}

func apply(sub *subscription, c *consumer, req *pubsubpb.StreamingPullRequest) error {
	switch {
	case req.Subscription != "" && req.Subscription != sub.name:
		return invalid("streaming pull from %s: a later request names %q", sub.name, req.Subscription)
	case req.MaxOutstandingMessages != 0 || req.MaxOutstandingBytes != 0:
		return invalid("streaming pull from %s: max_outstanding_messages and max_outstanding_bytes belong in the first request", sub.name)
	}
	if seconds := req.StreamAckDeadlineSeconds; seconds != 0 {
		if err := checkDeadline(seconds, minAckDeadline); err != nil {
			return err
		}
		sub.setLease(c, time.Duration(seconds)*time.Second)
	}
	if len(req.AckIds)+len(req.ModifyDeadlineAckIds) == 0 {
		sub.ping(c)
		return nil
	}
	return applySettlements(sub, req)
}

// applySettlements does the acks, then the changes of deadlines.
func applySettlements(sub *subscription, req *pubsubpb.StreamingPullRequest) error {
	seconds := req.ModifyDeadlineSeconds
	if len(seconds) != len(req.ModifyDeadlineAckIds) {
		return invalid("streaming pull from %s: %d modify_deadline_seconds for %d modify_deadline_ack_ids", sub.name, len(seconds), len(req.ModifyDeadlineAckIds))
	}
	for _, n := range seconds {
		if err := checkDeadline(n, 0); err != nil {
			return err
		}
	}
	acks, err := parseAckIDs(req.AckIds)
	if err != nil {
		return err
	}
	changes, err := parseAckIDs(req.ModifyDeadlineAckIds)
	if err != nil {
		return err
	}
	sub.ack(acks)
	sub.extend(changes, func(i int) time.Duration { return time.Duration(seconds[i]) * time.Second })
	return nil
}
