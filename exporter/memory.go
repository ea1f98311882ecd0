package exporter

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"tailweir/otlp"
)

// MemoryConfig bounds the store. Zero fields mean their defaults.
type MemoryConfig struct {
	MaxBytes  int // encoded spans and log records, all together; default 64 MiB
	MaxTraces int // traces with spans; as many again with logs only; default 1000
}

func (c MemoryConfig) withDefaults() MemoryConfig {
	if c.MaxBytes == 0 {
		c.MaxBytes = 64 << 20
	}
	if c.MaxTraces == 0 {
		c.MaxTraces = 1000
	}
	return c
}

// Validate reports all faults at once.
func (c MemoryConfig) Validate() error {
	var errs []error
	if c.MaxBytes < 0 {
		errs = append(errs, fmt.Errorf("memory store bytes %d: want more than 0", c.MaxBytes))
	}
	if c.MaxTraces < 0 {
		errs = append(errs, fmt.Errorf("memory store traces %d: want more than 0", c.MaxTraces))
	}
	return errors.Join(errs...)
}

// Summary is one kept trace in a list.
type Summary struct {
	TraceID  otlp.TraceID
	Root     string // name of the span without a parent; while there is none, of the earliest local root, or of the earliest span
	Service  string // service.name of that span's resource
	Spans    int
	Logs     int
	Start    time.Time     // earliest span start; zero when no span has one
	Duration time.Duration // earliest start to latest end
	Error    bool          // a span has status ERROR
	Policy   string        // the policy that kept it
	Reason   string        // why it was released
	// Truncated: spans or logs beyond a trace's share of the store are counted above but not held.
	Truncated bool
}

// Stored is a trace with what is held of it: export requests, nil when there are no such items.
type Stored struct {
	Summary
	Traces, Logs []byte
}

// Memory keeps the latest kept traces with their logs for people to look at: the oldest make room for new
// ones. Late spans and logs join their trace; a part that comes again with the same bytes is stored once.
// Safe for concurrent use.
type Memory struct {
	maxBytes, maxTraces int

	mu      sync.Mutex
	byID    map[otlp.TraceID]*list.Element // of *entry, in traces or orphans
	traces  shelf                          // with spans
	orphans shelf                          // with logs only; their spans may follow
	loose   shelf                          // log records without a trace id, one part each
}

// NewMemory makes an empty store.
func NewMemory(c MemoryConfig) (*Memory, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	return &Memory{maxBytes: c.MaxBytes, maxTraces: c.MaxTraces, byID: make(map[otlp.TraceID]*list.Element)}, nil
}

// Name is "memory".
func (m *Memory) Name() string { return "memory" }

// Export stores the parts of kept traces, log records of traces that are not decided, and those without a trace id. It never waits.
func (m *Memory) Export(_ context.Context, b *Batch) error {
	if b.Signal != otlp.Traces && b.Signal != otlp.Logs {
		return &PermanentError{Err: fmt.Errorf("export %s to memory: holds traces and logs only", b.Signal)}
	}
	var scan otlp.Payload // not a field: it aliases the batch
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range b.Parts {
		if p.Off < 0 || p.Len < 0 || p.Off+p.Len > len(b.Payload) {
			return &PermanentError{Err: fmt.Errorf("export %s to memory: part [%d:%d] of %d bytes", b.Signal, p.Off, p.Off+p.Len, len(b.Payload))}
		}
		if err := scan.Scan(b.Signal, b.Payload[p.Off:p.Off+p.Len]); err != nil {
			return &PermanentError{Err: fmt.Errorf("export %s to memory: %w", b.Signal, err)}
		}
		if scan.Len() == 0 {
			continue
		}
		if !p.Trace.IsZero() && (p.Kept || b.Signal == otlp.Logs && !p.Decided) { // what did not wait may be of a kept trace
			m.storeLocked(&scan, p)
		} else if p.Trace.IsZero() && b.Signal == otlp.Logs {
			m.storeLooseLocked(scan.Bytes())
		}
		m.boundLocked()
	}
	return nil
}

// Latest returns summaries of traces with spans, newest first by when their first spans came. limit <= 0
// means all.
func (m *Memory) Latest(limit int) []Summary {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.traces.list.Len()
	if limit > 0 {
		n = min(n, limit)
	}
	out := make([]Summary, 0, n)
	for el := m.traces.list.Front(); el != nil && len(out) < n; el = el.Next() {
		out = append(out, el.Value.(*entry).Summary)
	}
	return out
}

// Trace returns what is held of a trace, also when only its logs are.
func (m *Memory) Trace(id otlp.TraceID) (Stored, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	el, ok := m.byID[id]
	if !ok {
		return Stored{}, false
	}
	e := el.Value.(*entry)
	return Stored{Summary: e.Summary, Traces: slices.Concat(e.spans...), Logs: slices.Concat(e.logs...)}, true
}

// RecentLogs returns the latest log records without a trace id, oldest first, as one export request.
func (m *Memory) RecentLogs() []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []byte
	for el := m.loose.list.Back(); el != nil; el = el.Prev() {
		out = append(out, el.Value.(*entry).logs[0]...)
	}
	return out
}
