package forward

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tailweir/exporter"
)

// world is a queue, a backend and a dead-letter topic that outlive the processes that forward between them.
type world struct {
	t *testing.T

	mu       sync.Mutex
	random   *rand.Rand
	messages []*stored
	has      map[string]bool // the backend's metrics
	letters  map[string]bool
	away     bool // the backend
	mute     bool // the dead-letter topic
}

// stored is a message in the queue.
type stored struct {
	id    string
	bad   bool // the backend refuses it
	data  []byte
	held  *lease
	due   time.Time // not delivered before
	acked bool
}

// lease is one delivery. It is without effect once its process was killed.
type lease struct {
	w       *world
	m       *stored
	settled bool
	dead    bool
}

func (l *lease) settle(do func()) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	if l.settled {
		l.w.t.Errorf("message %s is settled twice", l.m.id)
	}
	if l.settled = true; l.dead {
		return
	}
	if l.m.held == l {
		l.m.held = nil
	}
	do()
}

func (l *lease) Ack() {
	l.settle(func() {
		if !l.w.has[l.m.id] && !l.w.letters[l.m.id] {
			l.w.t.Errorf("message %s is acked, and neither the backend nor the dead-letter topic has it", l.m.id)
		}
		l.m.acked = true
	})
}

func (l *lease) Nack()                    { l.settle(func() { l.m.due = time.Now() }) }
func (l *lease) HandBack(d time.Duration) { l.settle(func() { l.m.due = time.Now().Add(d) }) }

func (w *world) Name() string { return "model" }

// Export is a backend that is away at times, slow at times, names what it refuses or does not, and loses answers.
func (w *world) Export(ctx context.Context, b *exporter.Batch) error {
	for {
		w.mu.Lock()
		wait, away := time.Duration(w.random.IntN(300))*time.Millisecond, w.away
		w.mu.Unlock()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
		if !away {
			break
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	bad := func(names []string) bool { return strings.HasPrefix(names[0], "bad") }
	var refused []exporter.Refusal
	for i, p := range b.Parts {
		if bad(namesOf(b.Payload[p.Off:][:p.Len])) {
			refused = append(refused, exporter.Refusal{Part: i, Reason: exporter.ReasonRejected, Err: errors.New("bad")})
		}
	}
	asOne := refused != nil && w.random.IntN(2) == 0
	for _, p := range b.Parts {
		if names := namesOf(b.Payload[p.Off:][:p.Len]); !bad(names) && !asOne {
			for _, n := range names {
				w.has[n] = true
			}
		}
	}
	switch {
	case asOne:
		return &exporter.PermanentError{Err: errors.New("bad")}
	case refused != nil:
		return &exporter.PermanentError{Err: errors.New("bad"), Refused: refused}
	case w.random.IntN(20) == 0:
		return &exporter.PartialError{Rejected: 1, Msg: "old"}
	}
	return nil
}

func (w *world) Publish(_ context.Context, data []byte, attrs map[string]string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mute {
		return errors.New("no such topic")
	}
	for _, m := range w.messages {
		if string(m.data) == string(data) {
			w.letters[m.id] = true
		}
	}
	return nil
}

// process pulls and forwards until it is stopped or killed.
type process struct {
	f      *Forwarder
	cancel context.CancelFunc
	done   chan struct{}
	leases []*lease
}

func (w *world) process() *process {
	p := &process{f: New(Config{Exporter: w, Dead: w, MaxBytes: 20_000, Log: slog.New(slog.DiscardHandler)}), done: make(chan struct{})}
	ctx, cancel := context.WithCancel(w.t.Context())
	p.cancel = cancel
	go func() {
		defer close(p.done)
		var running sync.WaitGroup
		running.Go(func() { _ = p.f.Run(ctx) })
		for ctx.Err() == nil {
			m, l := w.next(p)
			if m == nil {
				time.Sleep(100 * time.Millisecond)
				continue
			}
			p.f.Handle(ctx, Delivery{ID: m.id, Data: m.data, Attributes: attributes(""), Publish: time.Now(), Receipt: l})
			time.Sleep(time.Millisecond)
		}
		running.Wait()
	}()
	return p
}

// next delivers a message that is due, and at times one that somebody holds.
func (w *world) next(p *process) (*stored, *lease) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, i := range w.random.Perm(len(w.messages)) {
		m := w.messages[i]
		if m.acked || time.Now().Before(m.due) || m.held != nil && w.random.IntN(200) > 0 {
			continue
		}
		m.held = &lease{w: w, m: m}
		p.leases = append(p.leases, m.held)
		return m, m.held
	}
	return nil, nil
}

// kill ends a process as SIGKILL does: what it does from now on has no effect, and what it held comes again when its leases end.
func (w *world) kill(p *process) {
	w.mu.Lock()
	for _, l := range p.leases {
		if l.dead = true; l.m.held == l {
			l.m.held, l.m.due = nil, time.Now().Add(10*time.Second)
		}
	}
	w.mu.Unlock()
	p.cancel()
	<-p.done
}

func (w *world) check(p *process) {
	s := p.f.Stats()
	for what, count := range map[string]func(Count) int64{
		"messages": func(c Count) int64 { return c.Messages }, "points": func(c Count) int64 { return c.Points },
	} {
		if sum := count(s.Forwarded) + count(s.DeadLettered) + count(s.Returned) + count(s.InFlight); count(s.Received) != sum {
			w.t.Errorf("%s: %d received, the outcomes are %d: %+v", what, count(s.Received), sum, s)
		}
	}
	if s.Bytes < 0 || s.Bytes > s.MaxBytes {
		w.t.Errorf("%d bytes held, the bound is %d", s.Bytes, s.MaxBytes)
	}
}

// TestModel publishes, kills, stops, takes the backend and the dead-letter topic away, delivers twice and refuses, in random order: a message is acked only
// when the backend or the dead-letter topic has it, none is lost, and the counters add up after every step.
func TestModel(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { synctest.Test(t, func(t *testing.T) { runModel(t, seed) }) })
	}
}

