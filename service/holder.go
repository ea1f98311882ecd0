package service

import (
	"context"
	"sync"
	"time"

	"tailweir/fleet"
	"tailweir/otlp"
	"tailweir/pipeline"
	"tailweir/queue"
	"tailweir/sampler"
)

// surrenderGrace bounds how long a fence waits for deliveries that are just being read. What is not given back by then comes
// again when its lease ends.
const surrenderGrace = 3 * time.Second

// streamsClose is when streams have closed after StopPulling. What is nacked while they are open may be delivered on them
// again, to be nacked again, and each time counts as an attempt for the dead-letter policy.
const streamsClose = 600 * time.Millisecond

// holder is the part of a worker that holds payloads, as its sequencer sees it: a pipeline, and the pulling that fills it,
// session by session. It is a member.Holder, and safe for concurrent use.
type holder struct {
	*pipeline.Pipeline
	open   func(insist bool) *queue.Subscriber
	handle func(*queue.Message)
	fail   func(error)
	leases context.Context // sessions end with it

	mu     sync.Mutex // guards all below
	now    *session
	closed bool
	lived  bool        // a session was begun before
	past   queue.Stats // of the sessions that have ended
	// late is the decisions that came after deafen: remembered, since a leader asks for them until it has resigned, and not
	// executed. nil before.
	late map[otlp.TraceID]sampler.Decision
}

// session is one subscriber's life.
type session struct {
	sub    *queue.Subscriber
	cancel context.CancelFunc
	done   chan struct{} // closed when err is set
	err    error
}

// deafen leaves the decisions that come from now on to whoever gets the payloads next, so that what is to be exported has an
// end.
func (h *holder) deafen() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.late = map[otlp.TraceID]sampler.Decision{}
}

// Apply executes decisions, or only remembers them after deafen.
func (h *holder) Apply(all []fleet.Decision) {
	h.mu.Lock()
	deaf := h.late != nil
	for i := range all {
		if d := &all[i]; deaf && d.Binding() {
			if _, known := h.late[d.Trace]; !known {
				h.late[d.Trace] = d.Decision
			}
		}
	}
	h.mu.Unlock()
	if !deaf {
		h.Pipeline.Apply(all)
	}
}

// Decided tells the decision on a trace, if it is remembered.
func (h *holder) Decided(id otlp.TraceID) (sampler.Decision, bool) {
	if d, known := h.Pipeline.Decided(id); known {
		return d, true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	d, known := h.late[id]
	return d, known
}

// Resume begins a session, unless one runs or the worker stops.
func (h *holder) Resume() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || h.now != nil {
		return
	}
	ctx, cancel := context.WithCancel(h.leases)
	s := &session{sub: h.open(h.lived), cancel: cancel, done: make(chan struct{})}
	h.now, h.lived = s, true
	go func() {
		defer close(s.done)
		if s.err = s.sub.Run(ctx, h.handle); s.err != nil && ctx.Err() == nil {
			h.fail(s.err)
			s.err = nil // it is said once
		}
	}()
}

// Fence ends the session and gives back all that is held. While the worker stops it does nothing: then all goes back anyway,
// and what is decided goes out first.
func (h *holder) Fence() {
	h.mu.Lock()
	s := h.now
	if h.closed {
		s = nil
	}
	h.mu.Unlock()
	if s == nil {
		return
	}
	s.sub.StopPulling()
	ctx, cancel := context.WithTimeout(h.leases, surrenderGrace)
	defer cancel()
	select {
	case <-time.After(streamsClose):
	case <-ctx.Done():
	}
	h.Surrender(ctx)
	_ = h.end(s) // acks that are not confirmed by now belong to messages that come again
}

// stop ends pulling for good. Leases are kept and acks sent until close.
func (h *holder) stop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	if h.now != nil {
		h.now.sub.StopPulling()
	}
}

// close ends the last session once the server has confirmed what was settled.
func (h *holder) close() error {
	h.mu.Lock()
	s := h.now
	h.mu.Unlock()
	if s == nil {
		return nil
	}
	return h.end(s)
}

// end may be called for one session more than once, and at once.
func (h *holder) end(s *session) error {
	s.cancel()
	<-s.done
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.now == s {
		h.now, h.past = nil, sum(h.past, s.sub.Stats())
	}
	return s.err
}

// stats returns the counters of all sessions.
func (h *holder) stats() queue.Stats {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.now == nil {
		return h.past
	}
	return sum(h.past, h.now.sub.Stats())
}

func sum(a, b queue.Stats) queue.Stats {
	return queue.Stats{
		Received: a.Received + b.Received, Redelivered: a.Redelivered + b.Redelivered,
		Acked: a.Acked + b.Acked, Nacked: a.Nacked + b.Nacked, HandedBack: a.HandedBack + b.HandedBack,
		FailedAcks: a.FailedAcks + b.FailedAcks, FailedReturns: a.FailedReturns + b.FailedReturns,
		Extensions: a.Extensions + b.Extensions, FailedExtensions: a.FailedExtensions + b.FailedExtensions,
		Reconnects: a.Reconnects + b.Reconnects,
	}
}
