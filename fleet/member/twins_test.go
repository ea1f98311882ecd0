package member_test

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tailweir/fleet"
	"tailweir/otlp"
	"tailweir/pipeline"
)

// An SDK sent the same bytes twice, and two workers hold one message each; then each gets the other's as well, of which
// one by a redelivery that the server counts as the same message. Whoever acks a copy because it holds another must not
// leave the server with none: what the other holds may be a delivery that is acked already.
func TestTwoWorkersAndAnSDKsRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, end := context.WithCancel(t.Context())
		defer end()
		server := &acks{of: map[string]bool{}}
		one, two := lone(ctx), lone(ctx)
		p := &payload{sdk: "sdk", spans: []*span{{trace: &traceRun{id: otlp.TraceID{1}}, start: time.Now(), end: time.Now()}}}
		p.encode()
		give := func(to *pipeline.Pipeline, id string) {
			to.Handle(ctx, pipeline.Delivery{
				ID: id, Data: p.data, Attributes: map[string]string{otlp.AttrType: otlp.Traces.EventType()},
				Publish: time.Now(), Receipt: &ackOnly{server, id},
			})
			synctest.Wait()
		}
		give(one, "first")
		give(two, "second")
		give(one, "second")
		one.Surrender(ctx)
		give(two, "first")
		if server.of["first"] && server.of["second"] {
			t.Error("both messages are acked, and nothing is decided")
		}
		end()
		synctest.Wait()
	})
}

func lone(ctx context.Context) *pipeline.Pipeline {
	p := pipeline.New(pipeline.Config{Policies: policies(oldPercent, oldSlow), Sequencer: nobody{}, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	go func() { _ = p.Run(ctx) }()
	return p
}

type nobody struct{}

func (nobody) Send(context.Context, fleet.Facts) error { return nil }

// acks is which messages the server was told to forget.
type acks struct {
	mu sync.Mutex
	of map[string]bool
}

type ackOnly struct {
	*acks
	id string
}

func (a *ackOnly) Ack() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.of[a.id] = true
}
func (*ackOnly) Nack()                    {}
func (*ackOnly) HandBack(_ time.Duration) {}
