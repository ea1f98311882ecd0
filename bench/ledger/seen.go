package ledger

import (
	"encoding/binary"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
)

// Seen records which spans and log records arrived. A trace takes 16 bytes, and
// one that arrived takes 8 more, 8 for each span, and a bit for each span and for each record
// (usually 180 bytes in all); a log entry with an id takes about 100. It is safe for concurrent use.
type Seen struct {
	mu     sync.Mutex
	run    uint16   // of the first id that arrived
	any    bool     // run is set
	at     []entry  // by trace number
	rows   []uint64 // per trace: high word, bitmap of spans, bitmap of log records, hash of each span
	counts Counts

	entries map[place]written // log entries, where they have ids of their own
	owners  map[uint64]place  // by the hash of an entry's id
}

// place is that of a span in its trace, and of its log record.
type place struct {
	high  uint64
	index int
}

// written is a log entry, by hashes.
type written struct{ id, content uint64 }

// entry is one trace.
type entry struct {
	row   uint32 // where its row starts in rows; 0 = not seen
	said  uint8  // what its log records said of it, and its spans
	th    uint16 // the upper digits of the threshold that its spans had
	whole int64  // unix ms when its last span arrived; 0 = has not
}

const (
	saidKept      = 1 << 0
	saidDropped   = 1 << 1
	saidNothing   = 1 << 2 // a span had no tracestate
	saidThreshold = 1 << 3 // a span had a threshold that can be
	saidFalse     = 1 << 4 // a span had anything else
)

// Counts is what arrived, in spans, log records and traces.
type Counts struct {
	Traces           int `json:"traces"`
	Spans            int `json:"spans"`             // without duplicates
	DuplicateSpans   int `json:"duplicate_spans"`   // a span that was here before
	Records          int `json:"records"`           // log records, without duplicates
	DuplicateRecords int `json:"duplicate_records"` // a record that was here before
	Altered          int `json:"altered"`           // spans that came again with other bytes; log entries also with another id, or another's
	Invented         int `json:"invented"`          // items with ids that no load made, or of another run
	Complete         int `json:"complete"`          // traces with every span
	Split            int `json:"split"`             // traces with some of their spans
}

// AddSpan notes a span by its ids as they are on the wire; item is its whole message but for the tracestate, which a sampler
// may have given it.
func (s *Seen) AddSpan(trace, span, item, state []byte) {
	s.add(trace, span, xxhash.Sum64(item), false, func(e *entry) { e.count(trace, state) })
}

// AddRecord notes a log record, whose identity is that of the span it belongs to, and what it says of its trace: that it was
// kept, or dropped, or nothing (nil).
func (s *Seen) AddRecord(trace, span []byte, kept *bool) {
	s.add(trace, span, 0, true, func(e *entry) { e.hear(kept) })
}

// AddEntry is AddRecord for a backend where log entries have ids: a record is one entry, under one id, however often it comes. item
// is its whole content.
func (s *Seen) AddEntry(trace, span, id, item []byte, kept bool) {
	now := written{xxhash.Sum64(id), xxhash.Sum64(item)}
	s.add(trace, span, 0, true, func(e *entry) {
		e.hear(&kept)
		high := binary.BigEndian.Uint64(trace)
		index, _ := ParseSpanID(high, span)
		s.writeLocked(place{high, index}, now)
	})
}

func (s *Seen) writeLocked(at place, now written) {
	if s.entries == nil {
		s.entries, s.owners = map[place]written{}, map[uint64]place{}
	}
	was, again := s.entries[at]
	owner, taken := s.owners[now.id]
	if again && was != now || taken && owner != at {
		s.counts.Altered++
	}
	s.entries[at], s.owners[now.id] = now, at
}

func (s *Seen) add(trace, span []byte, hash uint64, record bool, note func(*entry)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id, ok := ParseTraceID(trace)
	if !ok || s.any && id.Run != s.run {
		s.counts.Invented++
		return
	}
	high := binary.BigEndian.Uint64(trace)
	index, ok := ParseSpanID(high, span)
	if !ok || record && !HasRecord(high, index) {
		s.counts.Invented++
		return
	}
	row, ok := s.rowLocked(id, high)
	if !ok {
		s.counts.Invented++
		return
	}
	s.markLocked(row, id.Spans, index, record)
	e := &s.at[id.Number]
	note(e)
	if record {
		return
	}
	if spans, _ := s.arrivedLocked(id); spans == id.Spans && e.whole == 0 {
		e.whole = time.Now().UnixMilli()
	}
	was := &s.rows[int(row)+1+2*words(id.Spans)+index]
	if *was != 0 && *was != hash {
		s.counts.Altered++
	}
	*was = hash
}

func (e *entry) hear(kept *bool) {
	switch {
	case kept == nil:
	case *kept:
		e.said |= saidKept
	default:
		e.said |= saidDropped
	}
}

// rowLocked is the trace's row, made when it is new; not ok if another id took the number.
func (s *Seen) rowLocked(id Identity, high uint64) (uint32, bool) {
	if !s.any {
		s.any, s.run = true, id.Run
		s.rows = append(s.rows, 0) // row 0 means "not seen"
	}
	if grow := int(id.Number) + 1 - len(s.at); grow > 0 {
		s.at = append(s.at, make([]entry, grow)...)
	}
	if row := s.at[id.Number].row; row != 0 {
		return row, s.rows[row] == high
	}
	row := uint32(len(s.rows))
	s.at[id.Number].row = row
	s.rows = append(s.rows, high)
	s.rows = append(s.rows, make([]uint64, 2*words(id.Spans)+id.Spans)...)
	s.counts.Traces++
	return row, true
}

func (s *Seen) markLocked(row uint32, spans, index int, record bool) {
	first := int(row) + 1
	fresh, again := &s.counts.Spans, &s.counts.DuplicateSpans
	if record {
		first += words(spans)
		fresh, again = &s.counts.Records, &s.counts.DuplicateRecords
	}
	word, bit := &s.rows[first+index/64], uint64(1)<<(index%64)
	if *word&bit != 0 {
		*again++
		return
	}
	*word |= bit
	*fresh++
}

// Counts counts what arrived so far; it walks over all traces.
func (s *Seen) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.counts
	for _, e := range s.at {
		if e.row == 0 {
			continue
		}
		id, _ := parseHigh(s.rows[e.row])
		switch spans, _ := s.arrivedLocked(id); spans {
		case 0:
		case id.Spans:
			c.Complete++
		default:
			c.Split++
		}
	}
	return c
}

// arrivedLocked counts the spans and records of one trace.
func (s *Seen) arrivedLocked(id Identity) (spans, records int) {
	if int(id.Number) >= len(s.at) || s.at[id.Number].row == 0 {
		return 0, 0
	}
	first, n := int(s.at[id.Number].row)+1, words(id.Spans)
	return ones(s.rows[first : first+n]), ones(s.rows[first+n : first+2*n])
}

func (s *Seen) saidLocked(id Identity) uint8 {
	if int(id.Number) >= len(s.at) {
		return 0
	}
	return s.at[id.Number].said
}

func words(spans int) int { return (spans + 63) / 64 }
