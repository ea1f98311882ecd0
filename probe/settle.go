package probe

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
)

const (
	lease     = 10 * time.Second // of the checks, and of workers unless hold.lease says another
	handBack  = 15 * time.Second
	samples   = 20 // messages of each check
	creditOf  = 5
	creditFor = 3 * time.Second // how long more than that many are waited for
	// comeBack bounds the wait for a message that is to come or to come again.
	comeBack = 30 * time.Second
)

// settled is what a check of leases measured: how long messages stayed away.
type settled struct {
	least, most time.Duration
	count       int // credit: how many came at once
	err         error
}

// settleChecks are what the pipeline's un-acked messages rely on.
var settleChecks = map[string]func(*bench) settled{
	"lease": func(b *bench) settled {
		s := b.open(0)
		return b.away(b.take(s, samples), s)
	},
	"dropped": func(b *bench) settled {
		dropped := b.open(0)
		first := b.take(dropped, samples)
		dropped.drop()
		return b.away(first, b.open(0))
	},
	"handback": func(b *bench) settled {
		s := b.open(0)
		first := b.take(s, samples)
		b.modify(first, handBack)
		return b.away(first, s)
	},
	"nack": func(b *bench) settled {
		s := b.open(0)
		first := b.take(s, samples)
		b.modify(first, 0)
		return b.away(first, s)
	},
	// How long entries of a key are kept from a new stream after another one broke with some of the key un-acked.
	"ordered": func(b *bench) settled {
		dropped := b.open(0)
		b.take(dropped, samples)
		dropped.drop()
		at, fresh := time.Now(), b.publish()
		for s := b.open(0); b.err == nil; {
			for _, a := range b.take(s, 1) {
				if slices.Contains(fresh, a.id) {
					return settled{least: a.at.Sub(at), most: a.at.Sub(at)}
				}
				b.ack(a)
			}
		}
		return settled{}
	},
	"credit": func(b *bench) settled {
		s := b.open(creditOf)
		held := b.take(s, creditOf)
		for end := time.After(creditFor); b.err == nil; {
			select {
			case a := <-s.in:
				held = append(held, a)
			case <-end:
				return settled{count: len(held)}
			case <-b.ctx.Done():
				b.err = b.ctx.Err()
			}
		}
		return settled{}
	},
}

// settle runs one check on a topic and a subscription of its own.
func settle(ctx context.Context, o *objects, name string) settled {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	b := &bench{ctx: ctx, o: o, ordered: name == "ordered"}
	b.topic, b.subscription, b.err = o.pair(ctx, "-"+name, b.ordered)
	b.publish()
	result := settleChecks[name](b)
	result.err = b.err
	return result
}

// bench is where a check runs. After the first error its methods do nothing.
type bench struct {
	ctx                 context.Context
	o                   *objects
	topic, subscription string
	ordered             bool
	err                 error
}

// publish publishes some messages and returns their ids.
func (b *bench) publish() []string {
	if b.err != nil {
		return nil
	}
	req := &pubsubpb.PublishRequest{Topic: b.topic}
	for i := range samples {
		m := &pubsubpb.PubsubMessage{Data: fmt.Append(nil, i)}
		if b.ordered {
			m.OrderingKey = lane
		}
		req.Messages = append(req.Messages, m)
	}
	resp, err := b.o.pub.Publish(b.ctx, req)
	if err != nil {
		b.err = fmt.Errorf("publish to %s: %w", b.topic, err)
	}
	return resp.GetMessageIds()
}

// arrival is a delivery.
type arrival struct {
	id, ackID string
	at        time.Time
}

// stream is a StreamingPull that keeps no leases.
type stream struct {
	in   chan arrival
	end  chan error
	drop context.CancelFunc
}

func (b *bench) open(credit int64) *stream {
	s := &stream{in: make(chan arrival, 10*samples), end: make(chan error, 1)}
	if b.err != nil {
		s.drop = func() {}
		return s
	}
	ctx, cancel := context.WithCancel(b.ctx)
	s.drop = cancel
	raw, err := b.o.sub.StreamingPull(ctx)
	if err == nil {
		err = raw.Send(&pubsubpb.StreamingPullRequest{
			Subscription: b.subscription, StreamAckDeadlineSeconds: int32(lease / time.Second), MaxOutstandingMessages: credit,
		})
	}
	if err != nil {
		b.err = fmt.Errorf("pull from %s: %w", b.subscription, err)
		return s
	}
	go s.read(ctx, raw)
	return s
}

func (s *stream) read(ctx context.Context, raw pubsubpb.Subscriber_StreamingPullClient) {
	for {
		resp, err := raw.Recv()
		if err != nil {
			s.end <- err
			return
		}
		for _, m := range resp.GetReceivedMessages() {
			select {
			case s.in <- arrival{m.GetMessage().GetMessageId(), m.GetAckId(), time.Now()}:
			case <-ctx.Done():
				return
			}
		}
	}
}

// take returns the next n deliveries.
func (b *bench) take(s *stream, n int) (got []arrival) {
	timeout := time.After(comeBack)
	for b.err == nil && len(got) < n {
		select {
		case a := <-s.in:
			got = append(got, a)
		case err := <-s.end:
			b.err = fmt.Errorf("pull from %s: %w", b.subscription, err)
		case <-timeout:
			b.err = errAway
		case <-b.ctx.Done():
			b.err = b.ctx.Err()
		}
	}
	return got
}

// errAway is a measurement, of a message that did not come for as long as one waits.
var errAway = errors.New("messages did not come within " + comeBack.String())

// away measures from each first delivery, or what was done to it later, to the next of the same message.
func (b *bench) away(first []arrival, s *stream) settled {
	at := map[string]time.Time{}
	for _, a := range first {
		at[a.id] = a.at
	}
	r := settled{least: comeBack}
	for len(at) > 0 && b.err == nil {
		for _, a := range b.take(s, 1) {
			if start, waiting := at[a.id]; waiting {
				delete(at, a.id)
				r.least, r.most = min(r.least, a.at.Sub(start)), max(r.most, a.at.Sub(start))
			}
		}
	}
	return r
}

func (b *bench) ack(a arrival) {
	_, err := b.o.sub.Acknowledge(b.ctx, &pubsubpb.AcknowledgeRequest{Subscription: b.subscription, AckIds: []string{a.ackID}})
	if err != nil {
		b.err = fmt.Errorf("ack of %s: %w", b.subscription, err)
	}
}

// modify gives the deliveries other leases, which they are measured from.
func (b *bench) modify(held []arrival, lease time.Duration) {
	if b.err != nil {
		return
	}
	at := time.Now()
	req := &pubsubpb.ModifyAckDeadlineRequest{Subscription: b.subscription, AckDeadlineSeconds: int32(lease / time.Second)}
	for i := range held {
		req.AckIds, held[i].at = append(req.AckIds, held[i].ackID), at
	}
	if _, err := b.o.sub.ModifyAckDeadline(b.ctx, req); err != nil {
		b.err = fmt.Errorf("modify ack deadlines of %s: %w", b.subscription, err)
	}
}
