package fleet

import (
	"cmp"
	"context"
	"math"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"tailweir/buffer"
	"tailweir/sampler"
)

// SoloConfig configures a Solo.
type SoloConfig struct {
	Policies *sampler.Policies
	Window   buffer.Config
	Slack    time.Duration // least distance of the watermark from the newest publish time; default 3 s
	History  int           // decided traces remembered, 32 B each; default 200,000
	// ClearUnseenParent is SequencerConfig.ClearUnseenParent.
	ClearUnseenParent bool
	Delay             time.Duration // no decision for so long after Run begins, Hold, or the process stood still, so that redeliveries are in; default 0
	// Tick publishes an empty message to the payload topic. It is called when traces wait and event time stood still for 1 s:
	// event time goes on in silence, but not when deliveries stop. May be nil where something else publishes.
	Tick func(context.Context) error
}

// Solo is the sequencer of a lone worker. Use NewSolo. All methods are safe for concurrent use.
type Solo struct {
	cfg   SoloConfig
	in    chan Facts
	drain chan chan struct{}

	mu        sync.Mutex // guards all below
	seq       *Sequencer
	watermark buffer.Watermark
	history   *sampler.History
	started   time.Time
	begin     time.Time // no decision before
	latest    time.Time // begin is not put off beyond
	heard     time.Time // when event time last went on
}

// decideEvery is how often the window is looked at; the finest grain of a decision's latency.
const decideEvery = 100 * time.Millisecond

// pause is how long a process may stand still before it has to begin anew: leases of 10 s are extended at half their time,
// so after a longer pause messages may be on their way to it again, and its delay at the start may have passed unused.
const pause = 5 * time.Second

// longestDelay is how many times the delay may last while redeliveries come or streams break.
const longestDelay = 5

// longestHandBack is when all that a predecessor gave back has returned; what comes again after that the worker itself gave
// back, and has forgotten: it must not hold time back.
const longestHandBack = 10 * time.Minute

// silence is how long no message comes before a tick is published; below it a tick would only be paid for.
const silence = time.Second

// NewSolo returns a sequencer with an empty window. Its Window must be valid.
func NewSolo(cfg SoloConfig) *Solo {
	cfg.Slack = cmp.Or(cfg.Slack, 3*time.Second)
	cfg.History = cmp.Or(cfg.History, 200_000)
	cfg.Window = cfg.Window.Defaults()
	s := &Solo{
		cfg:       cfg,
		in:        make(chan Facts, 256),
		drain:     make(chan chan struct{}),
		watermark: buffer.Watermark{Slack: cfg.Slack, Margin: 500 * time.Millisecond},
		history:   sampler.NewHistory(cfg.History),
	}
	s.seq = NewSequencer(SequencerConfig{
		Policies: cfg.Policies, Window: cfg.Window, Decided: s.history.Get, ClearUnseenParent: cfg.ClearUnseenParent,
	})
	return s
}

// Send hands the facts of one message over. It blocks while the sequencer is behind and returns ctx's error when ctx ends.
func (s *Solo) Send(ctx context.Context, f Facts) error {
	select {
	case s.in <- f:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Run gathers and decides until ctx is done. It calls apply with the decisions in the order (deadline, trace id), from one
// goroutine; apply must not call Send.
func (s *Solo) Run(ctx context.Context, apply func([]Decision)) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.decide(ctx, apply) })
	if s.cfg.Tick != nil {
		g.Go(func() error { return s.tick(ctx) })
	}
	return g.Wait()
}

func (s *Solo) decide(ctx context.Context, apply func([]Decision)) error {
	ticker := time.NewTicker(decideEvery)
	defer ticker.Stop()
	last := time.Now()
	s.mu.Lock()
	s.started = last
	s.mu.Unlock()
	s.restart(last)
	for {
		select {
		case f := <-s.in:
			apply(s.gather(f))
		case <-ticker.C:
			now := time.Now()
			if now.Sub(last) > pause {
				s.restart(now)
			}
			last = now
			apply(s.advance(now))
		case done := <-s.drain:
			apply(s.drainAll())
			close(done)
		case <-ctx.Done():
			return nil
		}
	}
}

