package member

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"tailweir/buffer"
	"tailweir/fleet"
	"tailweir/fleet/order"
	"tailweir/sampler"
)

// Member is a worker of a fleet. Use New, then Run once. All methods are safe for concurrent use.
type Member struct {
	cfg    Config
	name   order.Worker
	fleet  uint64
	holder Holder // set by Run
	sender sender
	wake   chan struct{} // the loop has something to do
	gateTo chan bool     // whether payloads may be held; the latest counts
	duty   chan *lead    // a term that has begun, whose facts are to be pulled
	left   chan struct{} // closed when the goodbye is said

	background sync.WaitGroup // publishes under way

	taking sync.Mutex // while a message of the log is executed: one at a time, over all readings

	mu        sync.Mutex // guards all below
	replica   *order.Replica
	candidate *order.Candidate
	reading   reading
	policy    policy
	limiters  []byte // of the last entry that had them
	lead      *lead
	life      life
	leaving   bool
	rest      time.Time // no claim before
	nagged    map[string]time.Time
	stats     State // its running totals
}

// policy is the set that is active in the fleet.
type policy struct {
	set    *sampler.Policies // nil: not known, or not to be compiled here
	hash   uint64
	epoch  uint64
	source []byte
	names  []string
	lacked time.Time // since when a claim waits for it
}

func newPolicy(epoch, hash uint64, set *sampler.Policies, source []byte) policy {
	p := policy{set: set, hash: hash, epoch: epoch, source: source}
	if set != nil {
		p.names = set.Names()
	}
	return p
}

const (
	step     = 50 * time.Millisecond  // of the loop: the finest grain of every wait here
	idleStep = 5 * step               // of a member that only holds, where nothing is due sooner: each step wakes the process up
	beat     = 500 * time.Millisecond // a leader that says nothing for D is taken for dead
	again    = time.Second            // between attempts at what failed
)

// New returns a member. Its Config must be valid; its zero fields get their defaults.
func New(cfg Config) *Member {
	cfg = cfg.defaults()
	h := fnv.New64a()
	h.Write([]byte(cfg.Fleet))
	m := &Member{
		cfg: cfg, name: order.Worker(cfg.Rand.Uint64()), fleet: h.Sum64(),
		wake: make(chan struct{}, 1), gateTo: make(chan bool, 1), duty: make(chan *lead, 1), left: make(chan struct{}), nagged: map[string]time.Time{},
	}
	m.sender.init(m)
	return m
}

// Name is the member's name: 16 hexadecimal digits, new for each start.
func (m *Member) Name() string { return nameOf(m.name) }

func nameOf(w order.Worker) string { return fmt.Sprintf("%016x", uint64(w)) }

// factsName is a worker's name as batches have it.
func factsName(w order.Worker) (b [16]byte) {
	binary.BigEndian.PutUint64(b[:], uint64(w))
	return b
}

func orderName(b [16]byte) order.Worker { return order.Worker(binary.BigEndian.Uint64(b[:])) }

// Run is the member's life until ctx is done. It ends its subscription on the log. An error means that a topic is of no
// use, as far as the Log and Facts can tell what does not pass.
func (m *Member) Run(ctx context.Context, h Holder) error {
	m.holder = h
	now := time.Now()
	m.mu.Lock()
	m.life.begin(now)
	m.mu.Unlock()
	g, ctx := errgroup.WithContext(ctx)
	for _, part := range []func(context.Context) error{m.read, m.loop, m.gate, m.pull} {
		g.Go(func() error { return part(ctx) })
	}
	err := g.Wait()
	m.background.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.endLead()
	return err
}

// loop looks at everything that time changes.
func (m *Member) loop(ctx context.Context) error {
	timer := time.NewTimer(step)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-m.wake:
		case <-ctx.Done():
			return nil
		}
		now := time.Now()
		m.mu.Lock()
		m.watchLife(ctx, now)
		m.runForLead(ctx, now)
		m.leadOn(ctx, now)
		caught, next := m.reading.caught, idleStep
		if m.lead != nil || m.leaving || !caught || m.life.fenced {
			next = step
		}
		m.mu.Unlock()
		m.sender.step(ctx, now, caught)
		timer.Reset(max(time.Millisecond, min(next, m.sender.due(now))))
		m.sayGoodbye()
	}
}

func (m *Member) wakeLoop() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// Leave makes the member leave: what it holds is said to the last, then goodbye, and a leader resigns. The caller has stopped
// pulling payloads, and gives back what it holds when Leave has returned, which is at the latest when ctx is done.
func (m *Member) Leave(ctx context.Context) {
	m.mu.Lock()
	m.leaving = true
	m.mu.Unlock()
	m.sender.leave()
	m.wakeLoop()
	select {
	case <-m.left:
	case <-ctx.Done():
	}
}

func (m *Member) sayGoodbye() {
	m.mu.Lock()
	done := m.leaving && m.lead == nil
	if m.candidate != nil { // who claims opens and resigns: the others would wait D for a claim that nobody follows up
		_, claiming := m.candidate.Claim()
		done = done && !claiming
	}
	m.mu.Unlock()
	if !done || !m.sender.silent() {
		return
	}
	select {
	case <-m.left:
	default:
		close(m.left)
	}
}

// complain logs what somebody must mend, once a minute. m.mu is held.
func (m *Member) complain(what string, err error) {
	if now := time.Now(); now.Sub(m.nagged[what]) >= time.Minute {
		m.nagged[what] = now
		m.cfg.Logger.Error(what, "error", err)
	}
}

// Send takes the facts of one message. It does not wait for anything but this process.
func (m *Member) Send(_ context.Context, f fleet.Facts) error {
	m.sender.add(f)
	return nil
}

// Heard reports whether a leader hears what this member says: it was read of a moment ago, and all that was held when its term
// began is said. Where nobody leads for longer than it takes to change leaders there is nothing to wait for.
func (m *Member) Heard() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	silence := time.Since(m.reading.heard)
	return silence > longestLeaderless || silence < 4*beat && m.sender.settled()
}

// longestLeaderless is far above the 12 to 17 s that a change of leaders takes.
const longestLeaderless = time.Minute

// Hold says that messages may be on their way again, since a stream broke: this worker's event time stands still until they
// must be back.
func (m *Member) Hold() { m.sender.hold(time.Now()) }

// Next returns up to limit undecided traces, those with the earliest deadlines first; none unless this member leads. It
// looks at all of them: for people.
func (m *Member) Next(limit int) []buffer.Open {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.lead == nil || !m.lead.opened {
		return nil
	}
	return m.lead.seq.Next(limit)
}

// publish sends a message on the log in the background, once. answer is called with the lock held.
func (m *Member) publish(ctx context.Context, data []byte, answer func(now time.Time, err error)) {
	m.background.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, publishPatience)
		defer cancel()
		err := m.cfg.Log.Publish(ctx, data)
		m.mu.Lock()
		defer m.mu.Unlock()
		now := time.Now()
		if err == nil {
			m.life.confirmed = now
		} else if !errors.Is(context.Cause(ctx), context.Canceled) {
			m.stats.PublishFailed++
		}
		answer(now, err)
		m.wakeLoop()
	})
}

// publishPatience ends a publish whose answer no longer matters to anybody.
const publishPatience = 20 * time.Second
