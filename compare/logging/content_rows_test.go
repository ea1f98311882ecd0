package logging

import (
	"encoding/json"
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"
)

const (
	moreLabel      = "labels[tailweir.more_attributes]"
	shortenedLabel = "labels[tailweir.shortened]"
)

// inMore tells whether ours has put the attribute among those that cannot be labels.
func inMore(p pair, key string) bool {
	quoted, err := json.Marshal(key)
	must(err)
	return strings.Contains(p.ours[moreLabel], string(quoted)+":")
}

var labelRows = []row{
	{"attributes that cannot be labels", func(d difference, p pair) bool {
		return d.path == moreLabel && d.theirs == "" || strings.HasPrefix(d.path, "labels[") && (d.ours == "" || d.path == label(twin)) && inMore(p, keyOf(d.path))
	}},
	{"`severity_text`", func(d difference, p pair) bool {
		return d.path == "labels[severity_text]" && d.theirs == "" && d.ours == p.place().record.SeverityText()
	}},
	{"dropped attributes", func(d difference, p pair) bool {
		return d.path == "labels[otel.dropped_attributes_count]" && d.theirs == ""
	}},
	{"attributes of the scope", func(d difference, p pair) bool {
		v, is := p.place().scope.Scope().Attributes().Get(keyOf(d.path))
		return is && strings.HasPrefix(d.path, "labels[") && d.theirs == "" && d.ours == v.AsString()
	}},
	{"attributes that begin with `gcp.`", func(d difference, p pair) bool {
		return strings.HasPrefix(d.path, "labels[gcp.") && d.theirs == "" && d.ours == strings.ToValidUTF8(p.attribute(keyOf(d.path)), "\uFFFD")
	}},
	{"numbers and maps as text", func(d difference, p pair) bool {
		return d.path == "labels[e]" && d.ours == "1e-09" || d.path == "labels[map]" && d.ours == `{"z":1,"a":"x"}`
	}},
}

func keyOf(path string) string { return strings.TrimSuffix(strings.TrimPrefix(path, "labels["), "]") }

var payloadRows = []row{
	{"what is too large", func(d difference, p pair) bool {
		left, cut := strings.CutSuffix(strings.TrimSuffix(d.ours, `"`), "…")
		return p.ours[shortenedLabel] != "" && (d.path == shortenedLabel || cut && strings.HasPrefix(d.theirs, left))
	}},
	{"stack traces", func(d difference, p pair) bool {
		trace := p.attribute("exception.stacktrace")
		inText := p.ours["text"] == strings.TrimPrefix(p.theirs["text"]+"\n"+trace, "\n") && (d.path == "text" || d.path == "payload" && d.theirs == "none")
		return trace != "" && (d.path == label("exception.stacktrace") || inText || d.path == "json[stack_trace]")
	}},
	{"text that is a JSON object", func(d difference, p pair) bool {
		return ofPayload(d) && p.theirs["payload"] == "text" && p.ours["payload"] == "json" && bodyOf(p).Type() == pcommon.ValueTypeStr
	}},
	{"bytes", func(d difference, p pair) bool {
		return (ofPayload(d) || d.path == "labels[tailweir.body_encoding]") && bodyOf(p).Type() == pcommon.ValueTypeBytes
	}},
	{"numbers that JSON does not have", func(d difference, p pair) bool {
		return strings.HasPrefix(d.path, "json[") && (d.ours == `"9007199254740993"` || d.ours == `"NaN"` || d.ours == `"-Infinity"`)
	}},
	{"keys that repeat", func(d difference, p pair) bool {
		return ofPayload(d) && p.theirs["payload"] == "json" && p.ours["payload"] == "text" && strings.Count(p.ours["text"], twin) == 2
	}},
	{"maps with text that is not UTF-8", func(d difference, p pair) bool {
		return ofPayload(d) && bodyOf(p).Type() == pcommon.ValueTypeMap && p.theirs["payload"] == "text" && p.ours["payload"] == "json"
	}},
}

func ofPayload(d difference) bool {
	return d.path == "payload" || d.path == "text" || strings.HasPrefix(d.path, "json[")
}

func bodyOf(p pair) pcommon.Value { return p.place().record.Body() }
