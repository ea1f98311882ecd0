package cloudlogging

import (
	"tailweir/otlp"
)

// Labels of ours.
const (
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

// labels gathers an entry's labels: what is set first has the key.
type labels struct {
	set  map[string]string
	more []byte // JSON object of what came later, but for its end
}

// add makes the attribute a label if it can be one: API limits are 64 labels, of which three are ours, keys of 512 B. What
// cannot, or has the key of another label, is gathered, so that nothing is lost.
func (l *labels) add(key []byte, v otlp.Value) {
	k := text(key)
	old, ok := l.set[k]
	if ok && old == plain(v) {
		return
	}
	if !ok && len(l.set) < maxLabels-3 && k != "" && len(k) <= maxLabelKey {
		l.set[k] = plain(v)
		return
	}
	if l.more == nil {
		l.more = []byte{'{'}
	} else {
		l.more = append(l.more, ',')
	}
	l.more = v.AppendJSON(append(otlp.AppendJSONString(l.more, key), ':'))
}

func (l *labels) own(key, value string) {
	if value != "" {
		l.set[key] = value
	}
}

// done returns the labels, nil for none.
func (l *labels) done() map[string]string {
	if l.more != nil {
		l.set[labelMore] = string(append(l.more, '}'))
	}
	if len(l.set) == 0 {
		return nil
	}
	return l.set
}