func runModel(t *testing.T, seed uint64) {
	w := &world{t: t, random: rand.New(rand.NewPCG(seed, 1)), has: map[string]bool{}, letters: map[string]bool{}}
	random := rand.New(rand.NewPCG(seed, 2))
	workers := []*process{w.process(), w.process()}
	for step := range 150 {
		time.Sleep(time.Duration(random.IntN(400)) * time.Millisecond)
		if random.IntN(10) == 0 {
			time.Sleep(2 * letterPatience)
		}
		switch at := random.IntN(len(workers)); random.IntN(12) {
		case 0:
			w.kill(workers[at])
			w.check(workers[at])
			workers[at] = w.process()
		case 1:
			workers[at].cancel()
			<-workers[at].done
			if n := workers[at].f.Stats().InFlight.Messages; n != 0 {
				t.Errorf("%d messages are held by a process that ended", n)
			}
			workers[at] = w.process()
		case 2:
			w.mu.Lock()
			w.away = !w.away
			w.mu.Unlock()
		case 3:
			w.mu.Lock()
			w.mute = !w.mute
			w.mu.Unlock()
		default:
			w.mu.Lock()
			for i := range 1 + random.IntN(4) {
				m := &stored{id: fmt.Sprintf("good %d/%d", step, i), due: time.Now()}
				if m.bad = random.IntN(8) == 0; m.bad {
					m.id = "bad" + m.id
				}
				m.data = payload(fmt.Sprint(random.IntN(5)), m.id, 1+random.IntN(3), random.IntN(1000))
				w.messages = append(w.messages, m)
			}
			w.mu.Unlock()
		}
		for _, p := range workers {
			w.check(p)
		}
	}
	w.mu.Lock()
	w.away, w.mute = false, false
	w.mu.Unlock()
	left := func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return slices.ContainsFunc(w.messages, func(m *stored) bool { return !m.acked })
	}
	for range 300 { // longer than any patience, lease and hand-back
		if !left() {
			break
		}
		time.Sleep(time.Second)
	}
	for _, p := range workers {
		p.cancel()
		<-p.done
		w.check(p)
	}
	for _, m := range w.messages {
		if !m.acked || m.bad && !w.letters[m.id] || !m.bad && (!w.has[m.id] || w.letters[m.id]) {
			t.Errorf("message %s: acked %t, at the backend %t, a dead letter %t", m.id, m.acked, w.has[m.id], w.letters[m.id])
		}
	}
}
