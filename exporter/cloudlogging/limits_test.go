package cloudlogging

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	loggingpb "cloud.google.com/go/logging/apiv2/loggingpb"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"tailweir/exporter"
	"tailweir/otlp"
)

// large maps the only record to its entries, each within the limits.
func large(t testing.TB, set func(plog.LogRecord)) []*loggingpb.LogEntry {
	t.Helper()
	m := mapped(t, testConfig(), batchOf(t, record(t, func(r plog.LogRecord) {
		r.SetTimestamp(pcommon.NewTimestampFromTime(clock))
		set(r)
	})))
	var entries []*loggingpb.LogEntry
	for _, e := range decoded(t, m) {
		checkLimits(t, e)
		entries = append(entries, e)
	}
	if want := len(entries) > 0 && entries[0].Labels[labelShortened] != ""; (m.shortened == 1) != want {
		t.Errorf("shortened: counted %d, label %t", m.shortened, want)
	}
	return entries
}

func checkLimits(t testing.TB, e *loggingpb.LogEntry) {
	t.Helper()
	if n := proto.Size(e); n > maxEntry {
		t.Errorf("entry has %d B, at most %d", n, maxEntry)
	}
	if len(e.Labels) > maxLabels {
		t.Errorf("%d labels, at most %d", len(e.Labels), maxLabels)
	}
	for k, v := range e.Labels {
		if k == "" || len(k) > maxLabelKey || len(v) > maxLabelValue {
			t.Errorf("label has a key of %d B and a value of %d B", len(k), len(v))
		}
	}
	if d := depth(structpb.NewStructValue(e.GetJsonPayload())); d > maxDepth {
		t.Errorf("payload is %d levels deep", d)
	}
}

func depth(v *structpb.Value) (deepest int) {
	var inner []*structpb.Value
	switch k := v.Kind.(type) {
	case *structpb.Value_StructValue:
		for _, f := range k.StructValue.GetFields() {
			inner = append(inner, f)
		}
	case *structpb.Value_ListValue:
		inner = k.ListValue.Values
	default:
		return 0
	}
	for _, e := range inner {
		deepest = max(deepest, depth(e))
	}
	return deepest + 1
}

func TestLongTextIsSplit(t *testing.T) {
	body := strings.Repeat("grüße, ", 100_000) // 900 kB, no boundary of a character at a round number
	entries := large(t, func(r plog.LogRecord) {
		r.Body().SetStr(body)
		r.Attributes().PutStr("k", "v")
	})
	if len(entries) != 4 {
		t.Fatalf("%d entries, want 4", len(entries))
	}
	var whole strings.Builder
	for i, e := range entries {
		whole.WriteString(e.GetTextPayload())
		uid := e.Split.GetUid()
		if e.InsertId != fmt.Sprintf("%s-%d", uid, i+1) || len(uid) != 30 || e.Split.Index != int32(i) || e.Split.TotalSplits != 4 {
			t.Errorf("entry %d: insertId %s, split %v", i, e.InsertId, e.Split)
		}
		if !utf8.ValidString(e.GetTextPayload()) || e.Labels["k"] != "v" || !proto.Equal(e.Timestamp, entries[0].Timestamp) {
			t.Errorf("entry %d lacks what all have", i)
		}
	}
	if whole.String() != body {
		t.Error("the texts together are not the body")
	}
}

// TestManyTextsAreInOrder: entries of one time are shown in the order of their insertIds.
func TestManyTextsAreInOrder(t *testing.T) {
	entries := large(t, func(r plog.LogRecord) { r.Body().SetStr(strings.Repeat("x", 3_000_000)) })
	if n := len(entries); n < 10 || n > 20 {
		t.Fatalf("%d entries", n)
	}
	if !slices.IsSortedFunc(entries, func(a, b *loggingpb.LogEntry) int { return strings.Compare(a.InsertId, b.InsertId) }) {
		t.Error("insertIds are not in order")
	}
}

