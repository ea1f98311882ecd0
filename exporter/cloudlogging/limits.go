package cloudlogging

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	loggingpb "cloud.google.com/go/logging/apiv2/loggingpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"tailweir/otlp"
)

// Limits of the API (docs.cloud.google.com/logging/quotas), with room where its count is not ours: 256 KB is by the "internal size".
const (
	maxEntry         = 250_000
	maxRequest       = 9_500_000 // of 10 MB
	maxEntries       = 1000      // of a request; not documented, but some were refused for more
	maxLabels        = 64
	maxLabelKey      = 512
	maxLabelValue    = 64_000    // of 64 KB, or Logging cuts it
	maxStructured    = 1_000_000 // of a record: above, its body becomes text. Little would remain of it, and it could take 40 times its bytes in memory
	maxBesideText    = 125_000   // what a text's entries may have beside it, so that it takes few of them
	maxShortenedNote = 2_000
	leastValue       = 64 // values are not cut below this while there is another way
	ellipsis         = "…"
)

// limiter brings one entry within the limits.
type limiter struct {
	*loggingpb.LogEntry
	notes []string // what was cut
	more  int      // cuts that are not in notes
	noted int      // bytes of notes
}

// leaf is a string of an entry that can be cut.
type leaf struct {
	path  string
	value string
	set   func(string)
}

// shorten cuts what is too long, the longest values first, and says so in a label. Text is left for split. A JSON payload that is
// large in other ways than by long values becomes text, which loses nothing.
func (l *limiter) shorten(body otlp.Value) bool {
	l.cut(l.labelLeaves(), maxLabelValue)
	_, isText := l.Payload.(*loggingpb.LogEntry_TextPayload)
	if !isText && l.over(maxEntry) > 0 {
		l.Resource = proto.CloneOf(l.Resource) // others share it
		leaves := append(l.leaves(), jsonLeaves("jsonPayload", structpb.NewStructValue(l.GetJsonPayload()), nil)...)
		if level := waterLevel(leaves, l.over(maxEntry)); level < leastValue && l.GetJsonPayload() != nil {
			l.toText(body)
			isText = true
		} else {
			l.cut(leaves, level)
		}
	}
	if isText && l.over(maxEntry) > 0 {
		t := l.GetTextPayload()
		l.Payload = nil
		if over := l.over(maxBesideText); over > 0 {
			l.Resource = proto.CloneOf(l.Resource)
			leaves := l.leaves()
			l.cut(leaves, waterLevel(leaves, over))
		}
		l.Payload = &loggingpb.LogEntry_TextPayload{TextPayload: t}
	}
	l.note()
	return len(l.notes) > 0
}

// toText writes the body as the JSON it is, or was.
func (l *limiter) toText(body otlp.Value) {
	stack := l.GetJsonPayload().Fields["stack_trace"].GetStringValue()
	t := bodyText(body, "")
	if !strings.Contains(t, stack) {
		t += "\n" + stack
	}
	l.Payload = &loggingpb.LogEntry_TextPayload{TextPayload: t}
}

// over returns how many bytes the entry has more than most, with the note that will be added.
func (l *limiter) over(most int) int {
	return proto.Size(l.LogEntry) + maxShortenedNote + 100 - most
}

// waterLevel returns the length to which strings must be cut so that excess bytes are gone, 0 if that is not enough.
func waterLevel(leaves []leaf, excess int) int {
	lengths := make([]int, len(leaves))
	for i, f := range leaves {
		lengths[i] = len(f.value)
	}
	slices.SortFunc(lengths, func(a, b int) int { return b - a })
	sum := 0
	for i, n := range lengths {
		sum += n
		next := 0
		if i+1 < len(lengths) {
			next = lengths[i+1]
		}
		if level := (sum - excess) / (i + 1); sum > excess && level >= next {
			return level
		}
	}
	return 0
}

// cut shortens the leaves to at most n bytes each.
func (l *limiter) cut(leaves []leaf, n int) {
	for _, f := range leaves {
		if len(f.value) > n {
			f.set(prefix(f.value, n-len(ellipsis)) + ellipsis)
			l.mention(f.path, len(f.value))
		}
	}
}

