package pipeline

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"runtime/debug"

	"github.com/cespare/xxhash/v2"

	"tailweir/buffer"
	"tailweir/exporter"
	"tailweir/otlp"
	"tailweir/sampler"
)

// Attributes of a dead letter, beside those the message came with.
const (
	AttrReason = otlp.AttrReason // one of the reasons below
	AttrError  = otlp.AttrError
)

// Reasons for a dead letter.
const (
	ReasonUndecodable = "undecodable" // not an OTLP payload, or not what its attributes say
	ReasonPanic       = "panic"       // reading it made the worker panic
	ReasonInvalidID   = "invalid_id"  // spans without a trace id
	ReasonRejected    = exporter.ReasonRejected
	ReasonAge         = exporter.ReasonAge
	ReasonLimit       = exporter.ReasonLimit
)

// reading is what a reader found in a delivery.
type reading struct {
	id        identity
	hash      uint64
	publish   buffer.Stamp
	data      []byte // uncompressed
	policy    uint64 // hash of the set that folded the facts
	index     *otlp.Index
	count     Count // spans and log records; traces are counted when they begin
	unnamed   int   // items without service.name
	fragments []found
}

type found struct {
	trace otlp.TraceID
	first int32
	class uint8
	count Count
	facts sampler.Facts
}

func (r reading) items() int { return int(r.count.Spans + r.count.Logs) }

// seed keys the identities of this process.
var seed = maphash.MakeSeed()

// reader reads deliveries, one at a time; it is pooled for its buffers.
type reader struct {
	payload  otlp.Payload
	classes  *classes
	policies *sampler.Policies // the observer's
	observer *sampler.Observer
	inflater otlp.Inflater
	failed   func(sampler.PolicyError)
	max      int
	open     []int // the parts that Held folds again
}

// scan makes data the payload whose groups are folded next, with the set: an observer of another is never used.
func (r *reader) scan(set *sampler.Policies, signal otlp.Signal, data []byte) error {
	if r.policies != set {
		r.policies, r.observer = set, set.NewObserver()
		r.observer.Failed = r.failed
	}
	if err := r.payload.Scan(signal, data); err != nil {
		return err
	}
	r.classes.partition(&r.payload)
	r.observer.Reset(&r.payload)
	return nil
}

// read inflates, scans and folds a delivery without decoding a span. A panic is an error like any other: the payload is
// at fault, and the worker lives on.
func (p *Pipeline) read(r *reader, d Delivery) (got reading, err error) {
	defer func() {
		if v := recover(); v != nil {
			p.mu.Lock()
			p.panics++
			p.mu.Unlock()
			p.cfg.Log.Error("reading a payload panicked", "message_id", d.ID, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			err = panicked{v}
		}
	}()
	return r.read(p.policies.Load(), d)
}

type panicked struct{ value any }

func (e panicked) Error() string { return fmt.Sprintf("panic: %v", e.value) }

func (r *reader) read(set *sampler.Policies, d Delivery) (reading, error) {
	signal, known := otlp.SignalOf(d.Attributes[otlp.AttrType])
	if !known || signal == otlp.Metrics {
		return reading{}, fmt.Errorf("attribute %s is %q, want %q or %q", otlp.AttrType, d.Attributes[otlp.AttrType],
			otlp.Traces.EventType(), otlp.Logs.EventType())
	}
	data, err := r.inflater.Inflate(d.Data, d.Attributes, r.max)
	if err != nil {
		return reading{}, err
	}
	if err := r.scan(set, signal, data); err != nil {
		return reading{}, err
	}
	got := reading{
		id:      identity{hash: maphash.Bytes(seed, data), size: len(data), signal: signal},
		hash:    xxhash.Sum64(data),
		publish: buffer.StampOf(d.Publish),
		data:    data,
		policy:  set.Hash(),
		index:   r.payload.Index(),
		unnamed: r.payload.Unnamed(),
	}
	groups := r.payload.Groups()
	got.fragments = make([]found, len(groups))
	for i, g := range groups {
		f := &got.fragments[i]
		f.trace, f.first, f.class = g.Trace, g.First, g.Class
		if signal == otlp.Traces {
			f.count.Spans = int64(g.Items)
		} else {
			f.count.Logs = int64(g.Items)
		}
		f.facts = r.observer.Fold(g)
		got.count.add(f.count)
	}
	return got, nil
}

// bury sends a delivery that cannot be read to the dead-letter topic, as it came, and acks it then. When that does not
// succeed for a while the message goes back: readers must not all wait for a topic that is away.
func (p *Pipeline) bury(ctx context.Context, d Delivery, cause error) {
	reason := ReasonUndecodable
	if errors.As(cause, &panicked{}) {
		reason = ReasonPanic
	}
	p.cfg.Log.Warn("payload dead-lettered", "message_id", d.ID, "reason", reason, "error", cause)
	p.mu.Lock()
	p.burying++
	p.mu.Unlock()
	p.done(&p.busy)
	defer p.done(&p.burying)
	if !p.deadLetter(ctx, d.Data, d.Attributes, reason, cause) {
		d.Receipt.HandBack(p.handBack(d.Attempt))
		return
	}
	d.Receipt.Ack()
	p.mu.Lock()
	p.buried++
	p.mu.Unlock()
}
