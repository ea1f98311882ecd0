package logging

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"cloud.google.com/go/logging/apiv2/loggingpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
)

// fields are what one exporter made of a record: path to text. Sets are taken apart, so that a difference names what differs:
// labels[http.route], json[message], httpRequest.status.
type fields map[string]string

// flatten returns the fields of what came of one record. Pieces of a text that was split are put together again.
func flatten(entries []*loggingpb.LogEntry, err error) fields {
	f := fields{}
	if len(entries) == 0 {
		f["sent"] = fmt.Sprint("no: ", err)
		return f
	}
	e := entries[0]
	f["sent"] = "yes"
	f["logName"], f["severity"], f["trace"], f["spanId"] = e.LogName, e.Severity.String(), e.Trace, e.SpanId
	f["traceSampled"] = strconv.FormatBool(e.TraceSampled)
	if e.InsertId != "" {
		f["insertId"] = "set"
	}
	if e.Timestamp != nil {
		f["timestamp"] = e.Timestamp.AsTime().Format(time.RFC3339Nano)
	}
	f["resource.type"] = e.Resource.GetType()
	f.set("resource.labels", e.Resource.GetLabels())
	f.set("labels", e.Labels)
	f.message("httpRequest", e.HttpRequest.ProtoReflect())
	f.message("operation", e.Operation.ProtoReflect())
	f.message("sourceLocation", e.SourceLocation.ProtoReflect())
	f.payload(entries)
	return f
}

func (f fields) set(path string, m map[string]string) {
	for k, v := range m {
		f[path+"["+k+"]"] = v
	}
}

func (f fields) message(path string, m protoreflect.Message) {
	if !m.IsValid() {
		return
	}
	f[path] = "set"
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		f[path+"."+string(fd.Name())] = v.String()
		if d, ok := v.Interface().(protoreflect.Message); ok {
			f[path+"."+string(fd.Name())] = d.Interface().(*durationpb.Duration).AsDuration().String()
		}
		return true
	})
}

func (f fields) payload(entries []*loggingpb.LogEntry) {
	if s := entries[0].GetJsonPayload(); s != nil {
		f["payload"] = "json"
		for k, v := range s.Fields {
			f["json["+k+"]"] = jsonOf(v)
		}
		return
	}
	if entries[0].Payload == nil {
		f["payload"] = "none"
		return
	}
	f["payload"] = "text"
	var text strings.Builder
	for _, e := range entries {
		text.WriteString(e.GetTextPayload())
	}
	f["text"] = text.String()
	if len(entries) > 1 || entries[0].Split != nil {
		f["split"] = splitOf(entries)
	}
}

// splitOf says of the pieces of a text what can be compared: not how many they are, which hangs on the labels.
func splitOf(entries []*loggingpb.LogEntry) string {
	uid := entries[0].Split.GetUid()
	numbered, small, alike := uid != "", true, true
	for i, e := range entries {
		s := e.Split
		numbered = numbered && s.GetUid() == uid && int(s.GetIndex()) == i && int(s.GetTotalSplits()) == len(entries)
		small = small && proto.Size(e) <= 256_000
		alike = alike && proto.Equal(besideText(e), besideText(entries[0]))
	}
	return fmt.Sprintf("numbered %t, each within 256,000 B %t, alike but for the text %t", numbered, small, alike)
}

func besideText(e *loggingpb.LogEntry) *loggingpb.LogEntry {
	e = proto.CloneOf(e)
	e.Payload, e.Split, e.InsertId = nil, nil, ""
	return e
}

// jsonOf is JSON with sorted keys, and for numbers that JSON has not what Go calls them.
func jsonOf(v *structpb.Value) string {
	switch k := v.Kind.(type) {
	case *structpb.Value_NumberValue:
		if math.IsNaN(k.NumberValue) || math.IsInf(k.NumberValue, 0) {
			return fmt.Sprint(k.NumberValue)
		}
	case *structpb.Value_StructValue:
		parts := []string{}
		for _, key := range sorted(k.StructValue.Fields) {
			parts = append(parts, fmt.Sprintf("%q:%s", key, jsonOf(k.StructValue.Fields[key])))
		}
		return "{" + strings.Join(parts, ",") + "}"
	case *structpb.Value_ListValue:
		parts := []string{}
		for _, e := range k.ListValue.Values {
			parts = append(parts, jsonOf(e))
		}
		return "[" + strings.Join(parts, ",") + "]"
	}
	b, err := json.Marshal(v.AsInterface())
	must(err)
	return string(b)
}

// difference is a field that the two have not alike; an absent one is "".
type difference struct{ path, theirs, ours string }

func (d difference) String() string {
	return fmt.Sprintf("%s: theirs %s, ours %s", d.path, short(d.theirs), short(d.ours))
}

func short(s string) string {
	if len(s) > 200 {
		return fmt.Sprintf("%q... (%d B)", s[:200], len(s))
	}
	return strconv.Quote(s)
}

// unlike are the differences between two, by path. Where only one has sent something, that is the one difference.
func unlike(theirs, ours fields) (all []difference) {
	sent := difference{"sent", theirs["sent"], ours["sent"]}
	if sent.theirs != "yes" || sent.ours != "yes" {
		if strings.HasPrefix(sent.theirs, "no") == strings.HasPrefix(sent.ours, "no") {
			return nil
		}
		return []difference{sent}
	}
	paths := map[string]bool{}
	for _, f := range []fields{theirs, ours} {
		for path := range f {
			paths[path] = true
		}
	}
	for _, path := range sorted(paths) {
		if theirs[path] != ours[path] {
			all = append(all, difference{path, theirs[path], ours[path]})
		}
	}
	return all
}