// prefix returns at most n bytes of s, whole characters.
func prefix(s string, n int) string {
	if len(s) <= n {
		return s
	}
	n = max(n, 0)
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

func (l *limiter) mention(path string, size int) {
	note := fmt.Sprintf("%s: %d B", prefix(path, 200), size)
	if l.noted += len(note) + 2; l.noted > maxShortenedNote-50 {
		l.more++
		return
	}
	l.notes = append(l.notes, note)
}

func (l *limiter) note() {
	if len(l.notes) == 0 {
		return
	}
	s := strings.Join(l.notes, ", ")
	if l.more > 0 {
		s += ", and " + strconv.Itoa(l.more) + " more"
	}
	l.Labels[labelShortened] = s
}

func mapLeaves(path string, m map[string]string) (leaves []leaf) {
	for _, k := range slices.Sorted(maps.Keys(m)) {
		leaves = append(leaves, leaf{path + "." + k, m[k], func(s string) { m[k] = s }})
	}
	return leaves
}

func (l *limiter) labelLeaves() []leaf { return mapLeaves("labels", l.Labels) }

// leaves are all strings beside the payload that an app can make long, in a fixed order.
func (l *limiter) leaves() []leaf {
	leaves := append(l.labelLeaves(), mapLeaves("resource", l.Resource.Labels)...)
	add := func(path string, s *string) { leaves = append(leaves, leaf{path, *s, func(v string) { *s = v }}) }
	if r := l.HttpRequest; r != nil {
		add("httpRequest.requestUrl", &r.RequestUrl)
		add("httpRequest.requestMethod", &r.RequestMethod)
		add("httpRequest.userAgent", &r.UserAgent)
		add("httpRequest.referer", &r.Referer)
		add("httpRequest.remoteIp", &r.RemoteIp)
		add("httpRequest.serverIp", &r.ServerIp)
		add("httpRequest.protocol", &r.Protocol)
	}
	if o := l.Operation; o != nil {
		add("operation.id", &o.Id)
		add("operation.producer", &o.Producer)
	}
	if at := l.SourceLocation; at != nil {
		add("sourceLocation.file", &at.File)
		add("sourceLocation.function", &at.Function)
	}
	return leaves
}

// jsonLeaves appends the strings in v.
func jsonLeaves(path string, v *structpb.Value, leaves []leaf) []leaf {
	switch k := v.Kind.(type) {
	case *structpb.Value_StringValue:
		return append(leaves, leaf{path, k.StringValue, func(s string) { k.StringValue = s }})
	case *structpb.Value_ListValue:
		for i, e := range k.ListValue.Values {
			leaves = jsonLeaves(path+"["+strconv.Itoa(i)+"]", e, leaves)
		}
	case *structpb.Value_StructValue:
		fields := k.StructValue.GetFields()
		for _, name := range slices.Sorted(maps.Keys(fields)) {
			leaves = jsonLeaves(path+"."+name, fields[name], leaves)
		}
	}
	return leaves
}

// split returns the entry, or, where its text is too long, as many as its text takes.
func (l *limiter) split() []*loggingpb.LogEntry {
	size := proto.Size(l.LogEntry)
	if size <= maxEntry {
		return []*loggingpb.LogEntry{l.LogEntry}
	}
	t := l.GetTextPayload()
	room := maxEntry - (size - len(t)) - 100 // for the split's own fields
	var texts []string
	for t != "" {
		s := prefix(t, room)
		texts, t = append(texts, s), t[len(s):]
	}
	entries := make([]*loggingpb.LogEntry, len(texts))
	for i, s := range texts {
		entries[i] = l.part(s, i, len(texts))
	}
	return entries
}

// part returns the entry with text i of n. All share the rest.
func (l *limiter) part(text string, i, n int) *loggingpb.LogEntry {
	e := l.LogEntry
	return &loggingpb.LogEntry{
		LogName: e.LogName, Resource: e.Resource, Timestamp: e.Timestamp, Severity: e.Severity, HttpRequest: e.HttpRequest, Labels: e.Labels,
		Operation: e.Operation, Trace: e.Trace, SpanId: e.SpanId, TraceSampled: e.TraceSampled, SourceLocation: e.SourceLocation,
		InsertId: fmt.Sprintf("%s-%0*d", e.InsertId, len(strconv.Itoa(n)), i+1),
		Payload:  &loggingpb.LogEntry_TextPayload{TextPayload: text},
		Split:    &loggingpb.LogSplit{Uid: e.InsertId, Index: int32(i), TotalSplits: int32(n)},
	}
}
