package queue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"sync/atomic"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"github.com/cenkalti/backoff/v5"
	gax "github.com/googleapis/gax-go/v2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	// pingEvery keeps an idle stream open through proxies, and silence of three pings shows a dead server.
	pingEvery = 15 * time.Second
	// settledStream is the life after which a stream counts as good without having brought a message.
	settledStream = 5 * time.Second
	// lastWords bounds how long a stream that is being closed is read on, to nack what was under way.
	lastWords = 500 * time.Millisecond
	// emptyRead: a Recv that took so long found nothing buffered.
	emptyRead = time.Millisecond
)

var errSilent = errors.New("server does not answer pings")

// pull keeps one stream open until pulling stops. It returns an error only if no stream has ever lived, or the
// subscription vanished where that is expected.
func (s *Subscriber) pull(ctx context.Context, handle func(*Message)) error {
	newPause := func() *backoff.ExponentialBackOff {
		return &backoff.ExponentialBackOff{
			InitialInterval: 50 * time.Millisecond, Multiplier: 2, RandomizationFactor: 0.5, MaxInterval: 3 * time.Second,
		}
	}
	for pause := newPause(); ; s.reconnects.Add(1) {
		opened := time.Now()
		received, err := s.pullOnce(ctx, handle)
		if s.pullingStopped() || ctx.Err() != nil {
			return nil
		}
		if received || time.Since(opened) > settledStream {
			s.proven.Store(true)
			pause = newPause()
		}
		if refused(err) && !s.proven.Load() || s.mayVanish && gone(err) {
			return fmt.Errorf("pull from %s: %w", s.name, err)
		}
		if s.cfg.Broken != nil {
			s.cfg.Broken()
		}
		s.log.Info("stream ended, reconnecting", "after", time.Since(opened).Round(time.Millisecond), "error", err)
		if !s.sleep(ctx, pause.NextBackOff()) {
			return nil
		}
	}
}

// sleep reports whether pulling goes on after d.
func (s *Subscriber) sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.stopped:
	case <-ctx.Done():
	}
	return false
}

// refused tells answers to a first stream that call for a person, not for patience.
func refused(err error) bool {
	switch status.Code(err) {
	case codes.NotFound, codes.PermissionDenied, codes.Unauthenticated, codes.InvalidArgument,
		codes.FailedPrecondition, codes.Unimplemented:
		return true
	}
	return false
}

// gone tells that the subscription was deleted, or detached from its topic.
func gone(err error) bool {
	return status.Code(err) == codes.NotFound || status.Code(err) == codes.FailedPrecondition
}

// stream is one StreamingPull call. Its keeper sends, its reader receives.
type stream struct {
	rpc    pubsubpb.Subscriber_StreamingPullClient
	cancel context.CancelCauseFunc

	waiting atomic.Int64 // unix nanoseconds since when the reader is in Recv, 0 while it is not
	pinged  atomic.Bool
	answers atomic.Bool // this server answers pings; some emulators do not
}

// pullOnce opens a stream and reads it to its end; received tells whether it brought anything.
func (s *Subscriber) pullOnce(ctx context.Context, handle func(*Message)) (received bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	rpc, err := s.open(ctx)
	if err != nil {
		return false, err
	}
	st := &stream{rpc: rpc, cancel: cancel}
	kept := make(chan struct{})
	go func() { defer close(kept); st.keep(ctx, s.stopped) }()
	received, err = s.read(st, handle)
	if cause := context.Cause(ctx); errors.Is(cause, errSilent) {
		err = cause
	}
	cancel(nil)
	<-kept
	return received, err
}

