package console

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"

	"tailweir/otlp"
)

const (
	defaultLimit = 50
	maxLimit     = 10_000 // larger limits are cut to this: the list is made in memory
)

// traceLine is a kept trace in the answer of /api/traces.
type traceLine struct {
	TraceID    string  `json:"trace_id"`
	Root       string  `json:"root"`
	Service    string  `json:"service"`
	Spans      int64   `json:"spans"`
	DurationMS float64 `json:"duration_ms"` // to the microsecond
	Error      bool    `json:"error"`
	Policy     string  `json:"policy"`
	Reason     string  `json:"reason"`
}

func (c *Console) apiStats(w http.ResponseWriter, _ *http.Request) {
	s := c.source.Stats()
	if s.ByPolicy == nil {
		s.ByPolicy = map[string]PolicyCounts{}
	}
	writeJSON(w, http.StatusOK, s)
}

func (c *Console) apiTraces(w http.ResponseWriter, r *http.Request) {
	limit := defaultLimit
	if r.URL.Query().Has("limit") {
		text := r.URL.Query().Get("limit")
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			apiError(w, http.StatusBadRequest, fmt.Sprintf("limit %q: want a whole number above 0", text))
			return
		}
		limit = min(n, maxLimit)
	}
	lines := []traceLine{}
	for _, t := range c.source.Latest(limit) {
		ms := math.Round(float64(t.Duration.Nanoseconds())/1e3) / 1e3
		lines = append(lines, traceLine{t.TraceID.String(), t.Root, t.Service, t.Spans, ms, t.Error, t.Policy, t.Reason})
	}
	writeJSON(w, http.StatusOK, map[string]any{"traces": lines})
}

// apiTrace answers with the spans or the log records of one trace as OTLP JSON.
func (c *Console) apiTrace(signal otlp.Signal) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id, err := otlp.ParseTraceID(r.PathValue("id"))
		if err != nil {
			apiError(w, http.StatusBadRequest, fmt.Sprintf("trace id %q: want 32 hex digits", r.PathValue("id")))
			return
		}
		t, ok := c.source.Trace(id)
		if !ok {
			apiError(w, http.StatusNotFound, "trace "+id.String()+": not among the kept traces")
			return
		}
		body, err := traceJSON(signal, t)
		if err != nil {
			apiError(w, http.StatusInternalServerError, fmt.Sprintf("trace %s: %v", id, err))
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write(body)
	}
}

// traceJSON always has the outer array, also for a trace without any item of the signal.
func traceJSON(signal otlp.Signal, t Trace) ([]byte, error) {
	payload, empty := t.Spans, `{"resourceSpans":[]}`
	if signal == otlp.Logs {
		payload, empty = t.Logs, `{"resourceLogs":[]}`
	}
	if len(payload) == 0 {
		return []byte(empty + "\n"), nil
	}
	body, err := otlp.ToJSON(signal, payload)
	if err != nil {
		return nil, err
	}
	return append(body, '\n'), nil
}

func apiError(w http.ResponseWriter, code int, text string) {
	writeJSON(w, code, map[string]string{"error": text})
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	w.Write(append(body, '\n'))
}
