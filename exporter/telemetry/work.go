package telemetry

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"tailweir/exporter"
	"tailweir/exporter/gcp"
	"tailweir/otlp"
)

// work is what is found out about one batch before it is sent: which of its items go where, and what has to be changed in them. It
// is used again for the next.
type work struct {
	scanned, cut otlp.Payload
	payload      *otlp.Payload // what is sent: one of the two, with the same items
	marks        []mark        // by item
	headers      []int32       // by scope: attributes of the scope and its resource, or beyond
	destinations []destination
	byProject    map[string]int
	shortened    int // items
}

// mark is what is known of an item.
type mark struct {
	attributes int32 // with those of its events and links; or beyond: it exceeds a limit, or its scope or resource does
	sampled    int8  // what its sampled flag has to say
}

const beyond int32 = -1

const (
	asItCame int8 = iota
	isSampled
	notSampled
)

// destination is a project's items, ascending.
type destination struct {
	project string
	items   []int32
}

// plan reads the batch. Items that can never pass go to d.
func (w *work) plan(b *exporter.Batch, routes *gcp.Routes, now time.Time, d *delivery) error {
	if err := w.scanned.Scan(b.Signal, b.Payload); err != nil {
		return err
	}
	w.reset()
	chooser := routes.For(&w.scanned)
	last := -1
	for i := range int32(w.scanned.Len()) {
		if reason, err := w.unfit(i, now); err != nil {
			d.refuse(i, reason, err)
			continue
		}
		if project := chooser.Project(i); last < 0 || w.destinations[last].project != project {
			last = w.destination(project)
		}
		w.destinations[last].items = append(w.destinations[last].items, i)
		w.measure(i)
	}
	if b.Signal == otlp.Logs {
		w.decide(b.Parts)
	}
	if w.shortened > 0 {
		return w.shorten()
	}
	return nil
}

func (w *work) reset() {
	w.payload, w.shortened = &w.scanned, 0
	w.marks = slices.Grow(w.marks[:0], w.scanned.Len())[:w.scanned.Len()]
	clear(w.marks)
	w.measureHeaders()
	w.destinations = w.destinations[:0]
	if w.byProject == nil {
		w.byProject = map[string]int{}
	}
	clear(w.byProject)
}

func (w *work) destination(project string) int {
	at, ok := w.byProject[project]
	if ok {
		return at
	}
	at = len(w.destinations)
	w.byProject[project] = at
	w.destinations = slices.Grow(w.destinations, 1)[:at+1]
	to := &w.destinations[at]
	to.project, to.items = project, to.items[:0]
	return at
}

// unfit says why the API will never take the item, if it is so.
func (w *work) unfit(i int32, now time.Time) (reason string, err error) {
	if w.scanned.Signal() == otlp.Logs {
		rec := w.scanned.Record(i)
		at := rec.Time()
		if at == 0 {
			at = rec.ObservedTime()
		}
		if at != 0 && !gcp.EntryAges.Take(at, now) { // without a time the API takes its own
			return exporter.ReasonAge, gcp.EntryAges.Fault(at, now)
		}
		return "", nil
	}
	span := w.scanned.Span(i)
	if !span.Valid() {
		return exporter.ReasonRejected, errors.New("span without a trace id or a span id")
	}
	if !gcp.SpanAges.Take(span.Start(), now) {
		return exporter.ReasonAge, gcp.SpanAges.Fault(span.Start(), now)
	}
	return "", nil
}

func (w *work) measureHeaders() {
	w.headers = w.headers[:0]
	for s := range int32(w.payload.Scopes()) {
		n, ok := headerLimits.Headers(w.payload, s)
		if !ok {
			n = int(beyond)
		}
		w.headers = append(w.headers, int32(n))
	}
}

