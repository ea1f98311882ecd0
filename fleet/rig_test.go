package fleet

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"tailweir/buffer"
	"tailweir/otlp"
	"tailweir/sampler"
)

// bench is a sequencer in a synctest bubble and the decisions it handed out.
type bench struct {
	t    *testing.T
	solo *Solo
	ctx  context.Context
	end  context.CancelFunc
	done chan struct{}

	stall atomic.Int64 // ns for which the next call of apply stands still

	mu   sync.Mutex // guards all below
	got  []Decision
	when []time.Time
}

var window = buffer.Config{Settle: 2 * time.Second, Idle: 3 * time.Second, MaxAge: 10 * time.Second}

func newBench(t *testing.T, change func(*SoloConfig)) *bench {
	t.Helper()
	policies, err := sampler.Parse("policies", []byte("policies:\n- {name: many, type: span_count, span_count: {min_spans: 3}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	cfg := SoloConfig{Policies: policies, Window: window, Slack: 500 * time.Millisecond, History: 1000}
	if change != nil {
		change(&cfg)
	}
	b := &bench{t: t, solo: NewSolo(cfg), done: make(chan struct{})}
	b.ctx, b.end = context.WithCancel(t.Context())
	go func() {
		defer close(b.done)
		if err := b.solo.Run(b.ctx, b.apply); err != nil {
			t.Errorf("run: %v", err)
		}
	}()
	return b
}

func (b *bench) apply(ds []Decision) {
	time.Sleep(time.Duration(b.stall.Swap(0)))
	b.mu.Lock()
	defer b.mu.Unlock()
	for range ds {
		b.when = append(b.when, time.Now())
	}
	b.got = append(b.got, ds...)
}

// take returns the decisions since the last call, and when they were handed out.
func (b *bench) take() ([]Decision, []time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	got, when := b.got, b.when
	b.got, b.when = nil, nil
	return got, when
}

func (b *bench) stop() {
	b.end()
	<-b.done
}

func trace(n int) otlp.TraceID { return otlp.TraceID{14: byte(n >> 8), 15: byte(n)} }

// arrive lets time go on until a message published at publish can be there.
func arrive(publish time.Time) {
	if d := time.Until(publish); d > 0 {
		time.Sleep(d)
	}
}

// send hands over one message, published at publish, with a span for each trace; the first is a root span.
func (b *bench) send(message uint64, publish time.Time, root bool, traces ...int) {
	b.t.Helper()
	arrive(publish)
	f := Facts{Message: message, Publish: buffer.StampOf(publish), First: true}
	for _, n := range traces {
		f.Fragments = append(f.Fragments, Fragment{Trace: trace(n), Facts: sampler.Facts{Spans: 1, Root: root}})
	}
	if err := b.solo.Send(b.ctx, f); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) sendLog(message uint64, publish time.Time, n int) {
	b.t.Helper()
	arrive(publish)
	f := Facts{Message: message, Publish: buffer.StampOf(publish), First: true,
		Fragments: []Fragment{{Trace: trace(n), Facts: sampler.Facts{Logs: 1}}}}
	if err := b.solo.Send(b.ctx, f); err != nil {
		b.t.Fatal(err)
	}
}

// tickItself makes ticks come back as a broker would deliver them, and counts them.
func tickItself(solo **Solo, ticks *atomic.Int64) func(context.Context) error {
	return func(ctx context.Context) error {
		ticks.Add(1)
		return (*solo).Send(ctx, Facts{Publish: buffer.StampOf(time.Now()), First: true})
	}
}

func sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func names(ds []Decision) []string {
	var out []string
	for _, d := range ds {
		out = append(out, fmt.Sprintf("%d %s %v", int(d.Trace[14])<<8|int(d.Trace[15]), d.Reason, d.Keep))
	}
	return out
}

func (b *bench) want(what string, want ...string) {
	b.t.Helper()
	got, _ := b.take()
	if diff := cmp.Diff(want, names(got)); diff != "" {
		b.t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// newTicking is a bench whose time goes on in silence, with the delay that workers have at the start.
func newTicking(t *testing.T) (b *bench) {
	t.Helper()
	var ticks atomic.Int64
	return newBench(t, func(c *SoloConfig) {
		c.Delay = 12 * time.Second
		c.Tick = func(ctx context.Context) error { return tickItself(&b.solo, &ticks)(ctx) }
	})
}
