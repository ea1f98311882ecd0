package telemetry

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"tailweir/exporter"
	"tailweir/exporter/gcp"
	"tailweir/exporter/googletest"
	"tailweir/otlp"
)

func put(m pcommon.Map, n int) {
	for i := range n {
		m.PutInt(fmt.Sprintf("key-%d", i), int64(i))
	}
}

// TestEachLimit sends spans that are just within a limit, which must come as they are, and just beyond, which must come with the
// attribute that says what was cut, and counted.
func TestEachLimit(t *testing.T) {
	for _, test := range []struct {
		name   string
		within int
		build  func(n int, rs ptrace.ResourceSpans, s ptrace.Span)
		notes  string
		cut    func(rs ptrace.ResourceSpans, s ptrace.Span) []int // what the span beyond has to have
		want   []int
	}{
		{"name", 1024, func(n int, _ ptrace.ResourceSpans, s ptrace.Span) { s.SetName(strings.Repeat("x", n)) }, "name",
			func(_ ptrace.ResourceSpans, s ptrace.Span) []int { return []int{len(s.Name())} }, []int{1024}},
		{"attributes", 1024, func(n int, _ ptrace.ResourceSpans, s ptrace.Span) { put(s.Attributes(), n) }, "attributes",
			func(_ ptrace.ResourceSpans, s ptrace.Span) []int {
				return []int{s.Attributes().Len(), int(s.DroppedAttributesCount())}
			}, []int{1024, 2}},
		{"key", 512, func(n int, _ ptrace.ResourceSpans, s ptrace.Span) { s.Attributes().PutStr(strings.Repeat("k", n), "v") },
			"key " + strings.Repeat("k", 32),
			func(_ ptrace.ResourceSpans, s ptrace.Span) []int {
				return []int{s.Attributes().Len(), int(s.DroppedAttributesCount())}
			}, []int{1, 1}},
		{"value", 65536, func(n int, _ ptrace.ResourceSpans, s ptrace.Span) { s.Attributes().PutStr("k", strings.Repeat("x", n)) }, "k",
			func(_ ptrace.ResourceSpans, s ptrace.Span) []int {
				v, _ := s.Attributes().Get("k")
				return []int{len(v.Str())}
			}, []int{65536}},
		{"bytes", 65536, func(n int, _ ptrace.ResourceSpans, s ptrace.Span) {
			s.Attributes().PutEmptyBytes("k").FromRaw(make([]byte, n))
		}, "k",
			func(_ ptrace.ResourceSpans, s ptrace.Span) []int {
				v, _ := s.Attributes().Get("k")
				return []int{v.Bytes().Len()}
			}, []int{65536}},
		{"events", 256, func(n int, _ ptrace.ResourceSpans, s ptrace.Span) {
			for range n {
				s.Events().AppendEmpty().SetName("e")
			}
		}, "events",
			func(_ ptrace.ResourceSpans, s ptrace.Span) []int {
				return []int{s.Events().Len(), int(s.DroppedEventsCount())}
			}, []int{256, 1}},
		{"links", 128, func(n int, _ ptrace.ResourceSpans, s ptrace.Span) {
			for range n {
				s.Links().AppendEmpty().SetSpanID(pcommon.SpanID{1})
			}
		}, "links",
			func(_ ptrace.ResourceSpans, s ptrace.Span) []int {
				return []int{s.Links().Len(), int(s.DroppedLinksCount())}
			}, []int{128, 1}},
		{"event name", 1024, func(n int, _ ptrace.ResourceSpans, s ptrace.Span) {
			s.Events().AppendEmpty().SetName(strings.Repeat("x", n))
		}, "events[0].name",
			func(_ ptrace.ResourceSpans, s ptrace.Span) []int { return []int{len(s.Events().At(0).Name())} }, []int{1024}},
		{"attributes of an event", 1024, func(n int, _ ptrace.ResourceSpans, s ptrace.Span) {
			put(s.Events().AppendEmpty().Attributes(), n)
		}, "events[0].attributes",
			func(_ ptrace.ResourceSpans, s ptrace.Span) []int {
				return []int{s.Events().At(0).Attributes().Len(), int(s.Events().At(0).DroppedAttributesCount())}
			}, []int{1024, 1}},
		{"attributes of a link", 1024, func(n int, _ ptrace.ResourceSpans, s ptrace.Span) {
			put(s.Links().AppendEmpty().Attributes(), n)
		}, "links[0].attributes",
			func(_ ptrace.ResourceSpans, s ptrace.Span) []int {
				return []int{s.Links().At(0).Attributes().Len(), int(s.Links().At(0).DroppedAttributesCount())}
			}, []int{1024, 1}},
		{"attributes in all", 8 * 1000, func(n int, _ ptrace.ResourceSpans, s ptrace.Span) {
			for range 8 {
				put(s.Events().AppendEmpty().Attributes(), n/8+min(n%8, 1)*24)
			}
		}, "events[7].attributes",
			func(_ ptrace.ResourceSpans, s ptrace.Span) []int {
				return []int{s.Events().At(6).Attributes().Len(), s.Events().At(7).Attributes().Len(), int(s.Events().At(7).DroppedAttributesCount())}
			}, []int{1024, 1024 - 3, 3}}, // resource, project and mark take the rest
		{"attributes of the resource", 1022, func(n int, rs ptrace.ResourceSpans, _ ptrace.Span) { put(rs.Resource().Attributes(), n) }, "",
			func(rs ptrace.ResourceSpans, _ ptrace.Span) []int {
				v, _ := rs.Resource().Attributes().Get(ShortenedAttribute)
				return []int{rs.Resource().Attributes().Len(), int(rs.Resource().DroppedAttributesCount()), len(v.Str())}
			}, []int{1024, 2, len("attributes")}},
		{"schema URL", 8192, func(n int, rs ptrace.ResourceSpans, _ ptrace.Span) { rs.SetSchemaUrl(strings.Repeat("x", n)) }, "",
			func(rs ptrace.ResourceSpans, _ ptrace.Span) []int { return []int{len(rs.SchemaUrl())} }, []int{0}},
	} {
		t.Run(test.name, func(t *testing.T) {
			fake := startFake(t, googletest.Config{Record: true})
			x := start(t, fake.Addr(), nil)
			export := func(n int) (sent []byte, td ptrace.Traces) {
				b := batch(t, otlp.Traces, spans(1, 1, func(_ int, rs ptrace.ResourceSpans, s ptrace.Span) { test.build(n, rs, s) }))
				if err := x.Export(t.Context(), b); err != nil {
					t.Fatal(err)
				}
				requests := fake.Requests()
				td, err := (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(requests[len(requests)-1].OTLP)
				if err != nil {
					t.Fatal(err)
				}
				return b.Payload, td
			}
			in, td := export(test.within)
			if got := bodies(fake.Requests()[0].OTLP); !bytes.Equal(got[0], bodies(in)[0]) || x.Stats().Shortened != 0 {
				t.Error("what is within the limit was changed")
			}
			if _, marked := td.ResourceSpans().At(0).Resource().Attributes().Get(ShortenedAttribute); marked {
				t.Error("the resource is marked")
			}
			_, td = export(test.within + 1)
			rs := td.ResourceSpans().At(0)
			s := rs.ScopeSpans().At(0).Spans().At(0)
			v, _ := s.Attributes().Get(ShortenedAttribute)
			if got := v.Str(); got != test.notes {
				t.Errorf("%s is %q, want %q", ShortenedAttribute, got, test.notes)
			}
			if got := test.cut(rs, s); !slices.Equal(got, test.want) {
				t.Errorf("cut to %v, want %v", got, test.want)
			}
			if n := x.Stats().Shortened; n != 1 {
				t.Errorf("%d shortened items are counted, want 1", n)
			}
		})
	}
}

// TestShortenedStayInOrder cuts spans here and there of several resources and projects: each must come in its place and go where it belongs.
func TestShortenedStayInOrder(t *testing.T) {
	fake := startFake(t, googletest.Config{Record: true})
	x := start(t, fake.Addr(), func(c *Config) {
		c.Routes.Routes = []gcp.Route{{Attribute: "tenant", Value: strings.Repeat("x", 70_000), Project: "other-project"}}
	})
	var parts [][]byte
	for trace := range 5 {
		parts = append(parts, spans(trace, 20, func(i int, rs ptrace.ResourceSpans, s ptrace.Span) {
			if i%7 == trace || i > 15 {
				s.Attributes().PutStr("tenant", strings.Repeat("x", 70_000)) // is cut, after it was asked for
			}
			if trace == 3 {
				rs.Resource().Attributes().PutStr("long", strings.Repeat("x", 70_000))
			}
		}))
	}
	b := batch(t, otlp.Traces, parts...)
	if err := x.Export(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	in := scanned(t, otlp.Traces, b.Payload)
	want := map[string][]string{}
	for i := range int32(in.Len()) {
		project := "shop-project"
		if _, ok := in.Span(i).Attribute("tenant"); ok {
			project = "other-project"
		}
		want[project] = append(want[project], fmt.Sprint(in.Span(i).TraceID(), in.Span(i).SpanID()))
	}
	for _, r := range fake.Requests() {
		p := scanned(t, otlp.Traces, r.OTLP)
		v, _ := p.Span(0).Resource().Attribute(gcp.ProjectAttribute)
		var got []string
		for i := range int32(p.Len()) {
			got = append(got, fmt.Sprint(p.Span(i).TraceID(), p.Span(i).SpanID()))
		}
		if !slices.Equal(got, want[string(v.Str())]) {
			t.Errorf("%s got %v, want %v", v.Str(), got, want[string(v.Str())])
		}
	}
}

func TestRecordOfLargeAttributes(t *testing.T) {
	fake := startFake(t, googletest.Config{Record: true})
	x := start(t, fake.Addr(), nil)
	b := batch(t, otlp.Logs, logs(func(ld plog.Logs) {
		r := ld.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
		r.SetTimestamp(pcommon.NewTimestampFromTime(today))
		for i := range 6 {
			r.Attributes().PutStr(fmt.Sprint("k", i), strings.Repeat("x", 60_000))
		}
		r.Body().SetStr(strings.Repeat("x", 50_000))
	}))
	if err := x.Export(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	ld, err := (&plog.ProtoUnmarshaler{}).UnmarshalLogs(fake.Requests()[0].OTLP)
	if err != nil {
		t.Fatal(err)
	}
	r := ld.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0)
	v, _ := r.Attributes().Get(ShortenedAttribute)
	if v.Str() != "k3, k4, k5" || r.DroppedAttributesCount() != 3 || len(r.Body().Str()) != 50_000 {
		t.Errorf("%s %q, %d dropped attributes, body of %d bytes", ShortenedAttribute, v.Str(), r.DroppedAttributesCount(), len(r.Body().Str()))
	}
}

var _ exporter.Exporter = (*Telemetry)(nil)
