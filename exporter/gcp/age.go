package gcp

import (
	"fmt"
	"time"
)

// Ages is how far from now an API takes timestamps. Beyond, the data is refused whatever is done, so it need not be sent.
type Ages struct {
	What         string // "span start", "log entry"
	Past, Future time.Duration
}

// SpanAges is of Cloud Trace and of the Telemetry API for spans, by their start; EntryAges of Cloud Logging: its log
// buckets refuse what is older, the API what is newer. (docs.cloud.google.com/trace/docs/quotas, .../logging/quotas)
var (
	SpanAges  = Ages{What: "span start", Past: 14 * day, Future: 3 * day}
	EntryAges = Ages{What: "log entry", Past: 30 * day, Future: day}
)

const (
	day = 24 * time.Hour

	// ageMargin is for the way to Google and for clocks that differ: what is that near to the end would be refused
	// over there, and with it the request it is in.
	ageMargin = time.Minute
)

// Take tells whether the API takes the timestamp, unix nanoseconds, at now.
func (a Ages) Take(ns uint64, now time.Time) bool {
	n := now.UnixNano()
	past, future := n-int64(a.Past-ageMargin), n+int64(a.Future-ageMargin)
	return ns >= uint64(max(0, past)) && ns <= uint64(max(0, future))
}

// Fault says why the API does not take the timestamp.
func (a Ages) Fault(ns uint64, now time.Time) error {
	side, bound := "past", a.Past
	if ns > uint64(max(0, now.UnixNano())) {
		side, bound = "future", a.Future
	}
	at := time.Unix(int64(ns/1e9), int64(ns%1e9)).UTC().Format(time.RFC3339)
	return fmt.Errorf("%s %s is more than %g days in the %s", a.What, at, bound.Hours()/24, side)
}