func TestLongValuesAreShortened(t *testing.T) {
	entries := large(t, func(r plog.LogRecord) {
		m := r.Body().SetEmptyMap()
		m.PutStr("message", "paid")
		m.PutStr("request", strings.Repeat("é", 100_000))
		m.PutEmptySlice("list").AppendEmpty().SetStr(strings.Repeat("y", 150_000))
		m.PutStr("small", strings.Repeat("z", 50_000))
	})
	if len(entries) != 1 {
		t.Fatalf("%d entries, want 1", len(entries))
	}
	f := entries[0].GetJsonPayload().GetFields()
	request, item := f["request"].GetStringValue(), f["list"].GetListValue().GetValues()[0].GetStringValue()
	if f["message"].GetStringValue() != "paid" || len(f["small"].GetStringValue()) != 50_000 {
		t.Error("a value was cut that is not the longest")
	}
	if len(request) < 90_000 || len(item) < 90_000 || !strings.HasSuffix(request, "é…") || !strings.HasSuffix(item, "y…") {
		t.Errorf("cut to %d and %d B", len(request), len(item))
	}
	if got, want := entries[0].Labels[labelShortened], "jsonPayload.list[0]: 150000 B, jsonPayload.request: 200000 B"; got != want {
		t.Errorf("label: %s\nwant:  %s", got, want)
	}
}

func TestLongLabelIsShortened(t *testing.T) {
	entries := large(t, func(r plog.LogRecord) {
		r.Body().SetStr("text")
		r.Attributes().PutStr("long", strings.Repeat("l", maxLabelValue+1))
		r.Attributes().PutStr("fits", strings.Repeat("l", maxLabelValue))
	})
	if got := entries[0].Labels; len(got["long"]) > maxLabelValue || len(got["fits"]) != maxLabelValue || got[labelShortened] != "labels.long: 64001 B" {
		t.Errorf("labels of %d and %d B, %s", len(got["long"]), len(got["fits"]), got[labelShortened])
	}
}

// TestJSONThatIsLargeWithoutLongValues becomes text, of which nothing is lost.
func TestJSONThatIsLargeWithoutLongValues(t *testing.T) {
	for name, set := range map[string]func(pcommon.Map){
		"numbers": func(m pcommon.Map) {
			list := m.PutEmptySlice("numbers")
			for i := range 60_000 {
				list.AppendEmpty().SetInt(int64(i))
			}
		},
		"key": func(m pcommon.Map) { m.PutInt(strings.Repeat("k", 300_000), 1) },
		"short values": func(m pcommon.Map) {
			for i := range 12_000 {
				m.PutStr(fmt.Sprintf("key-%05d", i), "0123456789")
			}
		},
	} {
		var body []byte
		entries := large(t, func(r plog.LogRecord) {
			set(r.Body().SetEmptyMap())
			r.Attributes().PutStr("exception.stacktrace", "Error\n  at x")
			m := mapped(t, testConfig(), batchOf(t, record(t, func(c plog.LogRecord) { r.Body().CopyTo(c.Body()) })))
			body = m.payload.Record(0).Body().AppendJSON(nil)
		})
		var whole strings.Builder
		for _, e := range entries {
			whole.WriteString(e.GetTextPayload())
		}
		if whole.String() != string(body)+"\nError\n  at x" {
			t.Errorf("%s: %d entries do not hold the body", name, len(entries))
		}
	}
}

func TestEverythingBesideTheTextIsLarge(t *testing.T) {
	entries := large(t, func(r plog.LogRecord) {
		r.Body().SetStr(strings.Repeat("x", 300_000))
		for i := range 10 {
			r.Attributes().PutStr(fmt.Sprintf("a%d", i), strings.Repeat("l", 60_000))
		}
		h := r.Attributes().PutEmptyMap("gcp.http_request")
		h.PutStr("requestUrl", strings.Repeat("u", 400_000))
		r.Attributes().PutStr("code.file.path", strings.Repeat("f", 400_000))
	})
	if len(entries) != 3 {
		t.Fatalf("%d entries, want 3", len(entries))
	}
	e := entries[0]
	if n := len(e.HttpRequest.RequestUrl); n < 9_000 || n > 12_000 || len(e.SourceLocation.File) != n || len(e.Labels["a9"]) != n {
		t.Errorf("cut to %d, %d and %d B", n, len(e.SourceLocation.File), len(e.Labels["a9"]))
	}
	if !strings.Contains(e.Labels[labelShortened], "httpRequest.requestUrl: 400000 B") {
		t.Error(e.Labels[labelShortened])
	}
}