func (w *work) measure(i int32) {
	n, ok := 0, true
	if w.payload.Signal() == otlp.Logs {
		rec := w.payload.Record(i)
		n, ok = limits.Record(rec)
		ok = ok && rec.Size() <= maxRecord
	} else {
		n, ok = limits.Span(w.payload.Span(i))
	}
	header := w.headers[w.item(i).ScopeIndex()]
	if ok && header != beyond && 1+int(header)+n <= maxGroup {
		w.marks[i].attributes = int32(n)
		return
	}
	w.marks[i].attributes = beyond
	w.shortened++
}

// item is item i as a span, also where it is a record: where it lies is said alike of both.
func (w *work) item(i int32) otlp.Span { return w.payload.Span(i) }

// decide says what the sampled flags of decided records have to be.
func (w *work) decide(parts []exporter.Part) {
	i := 0
	for _, p := range parts {
		end := min(i+p.Items, len(w.marks))
		for ; i < end; i++ {
			switch {
			case p.Decided && p.Kept:
				w.marks[i].sampled = isSampled
			case p.Decided:
				w.marks[i].sampled = notSampled
			}
		}
	}
}

// encode writes a request of the first n of the items that fill it, at least one.
func (w *work) encode(dst []byte, project string, items []int32) (request []byte, n int) {
	var out otlp.Writer
	out.Start(dst, w.payload, gcp.ProjectAttribute, project)
	scope, resource, attributes := int32(-1), int32(-1), 0
	for n, i := range items {
		if n > 0 && out.Len()+out.Need(i) > maxRequest {
			return out.Bytes(), n
		}
		s, r := w.item(i).ScopeIndex(), w.item(i).ResourceIndex()
		header, own := int(w.headers[s]), int(w.marks[i].attributes)
		if r == resource && s == scope {
			header = 0
		}
		if r != resource || attributes+header+own > maxGroup {
			out.Break()
			attributes, header = 1, int(w.headers[s]) // 1 is the project
		}
		scope, resource = s, r
		attributes += header + own
		var suffix [5]byte
		out.Item(i, suffix[:w.flags(i, &suffix)])
	}
	return out.Bytes(), len(items)
}

// flags sets suffix to what makes a record's sampled flag say what was decided, and returns its length: 0 where it does.
func (w *work) flags(i int32, suffix *[5]byte) int {
	if w.marks[i].sampled == asItCame {
		return 0
	}
	was := w.payload.Record(i).Flags()
	is := was &^ 1
	if w.marks[i].sampled == isSampled {
		is |= 1
	}
	if is == was {
		return 0
	}
	*suffix = otlp.FlagsField(is)
	return len(suffix)
}

// shorten makes another payload, with what is beyond a limit cut to fit.
func (w *work) shorten() error {
	var all, run otlp.Writer
	all.Start(nil, &w.scanned, "", "")
	for i, n := int32(0), int32(w.scanned.Len()); i < n; {
		if w.marks[i].attributes != beyond {
			all.Item(i, nil)
			i++
			continue
		}
		// Those of one resource together, for it can be as large as all else, and is decoded.
		run.Start(nil, &w.scanned, "", "")
		for r := w.item(i).ResourceIndex(); i < n && w.marks[i].attributes == beyond && w.item(i).ResourceIndex() == r; i++ {
			run.Item(i, nil)
		}
		b, err := cut(w.scanned.Signal(), run.Bytes())
		if err != nil {
			return err
		}
		all.Request(b)
	}
	if err := w.cut.Scan(w.scanned.Signal(), all.Bytes()); err != nil {
		return err
	}
	if w.cut.Len() != w.scanned.Len() {
		return fmt.Errorf("%d items are %d when shortened", w.scanned.Len(), w.cut.Len())
	}
	w.payload = &w.cut
	w.measureHeaders()
	shortened := w.shortened
	for i := range w.marks {
		if w.marks[i].attributes == beyond {
			w.measure(int32(i))
		}
	}
	w.shortened = shortened
	return nil
}
