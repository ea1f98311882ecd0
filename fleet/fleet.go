// Package fleet decides traces: facts go in, decisions come out, in one order that every holder follows.
//
// A holder keeps payloads and sends what they say about each trace, as facts; the sequencer gathers the facts of
// everybody in the window, decides each trace once the watermark has passed its deadline, and publishes the decisions.
// A holder executes only decisions that it reads, its own process's sequencer's included. The two halves know each other
// only as "facts in" (Send) and "decisions out, in order" (the apply function of Run), so that they may live in
// different processes.
//
// Solo is the sequencer for one worker, in the worker's own process.
package fleet

import (
	"tailweir/buffer"
	"tailweir/otlp"
	"tailweir/sampler"
)

// Facts is what a holder says about one message.
type Facts struct {
	Message   uint64 // hash of the uncompressed payload: a repeat counts once
	Publish   buffer.Stamp
	Policy    uint64 // hash of the policy set that folded the bits
	First     bool   // this holder has not had the message before
	Again     bool   // somebody had, the queue says: another worker, or one before this
	Fragments []Fragment
}

// Fragment is what one message says about one trace.
type Fragment struct {
	Trace otlp.TraceID
	Facts sampler.Facts
}

// Decision is the verdict on a trace. For the reason Orphan there is none: only log records were seen, and spans that
// come later open the trace anew.
type Decision struct {
	Trace    otlp.TraceID
	Deadline buffer.Stamp
	Reason   buffer.Reason
	sampler.Decision
}

// Binding reports whether later fragments of the trace have to follow the decision.
func (d Decision) Binding() bool { return d.Reason != buffer.Orphan }
