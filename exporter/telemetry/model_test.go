package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"tailweir/exporter"
	"tailweir/exporter/exportertest"
	"tailweir/exporter/gcp"
	"tailweir/otlp"
)

// model is an API that knows of each span by its name what becomes of it: "bad" is refused, with all that came with it, "odd"
// always answered with INTERNAL, "meh" rejected by partial success, all else written; any request may fail for a reason of the
// backend's own, also after it was written.
type model struct {
	t       *testing.T
	mu      sync.Mutex
	rnd     *rand.Rand
	written map[string]string
}

func (m *model) serve(_ string, request []byte) ([]byte, error) {
	td, err := (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(request)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch m.rnd.IntN(8) {
	case 0:
		return nil, status.Error(codes.Unavailable, "away")
	case 1:
		st, _ := status.New(codes.ResourceExhausted, "Quota exceeded").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(time.Millisecond)})
		return nil, st.Err()
	}
	kinds, content := map[string]int{}, map[string]string{}
	for _, rs := range td.ResourceSpans().All() {
		project, _ := rs.Resource().Attributes().Get("gcp.project_id")
		if project.Str() == "app-denied" {
			return nil, status.Error([]codes.Code{codes.PermissionDenied, codes.NotFound, codes.FailedPrecondition}[m.rnd.IntN(3)], "no")
		}
		for _, ss := range rs.ScopeSpans().All() {
			for _, s := range ss.Spans().All() {
				kind, _, _ := strings.Cut(s.Name(), "/")
				kinds[kind]++
				if kind == "ok" {
					content[s.Name()] = fmt.Sprint(project.Str(), rs.Resource().Attributes().AsRaw(), s.SpanID(), s.Attributes().AsRaw())
				}
			}
		}
	}
	switch {
	case kinds["bad"] > 0:
		return nil, status.Error(codes.InvalidArgument, "bad")
	case kinds["odd"] > 0:
		return nil, status.Error(codes.Internal, "odd")
	}
	for name, is := range content {
		if was, has := m.written[name]; has && was != is {
			m.t.Errorf("%s written with two contents: %s and %s", name, was, is)
		}
		m.written[name] = is
	}
	if m.rnd.IntN(10) == 0 {
		return nil, status.Error(codes.Unavailable, "the answer is lost")
	}
	out := ptraceotlp.NewExportResponse()
	if n := kinds["meh"]; n > 0 {
		out.PartialSuccess().SetRejectedSpans(int64(n))
		out.PartialSuccess().SetErrorMessage("meh")
	}
	return out.MarshalProto()
}

// modelBatch makes one of random parts whose spans tell in their names what they are and where.
func modelBatch(t *testing.T, rnd *rand.Rand) (b *exporter.Batch, places map[string][2]int) {
	places = map[string][2]int{}
	var parts [][]byte
	for p := range 1 + rnd.IntN(6) {
		n := 0
		parts = append(parts, traces(func(td ptrace.Traces) {
			for range 1 + rnd.IntN(3) {
				rs := td.ResourceSpans().AppendEmpty()
				project := []string{"", "app-denied", "app-allowed"}[max(0, rnd.IntN(6)-3)]
				if project != "" {
					rs.Resource().Attributes().PutStr("gcp.project_id", project)
				}
				if rnd.IntN(4) == 0 {
					rs.Resource().Attributes().PutStr("long", strings.Repeat("x", 70_000)) // is shortened
				}
				spans := rs.ScopeSpans().AppendEmpty().Spans()
				for range 1 + rnd.IntN(8) {
					kind, at := []string{"bad", "odd", "old", "meh", "ok", "ok", "ok", "ok", "ok"}[rnd.IntN(9)], today
					if kind == "old" {
						at = today.Add(-20 * 24 * time.Hour)
					}
					s := spans.AppendEmpty()
					s.SetName(fmt.Sprintf("%s/%s/%d/%d", kind, project, p, n))
					s.SetTraceID(pcommon.TraceID{1, byte(p)})
					s.SetSpanID(pcommon.SpanID{1, byte(n)})
					s.SetStartTimestamp(pcommon.NewTimestampFromTime(at))
					if rnd.IntN(10) == 0 {
						s.Attributes().PutStr("large", strings.Repeat("y", 65_000)) // requests become several
						s.Attributes().PutStr("long", strings.Repeat("z", 70_000))
					}
					places[s.Name()] = [2]int{p, n}
					n++
				}
			}
		}))
	}
	return batch(t, otlp.Traces, parts...), places
}

// TestModel: whatever mixes, each span is written with one content, or named in one refusal, or rejected by partial success,
// which is counted; never two of these, never none.
func TestModel(t *testing.T) {
	for seed := range uint64(60) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		m := &model{t: t, rnd: rand.New(rand.NewPCG(seed, 2)), written: map[string]string{}}
		x, err := New(t.Context(), Config{
			Dial:           gcp.Dial{Endpoint: exportertest.Bare(t, m.serve), Insecure: true},
			Routes:         gcp.Routes{Project: "shop-project"},
			InitialBackoff: time.Microsecond, MaxBackoff: time.Millisecond, Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		x.now = now
		b, places := modelBatch(t, rnd)
		for range rnd.IntN(3) { // a worker that is cut off in the midst, and another one after it
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rnd.IntN(20))*time.Millisecond)
			if err := x.Export(ctx, b); err != nil && ctx.Err() != nil {
				if p, is := errors.AsType[*exporter.PermanentError](err); is && p.Refused == nil {
					t.Errorf("seed %d: cut off, and refused as one: %v", seed, err)
				}
			}
			cancel()
		}
		err = x.Export(t.Context(), b)
		check(t, seed, b, places, m.written, err)
		x.Close()
	}
}

func check(t *testing.T, seed uint64, b *exporter.Batch, places map[string][2]int, written map[string]string, err error) {
	t.Helper()
	refused, rejected := map[[2]int]int{}, 0
	p, isPermanent := errors.AsType[*exporter.PermanentError](err)
	partial, isPartial := errors.AsType[*exporter.PartialError](err)
	switch {
	case isPermanent && p.Refused == nil, err != nil && !isPermanent && !isPartial:
		t.Fatalf("seed %d: %v", seed, err)
	case isPermanent:
		for _, r := range p.Refused {
			items := r.Items
			for i := 0; items == nil && i < b.Parts[r.Part].Items; i++ {
				refused[[2]int{r.Part, i}]++
			}
			for _, i := range items {
				refused[[2]int{r.Part, i}]++
			}
		}
	}
	if isPartial {
		rejected = partial.Rejected
	}
	for name, at := range places {
		kind, _, _ := strings.Cut(name, "/")
		got, has := refused[at], false
		_, has = written[name]
		switch {
		case kind == "meh" && got == 0 && !strings.Contains(name, "/app-denied/"):
			rejected--
		case kind == "ok" && !strings.Contains(name, "/app-denied/"):
			if got != 0 || !has {
				t.Errorf("seed %d: %s is refused %d times, written %t", seed, name, got, has)
			}
		case got != 1 || has:
			t.Errorf("seed %d: %s is refused %d times, written %t", seed, name, got, has)
		}
	}
	if rejected != 0 {
		t.Errorf("seed %d: %d rejected spans too many are told", seed, rejected)
	}
}
