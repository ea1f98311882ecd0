package service

import (
	"context"

	"tailweir/buffer"
	"tailweir/fleet"
	"tailweir/fleet/member"
	"tailweir/pipeline"
)

// sequencer is where a worker's decisions come from: a member of a fleet, or the worker itself.
type sequencer interface {
	pipeline.Sequencer
	// Run makes h hold and execute decisions until ctx is done.
	Run(ctx context.Context, h member.Holder) error
	// Leave is called once, when pulling has stopped and what was decided is exported; Run may end after it.
	Leave(ctx context.Context)
	// Hold puts decisions off: messages are on their way again that were in a stream that broke.
	Hold()
	// Heard reports whether somebody who decides takes note of facts.
	Heard() bool
	Next(limit int) []buffer.Open
	State() member.State
}

// alone decides for its own worker, as if it led a fleet of one without a log.
type alone struct {
	*fleet.Solo
	drain bool // Leave decides everything in the window
}

func (a alone) Run(ctx context.Context, h member.Holder) error {
	h.Resume()
	return a.Solo.Run(ctx, h.Apply)
}

func (a alone) Leave(ctx context.Context) {
	if a.drain {
		_ = a.Drain(ctx) // whose error is that ctx has ended
	}
}

func (a alone) Heard() bool { return true }

func (a alone) State() member.State {
	s := a.Solo.State()
	return member.State{Phase: member.Leading, Newest: s.Newest, Lead: &member.Lead{
		Traces: s.Traces, MaxTraces: s.MaxTraces, Bytes: s.Bytes, MaxBytes: s.MaxBytes,
		Lag: s.Lag, Watermark: s.Newest.Add(-s.Lag), SequencerStats: s.SequencerStats,
	}}
}

// newSequencer returns what fleet is set to.
func (w *Worker) newSequencer() sequencer {
	cfg := &w.cfg
	if cfg.Fleet == FleetOff {
		return alone{drain: w.opts.Local, Solo: fleet.NewSolo(fleet.SoloConfig{
			Policies: cfg.Compiled, Window: cfg.WindowConfig(), Slack: cfg.Window.Slack, History: cfg.Window.History,
			Delay: cfg.Window.StartDelay, Tick: w.tick, ClearUnseenParent: cfg.Traces.ClearUnseenParent,
		})}
	}
	log, facts := w.newLog(), w.newFacts()
	m := member.New(member.Config{
		Fleet: cfg.Queue.Subscription, Policies: cfg.Compiled, Window: cfg.WindowConfig(), Slack: cfg.Window.Slack,
		Delay: max(cfg.Window.StartDelay, 1), Replay: cfg.Timing.Replay, Fence: cfg.Timing.Fence,
		Order: cfg.Timing.Order(), Log: log, Facts: facts, Tick: w.tick, Sweep: log.sweep, Logger: w.opts.Log,
		ClearUnseenParent: cfg.Traces.ClearUnseenParent,
	})
	log.name = m.Name()
	return m
}
