package cloudlogging

import (
	"maps"
	"net/url"
	"regexp"

	mrpb "google.golang.org/genproto/googleapis/api/monitoredres"

	"tailweir/exporter/gcp"
	"tailweir/otlp"
)

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

// scope is what all records under one instrumentation scope share.
type scope struct {
	read          bool
	name, version string
	attrs         []attribute
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
		from := m.payload.Scope(rec.ScopeIndex())
		*s = scope{read: true, name: text(rec.ScopeName()), version: text(rec.ScopeVersion())}
		for k, v := range from.Attributes() {
			s.attrs = append(s.attrs, attribute{k, v})
		}
	}
	return s
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