func (s *Subscriber) open(ctx context.Context) (pubsubpb.Subscriber_StreamingPullClient, error) {
	routing := "subscription=" + url.QueryEscape(s.name)
	rpc, err := s.client.StreamingPull(gax.InsertMetadataIntoOutgoingContext(ctx, "x-goog-request-params", routing), once)
	if err != nil {
		return nil, err
	}
	err = rpc.Send(&pubsubpb.StreamingPullRequest{
		Subscription:             s.name,
		ClientId:                 s.clientID,
		StreamAckDeadlineSeconds: wholeSeconds(s.cfg.Lease),
		MaxOutstandingMessages:   int64(max(1, s.cfg.MaxMessages/s.cfg.Streams)),
		MaxOutstandingBytes:      int64(max(1, s.cfg.MaxBytes/s.cfg.Streams)),
		ProtocolVersion:          1, // the server answers pings
	})
	if errors.Is(err, io.EOF) { // the stream has ended already; Recv has the reason
		_, err = rpc.Recv()
	}
	return rpc, err
}

// keep pings, ends a stream whose server went silent, and closes the stream when pulling stops.
func (st *stream) keep(ctx context.Context, stopped <-chan struct{}) {
	ping := time.NewTicker(pingEvery)
	defer ping.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-stopped:
			st.close(ctx)
			return
		case now := <-ping.C:
			if st.silent(now) {
				st.cancel(errSilent)
				return
			}
			st.pinged.Store(true)
			_ = st.rpc.Send(&pubsubpb.StreamingPullRequest{}) // its error is Recv's as well
		}
	}
}

// silent reports that the reader has waited for three pings on a server that used to answer them.
func (st *stream) silent(now time.Time) bool {
	since := st.waiting.Load()
	return since != 0 && st.answers.Load() && now.Sub(time.Unix(0, since)) > 3*pingEvery
}

// close ends the sending side, upon which the server ends the stream, and cuts it off where the server does not.
func (st *stream) close(ctx context.Context) {
	_ = st.rpc.CloseSend()
	timer := time.NewTimer(lastWords)
	defer timer.Stop()
	select {
	case <-timer.C:
		st.cancel(nil)
	case <-ctx.Done():
	}
}

// read receives and hands on until the stream ends. A message in a response is leased as soon as it is received,
// before the first is handed on. Messages that may have waited in the transport's buffers, because handle was slow,
// have used up part of their lease unseen: they are extended at the next tick.
func (s *Subscriber) read(st *stream, handle func(*Message)) (received bool, err error) {
	drained := time.Now() // when the buffers were last seen empty
	for {
		s.awaitRoom(st.rpc.Context())
		start := time.Now()
		st.waiting.Store(start.UnixNano())
		resp, err := st.rpc.Recv()
		st.waiting.Store(0)
		if err != nil {
			return received, err
		}
		now := time.Now()
		if now.Sub(start) >= emptyRead {
			drained = now
		}
		received = true
		s.proven.Store(true)
		if len(resp.GetReceivedMessages()) == 0 {
			st.answers.Store(st.pinged.Load())
			continue
		}
		for _, m := range s.receive(resp, now, now.Sub(drained) > s.cfg.Lease/10) {
			s.hand(m, handle)
		}
	}
}

// receive leases the messages of a response.
func (s *Subscriber) receive(resp *pubsubpb.StreamingPullResponse, now time.Time, aged bool) []*Message {
	messages := make([]*Message, len(resp.GetReceivedMessages()))
	batch := make([]*lease, len(messages))
	for i, r := range resp.GetReceivedMessages() {
		messages[i] = s.leases.newMessage(r)
		batch[i] = messages[i].lease
	}
	s.leases.add(now, batch, aged)
	return messages
}

func (s *Subscriber) hand(m *Message, handle func(*Message)) {
	if s.pullingStopped() {
		m.Nack()
		return
	}
	handle(m)
}

// awaitRoom pauses reading while more is held than the credit, which happens only with a server that does not
// enforce it or after leases were lost.
func (s *Subscriber) awaitRoom(ctx context.Context) {
	for waited := false; ; waited = true {
		messages, bytes := s.leases.holding()
		if messages <= s.cfg.MaxMessages && bytes <= int64(s.cfg.MaxBytes) {
			if waited {
				signal(s.leases.room) // other streams wait for it too
			}
			return
		}
		select {
		case <-s.leases.room:
		case <-s.stopped:
			return
		case <-ctx.Done():
			return
		}
	}
}
