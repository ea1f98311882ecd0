package cloudtrace

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/trace/apiv2/tracepb"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"tailweir/exporter"
	"tailweir/exporter/exportertest"
	"tailweir/exporter/googletest"
)

// model is an API that knows of each span by its name what becomes of it: "bad" is refused, with all that came with it, "odd"
// always answered with INTERNAL, all else written; any request may fail for a reason of the backend's own, also after it
// was written.
type model struct {
	t       *testing.T
	mu      sync.Mutex
	rnd     *rand.Rand
	written map[string]*tracepb.Span
}

func (m *model) serve(_ string, request []byte) ([]byte, error) {
	var r tracepb.BatchWriteSpansRequest
	if err := proto.Unmarshal(request, &r); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.rnd.IntN(6) == 0:
		return nil, status.Error([]codes.Code{codes.Unavailable, codes.Aborted, codes.ResourceExhausted}[m.rnd.IntN(3)], "away")
	case r.Name == "projects/app-denied":
		return nil, status.Error([]codes.Code{codes.PermissionDenied, codes.NotFound, codes.FailedPrecondition}[m.rnd.IntN(3)], "no")
	}
	kinds := map[string]bool{}
	for _, s := range r.Spans {
		kind, _, _ := strings.Cut(s.DisplayName.Value, "/")
		kinds[kind] = true
	}
	switch {
	case kinds["bad"]:
		return nil, status.Error(codes.InvalidArgument, "bad")
	case kinds["odd"]:
		return nil, status.Error(codes.Internal, "odd")
	}
	for _, s := range r.Spans {
		name := s.DisplayName.Value
		if was := m.written[name]; was != nil && !proto.Equal(was, s) {
			m.t.Errorf("written with two contents: %v and %v", was, s)
		}
		m.written[name] = s
	}
	if m.rnd.IntN(10) == 0 {
		return nil, status.Error(codes.Unavailable, "the answer is lost")
	}
	return nil, nil
}

// modelBatch makes one of random parts whose spans tell in their names what they are and where.
func modelBatch(t *testing.T, rnd *rand.Rand) (b *exporter.Batch, places map[string]item) {
	places = map[string]item{}
	var parts []ptrace.Traces
	for p := range 1 + rnd.IntN(6) {
		td, n := ptrace.NewTraces(), 0
		for range 1 + rnd.IntN(3) {
			rs := td.ResourceSpans().AppendEmpty()
			project := []string{"", "app-denied", "app-allowed"}[max(0, rnd.IntN(6)-3)]
			if project != "" {
				rs.Resource().Attributes().PutStr("gcp.project_id", project)
			}
			ss := rs.ScopeSpans().AppendEmpty()
			for range 1 + rnd.IntN(8) {
				kind := []string{"bad", "odd", "old", "ok", "ok", "ok", "ok", "ok"}[rnd.IntN(8)]
				s := addSpan(ss, n)
				s.SetName(fmt.Sprintf("%s/%s/%d/%d", kind, project, p, n))
				if kind == "old" {
					s.SetStartTimestamp(pcommon.NewTimestampFromTime(today.Add(-20 * 24 * time.Hour)))
				}
				if rnd.IntN(10) == 0 {
					s.Attributes().PutStr("long", strings.Repeat("z", 70_000)) // is shortened
				}
				places[s.Name()] = item{p, n}
				n++
			}
		}
		parts = append(parts, td)
	}
	return batch(t, parts...), places
}

// TestModel: whatever mixes, each span is written with one content or named in one refusal; never both, never neither.
func TestModel(t *testing.T) {
	for seed := range uint64(60) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		m := &model{t: t, rnd: rand.New(rand.NewPCG(seed, 2)), written: map[string]*tracepb.Span{}}
		_, e := start(t, googletest.Config{}, func(c *Config) {
			c.Dial.Endpoint = exportertest.Bare(t, m.serve)
			c.Courier.InitialBackoff, c.Courier.MaxBackoff = time.Microsecond, time.Millisecond
		})
		b, places := modelBatch(t, rnd)
		for range rnd.IntN(3) { // a worker that is cut off in the midst, and another one after it
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rnd.IntN(20))*time.Millisecond)
			_ = e.Export(ctx, b)
			cancel()
		}
		refused := map[item]int{}
		for _, r := range refusals(t, e.Export(t.Context(), b)) {
			items := r.Items
			for i := 0; r.Items == nil && i < b.Parts[r.Part].Items; i++ {
				items = append(items, i)
			}
			for _, i := range items {
				refused[item{r.Part, i}]++
			}
		}
		for name, at := range places {
			want := 1
			if strings.HasPrefix(name, "ok/") && !strings.Contains(name, "/app-denied/") {
				want = 0
			}
			if got := refused[at]; got != want || (m.written[name] != nil) == (want == 1) {
				t.Errorf("seed %d: %s is refused %d times, written %t", seed, name, got, m.written[name] != nil)
			}
		}
	}
}