// Drain decides every trace in the window now, with the reason drained, and returns when the decisions were applied. No
// Send may be running or follow. It needs a running Run.
func (s *Solo) Drain(ctx context.Context) error {
	done := make(chan struct{})
	select {
	case s.drain <- done:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// gather adds a message's facts to the window and returns the decisions that this caused: traces evicted early, and
// again the decision of a trace that was already decided, for a holder that no longer knows it.
func (s *Solo) gather(f Facts) []Decision {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if f.Publish > s.watermark.Newest() {
		s.heard = now // what was handed back and returns tells nothing of the present: it must not silence the tick
	}
	// What a predecessor gave back returns when it likes, part by part: disorder like any other, once the delay at the start
	// is over. That is for what it held when it was killed; while such messages still come, slowly or because they are many,
	// the delay goes on.
	returning := f.Again && now.Before(s.begin)
	if next := now.Add(s.cfg.Slack); returning && f.First && next.After(s.begin) && next.Before(s.latest) {
		s.begin = next
	}
	s.watermark.Observe(f.Publish, now, f.First && !returning && !(f.Again && now.After(s.started.Add(longestHandBack))))
	s.seq.Gather(&f, now)
	return s.takeLocked(now)
}

func (s *Solo) advance(now time.Time) []Decision {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !now.Before(s.begin) {
		s.seq.Advance(s.watermark.At(now))
	}
	s.seq.Expire(now)
	return s.takeLocked(now)
}

// Hold delays decisions as after a start: messages may be on their way again, which were in a stream that broke. Streams
// that break again and again put decisions off for a few times the delay at most.
func (s *Solo) Hold() { s.restart(time.Now()) }

func (s *Solo) restart(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !now.Before(s.begin) {
		s.latest = now.Add(longestDelay * s.cfg.Delay)
	}
	s.begin = now.Add(s.cfg.Delay)
	if s.begin.After(s.latest) {
		s.begin = s.latest
	}
}

func (s *Solo) drainAll() []Decision {
	var all []Decision
	for {
		select {
		case f := <-s.in:
			all = append(all, s.gather(f)...)
			continue
		default:
		}
		break
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seq.Drain()
	return append(all, s.takeLocked(time.Now())...)
}

// takeLocked returns the decisions made. Nobody else has a say in them, so they count at once.
func (s *Solo) takeLocked(now time.Time) []Decision {
	s.seq.SayAgain(now)
	all := s.seq.Take(math.MaxInt)
	for i := range all {
		if all[i].Binding() {
			s.history.Put(all[i].Trace, all[i].Decision)
		}
	}
	s.seq.Confirm(all, now)
	return all
}

// tick publishes a tick for each second of silence while traces wait. A publish that fails is repeated a second later:
// until then nothing can be decided anyway, since the queue is away.
func (s *Solo) tick(ctx context.Context) error {
	ticker := time.NewTicker(silence)
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			s.mu.Lock()
			quiet := s.seq.Len() > 0 && now.Sub(s.heard) >= silence
			s.mu.Unlock()
			if quiet {
				attempt, cancel := context.WithTimeout(ctx, 5*silence)
				_ = s.cfg.Tick(attempt) // whose it is to log
				cancel()
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// State is the sequencer as shown to people and metrics.
type State struct {
	Traces, MaxTraces int
	Bytes, MaxBytes   int64
	Newest            buffer.Stamp  // greatest publish time seen; 0 before the first message
	Lag               time.Duration // how far the watermark is behind Newest
	History           int           // decided traces remembered
	SequencerStats
}

// State returns the sequencer's state now.
func (s *Solo) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return State{
		Traces: s.seq.Len(), MaxTraces: s.cfg.Window.MaxTraces,
		Bytes: s.seq.Bytes(), MaxBytes: s.cfg.Window.MaxBytes,
		Newest: s.watermark.Newest(), Lag: s.watermark.Lag(time.Now()),
		History: s.history.Len(), SequencerStats: s.seq.SequencerStats,
	}
}

// Next returns up to limit undecided traces, those with the earliest deadlines first. It looks at all of them: for people.
func (s *Solo) Next(limit int) []buffer.Open {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seq.Next(limit)
}
