package cloudlogging

import (
	"cmp"
	"crypto/sha256"
	"hash"
	"strconv"
	"time"

	loggingpb "cloud.google.com/go/logging/apiv2/loggingpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tailweir/exporter"
	"tailweir/exporter/gcp"
	"tailweir/otlp"
)

// entry is one entry to be sent.
type entry struct {
	encoded    []byte
	project    string
	part, item int // of the batch: the record it is of
}

// mapper turns the records of one batch into entries. The same batch becomes the same entries at any time, but for the
// records that have become too old. It serves one goroutine.
type mapper struct {
	config  *Config
	now     time.Time
	payload otlp.Payload

	chooser   *gcp.Chooser
	resources []resource // by Record.ResourceIndex
	scopes    []scope    // by Record.ScopeIndex
	hash      hash.Hash
	encoder   encoder
	set       []label // memory for the next record's

	entries   []entry
	refused   []exporter.Refusal
	shortened int // records of which something was cut
}

// place says where in its batch a record is.
type place struct {
	part, item int // item within the part
	source     exporter.Source
	ordinal    int // within the source
}

// mapBatch maps all records of a batch, in its order, to entries and refusals.
func (m *mapper) mapBatch(b *exporter.Batch) error {
	if err := m.payload.Scan(otlp.Logs, b.Payload); err != nil {
		return err
	}
	m.chooser = m.config.Routes.For(&m.payload)
	m.resources = make([]resource, m.payload.Resources())
	m.scopes = make([]scope, m.payload.Scopes())
	m.hash = sha256.New()
	parts := b.Parts
	if len(parts) == 0 {
		parts = []exporter.Part{{Items: m.payload.Len()}}
	}
	i := int32(0)
	for n := range parts {
		i = m.mapPart(n, &parts[n], i)
	}
	return nil
}

// mapPart maps the records from i on and returns the first of the next part.
func (m *mapper) mapPart(n int, part *exporter.Part, i int32) int32 {
	at := place{part: n}
	sources := part.Sources
	for ; at.item < part.Items && int(i) < m.payload.Len(); i++ {
		for len(sources) > 0 && at.ordinal >= sources[0].Items {
			sources, at.ordinal = sources[1:], 0
		}
		at.source = exporter.Source{}
		if len(sources) > 0 {
			at.source = sources[0]
		}
		m.mapRecord(part, at, i)
		at.item++
		at.ordinal++
	}
	return i
}

func (m *mapper) mapRecord(part *exporter.Part, at place, i int32) {
	rec := m.payload.Record(i)
	e := &loggingpb.LogEntry{}
	if ns := cmp.Or(rec.Time(), rec.ObservedTime()); ns != 0 {
		if !gcp.EntryAges.Take(ns, m.now) {
			m.refuse(at, exporter.ReasonAge, gcp.EntryAges.Fault(ns, m.now))
			return
		}
		e.Timestamp = &timestamppb.Timestamp{Seconds: int64(ns / 1e9), Nanos: int32(ns % 1e9)}
	}
	res := m.resource(rec)
	project := m.chooser.Project(i)
	res.in(project)
	e.Resource = res.monitored
	e.InsertId = m.insertID(at, rec)

	var s special
	var severityText string
	e.Severity, severityText = severity(rec)
	l := m.labels(rec, res, severityText, &s)
	m.trace(e, rec, project, s.sampled(part, rec.Flags()))
	s.fields(e)
	e.LogName = "projects/" + project + "/logs/" + m.logID(&s, res)
	body := rec.Body()
	setPayload(e, body, rec.Size() <= maxStructured, s.stack(body), &l)
	s.rest(&l)
	all, err := m.fit(e, l.done(), res.encoded, body)
	m.set = l.set
	if err != nil {
		m.refuse(at, exporter.ReasonRejected, err)
		return
	}
	for _, b := range all {
		m.entries = append(m.entries, entry{b, project, at.part, at.item})
	}
}

func (m *mapper) refuse(at place, reason string, err error) {
	m.refused = append(m.refused, exporter.Refusal{Part: at.part, Items: []int{at.item}, Reason: reason, Err: err})
}

// labels gathers the labels and, apart, the attributes that entries have fields for.
func (m *mapper) labels(rec otlp.Record, res *resource, severityText string, s *special) labels {
	l := labels{set: m.set[:0]}
	sc := m.scope(rec)
	l.own(labelEvent, text(rec.EventName()))
	l.own(labelScope, sc.name)
	l.own(labelScopeVersion, sc.version)
	l.own(labelSeverityText, severityText)
	if n := rec.DroppedAttributes(); n > 0 {
		l.own(labelDropped, strconv.FormatUint(uint64(n), 10))
	}
	for _, a := range res.attrs {
		l.add(a.key, a.value)
	}
	for k, v := range rec.Attributes() {
		if string(k) != otlp.AttrKept && !s.gather(k, v) {
			l.add(k, v)
		}
	}
	for _, a := range sc.attrs {
		l.add(a.key, a.value)
	}
	return l
}

// trace connects the entry with its trace, if it has one.
func (m *mapper) trace(e *loggingpb.LogEntry, rec otlp.Record, project string, sampled bool) {
	id := rec.TraceID()
	if id.IsZero() {
		return
	}
	if m.config.TraceProject != "" {
		project = m.config.TraceProject
	}
	e.Trace = "projects/" + project + "/traces/" + id.String()
	e.TraceSampled = sampled
	if span := rec.SpanID(); !span.IsZero() {
		e.SpanId = span.String()
	}
}

// fit returns the encoded entry, shortened or split where it is larger than the API takes.
func (m *mapper) fit(e *loggingpb.LogEntry, labels []label, resource []byte, body otlp.Value) ([][]byte, error) {
	encoded, err := m.encoder.entry(e, labels, resource)
	if err != nil || len(encoded) <= maxEntry && !long(labels) {
		return [][]byte{encoded}, err
	}
	e.Labels = toMap(labels)
	l := limiter{LogEntry: e}
	if l.shorten(body) {
		m.shortened++
	}
	var all [][]byte
	for _, e := range l.split() {
		if encoded, err = m.encoder.entry(e, fromMap(e.Labels), encodeResource(e.Resource)); err != nil {
			return nil, err
		}
		all = append(all, encoded)
	}
	return all, nil
}
