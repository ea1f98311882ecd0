package cloudlogging

import (
	"bytes"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"hash"
	"maps"
	"net/url"
	"regexp"
	"strconv"
	"time"
	"unicode/utf8"

	loggingpb "cloud.google.com/go/logging/apiv2/loggingpb"
	mrpb "google.golang.org/genproto/googleapis/api/monitoredres"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tailweir/exporter"
	"tailweir/exporter/gcp"
	"tailweir/otlp"
)

// keptAttribute is what the pipeline appends to a record whose trace is decided; traceSampled says it here. It is no part of what
// identifies a record: an undecided copy may have been exported before.
const keptAttribute = "tailweir.kept"

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

	entries   []entry
	refused   []exporter.Refusal
	shortened int // records of which something was cut
}

// resource is what all records under one OTLP resource share.
type resource struct {
	read    bool
	typ     string
	labels  map[string]string // of the monitored resource
	logName string
	attrs   []attribute // those that become labels

	project   string // that monitored and encoded are for
	monitored *mrpb.MonitoredResource
	encoded   []byte // monitored, as the entry's field
}

type attribute struct {
	key   []byte
	value otlp.Value
}

// scope is an instrumentation scope's name and version.
type scope struct {
	read          bool
	name, version string
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
	if ns := cmpOr(rec.Time(), rec.ObservedTime()); ns != 0 {
		if !gcp.EntryAges.Take(ns, m.now) {
			m.refused = append(m.refused, exporter.Refusal{Part: at.part, Items: []int{at.item}, Reason: exporter.ReasonAge, Err: gcp.EntryAges.Fault(ns, m.now)})
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
	l := m.labels(rec, res, &s)
	m.trace(e, rec, project, s.sampled(part, rec.Flags()))
	s.fields(e)
	e.LogName = "projects/" + project + "/logs/" + m.logID(&s, res)
	var severityText string
	e.Severity, severityText = severity(rec)
	l.own(labelSeverityText, severityText)
	body := rec.Body()
	setPayload(e, body, rec.Size() <= maxStructured, s.stack(body), &l)
	s.rest(&l)
	e.Labels = l.done()
	for _, b := range m.fit(e, res.encoded, body) {
		m.entries = append(m.entries, entry{b, project, at.part, at.item})
	}
}

func cmpOr(a, b uint64) uint64 {
	if a != 0 {
		return a
	}
	return b
}

// labels gathers the labels and, apart, the attributes that entries have fields for.
func (m *mapper) labels(rec otlp.Record, res *resource, s *special) labels {
	l := labels{set: make(map[string]string, 12)}
	sc := m.scope(rec)
	l.own(labelEvent, text(rec.EventName()))
	l.own(labelScope, sc.name)
	l.own(labelScopeVersion, sc.version)
	if n := rec.DroppedAttributes(); n > 0 {
		l.own(labelDropped, strconv.FormatUint(uint64(n), 10))
	}
	for _, a := range res.attrs {
		l.add(a.key, a.value)
	}
	for k, v := range rec.Attributes() {
		if string(k) != keptAttribute && !s.gather(k, v) {
			l.add(k, v)
		}
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

// setPayload makes the payload of the body: JSON of maps and of text or bytes that are a JSON object, text of all else. A
// stack trace comes where Error Reporting finds it: after the text, or in the field stack_trace.
func setPayload(e *loggingpb.LogEntry, body otlp.Value, structured bool, stack string, l *labels) {
	if s, ok := object(body, structured); ok {
		if stack != "" && s.Fields["stack_trace"] == nil {
			s.Fields["stack_trace"] = structpb.NewStringValue(stack)
		}
		e.Payload = &loggingpb.LogEntry_JsonPayload{JsonPayload: s}
		return
	}
	if body.Kind() == otlp.Bytes && !utf8.Valid(body.Str()) {
		l.own(labelEncoding, "base64")
	}
	if t := bodyText(body, stack); t != "" {
		e.Payload = &loggingpb.LogEntry_TextPayload{TextPayload: t}
	}
}

func object(body otlp.Value, structured bool) (*structpb.Struct, bool) {
	switch kind := body.Kind(); {
	case !structured:
	case kind == otlp.Map:
		return toStruct(body, maxDepth)
	case kind == otlp.String || kind == otlp.Bytes:
		return parseObject(body.Str())
	}
	return nil, false
}

func bodyText(body otlp.Value, stack string) (t string) {
	switch {
	case body.Kind() == otlp.Bytes && !utf8.Valid(body.Str()):
		t = base64.StdEncoding.EncodeToString(body.Str())
	case body.Kind() == otlp.Bytes:
		t = string(body.Str())
	case body.Kind() != otlp.Empty:
		t = plain(body)
	}
	if t != "" && stack != "" {
		t += "\n"
	}
	return t + stack
}

func (s *special) rest(l *labels) {
	if s.set == 0 {
		return
	}
	for at := range slots {
		if s.has(at) {
			l.add(s.keys[at], s.vals[at])
		}
	}
}

// logID returns the log's name in a path: that of the record's gcp.log_name, else of its resource's, else of the settings.
func (m *mapper) logID(s *special, res *resource) string {
	if id, ok := escapeLogName(s.str(logName)); ok {
		s.took(logName)
		return id
	}
	if res.logName != "" {
		return res.logName
	}
	return m.config.escapedLogName
}

// logNames is what the API allows in a log's name; it must be less than 512 characters long.
var logNames = regexp.MustCompile(`^[A-Za-z0-9/_.-]{1,511}$`)

func escapeLogName(name string) (string, bool) {
	if name == "" || !logNames.MatchString(name) {
		return "", false
	}
	return url.PathEscape(name), true
}

// resource returns what the record's resource is, read at its first record.
func (m *mapper) resource(rec otlp.Record) *resource {
	r := &m.resources[rec.ResourceIndex()]
	if r.read {
		return r
	}
	r.read = true
	from := rec.Resource()
	r.typ, r.labels = gcp.ResourceOf(func(key string) (string, bool) {
		v, ok := from.Attribute(key)
		return plain(v), ok
	})
	if name, ok := from.Attribute("gcp.log_name"); ok {
		r.logName, _ = escapeLogName(text(name.Str()))
	}
	for k, v := range from.Attributes() {
		if m.config.isLabel(string(k)) {
			r.attrs = append(r.attrs, attribute{k, v})
		}
	}
	return r
}

// in makes the monitored resource that of the project: nearly always all entries of a resource go to one.
func (r *resource) in(project string) {
	if r.monitored != nil && r.project == project {
		return
	}
	r.project = project
	r.monitored = &mrpb.MonitoredResource{Type: r.typ, Labels: map[string]string{"project_id": project}}
	maps.Copy(r.monitored.Labels, r.labels)
	r.encoded = encodeResource(r.monitored)
}

func (m *mapper) scope(rec otlp.Record) *scope {
	s := &m.scopes[rec.ScopeIndex()]
	if !s.read {
		*s = scope{read: true, name: text(rec.ScopeName()), version: text(rec.ScopeVersion())}
	}
	return s
}

var (
	insertIDs = base32.HexEncoding.WithPadding(base32.NoPadding)
	kept      = [2][]byte{otlp.BoolAttributeField(otlp.Logs, keptAttribute, false), otlp.BoolAttributeField(otlp.Logs, keptAttribute, true)}
)

// insertID identifies the record by 128 bits of a hash over what it is, which message it came in and where it stood there: two equal
// records are two entries, and a record delivered or sent again is one. Before them come 20 bits of the position: Logging
// orders entries of the same time by their insertId, and clocks of a millisecond give many records one time.
func (m *mapper) insertID(at place, rec otlp.Record) string {
	trace := rec.TraceID()
	b := rec.Bytes()
	for _, k := range kept {
		b = bytes.TrimSuffix(b, k)
	}
	var head [28]byte
	binary.BigEndian.PutUint64(head[:], at.source.Message)
	copy(head[8:], trace[:])
	binary.BigEndian.PutUint32(head[24:], uint32(at.ordinal))
	m.hash.Reset()
	m.hash.Write(head[:])
	m.hash.Write(b)
	var id [5 + sha256.Size]byte
	binary.BigEndian.PutUint32(id[:], uint32(min(at.ordinal, 1<<20-1))<<12)
	m.hash.Sum(id[:5])
	var out [4 + 26]byte
	var position [8]byte
	insertIDs.Encode(position[:], id[:5])
	copy(out[:], position[:4])
	insertIDs.Encode(out[4:], id[5:][:16])
	return string(out[:])
}

// fit returns the encoded entry, shortened or split where it is larger than the API takes.
func (m *mapper) fit(e *loggingpb.LogEntry, resource []byte, body otlp.Value) [][]byte {
	encoded := encode(e, resource)
	if len(encoded) <= maxEntry && !longLabels(e) {
		return [][]byte{encoded}
	}
	l := limiter{LogEntry: e}
	if l.shorten(body) {
		m.shortened++
	}
	var all [][]byte
	for _, e := range l.split() {
		all = append(all, encode(e, encodeResource(e.Resource)))
	}
	return all
}
