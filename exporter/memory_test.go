package exporter

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"tailweir/otlp"
)

func newMemory(t *testing.T, c MemoryConfig) *Memory {
	t.Helper()
	m, err := NewMemory(c)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func put(t *testing.T, m *Memory, batches ...*Batch) {
	t.Helper()
	for _, b := range batches {
		before := bytes.Clone(b.Payload)
		if err := m.Export(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(before, b.Payload) {
			t.Fatal("the batch was modified")
		}
		clear(b.Payload) // what is stored must be a copy
	}
}

func ids(summaries []Summary) (out []string) {
	for _, s := range summaries {
		out = append(out, strings.TrimPrefix(s.Root, "root-"))
	}
	return out
}

func TestMemorySummary(t *testing.T) {
	m := newMemory(t, MemoryConfig{})
	// A late child, its logs before it, then the root: the root names the trace in the end.
	put(t, m, logBatch(t, 1, "first"))
	if got := m.Latest(0); len(got) != 0 {
		t.Fatalf("a trace with logs only is listed: %+v", got)
	}
	put(t, m, batch(otlp.Traces, fill{trace: 1, payload: child(t, 1, "early child", base.Add(-time.Second), true), items: 1}))
	if got := m.Latest(0); len(got) != 1 || got[0].Root != "early child" || got[0].Service != "" {
		t.Errorf("without a root: %+v, want the earliest span's name", got)
	}
	put(t, m, traceBatch(t, 3, 1), logBatch(t, 1, "second", "third"))
	want := []Summary{{
		TraceID: traceID(1), Root: "root-1", Service: "shop", Spans: 4, Logs: 3,
		Start: base.Add(-time.Second), Duration: time.Second + 30*time.Millisecond, Error: true, Policy: "errors", Reason: "settled",
	}}
	if diff := cmp.Diff(want, m.Latest(0)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	got, ok := m.Trace(traceID(1))
	traces := slices.Concat(child(t, 1, "early child", base.Add(-time.Second), true), spans(t, 1, 3))
	logs := slices.Concat(records(t, 1, "first"), records(t, 1, "second", "third"))
	if diff := cmp.Diff(Stored{Summary: want[0], Traces: traces, Logs: logs}, got); !ok || diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
	var pl otlp.Payload
	if err := pl.Scan(otlp.Traces, got.Traces); err != nil || pl.Len() != 4 {
		t.Errorf("concatenated payload: %d spans, %v", pl.Len(), err)
	}
}

// Behind a proxy that sends no spans, the span that took the request names the trace, not one that began with it and came first.
func TestMemoryNamesLocalRoots(t *testing.T) {
	m := newMemory(t, MemoryConfig{})
	put(t, m, batch(otlp.Traces, fill{trace: 1, payload: child(t, 1, "query", base, false), items: 1}))
	for _, c := range []struct {
		name  string
		start time.Time
		kind  ptrace.SpanKind
		want  string
	}{
		{"GET /pay", base.Add(time.Second), ptrace.SpanKindServer, "GET /pay"},
		{"GET /cart", base, ptrace.SpanKindServer, "GET /cart"},
		{"earlier query", base.Add(-time.Second), ptrace.SpanKindClient, "GET /cart"},
		{"later request", base.Add(time.Second), ptrace.SpanKindServer, "GET /cart"},
	} {
		td, err := (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(child(t, 1, c.name, c.start, false))
		if err != nil {
			t.Fatal(err)
		}
		td.ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0).SetKind(c.kind)
		payload, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(td)
		if err != nil {
			t.Fatal(err)
		}
		put(t, m, batch(otlp.Traces, fill{trace: 1, payload: payload, items: 1}))
		if got := m.Latest(1)[0].Root; got != c.want {
			t.Errorf("with %s the root is %q, want %q", c.name, got, c.want)
		}
	}
	put(t, m, traceBatch(t, 1, 1))
	if got := m.Latest(1)[0].Root; got != "root-1" {
		t.Errorf("with a span without a parent the root is %q", got)
	}
}

func TestMemoryOrderAndLimit(t *testing.T) {
	m := newMemory(t, MemoryConfig{MaxTraces: 3})
	put(t, m, traceBatch(t, 1, 1, 2), logBatch(t, 3, "early log"), traceBatch(t, 1, 4, 3))
	put(t, m, batch(otlp.Traces, fill{trace: 2, payload: child(t, 2, "late", base, false), items: 1}))
	if diff := cmp.Diff([]string{"3", "4", "2"}, ids(m.Latest(0))); diff != "" {
		t.Errorf("all (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"3", "4"}, ids(m.Latest(2))); diff != "" {
		t.Errorf("two (-want +got):\n%s", diff)
	}
	if _, ok := m.Trace(traceID(1)); ok {
		t.Error("the oldest trace was not evicted")
	}
	if got, _ := m.Trace(traceID(3)); got.Logs == nil || got.Summary.Logs != 1 {
		t.Error("logs that came before the spans are lost")
	}
	if got, _ := m.Trace(traceID(2)); got.Spans != 2 {
		t.Errorf("%d spans, want the late one merged", got.Spans)
	}
}

// Records that did not wait for the decision are of a trace that may be kept.
func TestMemoryUndecidedRecords(t *testing.T) {
	m := newMemory(t, MemoryConfig{})
	put(t, m, batch(otlp.Logs, fill{trace: 1, dropped: true, open: true, payload: records(t, 1, "at once"), items: 1}))
	if got := ids(m.Latest(0)); got != nil {
		t.Errorf("%v are listed without spans", got)
	}
	put(t, m, traceBatch(t, 2, 1))
	if got, ok := m.Trace(traceID(1)); !ok || !bytes.Equal(got.Logs, records(t, 1, "at once")) {
		t.Errorf("the trace has %q, want its record", got.Logs)
	}
}

func TestMemoryWhatIsNotStored(t *testing.T) {
	m := newMemory(t, MemoryConfig{})
	put(t, m,
		batch(otlp.Logs, fill{trace: 1, dropped: true, payload: records(t, 1, "a"), items: 1}),
		batch(otlp.Traces, fill{trace: 2, dropped: true, payload: spans(t, 2, 1), items: 1}),
		traceBatch(t, 2, 3), traceBatch(t, 2, 3), // exported again after another exporter's trouble
		batch(otlp.Logs, fill{dropped: true, payload: records(t, 0, "x", "y"), items: 2}),
		logBatch(t, 0, "z"))
	if diff := cmp.Diff([]string{"3"}, ids(m.Latest(0))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, n := range []int{1, 2} {
		if _, ok := m.Trace(traceID(n)); ok {
			t.Errorf("dropped trace %d is stored", n)
		}
	}
	if got, _ := m.Trace(traceID(3)); got.Spans != 2 {
		t.Errorf("%d spans, want the repeated part once", got.Spans)
	}
	if want := slices.Concat(records(t, 0, "x", "y"), records(t, 0, "z")); !bytes.Equal(m.RecentLogs(), want) {
		t.Error("recent logs differ")
	}
	var pe *PermanentError
	for _, b := range []*Batch{
		{Signal: otlp.Metrics}, {Signal: otlp.Traces, Parts: []Part{{Len: 1}}},
		{Signal: otlp.Traces, Payload: []byte{1}, Parts: []Part{{Len: 1}}},
	} {
		if err := m.Export(t.Context(), b); !errors.As(err, &pe) {
			t.Errorf("%+v: %v, want a PermanentError", b, err)
		}
	}
}

func TestMemoryBounds(t *testing.T) {
	const maxBytes = 40_000
	m := newMemory(t, MemoryConfig{MaxBytes: maxBytes, MaxTraces: 100})
	held := func() (n int) {
		for id := range m.byID {
			s, _ := m.Trace(id)
			n += len(s.Traces) + len(s.Logs)
		}
		return n + len(m.RecentLogs())
	}
	for i := range 500 {
		put(t, m, traceBatch(t, 1+i%20, 1000+i), logBatch(t, 1000+i, "log of it"),
			logBatch(t, 5000+i, "log of a trace without spans"), logBatch(t, 0, fmt.Sprint("loose ", i)))
		if n := held(); n > maxBytes {
			t.Fatalf("%d bytes held after %d rounds, want at most %d", n, i, maxBytes)
		}
		if got := m.Latest(1)[0]; got.TraceID != traceID(1000+i) || got.Logs != 1 {
			t.Fatalf("the newest trace is not there with its log: %+v", got)
		}
	}
	if n := len(m.Latest(0)); n < 10 || n > 100 {
		t.Errorf("%d traces held", n)
	}
	if n := len(m.byID); n > 200 || n != m.traces.list.Len()+m.orphans.list.Len() {
		t.Errorf("%d ids, %d and %d entries", n, m.traces.list.Len(), m.orphans.list.Len())
	}
	if n := held(); n != m.traces.bytes+m.orphans.bytes+m.loose.bytes {
		t.Errorf("%d bytes held, %d accounted", n, m.traces.bytes+m.orphans.bytes+m.loose.bytes)
	}

	others := len(m.Latest(0))
	for i := range 200 {
		put(t, m, batch(otlp.Traces, fill{trace: 1, payload: child(t, 1, fmt.Sprintf("giant-%d", i), base, false), items: 1}))
	}
	giant := m.Latest(1)[0]
	if !giant.Truncated || giant.Spans != 200 {
		t.Errorf("giant trace: %+v, want all spans counted and Truncated", giant)
	}
	if s, _ := m.Trace(giant.TraceID); len(s.Traces) > maxBytes/share {
		t.Errorf("giant trace holds %d bytes", len(s.Traces))
	}
	if n := len(m.Latest(0)); n < others*3/4 {
		t.Errorf("giant trace left %d of %d traces", n, others)
	}
}

func TestMemoryConcurrent(t *testing.T) {
	m := newMemory(t, MemoryConfig{MaxTraces: 10})
	var wg sync.WaitGroup
	for i := range 40 {
		b := traceBatch(t, 2, i+1)
		wg.Go(func() {
			if err := m.Export(t.Context(), b); err != nil {
				t.Error(err)
			}
			for _, s := range m.Latest(5) {
				m.Trace(s.TraceID)
			}
		})
	}
	wg.Wait()
	if n := len(m.Latest(0)); n != 10 {
		t.Errorf("%d traces, want 10", n)
	}
}

func TestMemoryConfigValidate(t *testing.T) {
	if _, err := NewMemory(MemoryConfig{MaxBytes: -1, MaxTraces: -1}); err == nil || !strings.Contains(err.Error(), "traces") {
		t.Errorf("err %v, want both faults", err)
	}
}
