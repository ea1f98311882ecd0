package cloudtrace

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"tailweir/exporter"
	"tailweir/exporter/gcp"
	"tailweir/exporter/googletest"
	"tailweir/otlp"
)

// refusals are the refusals in a form to compare.
type refusal struct {
	Part   int
	Items  []int
	Reason string
}

func refusals(t *testing.T, err error) (all []refusal) {
	t.Helper()
	if err == nil {
		return nil
	}
	p, ok := errors.AsType[*exporter.PermanentError](err)
	if !ok || p.Refused == nil {
		t.Fatalf("error %v, want one that names what was refused", err)
	}
	for _, r := range p.Refused {
		all = append(all, refusal{r.Part, r.Items, r.Reason})
	}
	return all
}

func TestAges(t *testing.T) {
	fake, e := start(t, googletest.Config{})
	at := func(d time.Duration) func(int, ptrace.Span) {
		return func(i int, s ptrace.Span) {
			if i == 1 {
				s.SetStartTimestamp(pcommon.NewTimestampFromTime(today.Add(d)))
			}
		}
	}
	err := export(t, e, batch(t, spans(1, 2, at(-14*24*time.Hour)), spans(3, 1),
		spans(4, 3, at(3*24*time.Hour)), spans(7, 2, at(-13*24*time.Hour)), spans(9, 2, func(i int, s ptrace.Span) { s.SetStartTimestamp(0) })))
	want := []refusal{{0, []int{1}, exporter.ReasonAge}, {2, []int{1}, exporter.ReasonAge}, {4, nil, exporter.ReasonAge}}
	if diff := cmp.Diff(want, refusals(t, err)); diff != "" {
		t.Errorf("refusals (-want +got):\n%s", diff)
	}
	holds(t, fake, 1, 3, 4, 6, 7, 8)
	if got := e.Stats().Refused[exporter.ReasonAge]; got != 4 {
		t.Errorf("%d counted, want 4", got)
	}
}

func TestSpansWithoutIDs(t *testing.T) {
	fake, e := start(t, googletest.Config{})
	err := export(t, e, batch(t, spans(1, 3, func(i int, s ptrace.Span) {
		switch i {
		case 0:
			s.SetTraceID(pcommon.TraceID{})
		case 2:
			s.SetSpanID(pcommon.SpanID{})
		}
	})))
	if diff := cmp.Diff([]refusal{{0, []int{0, 2}, exporter.ReasonRejected}}, refusals(t, err)); diff != "" {
		t.Errorf("refusals (-want +got):\n%s", diff)
	}
	holds(t, fake, 2)
}

// What only the API finds wrong: the clocks differ, and some spans are too old by its own.
func TestSpansAtFaultStandAlone(t *testing.T) {
	fake, e := start(t, googletest.Config{})
	e.now = func() time.Time { return today.Add(-10 * 24 * time.Hour) }
	old := func(which ...int) func(i int, s ptrace.Span) {
		return func(i int, s ptrace.Span) {
			if slices.Contains(which, i) {
				s.SetStartTimestamp(pcommon.NewTimestampFromTime(today.Add(-20 * 24 * time.Hour)))
			} else {
				s.SetStartTimestamp(pcommon.NewTimestampFromTime(today.Add(-12 * 24 * time.Hour)))
			}
		}
	}
	err := export(t, e, batch(t, spans(1, 10, old()), spans(11, 10, old(0, 7, 9)), spans(21, 1, old(0))))
	want := []refusal{{1, []int{0, 7, 9}, exporter.ReasonRejected}, {2, nil, exporter.ReasonRejected}}
	if diff := cmp.Diff(want, refusals(t, err)); diff != "" {
		t.Errorf("refusals (-want +got):\n%s", diff)
	}
	holds(t, fake, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 14, 15, 16, 17, 19)
	if !strings.Contains(err.Error(), "start_time") {
		t.Errorf("error %q, want what the API said", err)
	}
}

func TestRequestsAreBounded(t *testing.T) {
	fake, e := start(t, googletest.Config{Record: true})
	text := strings.Repeat("x", 60000)
	many := spans(0, maxRequestSpans+1)
	large := spans(6000, 100, func(i int, s ptrace.Span) { s.Attributes().PutStr("v", text) })
	huge := spans(7000, 2, func(i int, s ptrace.Span) {
		for n := range 160 * i {
			s.Attributes().PutStr(fmt.Sprint("v", n), text)
		}
	})
	common := spans(8000, 100)
	common.ResourceSpans().At(0).Resource().Attributes().PutStr("v", text)
	err := export(t, e, batch(t, many, large, huge, common))
	if diff := cmp.Diff([]refusal{{2, []int{1}, exporter.ReasonLimit}}, refusals(t, err)); diff != "" {
		t.Errorf("refusals (-want +got):\n%s", diff)
	}
	var counts []int
	for _, r := range requests(fake) {
		if size := proto.Size(r); len(r.Spans) > maxRequestSpans || size > maxRequestBytes {
			t.Errorf("request of %d spans, %d bytes", len(r.Spans), size)
		}
		counts = append(counts, len(r.Spans))
	}
	if len(counts) < 4 || len(fake.Spans()) != maxRequestSpans+1+100+1+100 {
		t.Errorf("requests of %v spans, %d in all", counts, len(fake.Spans()))
	}
}

