package telemetry

import (
	"os"
	"path/filepath"
	"testing"

	"tailweir/exporter"
	"tailweir/exporter/gcp"
	"tailweir/otlp"
)

// FuzzPlan plans whatever scans, as if the limits were a few bytes, and checks what is sent: every item that was not refused, once and
// in its order, within the limits.
func FuzzPlan(f *testing.F) {
	for _, signal := range []otlp.Signal{otlp.Traces, otlp.Logs} {
		files, _ := filepath.Glob(filepath.Join("..", "testdata", "recorded", "*-"+signal.String()+".pb"))
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b, signal == otlp.Logs)
		}
	}
	f.Add(spans(1, 3, nil), false)
	was := limits
	f.Cleanup(func() { limits = was; headerLimits = was; headerLimits.Attributes-- })
	limits = otlp.Limits{Key: 20, Value: 20, Name: 10, EventName: 8, URL: 12, Attributes: 6, Events: 2, Links: 2, Text: true}
	headerLimits = limits
	headerLimits.Attributes--
	f.Fuzz(func(t *testing.T, b []byte, isLogs bool) {
		signal := otlp.Traces
		if isLogs {
			signal = otlp.Logs
		}
		checkPlan(t, signal, b)
	})
}

func checkPlan(t *testing.T, signal otlp.Signal, b []byte) {
	var p otlp.Payload
	if p.Scan(signal, b) != nil || p.Len() == 0 {
		return
	}
	in := &exporter.Batch{Signal: signal, Payload: b, Items: p.Len(), Parts: []exporter.Part{{Items: p.Len(), Len: len(b), Decided: true, Kept: true}}}
	var w work
	d := newDelivery(in)
	routes := gcp.Routes{Project: "shop-project"}
	if err := w.plan(in, &routes, today, d); err != nil {
		t.Fatal(err)
	}
	sent := 0
	for _, r := range d.refused {
		sent += len(r.Items)
	}
	for _, to := range w.destinations {
		request, n := w.encode(nil, to.project, to.items)
		if n != len(to.items) {
			t.Fatalf("%d of %d items in a request of %d bytes", n, len(to.items), len(request))
		}
		q := scanned(t, signal, request)
		for i, item := range to.items {
			if was, is := p.Span(item), q.Span(int32(i)); was.TraceID() != is.TraceID() || was.SpanID() != is.SpanID() {
				t.Fatalf("item %d is another: %v, was %v", item, is.SpanID(), was.SpanID())
			}
			checkSent(t, q, int32(i), to.project)
		}
		sent += n
	}
	if sent != p.Len() {
		t.Fatalf("%d items of %d", sent, p.Len())
	}
}

func checkSent(t *testing.T, q *otlp.Payload, i int32, project string) {
	item := q.Span(i)
	n := 0
	for k, v := range item.Resource().Attributes() {
		if string(k) == gcp.ProjectAttribute {
			n++
			if string(v.Str()) != project {
				t.Fatalf("project %s, want %s", v.Str(), project)
			}
		}
	}
	if n != 1 {
		t.Fatalf("%d projects", n)
	}
	var ok bool
	if q.Signal() == otlp.Traces {
		_, ok = limits.Span(item)
	} else {
		_, ok = limits.Record(q.Record(i))
		if q.Record(i).Flags()&1 == 0 {
			t.Fatal("a kept record is not marked as sampled")
		}
	}
	if _, okToo := limits.Headers(q, item.ScopeIndex()); !ok || !okToo {
		t.Fatalf("item %d is beyond a limit: %x", i, q.Bytes())
	}
}
