package member_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"

	"tailweir/buffer"
	"tailweir/sampler"
)

// world is a whole fleet in a synctest bubble: topics, apps, workers and a judge, in virtual time.
//
// Its mutex is held for moments only and never while a member or a pipeline is called: nothing in a bubble may wait for a
// mutex until a virtual time.
type world struct {
	t     *testing.T
	seed  uint64
	setup setup
	begin time.Time
	ctx   context.Context

	mu       sync.Mutex // guards everything below, and all that belongs to the topics and the judge
	over     bool
	log      *logTopic
	facts    *subscription
	payloads *subscription
	backend  time.Time // the backend is away until then
	started  int
	workers  []*worker // all that ever were, in the order of their start
	load     *load
	judge    *judge
	lines    []string // what happened, for the report of a failure
}

// setup is what a scenario changes of the world.
type setup struct {
	workers  int
	lasts    time.Duration // of the load
	rate     float64       // traces a second
	twice    float64       // share of payloads delivered twice, and of payloads that an SDK sends twice
	swap     float64       // share of log entries delayed up to 0.8 s more
	bad      bool          // publish replies late and lost
	maxBytes int64         // of a pipeline's hold
	coin     bool          // verdicts are tossed for each trace and term
	rootless float64       // share of traces whose root is behind a proxy; the option that is for them is on where there are some
	limited  bool          // the policies have limiters: verdicts depend on what was decided before
	fleet    string        // its name
	replay   time.Duration // how far back joiners read
	claim    func(*worker) // what befalls a claimant
	old, new *sampler.Policies
}

func policies(percent float64, slow int) *sampler.Policies {
	src := fmt.Sprintf(`policies:
- {name: veto, type: drop, drop: {drop_sub_policy: [{type: boolean_attribute, boolean_attribute: {key: veto, value: true}}]}}
- {name: errors, type: status_code, status_code: {status_codes: [ERROR]}}
- {name: slow, type: latency, latency: {threshold_ms: %d}}
- {name: pair, type: and, and: {and_sub_policy: [{type: boolean_attribute, boolean_attribute: {key: left, value: true}}, {type: boolean_attribute, boolean_attribute: {key: right, value: true}}]}}
- {name: some, type: probabilistic, probabilistic: {sampling_percentage: %v}}
`, slow, percent)
	p, err := sampler.Parse("policies.yaml", []byte(src))
	if err != nil {
		panic(err)
	}
	return p
}

// The two policy sets, and what the reference needs to know of them.
const (
	oldPercent, oldSlow = 5, 5000
	newPercent, newSlow = 10, 3000
)

// The times of the protocol, all defaults.
var window = buffer.Config{}.Defaults()

const (
	ackDeadline = 10 * time.Second
	death       = 12 * time.Second
	slack       = 3 * time.Second
)

func newWorld(t *testing.T, seed uint64, s setup) *world {
	if s.rate == 0 {
		s.rate = 5
	}
	if s.old == nil {
		s.old = policies(oldPercent, oldSlow)
	}
	s.new = policies(newPercent, newSlow)
	w := &world{t: t, seed: seed, setup: s, begin: time.Now(), ctx: t.Context()}
	w.log = &logTopic{w: w, last: map[string]time.Time{}}
	w.facts = &subscription{w: w, name: "facts"}
	w.payloads = &subscription{w: w, name: "payloads"}
	w.judge = newJudge(w)
	w.load = newLoad(w)
	return w
}

// die draws what depends on the seed and on what it is for, not on who asked first: the goroutines of a bubble run in any
// order, and a failure must come again.
func (w *world) die(what string, keys ...any) *rand.Rand {
	h := xxhash.New()
	_, _ = h.WriteString(what)
	for _, k := range keys {
		switch k := k.(type) {
		case string:
			_, _ = h.WriteString(k)
		case int:
			_, _ = h.Write(binary.LittleEndian.AppendUint64(nil, uint64(k)))
		default:
			panic(fmt.Sprintf("die: key of type %T", k))
		}
		_, _ = h.Write([]byte{0})
	}
	return rand.New(rand.NewPCG(w.seed, h.Sum64()))
}

func between(r *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(r.Float64()*float64(most-least))
}

// delay is that of a delivery or of a publish: 20 to 200 ms, 2 % up to 3.5 s, and where long 0.02 % up to 15 s.
func delay(r *rand.Rand, long bool) time.Duration {
	switch u := r.Float64(); {
	case long && u < 0.0002:
		return between(r, 3500*time.Millisecond, 15*time.Second)
	case u < 0.02:
		return between(r, 500*time.Millisecond, 3500*time.Millisecond)
	}
	return between(r, 20*time.Millisecond, 200*time.Millisecond)
}

// after calls f with w.mu held.
func (w *world) after(d time.Duration, f func()) {
	time.AfterFunc(d, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if !w.over {
			f()
		}
	})
}

func (w *world) now() time.Duration { return time.Since(w.begin) }

// note writes down what happened; it is shown when the run fails.
func (w *world) note(format string, args ...any) {
	w.lines = append(w.lines, fmt.Sprintf("%8.3fs ", w.now().Seconds())+fmt.Sprintf(format, args...))
}

// drift is how far the server clock that a publisher meets is off.
func (w *world) drift(publisher string) time.Duration {
	return between(w.die("drift", publisher), -100*time.Millisecond, 100*time.Millisecond)
}

// stamp is the publish time of publisher's next message; w.mu is held.
func (w *world) stamp(last map[string]time.Time, publisher string) time.Time {
	p := time.Now().Add(w.drift(publisher))
	if l := last[publisher]; !p.After(l) {
		p = l.Add(time.Microsecond)
	}
	last[publisher] = p
	return p
}

var (
	errDead = errors.New("the worker is dead")
	errAway = errors.New("unavailable")
)

// sleep waits for d, or until ctx is done.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// logger writes the members' logs to standard error when TAILWEIR_FLEET_LOG is set.
func (w *world) logger(name string) *slog.Logger {
	out := io.Discard
	if os.Getenv("TAILWEIR_FLEET_LOG") != "" {
		out = os.Stderr
	}
	return slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug})).With("worker", name)
}
