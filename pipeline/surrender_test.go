package pipeline

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"tailweir/exporter"
	"tailweir/fleet"
	"tailweir/otlp"
)

// Whatever state a message is in, Surrender gives it back and its redelivery goes its way.
func TestSurrender(t *testing.T) {
	bad, good := span{trace: 1, id: 1, root: true, bad: true}, span{trace: 1, id: 1, root: true}
	for name, c := range map[string]struct {
		data      []byte
		signal    otlp.Signal
		wait      time.Duration // before Surrender; a trace is decided after 2.5 s
		backend   error         // its answer then; errCut while nothing comes
		delivered bool          // it is taken all the same, unheard
		times     int           // how often the span or record is exported in the end
	}{
		"undecided":               {traces(bad), otlp.Traces, time.Second, nil, false, 1},
		"exporting, no answer":    {traces(bad), otlp.Traces, 5 * time.Second, errCut, false, 1},
		"exporting, unheard":      {traces(bad), otlp.Traces, 5 * time.Second, nil, true, 2},
		"waiting after a failure": {traces(bad), otlp.Traces, 5 * time.Second, errors.New("503"), false, 1},
		"log without a trace":     {logs(0), otlp.Logs, time.Second, errCut, false, 1},
		"dropped in the meantime": {traces(good), otlp.Traces, time.Second, nil, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, nil)
				defer r.stop()
				cut, deaf := context.WithCancel(t.Context())
				r.backend.answer = func(b *exporter.Batch) error {
					if errors.Is(c.backend, errCut) || c.delivered {
						<-cut.Done()
					}
					return c.backend
				}
				first := r.deliverAs(Delivery{ID: "1", Data: c.data, Attributes: attrs(c.signal), Publish: time.Now()})
				r.sleep(c.wait)
				r.want("given back", r.p.Surrender(r.ctx), 1)
				r.want("settled", first.String(), "nack")
				deaf()
				synctest.Wait()
				s := r.p.State()
				r.want("held, in flight, kept", []any{s.Messages, s.Bytes, s.InFlight, s.Exporting, s.Kept}, []any{0, int64(0), Count{}, 0, Count{}})
				r.check()
				r.backend.answer = nil
				r.sleep(3 * time.Second)
				again := r.deliverAs(Delivery{ID: "1", Data: c.data, Attributes: attrs(c.signal), Publish: time.Now(), Attempt: 2})
				r.sleep(10 * time.Second)
				r.want("the redelivery", again.String(), "ack")
				r.want("exported", r.backend.spans["1/1"]+r.backend.logs["0: record 0 false"], c.times)
				r.want("quiet", r.p.Quiesce(r.ctx), true)
				r.check()
			})
		})
	}
}

var errCut = errors.New("cut off")

// An export that runs at Surrender is cut off: with the backend away it would keep its payloads in memory for as long.
func TestSurrenderCutsExportsOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := &stuckBackend{}
		r := newRig(t, func(c *Config) { c.Exporter = stuck })
		defer r.stop()
		r.deliver(otlp.Traces, traces(span{trace: 1, id: 1, root: true, bad: true}))
		r.sleep(4 * time.Second)
		r.want("running", stuck.running, 1)
		r.p.Surrender(r.ctx)
		synctest.Wait()
		r.want("running after Surrender", stuck.running, 0)
		r.deliver(otlp.Traces, traces(span{trace: 1, id: 1, root: true, bad: true}))
		r.sleep(time.Second)
		r.want("afterwards", stuck.running, 1)
	})
}

// stuckBackend answers nothing until it is told to stop.
type stuckBackend struct{ running int }

func (*stuckBackend) Name() string { return "stuck" }
func (b *stuckBackend) Export(ctx context.Context, _ *exporter.Batch) error {
	b.running++
	<-ctx.Done()
	b.running--
	return ctx.Err()
}

// A dead letter that Surrender cut off does not say that the topic is away.
func TestSurrenderCutsADeadLetterOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hanging := &hangingShelf{}
		r := newRig(t, func(c *Config) { c.Dead = hanging })
		defer r.stop()
		r.deliver(otlp.Traces, traces(span{id: 1})) // without a trace id
		r.sleep(time.Second)
		r.p.Surrender(r.ctx)
		synctest.Wait()
		r.want("asked", hanging.asked, 1)
		r.deliver(otlp.Traces, traces(span{id: 1}))
		r.sleep(time.Second)
		r.want("asked again", hanging.asked, 2)
	})
}