// TestDeepValues: what nests deeper than a payload may is JSON text there.
func TestDeepValues(t *testing.T) {
	nest := func(v pcommon.Value, levels int) {
		for range levels {
			v = v.SetEmptyMap().PutEmpty("k")
		}
		v.SetStr("end")
	}
	e := one(t, func(r plog.LogRecord) { nest(r.Body(), maxDepth) })
	if d := depth(structpb.NewStructValue(e.GetJsonPayload())); d != maxDepth {
		t.Errorf("%d levels, want %d", d, maxDepth)
	}
	e = one(t, func(r plog.LogRecord) { nest(r.Body(), 30) })
	v := structpb.NewStructValue(e.GetJsonPayload())
	for range maxDepth {
		v = v.GetStructValue().GetFields()["k"]
	}
	if want := strings.Repeat(`{"k":`, 10) + `"end"` + strings.Repeat("}", 10); v.GetStringValue() != want {
		t.Errorf("%s, want %s", v.GetStringValue(), want)
	}
	deep := strings.Repeat(`{"k":`, maxDepth+1) + "1" + strings.Repeat("}", maxDepth+1)
	if e := one(t, func(r plog.LogRecord) { r.Body().SetStr(deep) }); e.GetTextPayload() != deep {
		t.Errorf("payload %v", e.Payload)
	}
}

func TestRequestsAreWithinLimits(t *testing.T) {
	var entries []entry
	for i := range 2500 {
		entries = append(entries, entry{project: "small", encoded: make([]byte, 100), item: i})
	}
	large := make([]byte, maxEntry)
	for i := range 100 {
		entries = append(entries, entry{project: "large", encoded: large, item: i})
	}
	var got []string
	for _, r := range pack(entries) {
		bytes := 0
		for _, e := range r {
			bytes += len(e.encoded) + entryOverhead
		}
		got = append(got, fmt.Sprintf("%s %d from %d", r[0].project, len(r), r[0].item))
		if bytes > maxRequest {
			t.Errorf("request of %d B", bytes)
		}
	}
	want := []string{"small 1000 from 0", "small 1000 from 1000", "small 500 from 2000", "large 37 from 0", "large 37 from 37", "large 26 from 74"}
	if !slices.Equal(got, want) {
		t.Errorf("requests %v\nwant %v", got, want)
	}
}

func TestInvalidUTF8IsReplaced(t *testing.T) {
	bad := "a\xff\xfeb"
	e := one(t, func(r plog.LogRecord) {
		m := r.Body().SetEmptyMap()
		m.PutStr(bad, bad)
		m.PutEmptySlice("s").AppendEmpty().SetStr(bad)
		r.Attributes().PutStr(bad, bad)
		r.Attributes().PutEmptySlice("s").AppendEmpty().SetStr(bad)
		r.Attributes().PutStr("code.file.path", bad)
		r.Attributes().PutStr("gcp.http_request", bad)
		r.SetEventName(bad)
		r.SetSeverityText(bad)
	})
	if _, err := proto.Marshal(e); err != nil {
		t.Error(err)
	}
	if want := "a\uFFFDb"; e.GetJsonPayload().Fields[want].GetStringValue() != want || e.Labels[want] != want {
		t.Errorf("entry %v", e)
	}
}

func TestNumbersKeepTheirValue(t *testing.T) {
	for in, want := range map[string]any{
		"1": 1.0, "-0.5": -0.5, "1.10": 1.1, "1e3": 1000.0, "9007199254740992": 9007199254740992.0, "0.1": 0.1, "0": 0.0, "1.7976931348623157e308": math.MaxFloat64,
		"9007199254740993": "9007199254740993", "-9007199254740993": "-9007199254740993", "1e400": "1e400", "1e-400": "1e-400",
		"0.12345678901234567890": "0.12345678901234567890", "123456789012345678901234567890": "123456789012345678901234567890",
	} {
		if got := toNumber(in).AsInterface(); got != want {
			t.Errorf("%s became %v, want %v", in, got, want)
		}
	}
}

