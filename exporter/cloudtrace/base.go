package cloudtrace

import (
	"iter"
	"maps"
	"slices"
	"strings"

	"go.opentelemetry.io/otel/attribute"

	"tailweir/exporter/gcp"
	"tailweir/otlp"
)

// base is what all spans of a scope have in common: the attributes of resource and scope, which are more than half of a span's.
// They are encoded once, see sending.
type base struct {
	attributes []attribute.KeyValue
	encoded    []byte
	agent      attribute.KeyValue // of each span, since the package adds one to spans without
	skipped    int                // more attributes than any span can have
	notes      notes
}

// The package's names for a scope's name and version, and more of the kind. A resource's attributes keep their keys.
const (
	scopeName       = "otel.scope.name"
	scopeVersion    = "otel.scope.version"
	scopeAttributes = "otel.scope.attributes." // the prefix of their keys
	scopeSchema     = "otel.scope.schema_url"
	scopeDropped    = "otel.scope.dropped_attributes_count"
	resourceSchema  = "otel.resource.schema_url"
	resourceDropped = "otel.resource.dropped_attributes_count"
	agentLabel      = "g.co/agent"
)

func (m *mapper) base(s otlp.Span) *base {
	resource, scope := s.ResourceIndex(), s.ScopeIndex()
	if b := m.scopes[scope]; b != nil {
		return b
	}
	m.buf = m.payload.AppendScope(m.payload.AppendResource(m.buf[:0], resource), scope)
	b := m.bases[string(m.buf)]
	if b == nil {
		id := string(m.buf)
		b = m.newBase(s, m.payload.Scope(scope))
		m.bases[id] = b
	}
	m.scopes[scope] = b
	return b
}

func (m *mapper) newBase(s otlp.Span, scope otlp.Scope) *base {
	r := s.Resource()
	m.notes.copy(&notes{})
	list := m.appendAll(nil, r.Attributes(), ofSpan)
	skipped := m.skipped
	list = m.appendText(list, resourceSchema, r.SchemaURL(), ofSpan)
	list = appendCount(list, resourceDropped, r.Dropped())
	list = m.appendAll(list, prefixed(scope.Attributes()), ofSpan)
	skipped += m.skipped
	list = m.appendText(list, scopeName, s.ScopeName(), ofSpan)
	list = m.appendText(list, scopeVersion, s.ScopeVersion(), ofSpan)
	list = m.appendText(list, scopeSchema, scope.SchemaURL(), ofSpan)
	list = appendCount(list, scopeDropped, scope.Dropped())
	list = appendMonitored(list, r)
	if len(list) > maxAttributes {
		var dropped int
		list, dropped = choose(list, len(list), maxAttributes)
		skipped += dropped
	}
	b := &base{attributes: list, encoded: encode(list), agent: attribute.String(agentLabel, agent(r)), skipped: skipped}
	b.notes.copy(&m.notes)
	return b
}

func prefixed(all iter.Seq2[[]byte, otlp.Value]) iter.Seq2[[]byte, otlp.Value] {
	return func(yield func([]byte, otlp.Value) bool) {
		for k, v := range all {
			if !yield(append([]byte(scopeAttributes), k...), v) {
				return
			}
		}
	}
}

// appendMonitored appends the labels by which Cloud Trace joins a span with the machine that it ran on, g.co/r/[type]/[label].
func appendMonitored(list []attribute.KeyValue, r otlp.Resource) []attribute.KeyValue {
	typ, labels := gcp.ResourceOf(func(key string) (string, bool) {
		v, ok := r.Attribute(key)
		return strings.ToValidUTF8(v.String(), "\uFFFD"), ok
	})
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		if labels[name] != "" {
			list = append(list, attribute.String("g.co/r/"+typ+"/"+name, clip(labels[name], maxValue)))
		}
	}
	return list
}

// agent says who made the span, in the form that Google's exporters gave this label. The package would name itself and its version
// where there is none: then workers of two versions would send different spans for the same data.
func agent(r otlp.Resource) string {
	if own, ok := r.Attribute(agentLabel); ok {
		return valid(own.Str())
	}
	language, _ := r.Attribute("telemetry.sdk.language")
	version, ok := r.Attribute("telemetry.sdk.version")
	if !ok || language.Kind() != otlp.String {
		return "tailweir"
	}
	return "opentelemetry-" + valid(language.Str()) + " " + valid(version.Str()) + "; tailweir"
}
