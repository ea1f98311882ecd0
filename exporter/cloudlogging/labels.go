package cloudlogging

import (
	"maps"
	"slices"
	"strings"

	"tailweir/otlp"
)

// Labels of ours; attributes with such names are in labelMore.
const (
	reserved       = "tailweir."
	labelShortened = "tailweir.shortened"       // what of the entry was cut, and how long it was
	labelMore      = "tailweir.more_attributes" // JSON object of the attributes that cannot be labels
	labelEncoding  = "tailweir.body_encoding"   // "base64" where the body was bytes that are no text
)

// Labels after what Logging's own exporters call them; severity_text and dropped_attributes are of ours.
const (
	labelEvent        = "event.name"
	labelScope        = "instrumentation_source"
	labelScopeVersion = "instrumentation_version"
	labelSeverityText = "severity_text"
	labelDropped      = "otel.dropped_attributes_count"
)

// label is one of an entry's labels.
type label struct{ key, value string }

// labels gathers an entry's labels: what is set first has the key.
type labels struct {
	set  []label
	more []byte // JSON object of what came later, but for its end
}

// get returns the value of a label. There are few: a map takes longer, and memory.
func (l *labels) get(key string) (string, bool) {
	for i := range l.set {
		if l.set[i].key == key {
			return l.set[i].value, true
		}
	}
	return "", false
}

// add makes the attribute a label if it can be one: API limits are 64 labels, of which three are ours, keys of 512 B. What
// cannot, or has the key of another label, is gathered, so that nothing is lost.
func (l *labels) add(key []byte, v otlp.Value) {
	k := text(key)
	old, ok := l.get(k)
	if ok && old == plain(v) {
		return
	}
	if !ok && len(l.set) < maxLabels-3 && k != "" && len(k) <= maxLabelKey && !strings.HasPrefix(k, reserved) {
		l.set = append(l.set, label{k, plain(v)})
		return
	}
	if l.more == nil {
		l.more = []byte{'{'}
	} else {
		l.more = append(l.more, ',')
	}
	l.more = v.AppendJSON(append(otlp.AppendJSONString(l.more, key), ':'))
}

// own sets a label that no attribute can have set before: it comes first, or is reserved.
func (l *labels) own(key, value string) {
	if value != "" {
		l.set = append(l.set, label{key, value})
	}
}

// done returns the labels in the order of their keys.
func (l *labels) done() []label {
	if l.more != nil {
		l.own(labelMore, string(append(l.more, '}')))
	}
	slices.SortFunc(l.set, func(a, b label) int { return strings.Compare(a.key, b.key) })
	return l.set
}

// long tells whether the API would cut a value.
func long(all []label) bool {
	return slices.ContainsFunc(all, func(l label) bool { return len(l.value) > maxLabelValue })
}

func toMap(all []label) map[string]string {
	m := make(map[string]string, len(all))
	for _, l := range all {
		m[l.key] = l.value
	}
	return m
}

func fromMap(m map[string]string) []label {
	all := make([]label, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		all = append(all, label{k, m[k]})
	}
	return all
}