// TestInsertID: what is another record has another id, what is the same one again has the same.
func TestInsertID(t *testing.T) {
	ids := func(change func(*exporter.Batch), set ...func(plog.LogRecord)) (ids []string) {
		b := batchOf(t, record(t, set...))
		if change != nil {
			change(b)
		}
		for _, e := range decoded(t, mapped(t, testConfig(), b)) {
			ids = append(ids, e.InsertId)
		}
		return ids
	}
	a := func(r plog.LogRecord) { r.Body().SetStr("a") }
	b := func(r plog.LogRecord) { r.Body().SetStr("b") }
	first := ids(nil, a, b)
	if again := ids(func(b *exporter.Batch) { b.Parts[0].Decided, b.Parts[0].Kept = true, true }, a, b); !slices.Equal(first, again) {
		t.Errorf("ids %v, the second time %v", first, again)
	}
	for _, k := range []bool{false, true} {
		if again := ids(func(b *exporter.Batch) { *b = *withDecision(t, b, k) }, a, b); !slices.Equal(first, again) {
			t.Errorf("ids %v, with the decision %t on the records %v", first, k, again)
		}
	}
	equal := ids(nil, a, a)
	if equal[0] == equal[1] || equal[0] != first[0] {
		t.Errorf("ids of equal records %v, alone %s", equal, first[0])
	}
	if !slices.IsSorted(equal) {
		t.Errorf("ids %v are not in the order of the records", equal)
	}
	other := ids(func(b *exporter.Batch) { b.Parts[0].Sources[0].Message = 8 }, a)
	if other[0] == first[0] {
		t.Error("another message, same id")
	}
	two := ids(func(b *exporter.Batch) {
		b.Parts[0].Sources = []exporter.Source{{Message: 8, Items: 1}, {Message: 7, Items: 1}}
	}, a, a)
	if two[0] != other[0] || two[1] != first[0] {
		t.Errorf("ids of two messages %v, want %s and %s", two, other[0], first[0])
	}
}

// withDecision adds the decision to the records as the pipeline does.
func withDecision(t *testing.T, b *exporter.Batch, kept bool) *exporter.Batch {
	var p otlp.Payload
	if err := p.Scan(otlp.Logs, b.Payload); err != nil {
		t.Fatal(err)
	}
	payload := p.Index().AppendGroup(nil, p.Groups()[0].First, &otlp.Edit{Suffix: otlp.BoolAttributeField(otlp.Logs, otlp.AttrKept, kept)})
	if len(payload) <= len(b.Payload) {
		t.Fatal("nothing was added")
	}
	return batchOf(t, payload)
}

// TestSharedResourceIsCutAlone: what is cut of one entry's resource is there for the next one.
func TestSharedResourceIsCutAlone(t *testing.T) {
	ld := plog.NewLogs()
	rl := ld.ResourceLogs().AppendEmpty()
	rl.Resource().Attributes().PutStr("host.name", strings.Repeat("h", 200_000))
	sl := rl.ScopeLogs().AppendEmpty()
	for _, n := range []int{190_000, 190_000, 10} {
		sl.LogRecords().AppendEmpty().Body().SetEmptyMap().PutStr("k", strings.Repeat("v", n))
	}
	var got []string
	for _, e := range decoded(t, mapped(t, testConfig(), batchOf(t, encodeLogs(t, ld)))) {
		checkLimits(t, e)
		got = append(got, fmt.Sprintf("%s: %d B", e.Labels[labelShortened], len(e.Resource.Labels["node_id"])/1000))
	}
	cut := "resource.node_id: 200000 B, jsonPayload.k: 190000 B: 123 B"
	if want := []string{cut, cut, ": 200 B"}; !slices.Equal(got, want) {
		t.Errorf("entries %q\nwant    %q", got, want)
	}
}
