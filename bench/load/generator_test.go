package load

import (
	"bytes"
	"crypto/sha256"
	"math"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"tailweir/bench/ledger"
)

var epoch = time.Unix(1_700_000_000, 0)

// drain gives every payload of a run of the given number of traces.
func drain(run ledger.Run, traces uint32, logs bool, each func(*Payload)) {
	g := NewGenerator(run, 50_000, logs, epoch)
	for g.Traces() < traces {
		p := g.Next()
		each(p)
		g.Free(p)
	}
	g.Stop()
	for p := g.Next(); p != nil; p = g.Next() {
		each(p)
		g.Free(p)
	}
}

func TestSameSeedSameBytes(t *testing.T) {
	sum := func(run ledger.Run) []byte {
		h := sha256.New()
		drain(run, 500, true, func(p *Payload) { h.Write(p.Body) })
		return h.Sum(nil)
	}
	one := sum(ledger.Run{ID: 1, Seed: 7})
	if !bytes.Equal(one, sum(ledger.Run{ID: 1, Seed: 7})) {
		t.Error("two generators with the same seed differ")
	}
	if bytes.Equal(one, sum(ledger.Run{ID: 1, Seed: 8})) {
		t.Error("another seed gives the same bytes")
	}
}

func TestShape(t *testing.T) {
	var spans, payloads, bytes, attributes int
	perPayload := map[string]bool{}
	traces := map[pcommon.TraceID]bool{}
	var unmarshal ptrace.ProtoUnmarshaler
	drain(ledger.Run{ID: 1, Seed: 1}, 5000, false, func(p *Payload) {
		td, err := unmarshal.UnmarshalTraces(p.Body)
		if err != nil {
			t.Fatal(err)
		}
		if td.ResourceSpans().Len() != 1 || td.SpanCount() != len(p.Items) {
			t.Fatalf("payload has %d resources, %d spans, want 1 and %d", td.ResourceSpans().Len(), td.SpanCount(), len(p.Items))
		}
		name, _ := td.ResourceSpans().At(0).Resource().Attributes().Get("service.name")
		perPayload[name.Str()] = true
		payloads, spans, bytes = payloads+1, spans+len(p.Items), bytes+len(p.Body)
		all := td.ResourceSpans().At(0).ScopeSpans().At(0).Spans()
		for i := range all.Len() {
			traces[all.At(i).TraceID()] = true
			attributes += all.At(i).Attributes().Len()
		}
	})
	within(t, "services", float64(len(perPayload)), 10, 0)
	within(t, "spans per trace", float64(spans)/float64(len(traces)), 19, 1)
	within(t, "spans per payload", float64(spans)/float64(payloads), 40, 2)
	within(t, "bytes per span", float64(bytes)/float64(spans), 540, 15)
	within(t, "attributes per span", float64(attributes)/float64(spans), 12, 0)
}

func within(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if math.Abs(got-want) > tolerance {
		t.Errorf("%s: %.2f, want %v ± %v", what, got, want, tolerance)
	}
}

// history is what one trace looked like on the wire.
type history struct {
	spans       map[int]bool
	error       bool
	start, end  time.Time
	first, last time.Duration // of what decides: when it was sent
	all         time.Duration // when its last span was sent
}

func TestTracesAreWhatTheirIDsSay(t *testing.T) {
	traces := map[ledger.Identity]*history{}
	var unmarshal ptrace.ProtoUnmarshaler
	run := ledger.Run{ID: 3, Seed: 9}
	drain(run, 5000, false, func(p *Payload) {
		td, err := unmarshal.UnmarshalTraces(p.Body)
		if err != nil {
			t.Fatal(err)
		}
		all := td.ResourceSpans().At(0).ScopeSpans().At(0).Spans()
		for i := range all.Len() {
			observe(t, traces, p, all.At(i), p.Items[i])
		}
	})
	var errors, slow, spread int
	for id, h := range traces {
		if want := run.Plan(id.Number).Identity; want != id {
			t.Fatalf("trace %+v, but its number says %+v", id, want)
		}
		if len(h.spans) != id.Spans || h.error != id.Error || h.end.Sub(h.start) > time.Second != id.Slow {
			t.Fatalf("trace %+v: %d spans, error %v, %v", id, len(h.spans), h.error, h.end.Sub(h.start))
		}
		if id.Spans > 1 && h.last > ledger.MaxDuration+flushPeriod+2*time.Second {
			t.Fatalf("trace %+v: decided %v after its begin", id, h.last)
		}
		errors, slow = errors+index(id.Error), slow+index(id.Slow)
		spread += index(h.all-h.first > time.Second)
	}
	n := float64(len(traces))
	within(t, "share in error", float64(errors)/n, 0.02, 0.005)
	within(t, "share slow", float64(slow)/n, 0.011, 0.005)
	if spread < len(traces)/2 {
		t.Errorf("%d of %d traces come over more than 1 s, want most", spread, len(traces))
	}
}

