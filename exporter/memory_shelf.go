package exporter

import (
	"bytes"
	"container/list"
	"math"
	"slices"
	"time"

	"tailweir/otlp"
)

// share is the part of the store, 1/share of its bytes, that one trace, the traces with logs only, and the
// logs without a trace may take each, so that none of them pushes out the traces people came for.
const share = 8

// statusError is STATUS_CODE_ERROR of OTLP.
const statusError = 2

// shelf is a list of entries, newest at the front.
type shelf struct {
	list  list.List
	bytes int
}

func (s *shelf) push(e *entry) *list.Element {
	s.bytes += e.bytes
	return s.list.PushFront(e)
}

func (s *shelf) remove(el *list.Element) {
	s.bytes -= el.Value.(*entry).bytes
	s.list.Remove(el)
}

// entry is a trace, or a part of logs without one.
type entry struct {
	Summary
	spans, logs [][]byte // export requests; concatenated they are one
	bytes       int
	start, end  uint64 // earliest, latest, unix ns
	named       uint64 // start of the span that gave Root and Service, unix ns
	rank        int    // of that span as a root
}

// storeLocked stores the spans or logs of a kept trace. A trace takes the front place when its first spans
// come and stays in it: a list that people read must not jump at each late span.
func (m *Memory) storeLocked(scan *otlp.Payload, p Part) {
	el := m.byID[p.Trace]
	if el == nil {
		el = m.orphans.push(&entry{Summary: Summary{TraceID: p.Trace}})
		m.byID[p.Trace] = el
	}
	e := el.Value.(*entry)
	shelf := &m.traces
	if e.Spans == 0 {
		shelf = &m.orphans
	}
	isTraces := scan.Signal() == otlp.Traces
	grown, ok := e.add(isTraces, scan.Bytes(), m.maxBytes/share)
	if !ok {
		return
	}
	shelf.bytes += grown
	if !isTraces {
		e.Logs += scan.Len()
		return
	}
	if e.Spans == 0 {
		m.orphans.remove(el)
		m.byID[p.Trace] = m.traces.push(e)
	}
	e.observe(scan, p)
}

// add holds a copy of b unless the trace would take more than max bytes. It reports false for bytes that are
// there already, which an export that was tried again brings.
func (e *entry) add(isTraces bool, b []byte, max int) (grown int, isNew bool) {
	into := &e.logs
	if isTraces {
		into = &e.spans
	}
	if slices.ContainsFunc(*into, func(have []byte) bool { return bytes.Equal(have, b) }) {
		return 0, false
	}
	if e.bytes+len(b) > max {
		e.Truncated = true
		return 0, true
	}
	*into = append(*into, bytes.Clone(b))
	e.bytes += len(b)
	return len(b), true
}

// observe folds the scanned spans into the summary.
func (e *entry) observe(scan *otlp.Payload, p Part) {
	if e.Policy == "" {
		e.Policy, e.Reason = p.Policy, p.Reason
	}
	e.Spans += scan.Len()
	for i := range scan.Len() {
		s := scan.Span(int32(i))
		if start := s.Start(); start > 0 && (e.start == 0 || start < e.start) {
			e.start = start
		}
		e.end = max(e.end, s.Start(), s.End())
		e.Error = e.Error || s.StatusCode() == statusError
		e.name(s)
	}
	if e.start > 0 {
		e.Start = time.Unix(0, int64(e.start))
		e.Duration = time.Duration(min(e.end-e.start, math.MaxInt64))
	}
}

// name takes Root and Service from the span when it is a better root than the one so far: without parent
// before local roots before others, then the earlier. By time alone, what clocks of milliseconds make start with the entry
// span, and ends before it, would give its name.
func (e *entry) name(s otlp.Span) {
	rank := rankOf(s)
	better := e.Root == "" && e.Service == "" ||
		rank > e.rank ||
		rank == e.rank && s.Start() < e.named
	if !better {
		return
	}
	e.rank, e.named = rank, s.Start()
	e.Root, e.Service = string(s.Name()), ""
	if v, ok := s.Resource().Attribute("service.name"); ok {
		e.Service = v.String()
	}
}

func rankOf(s otlp.Span) int {
	switch {
	case s.ParentSpanID().IsZero():
		return 2
	case s.LocalRoot():
		return 1
	}
	return 0
}

func (m *Memory) storeLooseLocked(b []byte) {
	if len(b) > m.maxBytes/share {
		return
	}
	m.loose.push(&entry{logs: [][]byte{bytes.Clone(b)}, bytes: len(b)})
}

// boundLocked evicts the oldest of each shelf until all bounds hold.
func (m *Memory) boundLocked() {
	for m.loose.bytes > m.maxBytes/share || m.loose.list.Len() > m.maxTraces {
		m.loose.remove(m.loose.list.Back())
	}
	for m.orphans.bytes > m.maxBytes/share || m.orphans.list.Len() > m.maxTraces {
		m.evictLocked(&m.orphans)
	}
	for m.traces.list.Len() > m.maxTraces || m.traces.bytes+m.orphans.bytes+m.loose.bytes > m.maxBytes {
		m.evictLocked(&m.traces)
	}
}

func (m *Memory) evictLocked(s *shelf) {
	el := s.list.Back()
	delete(m.byID, el.Value.(*entry).TraceID)
	s.remove(el)
}