type hangingShelf struct{ asked int }

func (s *hangingShelf) Publish(ctx context.Context, _ []byte, _ map[string]string) error {
	s.asked++
	<-ctx.Done()
	return ctx.Err()
}

// gate is a sequencer that takes facts only while it is open.
type gate struct {
	open chan struct{}
	told []fleet.Facts
}

func (g *gate) Send(ctx context.Context, f fleet.Facts) error {
	select {
	case <-g.open:
	case <-ctx.Done():
		return ctx.Err()
	}
	g.told = append(g.told, f)
	return nil
}

func gatedRig(t *testing.T) (*rig, *gate) {
	g := &gate{open: make(chan struct{})}
	return newRig(t, func(c *Config) { c.Sequencer = g; c.Workers = 1 }), g
}

// handle delivers without waiting for room.
func (r *rig) handle(i byte) *receipt {
	rec := &receipt{t: r.t}
	go r.p.Handle(r.ctx, Delivery{ID: fmt.Sprint(i), Data: traces(span{trace: i, id: 1}), Attributes: attrs(otlp.Traces), Publish: time.Now(), Receipt: rec})
	synctest.Wait()
	return rec
}

// Surrender lets the facts of what is being read go out first, and nothing is left that would be held later.
func TestSurrenderWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, g := gatedRig(t)
		defer r.stop()
		r.want("busy at first", r.p.Busy(), false)
		start, rec := time.Now(), []*receipt{r.handle(1), r.handle(2), r.handle(3)} // being told; read next; waiting for room
		r.want("busy", r.p.Busy(), true)
		time.AfterFunc(time.Second, func() { close(g.open) })
		ctx, cancel := context.WithTimeout(r.ctx, time.Minute)
		defer cancel()
		r.want("given back", r.p.Surrender(ctx), 3)
		r.want("after", time.Since(start), time.Second)
		r.want("told", len(g.told), 3)
		r.want("settled", fmt.Sprint(rec), "[nack nack nack]")
		r.want("busy at last", r.p.Busy(), false)
		r.check()
	})
}

// Where the sequencer takes no facts Surrender goes on when its time is over: what is told, read or waits goes back.
func TestSurrenderWaitsNoLongerThanToldTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, g := gatedRig(t)
		defer r.stop()
		rec := []*receipt{r.handle(1), r.handle(2), r.handle(3)}
		ctx, cancel := context.WithTimeout(r.ctx, time.Second)
		defer cancel()
		over := r.p.session
		r.want("given back", r.p.Surrender(ctx), 2)
		synctest.Wait()
		r.want("settled", fmt.Sprint(rec), "[nack nack nack]")
		r.want("busy with the one that is told", r.p.Busy(), true)
		close(g.open)
		late := &receipt{t: t} // had been taken by a worker, and not yet been held
		r.p.mu.Lock()
		r.p.busy++
		r.p.mu.Unlock()
		r.p.in <- Delivery{Data: traces(span{trace: 9, id: 1}), Attributes: attrs(otlp.Traces), Receipt: late, session: over}
		after := r.handle(4)
		r.want("late, after", []string{late.String(), after.String()}, []string{"nack", ""})
		s := r.p.State()
		r.want("busy, held, received", []any{r.p.Busy(), s.Messages, s.Received.Spans}, []any{false, 1, int64(2)})
		r.check()
	})
}

// Nobody waits for facts of a payload that cannot be read; but it is not done with before it is a dead letter.
func TestBusyIsNotForWhatHasNoFacts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.Dead = &hangingShelf{} })
		defer r.stop()
		rec := r.deliver(otlp.Traces, []byte("\nno OTLP"))
		r.want("busy", r.p.Busy(), false)
		r.want("given back", r.p.Surrender(r.ctx), 0)
		ctx, cancel := context.WithTimeout(r.ctx, time.Second)
		defer cancel()
		r.want("quiet", r.p.Quiesce(ctx), false)
		r.sleep(time.Minute)
		r.want("settled", rec.String(), "hand back 30s")
		r.want("quiet at last", r.p.Quiesce(r.ctx), true)
	})
}
