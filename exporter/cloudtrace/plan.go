package cloudtrace

import (
	"errors"
	"fmt"
	"sync"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"tailweir/exporter"
	"tailweir/exporter/gcp"
	"tailweir/otlp"
)

// plan is a batch made into requests.
type plan struct {
	payload   *otlp.Payload
	parts     []exporter.Part
	now       time.Time
	requests  []*request
	shortened int // spans

	mu      sync.Mutex // guards refused
	refused []exporter.Refusal
}

// request is spans for one project, within the limits of a request.
type request struct {
	project string
	spans   []sdktrace.ReadOnlySpan
	items   []item
	size    int
}

// item is where in the batch a span is from.
type item struct{ part, index int }

func newPlan(payload *otlp.Payload, parts []exporter.Part, now time.Time) *plan {
	return &plan{payload: payload, parts: parts, now: now}
}

var errNoID = errors.New("span without trace id or span id")

func (p *plan) make(routes *gcp.Routes) {
	var at item
	mapper, choice := newMapper(p.payload), routes.For(p.payload)
	open := map[string]*request{} // the one of each project that still grows
	spans := make([]span, p.payload.Len())
	for i := range spans {
		for at.part < len(p.parts) && at.index == p.parts[at.part].Items {
			at = item{part: at.part + 1}
		}
		p.add(int32(i), at, &spans[i], mapper, choice, open)
		at.index++
	}
}

func (p *plan) add(i int32, at item, into *span, m *mapper, choice *gcp.Chooser, open map[string]*request) {
	s := p.payload.Span(i)
	if !s.Valid() {
		p.refuse(at, exporter.ReasonRejected, errNoID)
		return
	}
	if !gcp.SpanAges.Take(s.Start(), p.now) {
		p.refuse(at, exporter.ReasonAge, gcp.SpanAges.Fault(s.Start(), p.now))
		return
	}
	shortened := m.make(i, into)
	if into.size > maxSpanBytes {
		p.refuse(at, exporter.ReasonLimit, fmt.Errorf("span of about %d bytes, the limit is %d bytes", into.size, maxSpanBytes))
		return
	}
	if shortened {
		p.shortened++
	}
	project := choice.Project(i)
	r := open[project]
	if r == nil || len(r.spans) == maxRequestSpans || r.size+into.size > maxRequestBytes {
		r = &request{project: project}
		open[project], p.requests = r, append(p.requests, r)
	}
	r.spans, r.items, r.size = append(r.spans, into), append(r.items, at), r.size+into.size
}

func (p *plan) refuse(at item, reason string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refused = append(p.refused, exporter.Refusal{Part: at.part, Items: []int{at.index}, Reason: reason, Err: err})
}
