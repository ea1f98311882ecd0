// Package member makes a worker one of a fleet that decides as one.
//
// A member has three parts. Its reader follows the log, a topic with one ordering key, and executes what the log says. Its
// holder's side says what it holds, as facts, to whoever leads. And while it leads itself, its sequencer gathers the facts
// of everybody and writes the decisions into the log. The rules by which the log is read, and by which a member claims,
// leads and steps down, are those of package order; here they meet topics, time and payloads.
//
// A member without proof of a live control plane fences itself: it gives everything back that it holds, so that others
// have it, and holds nothing until the proof is back.
package member

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"log/slog"
	"math/rand/v2"
	"time"

	"tailweir/buffer"
	"tailweir/fleet"
	"tailweir/fleet/order"
	"tailweir/otlp"
	"tailweir/sampler"
)

// Log is the log topic and one worker's subscription on it.
type Log interface {
	// Publish publishes once, under the log's ordering key, without retries of its own; nil when it is confirmed. Calls may
	// overlap.
	Publish(ctx context.Context, data []byte) error
	// Subscribe begins a reading of the log: from the publish time from on or, where the service cannot go back, from now.
	// It replaces the reading before, which was closed.
	Subscribe(ctx context.Context, from time.Time) (Reading, error)
}

// Reading is a subscription on the log.
type Reading interface {
	// Start is the publish time from which on every message is delivered.
	Start() time.Time
	// Run hands the messages to handle, one at a time, until ctx is done, which is no error. An error means that the
	// subscription is of no more use.
	Run(ctx context.Context, handle func(data []byte, publish time.Time)) error
	// Close ends the subscription. The reading has stopped.
	Close(ctx context.Context) error
}

// Facts is the facts topic and its one subscription.
type Facts interface {
	// Publish returns nil when the batch is confirmed. It may retry. Calls may overlap.
	Publish(ctx context.Context, data []byte) error
	// Pull hands batches to handle, one at a time, until ctx is done, which is no error, and does with each what handle
	// says.
	Pull(ctx context.Context, handle func(data []byte, publish time.Time) Settle) error
}

// Settle is what becomes of a message on the facts topic.
type Settle uint8

// Ack means that it is done with, Later that somebody may want it in a second or two.
const (
	Ack Settle = iota
	Later
)

// Holder is the part of the worker that holds payloads.
type Holder interface {
	// Apply executes decisions in order, and remembers those that bind. The first decision on a trace stands.
	Apply([]fleet.Decision)
	// Decided tells the decision on a trace, if it is remembered.
	Decided(otlp.TraceID) (sampler.Decision, bool)
	// Held yields the facts of everything that is held and undecided, folded with the policies in use.
	Held() iter.Seq[fleet.Facts]
	// Use changes the policies that facts are folded with.
	Use(*sampler.Policies)
	// Busy reports whether a payload has come whose facts were not sent yet.
	Busy() bool
	// Back is when the last payload returns that was handed back for a while; zero when none was.
	Back() time.Time
	// Resume begins pulling payloads.
	Resume()
	// Fence stops pulling and gives back everything that is held. It returns when that is done.
	Fence()
}

// Config configures a Member.
type Config struct {
	Fleet    string            // the fleet's name, such as the payload subscription's: batches of other fleets are not ours
	Policies *sampler.Policies // the set that this worker was configured with; active once everybody has it
	Window   buffer.Config
	Slack    time.Duration // least distance of the watermark from the newest publish time; default 3 s
	Delay    time.Duration // a first leader decides nothing for so long, so that redeliveries are in: lease and 2 s; default 12 s
	Replay   time.Duration // how far back a joiner reads the log, below its retention; default 10 min
	Fence    time.Duration // without proof of a live control plane; default 6 s
	Order    order.Config  // all members must have the same
	// ClearUnseenParent is fleet.SequencerConfig.ClearUnseenParent. The leader's counts; members of versions before it cannot
	// read what it says then.
	ClearUnseenParent bool

	Log   Log
	Facts Facts
	// Tick publishes an empty message to the payload topic: event time goes on in silence. The leader calls it when traces
	// wait and event time stood still for 1 s. May be nil where something else publishes.
	Tick func(context.Context) error
	// Sweep deletes the log subscriptions of workers that are gone; alive tells of a worker's name. The leader calls it every few
	// minutes. May be nil.
	Sweep  func(ctx context.Context, alive func(name string) bool) error
	Logger *slog.Logger // default slog.Default
	Rand   *rand.Rand   // for names and waits; default seeded by the system. Tests pass theirs
}

func (c Config) defaults() Config {
	c.Slack = cmp.Or(c.Slack, 3*time.Second)
	c.Delay = cmp.Or(c.Delay, 12*time.Second)
	c.Replay = cmp.Or(c.Replay, 10*time.Minute)
	c.Fence = cmp.Or(c.Fence, 6*time.Second)
	c.Order = c.Order.Defaults()
	c.Window = c.Window.Defaults()
	c.Logger = cmp.Or(c.Logger, slog.Default())
	if c.Rand == nil {
		c.Rand = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	return c
}

// Validate reports every impossible setting of a Config that has its defaults, one line each.
func (c Config) Validate() []string {
	faults := c.Order.Validate()
	if c.Fence >= c.Order.Death-c.Order.Open {
		faults = append(faults, fmt.Sprintf("fence (%s) must be less than death (%s) - open (%s): a worker that is cut off must have given back what it holds before it is taken for dead", c.Fence, c.Order.Death, c.Order.Open))
	}
	if c.Fence < 3*time.Second {
		faults = append(faults, fmt.Sprintf("fence (%s) must be at least 3s: a leader says something every 500ms, and Pub/Sub may take a second or two", c.Fence))
	}
	if least := 2 * policyEvery; c.Replay < least {
		faults = append(faults, fmt.Sprintf("replay (%s) must be at least %s: leaders say the policy every %s", c.Replay, least, policyEvery))
	}
	return faults
}
