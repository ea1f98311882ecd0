// Package offline decides traces that lie in files: what the policies would have kept, without a queue or a window.
//
// [Traces] reads the files and keeps the facts of each trace, never its spans: about 120 B a trace while it reads, and as
// much again while it decides. All input is read before anything is decided, so that a trace may be spread over files in any
// order, and a fault in the last line leaves no half of an answer.
//
// Files are OTLP export requests of traces: JSON, one or more values, on a line each or over many; or protobuf, one request, or
// many with a length of four bytes, big endian, before each, as the collector's file exporter writes them. gzip and zstd of
// these are inflated, also inside the length-prefixed form. The form is told by the content, never by the file's name. Requests
// with log records or metrics are counted and left out.
package offline

import (
	"errors"
	"fmt"
	"hash/maphash"

	"tailweir/otlp"
	"tailweir/sampler"
)

// Traces is the facts of the traces read so far. Not safe for concurrent use.
type Traces struct {
	// Stats is about what was read.
	Stats Stats

	policies *sampler.Policies
	observer *sampler.Observer
	payload  otlp.Payload
	place    map[otlp.TraceID]int32 // in traces
	traces   []trace                // in the order of their first appearance
	seen     map[fingerprint]struct{}
	seed     maphash.Seed
}

// Stats counts what was read.
type Stats struct {
	Requests  int   // of traces, repeated ones too
	Repeated  int   // requests that were read before, byte for byte
	Spans     int   // not of repeated requests
	Logs      int   // log records, left out
	Others    int   // requests of metrics or profiles, left out
	Anonymous int   // spans without a trace id, left out
	Failed    int   // spans on which a policy's OTTL condition failed, for each such policy
	Failure   error // the first of them
}

type trace struct {
	id    otlp.TraceID
	facts sampler.Facts
}

// fingerprint is a request: two that differ have the same one with a probability of 2^-64.
type fingerprint struct {
	hash uint64
	size uint32
}

// New returns an empty set of traces, to be decided by policies.
func New(policies *sampler.Policies) *Traces {
	t := &Traces{policies: policies, observer: policies.NewObserver(), place: map[otlp.TraceID]int32{}, seen: map[fingerprint]struct{}{}, seed: maphash.MakeSeed()}
	t.observer.Failed = func(e sampler.PolicyError) {
		if t.Stats.Failed++; t.Stats.Failure == nil {
			t.Stats.Failure = fmt.Errorf("policy %q: %w", e.Policy, e.Err)
		}
	}
	return t
}

// Len is the number of traces.
func (t *Traces) Len() int { return len(t.traces) }

// addTraces folds a request of traces. One that was read before is not folded again: it is a retry of its sender, as for a
// worker. The collector knows no repeats, so strict policies get them all.
func (t *Traces) addTraces(request []byte) error {
	if err := t.payload.Scan(otlp.Traces, request); err != nil {
		return err
	}
	t.Stats.Requests++
	if t.repeated(request) {
		t.Stats.Repeated++
		return nil
	}
	t.observer.Reset(&t.payload)
	for _, g := range t.payload.Groups() {
		if g.Trace.IsZero() {
			t.Stats.Anonymous += int(g.Items)
			continue
		}
		t.Stats.Spans += int(g.Items)
		facts := t.observer.Fold(g)
		t.of(g.Trace).Merge(&facts)
	}
	return nil
}

func (t *Traces) repeated(request []byte) bool {
	if t.policies.Strict() {
		return false
	}
	f := fingerprint{maphash.Bytes(t.seed, request), uint32(len(request))}
	_, known := t.seen[f]
	t.seen[f] = struct{}{}
	return known
}

func (t *Traces) of(id otlp.TraceID) *sampler.Facts {
	i, known := t.place[id]
	if !known {
		i = int32(len(t.traces))
		t.place[id] = i
		t.traces = append(t.traces, trace{id: id})
	}
	return &t.traces[i].facts
}

func (t *Traces) addLogs(request []byte) error {
	if err := t.payload.Scan(otlp.Logs, request); err != nil {
		return err
	}
	t.Stats.Logs += t.payload.Len()
	return nil
}

// addProto is add of a request whose signal has to be told by its content.
func (t *Traces) addProto(request []byte, _ bool) error {
	signal, err := signalOf(&t.payload, request)
	switch {
	case err != nil:
		return err
	case signal == otlp.Logs:
		return t.addLogs(request)
	}
	return t.addTraces(request)
}

// signalOf tells the signal of a request by its content: all requests look alike from outside, but what is a span is no log record, and the
// other way round. A metric can be taken for a span, but not for one with an id or a time. p has been scanned afterwards.
func signalOf(p *otlp.Payload, request []byte) (otlp.Signal, error) {
	fault := p.Scan(otlp.Traces, request)
	switch {
	case fault == nil && metrics(p):
		return 0, errors.New("holds spans without ids and times: is this a request of metrics?")
	case fault == nil:
		return otlp.Traces, nil
	case p.Scan(otlp.Logs, request) == nil:
		return otlp.Logs, nil
	}
	return 0, fmt.Errorf("no OTLP request of traces or logs: %w", fault)
}

func metrics(p *otlp.Payload) bool {
	for i := range int32(p.Len()) {
		if s := p.Span(i); !s.SpanID().IsZero() || s.Start() != 0 || s.End() != 0 {
			return false
		}
	}
	return p.Len() > 0
}
