package forward

import (
	"errors"
	"fmt"
	"hash/maphash"
	"runtime/debug"

	"tailweir/otlp"
)

// Reasons for a dead letter, beside those of exporter.Refusal.
const (
	reasonUndecodable = "undecodable" // not metrics, or not what its attributes say
	reasonPanic       = "panic"       // reading it made the worker panic
)

// reader reads deliveries, one at a time; it is pooled for its buffers.
type reader struct {
	inflater otlp.Inflater
	payload  otlp.Payload
}

type panicked struct{ value any }

func (e panicked) Error() string { return fmt.Sprintf("panic: %v", e.value) }

func reasonOf(err error) string {
	if _, ok := errors.AsType[panicked](err); ok {
		return reasonPanic
	}
	return reasonUndecodable
}

// read fills in what the message holds, and returns its lane. A panic is an error like any other: the payload is at fault, and the worker
// lives on.
func (f *Forwarder) read(m *message) (lane int, err error) {
	r := f.readers.Get().(*reader)
	defer func() {
		if v := recover(); v != nil {
			f.cfg.Log.Error("reading metrics panicked", "message_id", m.ID, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			err = panicked{v} // and the reader is dropped
			return
		}
		_ = r.payload.Scan(otlp.Metrics, nil) // lets go of the payload's bytes
		f.readers.Put(r)
	}()
	if t := m.Attributes[otlp.AttrType]; t != otlp.Metrics.EventType() {
		return 0, fmt.Errorf("attribute %s is %q, want %q", otlp.AttrType, t, otlp.Metrics.EventType())
	}
	if m.payload, err = r.inflater.Inflate(m.Data, m.Attributes, f.cfg.MaxInflated); err != nil {
		return 0, err
	}
	if err := r.payload.Scan(otlp.Metrics, m.payload); err != nil {
		return 0, err
	}
	m.points = r.payload.Points()
	if r.payload.Resources() == 0 {
		return 0, nil
	}
	return int(maphash.Bytes(seed, r.payload.AppendResource(nil, 0)) % lanes), nil
}
