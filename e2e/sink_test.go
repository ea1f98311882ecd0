package e2e_test

import (
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
)

// sink is an OTLP/HTTP backend that remembers what it got.
type sink struct {
	url string

	mu      sync.Mutex
	spans   map[string]map[string]receivedSpan // by trace id and span id
	copies  int                                // spans that came again
	records map[string][]receivedRecord        // by trace id
}

// receivedSpan and receivedRecord come with the attributes of their resource.
type receivedSpan struct {
	ptrace.Span
	resource map[string]any
}

type receivedRecord struct {
	plog.LogRecord
	resource map[string]any
}

// trail is what has come of one trace.
type trail struct {
	spans   []receivedSpan
	records []receivedRecord
}

func (s *sink) trail(id string) trail {
	s.mu.Lock()
	defer s.mu.Unlock()
	return trail{slices.Collect(maps.Values(s.spans[id])), slices.Clone(s.records[id])}
}

// names is the spans' names in order.
func (t trail) names() []string {
	names := []string{}
	for _, span := range t.spans {
		names = append(names, span.Name())
	}
	slices.Sort(names)
	return names
}

func newSink(t *testing.T) *sink {
	s := &sink{spans: map[string]map[string]receivedSpan{}, records: map[string][]receivedRecord{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/traces", receive(s.takeTraces))
	mux.HandleFunc("POST /v1/logs", receive(s.takeLogs))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

func receive(take func([]byte) ([]byte, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var body io.Reader = r.Body
		if r.Header.Get("Content-Encoding") == "gzip" {
			z, err := gzip.NewReader(r.Body)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			body = z
		}
		payload, err := io.ReadAll(body)
		if err == nil {
			payload, err = take(payload)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
		w.Write(payload)
	}
}

func (s *sink) takeTraces(b []byte) ([]byte, error) {
	request := ptraceotlp.NewExportRequest()
	if err := request.UnmarshalProto(b); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range request.Traces().ResourceSpans().All() {
		resource := r.Resource().Attributes().AsRaw()
		for _, scope := range r.ScopeSpans().All() {
			for _, span := range scope.Spans().All() {
				s.takeSpan(receivedSpan{span, resource})
			}
		}
	}
	return ptraceotlp.NewExportResponse().MarshalProto()
}

// takeSpan needs s.mu.
func (s *sink) takeSpan(span receivedSpan) {
	id := span.TraceID().String()
	if s.spans[id] == nil {
		s.spans[id] = map[string]receivedSpan{}
	}
	if _, again := s.spans[id][span.SpanID().String()]; again {
		s.copies++
	}
	s.spans[id][span.SpanID().String()] = span
}

func (s *sink) takeLogs(b []byte) ([]byte, error) {
	request := plogotlp.NewExportRequest()
	if err := request.UnmarshalProto(b); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range request.Logs().ResourceLogs().All() {
		resource := r.Resource().Attributes().AsRaw()
		for _, scope := range r.ScopeLogs().All() {
			for _, record := range scope.LogRecords().All() {
				id := record.TraceID().String()
				s.records[id] = append(s.records[id], receivedRecord{record, resource})
			}
		}
	}
	return plogotlp.NewExportResponse().MarshalProto()
}

// spanCounts is how many different spans of each trace have come.
func (s *sink) spanCounts() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := map[string]int{}
	for id, spans := range s.spans {
		n[id] = len(spans)
	}
	return n
}

// recordCounts is how many log records of each trace have come.
func (s *sink) recordCounts() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := map[string]int{}
	for id, records := range s.records {
		n[id] = len(records)
	}
	return n
}

// verdicts is what the log records say of their traces, and their number.
func (s *sink) verdicts() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := map[string]string{}
	for id, records := range s.records {
		kept, _ := records[0].Attributes().Get(keptAttribute)
		v[id] = fmt.Sprintf("%d records, kept=%s", len(records), kept.AsString())
	}
	return v
}