// A few bytes can ask for much memory: lists of empty elements, and a large resource that each span has.
func TestMemoryIsBounded(t *testing.T) {
	const n = 1 << 20
	empty := func(field byte) []byte { return bytes.Repeat([]byte{field<<3 | 2, 0}, n) }
	td, ss, r := scoped()
	for i := range 1000 {
		r.Attributes().PutInt(fmt.Sprint("resource", i), int64(i))
	}
	for i := range 20000 {
		addSpan(ss, i).Attributes().PutStr("v", "x")
	}
	many := addSpan(ss, 20001)
	for i := range 100 {
		many.Attributes().PutInt(fmt.Sprint("own", i), int64(i))
	}
	for name, payload := range map[string][]byte{
		"attributes": spanOf(t, empty(9)), "events": spanOf(t, empty(11)), "links": spanOf(t, empty(13)), "resource": marshal(t, td),
	} {
		b := &exporter.Batch{Signal: otlp.Traces, Payload: payload}
		var p otlp.Payload
		if err := p.Scan(otlp.Traces, b.Payload); err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		requests, size := 0, 0
		newPlan(&p, b, &gcp.Routes{Project: project}, today, func(r *request) { requests, size = requests+1, max(size, r.size) }).run()
		runtime.ReadMemStats(&after)
		got := after.TotalAlloc - before.TotalAlloc
		if got > 48<<20 || size > maxRequestBytes || requests == 0 {
			t.Errorf("%s: %d bytes of memory for %d; %d requests, up to %d bytes", name, got, len(payload), requests, size)
		}
	}
}

// spanOf is a payload of one span with more fields.
func spanOf(t *testing.T, more []byte) []byte {
	t.Helper()
	b := marshal(t, spans(1, 1))
	var p otlp.Payload
	if err := p.Scan(otlp.Traces, b); err != nil {
		t.Fatal(err)
	}
	x := p.Index()
	return x.AppendGroup(nil, p.Groups()[0].First, &otlp.Edit{Suffix: more})
}

func TestProjectsThatAppsName(t *testing.T) {
	fake, e := start(t, googletest.Config{})
	fake.Inject(googletest.Fault{Code: codes.PermissionDenied})
	td, ss, r := scoped()
	r.Attributes().PutStr("gcp.project_id", "not-ours")
	addSpan(ss, 1)
	if diff := cmp.Diff([]refusal{{0, nil, exporter.ReasonRejected}}, refusals(t, export(t, e, batch(t, td)))); diff != "" {
		t.Errorf("refusals (-want +got):\n%s", diff)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	err := e.Export(ctx, batch(t, spans(1, 1)))
	if _, permanent := errors.AsType[*exporter.PermanentError](err); err == nil || permanent {
		t.Errorf("error %v, want one that holds the data", err)
	}
}

func TestMoreProjectsThanAreRemembered(t *testing.T) {
	fake, e := start(t, googletest.Config{Discard: true})
	td := ptrace.NewTraces()
	for i := range maxProjects + 10 {
		rs := td.ResourceSpans().AppendEmpty()
		rs.Resource().Attributes().PutStr("gcp.project_id", fmt.Sprintf("team-%04d", i))
		addSpan(rs.ScopeSpans().AppendEmpty(), i)
	}
	if err := export(t, e, batch(t, td)); err != nil {
		t.Fatal(err)
	}
	if got := fake.Stats().Spans; got != maxProjects+10 || len(e.projects.known) > maxProjects {
		t.Errorf("%d spans, %d exporters", got, len(e.projects.known))
	}
}

func TestOtherPayloads(t *testing.T) {
	_, e := start(t, googletest.Config{})
	for name, b := range map[string]*exporter.Batch{
		"logs":      {Signal: otlp.Logs},
		"malformed": {Signal: otlp.Traces, Payload: []byte{1}, Items: 1},
	} {
		if p, ok := errors.AsType[*exporter.PermanentError](export(t, e, b)); !ok || p.Refused != nil {
			t.Errorf("%s: not refused as one", name)
		}
	}
}
