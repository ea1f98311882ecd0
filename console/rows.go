package console

import (
	"iter"
	"strconv"
	"time"

	"tailweir/otlp"
)

const (
	statusError = 2   // Status.code ERROR of the OTLP specification
	maxName     = 200 // bytes of a span name or log body in its line
	maxFields   = 128 // attributes shown of one item, the SDKs' own default limit
	maxEvents   = 128
)

var kinds = [...]string{"", "", "server", "client", "producer", "consumer"}

func (d *drawer) spanRow(s otlp.Span, p placed) row {
	svc := serviceName(s.Resource())
	r := row{
		Depth: indent(p.depth), Name: text(string(s.Name()), maxName),
		Service: text(svc, 80), Color: d.colors[svc],
		Error:    s.StatusCode() == statusError,
		Fields:   fields(s.Attributes()),
		Resource: d.resource(s.ResourceIndex(), s.Resource()),
	}
	if k := s.Kind(); k > 0 && int(k) < len(kinds) {
		r.Kind = kinds[k]
	}
	switch {
	case p.note == noteOrphan && s.LocalRoot():
		r.Notes = append(r.Notes, noteRemote)
	case p.note != "":
		r.Notes = append(r.Notes, p.note)
	}
	end := s.End()
	switch {
	case s.Start() == 0:
		r.Notes = append(r.Notes, "it has no start time")
	case end < s.Start():
		r.Notes = append(r.Notes, "it ends before it starts")
		end = s.Start()
	}
	if s.Start() != 0 {
		r.Label = duration(span(s.Start(), end))
	}
	r.bar(d.scale.at(s.Start()), d.scale.at(end))
	r.Facts = spanFacts(s, d.scale)
	r.Events, r.Links = d.events(s), links(s)
	return r
}

func spanFacts(s otlp.Span, scale timeline) []field {
	facts := []field{
		{"span id", s.SpanID().String()},
		{"starts at", scale.since(s.Start())},
	}
	if !s.ParentSpanID().IsZero() {
		facts = append(facts, field{"parent", s.ParentSpanID().String()})
	}
	if scope := s.ScopeName(); len(scope) > 0 {
		facts = append(facts, field{"scope", text(string(scope), maxName)})
	}
	if state := s.TraceState(); len(state) > 0 {
		facts = append(facts, field{"tracestate", text(string(state), maxText)})
	}
	switch s.StatusCode() {
	case 1:
		facts = append(facts, field{"status", "OK"})
	case statusError:
		facts = append(facts, field{"status", text("ERROR "+string(s.StatusMessage()), maxText)})
	}
	return facts
}

func (d *drawer) events(s otlp.Span) []event {
	var events []event
	for e := range s.Events() {
		if len(events) == maxEvents {
			return append(events, event{Name: "… more, see the JSON"})
		}
		events = append(events, event{d.scale.since(e.Time()), text(string(e.Name()), maxName), fields(e.Attributes())})
	}
	return events
}

func links(s otlp.Span) []field {
	var links []field
	for l := range s.Links() {
		if len(links) == maxEvents {
			return append(links, field{"…", "more, see the JSON"})
		}
		links = append(links, field{l.TraceID().String(), l.SpanID().String()})
	}
	return links
}

func (d *drawer) logRow(r otlp.Record, depth int) row {
	svc := serviceName(r.Resource())
	body := r.Body().String()
	at := d.scale.at(recordTime(r))
	out := row{
		Log: true, Depth: indent(depth), Name: text(body, maxName),
		Service: text(svc, 80), Color: d.colors[svc],
		Severity: severityName(r.SeverityNumber(), string(r.SeverityText())),
		Level:    severityLevel(r.SeverityNumber()),
		Label:    d.scale.since(recordTime(r)),
		Facts:    []field{{"time", time.Unix(0, int64(recordTime(r))).UTC().Format(time.RFC3339Nano)}},
		Fields:   fields(r.Attributes()),
		Resource: d.resource(-1-r.ResourceIndex(), r.Resource()),
	}
	if len(body) > maxName {
		out.Facts = append(out.Facts, field{"body", text(body, maxText)})
	}
	if !r.SpanID().IsZero() {
		out.Facts = append(out.Facts, field{"span id", r.SpanID().String()})
	}
	out.bar(at, at)
	return out
}

// recordTime is the time of a record, or when it was observed: the specification lets senders that
// do not know the former leave it 0.
func recordTime(r otlp.Record) uint64 {
	if t := r.Time(); t != 0 {
		return t
	}
	return r.ObservedTime()
}

func span(start, end uint64) time.Duration {
	return time.Duration(min(end-start, 1<<63-1))
}

func serviceName(r otlp.Resource) string {
	if v, ok := r.Attribute("service.name"); ok {
		return v.String()
	}
	return "unknown_service"
}

// resource is made once for each resource; logs have the negative keys.
func (d *drawer) resource(key int32, r otlp.Resource) []field {
	list, ok := d.resources[key]
	if !ok {
		list = fields(r.Attributes())
		d.resources[key] = list
	}
	return list
}

func fields(attributes iter.Seq2[[]byte, otlp.Value]) []field {
	var list []field
	for key, value := range attributes {
		if len(list) == maxFields {
			return append(list, field{"…", "more, see the JSON"})
		}
		list = append(list, field{text(string(key), maxName), text(value.String(), maxText)})
	}
	return list
}

// bar places a row between two times, wide enough to be seen, with its label where there is room.
func (r *row) bar(from, to float64) {
	width := max(to-from, 0.003)
	from = min(from, 1-width)
	r.X, r.W = percent(from), percent(width)
	switch {
	case from+width < 0.86:
		r.LabelX = percent(from + width)
	case from > 0.14:
		r.LabelX, r.LabelEnd = percent(from), true
	default:
		r.LabelX, r.LabelEnd, r.LabelIn = "100%", true, true
	}
}

func indent(depth int) int { return min(depth, maxIndent) }

func severityLevel(n int32) string {
	switch {
	case n >= 17:
		return "error"
	case n >= 13:
		return "warn"
	case n >= 9:
		return "info"
	case n >= 1:
		return "debug"
	}
	return "info"
}

func severityName(n int32, given string) string {
	if given != "" {
		return text(given, 16)
	}
	names := [...]string{"TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"}
	if n < 1 || n > 24 {
		return "LOG"
	}
	name := names[(n-1)/4]
	if nth := (n-1)%4 + 1; nth > 1 {
		name += strconv.Itoa(int(nth))
	}
	return name
}
