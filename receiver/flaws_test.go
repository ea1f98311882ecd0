package receiver

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc/codes"

	"tailweir/otlp"
)

// TestLimits sends, every way, four spans of which one is over a limit and one without ids, and wants those two rejected with what and
// where, and the others stored.
func TestLimits(t *testing.T) {
	cfg := Config{Limits: Limits{Bounds: otlp.Bounds{Attributes: 20, Events: 10, Links: 10, Depth: 5, Key: 50, Name: 60}}}
	tests := map[string]struct {
		put func(ptrace.Span)
		say string
	}{
		"attributes": {func(s ptrace.Span) {
			for i := range 21 {
				s.Attributes().PutInt(strings.Repeat("k", i+1), 1)
			}
		}, "span has more than 20 attributes (ingest.limits.attributes)"},
		"depth": {func(s ptrace.Span) {
			v := s.Attributes().PutEmpty("a")
			for range 6 {
				v = v.SetEmptySlice().AppendEmpty()
			}
		}, "value has more than 5 arrays and maps within one another (ingest.limits.depth)"},
		"key":    {func(s ptrace.Span) { s.Attributes().PutStr(strings.Repeat("k", 51), "") }, "attribute has a key of 51 bytes, at most 50 are taken (ingest.limits.key)"},
		"name":   {func(s ptrace.Span) { s.SetName(strings.Repeat("n", 61)) }, "span has a name or text of 61 bytes, at most 60 are taken (ingest.limits.name)"},
		"events": {func(s ptrace.Span) { s.Events().EnsureCapacity(11); many(11, func() { s.Events().AppendEmpty() }) }, "span has more than 10 events (ingest.limits.events)"},
		"links":  {func(s ptrace.Span) { many(11, func() { s.Links().AppendEmpty() }) }, "span has more than 10 links (ingest.limits.links)"},
	}
	for name, test := range tests {
		for _, w := range ways {
			request := spansOf(4, 30, func(i int) bool { return i == 1 })
			test.put(request.Traces().ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(2))
			pub := new(shelf)
			_, addr := open(t, pub, cfg)
			body := encoded(t, request)
			if w.encoding == JSON {
				body = asJSON(t, request)
			}
			got := w.send(t, addr, otlp.Traces, body)
			want := "1 spans without a valid trace id and span id; 1 spans over a limit, the first span 3 of 4, id 0200020000000000 of trace 01000200000000000000000000000000: " + test.say
			if got.Code != codes.OK || got.Rejected != 2 || got.Text != want {
				t.Errorf("%s, %s: %+v, want %q", name, w.name, got, want)
			}
			stored := ptraceotlp.NewExportRequest()
			if all := pub.all(); len(all) != 1 || stored.UnmarshalProto(all[0].Data) != nil || stored.Traces().SpanCount() != 2 {
				t.Errorf("%s, %s: %d messages of %d spans, want one of 2", name, w.name, len(all), stored.Traces().SpanCount())
			}
		}
	}
}

func many(n int, f func()) {
	for range n {
		f()
	}
}

// TestLimitsAround wants all of a resource over a limit rejected, with gzip too, and what is beside it stored.
func TestLimitsAround(t *testing.T) {
	request := recordsOf(3, 10)
	for range 2 {
		recordsOf(2, 10).Logs().ResourceLogs().At(0).CopyTo(request.Logs().ResourceLogs().AppendEmpty())
	}
	request.Logs().ResourceLogs().At(1).Resource().Attributes().PutStr(strings.Repeat("k", 5000), "v")
	for _, w := range []way{ways[0], ways[1], ways[7]} {
		pub := new(shelf)
		r, addr := open(t, pub, Config{})
		got := w.send(t, addr, otlp.Logs, encoded(t, request))
		if want := "2 log records over a limit, the first log record 4 of 7: attribute has a key of 5000 bytes, at most 4096 are taken (ingest.limits.key)"; got.Text != want || got.Rejected != 2 {
			t.Errorf("%s: %+v, want %q", w.name, got, want)
		}
		stored := plogotlp.NewExportRequest()
		if all := pub.all(); len(all) != 1 || stored.UnmarshalProto(all[0].Data) != nil || stored.Logs().LogRecordCount() != 5 {
			t.Errorf("%s: %d messages of %d records, want one of 5", w.name, len(all), stored.Logs().LogRecordCount())
		}
		if diff := cmp.Diff(ItemCount{Accepted: 5, Rejected: 2}, r.Stats().Records); diff != "" {
			t.Error(diff)
		}
	}
}

// TestItemsLimit wants a request of too many items refused as a whole, small or large.
func TestItemsLimit(t *testing.T) {
	for _, limit := range []int{10, 20_000} { // the second has more than 1 MiB, and is counted before it is scanned
		_, addr := open(t, new(shelf), Config{Limits: Limits{Items: limit}})
		for n, want := range map[int]int{limit: 200, limit + 1: 413} {
			got := ways[0].send(t, addr, otlp.Logs, encoded(t, recordsOf(n, 60)))
			if got.HTTP != want || want == 413 && !strings.Contains(got.Text, "(ingest.limits.items)") {
				t.Errorf("%d records: %+v, want %d", n, got, want)
			}
		}
	}
}

// TestLimitsOfSDKs wants what SDKs send at their own limits stored whole by default: 128 attributes, events and links to a span, each
// with as many attributes, and values of any size.
func TestLimitsOfSDKs(t *testing.T) {
	request := spansOf(3, 1000, nil)
	s := request.Traces().ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(1)
	fill := func(m pcommon.Map) {
		for i := range 128 {
			m.PutStr(strings.Repeat("key.", 8)+string(rune('a'+i)), strings.Repeat("v", 100))
		}
	}
	fill(s.Attributes())
	s.Attributes().PutStr("exception.stacktrace", strings.Repeat("at main\n", 20_000))
	v := s.Attributes().PutEmpty("gen_ai.input.messages")
	for range 25 {
		v = v.SetEmptyMap().PutEmpty("k")
	}
	for range 128 {
		fill(s.Events().AppendEmpty().Attributes())
		fill(s.Links().AppendEmpty().Attributes())
	}
	_, addr := open(t, new(shelf), Config{})
	if got := ways[1].send(t, addr, otlp.Traces, encoded(t, request)); got != (reply{HTTP: 200}) {
		t.Errorf("%+v", got)
	}
}
