package cloudtrace

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"tailweir/exporter"
	"tailweir/exporter/gcp"
	"tailweir/otlp"
)

// plan makes a batch into requests, one after the other: a resource is in each of its spans, so that all of them together can be
// larger than the batch by far.
type plan struct {
	payload   *otlp.Payload
	parts     []exporter.Part
	now       time.Time
	mapper    *mapper
	projects  *gcp.Chooser
	open      map[string]*request // the one of each project that still grows
	full      func(*request)      // takes those that do not
	shortened int                 // spans

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

func newPlan(payload *otlp.Payload, b *exporter.Batch, routes *gcp.Routes, now time.Time, full func(*request)) *plan {
	return &plan{
		payload: payload, parts: b.Parts, now: now, mapper: newMapper(payload), projects: routes.For(payload),
		open: map[string]*request{}, full: full,
	}
}

var errNoID = errors.New("span without trace id or span id")

func (p *plan) run() {
	var at item
	for i := range int32(p.payload.Len()) {
		for at.part < len(p.parts) && at.index == p.parts[at.part].Items {
			at = item{part: at.part + 1}
		}
		p.add(i, at)
		at.index++
	}
	for _, project := range slices.Sorted(maps.Keys(p.open)) {
		p.full(p.open[project])
	}
}

func (p *plan) add(i int32, at item) {
	s := p.payload.Span(i)
	if !s.Valid() {
		p.refuse(at, exporter.ReasonRejected, errNoID)
		return
	}
	if !gcp.SpanAges.Take(s.Start(), p.now) {
		p.refuse(at, exporter.ReasonAge, gcp.SpanAges.Fault(s.Start(), p.now))
		return
	}
	out := new(span)
	shortened := p.mapper.make(i, out)
	if out.size > maxSpanBytes {
		p.refuse(at, exporter.ReasonLimit, fmt.Errorf("span of about %d bytes, the limit is %d bytes", out.size, maxSpanBytes))
		return
	}
	if shortened {
		p.shortened++
	}
	r := p.requestFor(p.projects.Project(i), out.size)
	r.spans, r.items, r.size = append(r.spans, out), append(r.items, at), r.size+out.size
}

// requestFor returns the open request of the project, with room for a span.
func (p *plan) requestFor(project string, size int) *request {
	r := p.open[project]
	if r != nil && (len(r.spans) == maxRequestSpans || r.size+size > maxRequestBytes) {
		p.full(r)
		r = nil
	}
	if r == nil {
		r = &request{project: project}
		p.open[project] = r
	}
	return r
}

func (p *plan) refuse(at item, reason string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refused = append(p.refused, exporter.Refusal{Part: at.part, Items: []int{at.index}, Reason: reason, Err: err})
}