func observe(t *testing.T, traces map[ledger.Identity]*history, p *Payload, span ptrace.Span, item Item) {
	t.Helper()
	trace, id := span.TraceID(), span.SpanID()
	who, ok := ledger.ParseTraceID(trace[:])
	if !ok || who.Number != item.Number {
		t.Fatalf("trace id %s: item of trace %d", trace, item.Number)
	}
	i, ok := ledger.ParseSpanID(who.High(), id[:])
	if !ok {
		t.Fatalf("span id %s of trace %s", id, trace)
	}
	h := traces[who]
	if h == nil {
		h = &history{spans: map[int]bool{}, start: span.StartTimestamp().AsTime(), first: p.Due}
		traces[who] = h
	}
	if h.spans[i] {
		t.Fatalf("span %d of trace %s twice", i, trace)
	}
	h.spans[i] = true
	h.all = p.Due
	h.start = minTime(h.start, span.StartTimestamp().AsTime())
	if end := span.EndTimestamp().AsTime(); end.After(h.end) {
		h.end = end
	}
	failed := span.Status().Code() == ptrace.StatusCodeError
	h.error = h.error || failed
	if (i == 0) != span.ParentSpanID().IsEmpty() {
		t.Fatalf("span %d has parent %q", i, span.ParentSpanID())
	}
	if i == 0 || failed {
		h.last = max(h.last, p.Due-h.first)
		if item.Deciding != (who.Error || who.Slow) {
			t.Fatalf("span %d of %+v: deciding %v", i, who, item.Deciding)
		}
	}
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func TestLateShare(t *testing.T) {
	var spans, late int
	g := NewGenerator(ledger.Run{ID: 1, Seed: 5}, 50_000, false, epoch)
	for n := range uint32(3000) {
		plan := g.run.Plan(n)
		before := g.now
		g.begin(plan, before)
		for s := range g.wheel {
			for range g.wheel[s] {
				spans++
				if time.Duration(s)*tick > plan.Duration+flushPeriod+tick {
					late++
				}
			}
			g.wheel[s] = g.wheel[s][:0]
		}
	}
	within(t, "share of late spans", float64(late)/float64(spans), lateShare, 0.01)
}

func TestLogsBelongToTheirSpans(t *testing.T) {
	records, want := 0, 0
	var unmarshal plog.ProtoUnmarshaler
	run := ledger.Run{ID: 1, Seed: 1}
	seen := map[uint32]bool{}
	drain(run, 500, true, func(p *Payload) {
		for _, item := range p.Items {
			if !seen[item.Number] {
				seen[item.Number] = true
				want += run.Plan(item.Number).Records()
			}
		}
		if !p.Logs {
			return
		}
		ld, err := unmarshal.UnmarshalLogs(p.Body)
		if err != nil {
			t.Fatal(err)
		}
		all := ld.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords()
		records += all.Len()
		for i := range all.Len() {
			trace, span := all.At(i).TraceID(), all.At(i).SpanID()
			who, ok := ledger.ParseTraceID(trace[:])
			at, ok2 := ledger.ParseSpanID(who.High(), span[:])
			if !ok || !ok2 || !ledger.HasRecord(who.High(), at) {
				t.Fatalf("log record of span %s of trace %s", span, trace)
			}
		}
	})
	if records != want {
		t.Errorf("%d log records, want %d", records, want)
	}
}

// BenchmarkGenerate counts one operation per span.
func BenchmarkGenerate(b *testing.B) {
	g := NewGenerator(ledger.Run{ID: 1, Seed: 1}, 100_000, false, epoch)
	for range 50_000 { // fills the wheel
		g.Free(g.Next())
	}
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; {
		p := g.Next()
		n += len(p.Items)
		g.Free(p)
	}
}
