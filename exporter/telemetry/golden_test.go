package telemetry

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"tailweir/exporter"
	"tailweir/exporter/gcp"
	"tailweir/exporter/googletest"
	"tailweir/golden"
	"tailweir/otlp"
)

func refusals(err error) []exporter.Refusal {
	if permanent, ok := errors.AsType[*exporter.PermanentError](err); ok {
		return permanent.Refused
	}
	return nil
}

func recorded(t *testing.T, name string) []byte {
	b, err := os.ReadFile(filepath.Join("..", "testdata", "recorded", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestGolden compares what is sent of each batch with testdata. What the cases are about is in their names.
func TestGolden(t *testing.T) {
	routes := []gcp.Route{
		{Attribute: "tenant", Value: "acme", Project: "acme-project"},
		{Attribute: "deployment.environment.name", Value: "staging", Project: "staging-project"},
	}
	record := func(lr plog.LogRecord, flags uint32, body string) {
		lr.SetTraceID(pcommon.TraceID{1, 15: 1})
		lr.SetTimestamp(pcommon.NewTimestampFromTime(today))
		lr.SetFlags(plog.LogRecordFlags(flags))
		lr.Body().SetStr(body)
	}
	for _, test := range []struct {
		name   string
		signal otlp.Signal
		parts  [][]byte
		change func(*exporter.Batch)
	}{
		{name: "node-traces", parts: [][]byte{recorded(t, "node-traces.pb")}},
		{name: "go-traces", parts: [][]byte{recorded(t, "go-traces.pb")}},
		{name: "java-traces", parts: [][]byte{recorded(t, "java-traces.pb")}},
		{name: "java-logs", signal: otlp.Logs, parts: [][]byte{recorded(t, "java-logs.pb")}},
		{name: "project-replaced", parts: [][]byte{spans(1, 1, func(_ int, rs ptrace.ResourceSpans, s ptrace.Span) {
			rs.Resource().Attributes().PutStr(gcp.ProjectAttribute, "named-by-app")
			rs.Resource().Attributes().PutStr("tenant", "acme")
			rs.SetSchemaUrl("https://opentelemetry.io/schemas/1.37.0")
		})}},
		{name: "project-named-by-app", parts: [][]byte{spans(1, 1, func(_ int, rs ptrace.ResourceSpans, s ptrace.Span) {
			rs.Resource().Attributes().PutStr("gcp.project.id", "named-by-app")
		})}},
		{name: "three-projects", parts: [][]byte{
			spans(1, 3, func(i int, _ ptrace.ResourceSpans, s ptrace.Span) {
				if i != 1 {
					s.Attributes().PutStr("tenant", "acme")
				}
			}),
			spans(2, 1, func(_ int, rs ptrace.ResourceSpans, _ ptrace.Span) {
				rs.Resource().Attributes().PutStr("deployment.environment.name", "staging")
			}),
		}},
		{name: "age", parts: [][]byte{
			spans(1, 3, func(i int, _ ptrace.ResourceSpans, s ptrace.Span) {
				s.SetStartTimestamp(pcommon.NewTimestampFromTime(today.Add([]time.Duration{-15 * 24, 0, 4 * 24}[i] * time.Hour)))
			}),
			spans(2, 1, nil),
			spans(3, 2, func(_ int, _ ptrace.ResourceSpans, s ptrace.Span) { s.SetStartTimestamp(0) }),
		}},
		{name: "age-of-records", signal: otlp.Logs, parts: [][]byte{logs(func(ld plog.Logs) {
			sl := ld.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty()
			for _, hours := range []time.Duration{-31 * 24, -29 * 24, 23, 25} {
				record(sl.LogRecords().AppendEmpty(), 1, "body")
				sl.LogRecords().At(sl.LogRecords().Len() - 1).SetTimestamp(pcommon.NewTimestampFromTime(today.Add(hours * time.Hour)))
			}
			sl.LogRecords().At(0).CopyTo(sl.LogRecords().AppendEmpty())
			sl.LogRecords().At(4).SetObservedTimestamp(sl.LogRecords().At(4).Timestamp())
			sl.LogRecords().At(4).SetTimestamp(0)
			sl.LogRecords().At(0).CopyTo(sl.LogRecords().AppendEmpty())
			sl.LogRecords().At(5).SetTimestamp(0)
		})}},
		{name: "without-ids", parts: [][]byte{spans(1, 2, func(i int, _ ptrace.ResourceSpans, s ptrace.Span) {
			if i == 0 {
				s.SetSpanID(pcommon.SpanID{})
			}
		})}},
		{name: "everything-is-kept", parts: [][]byte{spans(1, 1, func(_ int, rs ptrace.ResourceSpans, s ptrace.Span) {
			s.TraceState().FromRaw("ot=th:e6;rv:0123456789abcd,rojo=00f067aa0ba902b7")
			s.SetParentSpanID(pcommon.SpanID{9})
			s.SetFlags(0x301)
			s.SetKind(ptrace.SpanKindServer)
			s.Status().SetCode(ptrace.StatusCodeOk)
			s.Status().SetMessage("fine")
			s.SetDroppedAttributesCount(1)
			s.SetDroppedEventsCount(2)
			s.SetDroppedLinksCount(3)
			s.Attributes().PutDouble("float", 0.1)
			s.Attributes().PutEmptySlice("array").AppendEmpty().SetStr("a")
			s.Attributes().PutEmptyMap("map").PutBool("b", true)
			s.Attributes().PutEmptyBytes("bytes").FromRaw([]byte{1, 0xff})
			e := s.Events().AppendEmpty()
			e.SetName("exception")
			e.SetTimestamp(7)
			e.Attributes().PutStr("exception.message", "é")
			l := s.Links().AppendEmpty()
			l.SetTraceID(pcommon.TraceID{8})
			l.SetSpanID(pcommon.SpanID{8})
			l.TraceState().FromRaw("a=b")
			rs.ScopeSpans().At(0).Scope().SetVersion("1.2.3")
			rs.ScopeSpans().At(0).Scope().Attributes().PutStr("scope", "s")
			rs.ScopeSpans().At(0).SetSchemaUrl("https://scope")
		})}},
		{name: "limits", parts: [][]byte{spans(1, 2, func(i int, _ ptrace.ResourceSpans, s ptrace.Span) {
			if i > 0 {
				return
			}
			s.SetName(strings.Repeat("é", 600))
			s.Attributes().PutStr("long", strings.Repeat("x", 70_000))
			s.Attributes().PutEmptyBytes("bytes").FromRaw([]byte("short"))
			s.Attributes().PutStr(strings.Repeat("x", 513), "gone")
			s.Attributes().PutStr("", "gone")
			s.Attributes().PutEmptySlice("array").AppendEmpty().SetStr(strings.Repeat("x", 70_000))
			s.Attributes().PutStr("not-text", "a\xffb")
			s.Events().AppendEmpty().SetName(strings.Repeat("x", 1030))
		})}},
		{name: "limits-of-resource", parts: [][]byte{spans(1, 2, func(_ int, rs ptrace.ResourceSpans, s ptrace.Span) {
			rs.Resource().Attributes().PutStr("long", strings.Repeat("x", 70_000))
			rs.SetSchemaUrl(strings.Repeat("x", 9000))
			rs.ScopeSpans().At(0).Scope().SetVersion("\xff")
		})}},
		{name: "limits-of-records", signal: otlp.Logs, parts: [][]byte{logs(func(ld plog.Logs) {
			sl := ld.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty()
			record(sl.LogRecords().AppendEmpty(), 1, strings.Repeat("x", 300_000))
			record(sl.LogRecords().AppendEmpty(), 1, "short")
			record(sl.LogRecords().AppendEmpty(), 1, "not text \xff")
			record(sl.LogRecords().AppendEmpty(), 1, "attribute")
			sl.LogRecords().At(3).Attributes().PutStr("long", strings.Repeat("x", 70_000))
			record(sl.LogRecords().AppendEmpty(), 1, "")
			sl.LogRecords().At(4).Body().SetEmptyMap().PutStr("k", strings.Repeat("x", 300_000))
		})}},
		{name: "sampled-flags", signal: otlp.Logs, parts: [][]byte{
			logs(func(ld plog.Logs) {
				sl := ld.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty()
				record(sl.LogRecords().AppendEmpty(), 0, "kept, was not sampled")
				record(sl.LogRecords().AppendEmpty(), 0x301, "kept, was sampled")
			}),
			logs(func(ld plog.Logs) {
				sl := ld.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty()
				record(sl.LogRecords().AppendEmpty(), 0, "dropped, was not sampled")
				record(sl.LogRecords().AppendEmpty(), 0x301, "dropped, was sampled")
			}),
			logs(func(ld plog.Logs) {
				sl := ld.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty()
				record(sl.LogRecords().AppendEmpty(), 0, "nobody decided, was not sampled")
				record(sl.LogRecords().AppendEmpty(), 1, "nobody decided, was sampled")
			}),
		}, change: func(b *exporter.Batch) {
			b.Parts[1].Kept = false
			b.Parts[2].Kept, b.Parts[2].Decided = false, false
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			fake := startFake(t, googletest.Config{Record: true, QuotaProject: "shop-project"})
			x := start(t, fake.Addr(), func(c *Config) { c.Routes.Routes = routes })
			b := batch(t, max(test.signal, otlp.Traces), test.parts...)
			if test.change != nil {
				test.change(b)
			}
			before := string(b.Payload)
			err := x.Export(t.Context(), b)
			if string(b.Payload) != before {
				t.Error("the batch was changed")
			}
			golden.Check(t, filepath.Join("testdata", test.name+".txt"), story(t, fake, err))
			fake2 := startFake(t, googletest.Config{Record: true, QuotaProject: "shop-project"})
			again := start(t, fake2.Addr(), func(c *Config) { c.Routes.Routes = routes }).Export(t.Context(), b)
			if story(t, fake2, again) != story(t, fake, err) {
				t.Error("the same batch was not sent alike the second time")
			}
		})
	}
}
