package member

import (
	"context"
	"sync"
	"time"

	"tailweir/buffer"
	"tailweir/fleet"
	"tailweir/fleet/facts"
	"tailweir/fleet/order"
)

// sender is the holder's side: it says to the leader what is held.
type sender struct {
	m *Member

	mu        sync.Mutex // guards all below; taken after Member.mu, never before
	outbox    *facts.Outbox
	want      *stream // to be begun
	policy    uint64  // hash of the set that the facts of this stream are folded with
	number    uint64  // of the stream
	begun     time.Time
	pause     time.Duration // before the next may begin
	active    bool          // a stream was begun
	telling   bool          // what was held when it began is not said to the end: event time is not known before
	leaving   bool
	out       int // batches being published
	watermark buffer.Watermark
	heard     time.Time    // when a message last came
	known     buffer.Stamp // the fleet's greatest publish time, as the log says
	adopted   buffer.Stamp // what of it this worker has made its own
	reported  buffer.Stamp // what the last batch said
	frozen    time.Time    // until then reported stands still
	latest    time.Time    // frozen is not put off beyond

	restarts, batches, bytes, fragments, failed int64
}

// stream is what a new stream is about.
type stream struct {
	claim  order.ID
	epoch  uint32
	policy uint64
}

const (
	// atOnce is how many batches are published at a time: their order does not matter.
	atOnce = 8
	// quiet is how long no message has come when a worker takes the fleet's event time for its own: it is given nothing, so
	// it would hold everybody back. With messages to come that are older, the lag covers it as it covers everybody's.
	quiet = time.Second
	// longestHold is how many times Delay streams that break again and again can stop a worker's event time.
	longestHold = 5
)

func (s *sender) init(m *Member) {
	s.m = m
	s.outbox = facts.NewOutbox(m.fleet, factsName(m.name))
	s.watermark = buffer.Watermark{Slack: m.cfg.Slack, Margin: 500 * time.Millisecond}
}

// add takes the facts of a message. Facts of another policy than the stream's do not merge with it: then all that is held
// is said again.
func (s *sender) add(f fleet.Facts) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.heard = now
	fresh := f.First && !f.Again // what somebody had before is late for its own reasons
	if fresh && f.Publish < s.adopted {
		s.watermark.ObserveLag(s.adopted.Sub(f.Publish), now)
	}
	s.watermark.Observe(f.Publish, now, fresh)
	switch {
	case len(f.Fragments) == 0:
	case s.active && f.Policy != s.policy:
		if s.want == nil {
			s.want = s.again()
		}
	default:
		s.outbox.Add(now, f)
		s.fragments += int64(len(f.Fragments))
	}
}

// among says how many members there are.
func (s *sender) among(members int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outbox.Members(members)
}

// restart wants a new stream for the term of a claim, in which all that is held is said again.
func (s *sender) restart(claim order.ID, p policy) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.want = &stream{claim, uint32(p.epoch), p.hash}
}

// again is a new stream like the present one.
func (s *sender) again() *stream {
	return &stream{s.outbox.Claim(), s.outbox.Epoch(), s.policy}
}

// stream returns the number of the stream, and when it was begun.
func (s *sender) stream() (uint64, time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.number, s.begun
}

// learn takes note of the fleet's event time.
func (s *sender) learn(e buffer.Stamp) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known = max(s.known, e)
}

// hold makes event time stand still.
func (s *sender) hold(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !now.Before(s.frozen) {
		s.latest = now.Add(longestHold * s.m.cfg.Delay)
	}
	if s.frozen = now.Add(s.m.cfg.Delay); s.frozen.After(s.latest) {
		s.frozen = s.latest
	}
}

// leave says what waits, and goodbye; until join nothing more is said.
func (s *sender) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leaving = true; !s.telling {
		s.outbox.Leave()
	}
}

// join says everything again, after leave.
func (s *sender) join() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leaving = false
	if s.want == nil {
		s.want = s.again()
	}
}

// silent reports whether nothing waits and nothing is under way.
func (s *sender) silent() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, due := s.outbox.Due()
	return s.out == 0 && !due && !s.telling
}

// settled reports whether the stream that is wanted has begun and all that was held then is said.
func (s *sender) settled() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.active && s.want == nil && !s.telling
}

// due is how long nothing is to be published.
func (s *sender) due(now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at, ok := s.outbox.Due(); ok && s.out < atOnce {
		return at.Sub(now)
	}
	return idleStep
}

// step begins the stream that is wanted and publishes what is due.
func (s *sender) step(ctx context.Context, now time.Time, caught bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.want != nil && caught && !s.leaving && !now.Before(s.begun.Add(s.pause)) {
		s.begin(ctx, now)
	}
	for s.out < atOnce {
		if at, ok := s.outbox.Due(); !ok || now.Before(at) {
			return
		}
		data, ok := s.outbox.Next(now, s.report(now))
		if !ok {
			return
		}
		s.out++
		number := s.number
		s.m.background.Go(func() { s.publish(ctx, data, number) })
	}
}

func (s *sender) begin(ctx context.Context, now time.Time) {
	w := s.want
	s.want, s.pause = nil, 0
	s.outbox.Restart(now, w.claim, w.epoch, func(func(fleet.Facts) bool) {})
	s.policy, s.begun, s.active, s.telling = w.policy, now, true, true
	s.number++
	s.restarts++
	number := s.number
	s.m.background.Go(func() { s.tellHeld(ctx, number) })
}

// tellHeld says what is held, in the stream of that number. It takes seconds where much is held, and nobody may wait for it.
func (s *sender) tellHeld(ctx context.Context, number uint64) {
	for f := range s.m.holder.Held() {
		if ctx.Err() != nil || !s.tell(number, f) {
			return
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.number != number {
		return
	}
	if s.telling = false; s.leaving {
		s.outbox.Leave()
	}
}

func (s *sender) tell(number uint64, f fleet.Facts) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.number != number:
		return false
	case f.Policy == s.policy:
		s.outbox.Add(time.Now(), f)
		return true
	case s.want == nil: // policies have just changed, and the stream for the new ones is about to be wanted
		s.want, s.pause = s.again(), again
	}
	return false
}

// report is what this worker says of itself.
func (s *sender) report(now time.Time) facts.Report {
	if now.Sub(s.heard) >= quiet && !s.m.holder.Busy() {
		s.adopted = max(s.adopted, s.known)
	}
	newest := max(s.watermark.Newest(), s.adopted)
	if now.Before(s.frozen) {
		newest = min(newest, s.reported)
	}
	s.reported = newest
	if s.telling {
		newest = 0
	}
	r := facts.Report{Newest: newest, Lag: s.watermark.Lag(now), Policy: s.m.cfg.Policies.Hash()}
	r.Away = max(0, s.m.holder.Back().Sub(now))
	return r
}

// publish sends a batch. One that could not be confirmed leaves a hole in the stream, so another is begun, but not at once.
func (s *sender) publish(ctx context.Context, data []byte, number uint64) {
	err := s.m.cfg.Facts.Publish(ctx, data)
	now := time.Now()
	s.mu.Lock()
	s.out--
	switch {
	case err == nil:
		s.batches++
		s.bytes += int64(len(data))
	case number == s.number && ctx.Err() == nil:
		s.failed++
		s.pause = again
		if s.want == nil {
			s.want = s.again()
		}
	}
	s.mu.Unlock()
	if err == nil {
		s.m.confirm(now)
	} else if ctx.Err() == nil {
		s.m.cfg.Logger.Warn("publishing facts: what is held is said again", "error", err)
	}
	s.m.wakeLoop()
}
