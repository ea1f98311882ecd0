package googletest

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"cloud.google.com/go/logging/apiv2/loggingpb"
	"cloud.google.com/go/trace/apiv2/tracepb"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"tailweir/otlp"
)

// Request is one request as it came in, whatever became of it.
type Request struct {
	API      API
	Header   map[string][]string // lower-case keys
	Encoding string              // "gzip" or ""
	Message  proto.Message       // *tracepb.BatchWriteSpansRequest or *loggingpb.WriteLogEntriesRequest; nil of the Telemetry API
	Signal   otlp.Signal         // of the Telemetry API
	OTLP     []byte              // of the Telemetry API, and with Config.Unread of all: the message, decompressed
	Answered bool
	Code     codes.Code // of the answer
}

// Span is a span as it was written first, by either API.
type Span struct {
	Project string
	Trace   otlp.TraceID
	ID      otlp.SpanID
	Message *tracepb.Span // as written by Cloud Trace
	OTLP    []byte        // as written by Telemetry: an export request of this span alone, with its resource and scope
	Writes  int
}

// Entry is a log entry as it was written first, with the request's defaults.
type Entry struct {
	Message *loggingpb.LogEntry
	Writes  int
}

// Record is a log record of the Telemetry API. Records have no ids, so the same bytes twice are one with two writes.
type Record struct {
	Project string
	OTLP    []byte // an export request of this record alone, with its resource and scope
	Writes  int
}

// Conflict is an id that was written again with other content. What was written first stays.
type Conflict struct {
	ID      string
	Was, Is string // for people
}

// Stats count what came since the start. Items are counted once per write.
type Stats struct {
	Requests  map[API]int
	Answers   map[codes.Code]int
	Spans     int // accepted
	Entries   int // accepted
	Records   int // accepted
	Repeats   int // of the accepted: the id was there before; 0 with Config.Discard, like the next
	Conflicts int // of the repeats: with other content
}

type spanKey struct {
	project string
	trace   otlp.TraceID
	span    otlp.SpanID
}

type entryKey struct {
	parent string
	time   int64
	id     string
}

// store is what was written. The zero value is ready.
type store struct {
	mu       sync.Mutex
	requests []*Request
	spans    map[spanKey]*Span
	entries  map[entryKey]*Entry
	records  map[string]*Record
	inOrder  struct {
		spans   []*Span
		entries []*Entry
		records []*Record
	}
	conflicts []Conflict
	assigned  int // insert ids given
	stats     Stats
}

// request counts a request, keeps it if asked, and returns what is to be called with its answer.
func (st *store) request(keep bool, r Request) func(codes.Code) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.stats.Requests == nil {
		st.stats.Requests, st.stats.Answers = map[API]int{}, map[codes.Code]int{}
	}
	st.stats.Requests[r.API]++
	if keep {
		st.requests = append(st.requests, &r)
	}
	return func(code codes.Code) {
		st.mu.Lock()
		defer st.mu.Unlock()
		st.stats.Answers[code]++
		r.Answered, r.Code = true, code
	}
}

func (st *store) span(discard bool, key spanKey, s Span) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.stats.Spans++; discard {
		return
	}
	was := st.spans[key]
	if was == nil {
		if st.spans == nil {
			st.spans = map[spanKey]*Span{}
		}
		s.Project, s.Trace, s.ID, s.Writes = key.project, key.trace, key.span, 1
		st.spans[key] = &s
		st.inOrder.spans = append(st.inOrder.spans, &s)
		return
	}
	was.Writes++
	same := proto.Equal(was.Message, s.Message) && bytes.Equal(was.OTLP, s.OTLP)
	st.repeatLocked(same, func() Conflict {
		id := fmt.Sprintf("projects/%s/traces/%v/spans/%v", key.project, key.trace, key.span)
		return Conflict{id, was.String(), s.String()}
	})
}

// String is the content, for people.
func (s *Span) String() string {
	if s.Message != nil {
		return s.Message.String()
	}
	return fmt.Sprintf("OTLP %x", s.OTLP)
}

func (st *store) entry(discard bool, e *loggingpb.LogEntry, now time.Time) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.stats.Entries++; discard {
		return
	}
	st.assigned++
	e = stamped(e, now, st.assigned)
	key := entryKeyOf(e)
	was := st.entries[key]
	if was == nil {
		if st.entries == nil {
			st.entries = map[entryKey]*Entry{}
		}
		was = &Entry{Message: e, Writes: 1}
		st.entries[key] = was
		st.inOrder.entries = append(st.inOrder.entries, was)
		return
	}
	was.Writes++
	st.repeatLocked(proto.Equal(was.Message, e), func() Conflict {
		id := fmt.Sprintf("%s at %v, insert id %s", key.parent, e.Timestamp.AsTime().Format(time.RFC3339Nano), key.id)
		return Conflict{id, was.Message.String(), e.String()}
	})
}

func (st *store) record(discard bool, r Record) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.stats.Records++; discard {
		return
	}
	key := r.Project + "\x00" + string(r.OTLP)
	if was := st.records[key]; was != nil {
		was.Writes++
		st.repeatLocked(true, nil)
		return
	}
	if st.records == nil {
		st.records = map[string]*Record{}
	}
	r.Writes = 1
	st.records[key] = &r
	st.inOrder.records = append(st.inOrder.records, &r)
}

func (st *store) repeatLocked(same bool, conflict func() Conflict) {
	st.stats.Repeats++
	if !same {
		st.stats.Conflicts++
		st.conflicts = append(st.conflicts, conflict())
	}
}

// Spans returns what was written by Cloud Trace and Telemetry, each id once, in the order in which they came.
func (s *Server) Spans() []Span { return values(&s.store, &s.store.inOrder.spans) }

// Entries returns what was written by Cloud Logging, each id once, in the order in which they came.
func (s *Server) Entries() []Entry { return values(&s.store, &s.store.inOrder.entries) }

// Records returns the log records written by Telemetry, each content once, in the order in which they came.
func (s *Server) Records() []Record { return values(&s.store, &s.store.inOrder.records) }

// Requests returns what came so far, refused and unanswered requests included, in the order in which they came; with
// Config.Record only.
func (s *Server) Requests() []Request { return values(&s.store, &s.store.requests) }

func values[T any](st *store, all *[]*T) []T {
	st.mu.Lock()
	defer st.mu.Unlock()
	out := make([]T, len(*all))
	for i, v := range *all {
		out[i] = *v
	}
	return out
}

// Conflicts returns the ids that were written again with other content.
func (s *Server) Conflicts() []Conflict {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	return slices.Clone(s.store.conflicts)
}

// Stats returns the counters.
func (s *Server) Stats() Stats {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	out := s.store.stats
	out.Requests, out.Answers = maps.Clone(out.Requests), maps.Clone(out.Answers)
	return out
}

// parseSpanID is of an id that isID is true of.
func parseSpanID(s string) (id otlp.SpanID) {
	_, _ = hex.Decode(id[:], []byte(s))
	return id
}
