package cloudlogging

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

	"cloud.google.com/go/logging/apiv2/loggingpb"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"tailweir/exporter"
	"tailweir/exporter/exportertest"
	"tailweir/exporter/gcp"
	"tailweir/otlp"
)

// model is a Logging that knows of each entry by its text what becomes of it: "bad" is refused, "odd" always answered with
// INTERNAL, all else written; any request may fail for a reason of the backend's own, also after it was written.
type model struct {
	t       *testing.T
	mu      sync.Mutex
	rnd     *rand.Rand
	written map[string]*loggingpb.LogEntry
}

func (m *model) serve(_ string, request []byte) ([]byte, error) {
	var r loggingpb.WriteLogEntriesRequest
	if err := proto.Unmarshal(request, &r); err != nil {
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
	if strings.HasPrefix(r.Entries[0].LogName, "projects/app-denied/") {
		return nil, status.Error(codes.PermissionDenied, "no")
	}
	failed := map[int32]*statuspb.Status{}
	for i, e := range r.Entries {
		kind, _, _ := strings.Cut(e.GetTextPayload(), "/")
		switch {
		case kind == "bad":
			failed[int32(i)] = &statuspb.Status{Code: int32(codes.InvalidArgument), Message: "bad"}
		case kind == "odd":
			failed[int32(i)] = &statuspb.Status{Code: int32(codes.Internal), Message: "odd"}
		case m.rnd.IntN(10) == 0:
			failed[int32(i)] = &statuspb.Status{Code: int32(codes.Unavailable), Message: "away"}
		}
	}
	if len(failed) > 0 && m.rnd.IntN(3) == 0 { // as one, with the answer of any
		for _, st := range failed {
			return nil, status.FromProto(st).Err()
		}
	}
	for i, e := range r.Entries {
		if failed[int32(i)] != nil {
			continue
		}
		if was := m.written[e.InsertId]; was != nil && !proto.Equal(was, e) {
			m.t.Errorf("written with two contents: %v and %v", was, e)
		}
		m.written[e.InsertId] = e
	}
	switch {
	case m.rnd.IntN(10) == 0:
		return nil, status.Error(codes.Unavailable, "the answer is lost")
	case len(failed) == 0:
		return nil, nil
	}
	for _, st := range failed {
		with, err := status.FromProto(st).WithDetails(&loggingpb.WriteLogEntriesPartialErrors{LogEntryErrors: failed})
		if err != nil {
			m.t.Error(err)
		}
		return nil, with.Err()
	}
	return nil, nil
}

// modelBatch makes one of random parts whose records tell in their bodies what they are and where.
func modelBatch(t *testing.T, rnd *rand.Rand) (b *exporter.Batch, places map[string][2]int) {
	b, places = &exporter.Batch{Signal: otlp.Logs}, map[string][2]int{}
	for p := range 1 + rnd.IntN(6) {
		ld, n := plog.NewLogs(), 0
		for range 1 + rnd.IntN(3) {
			rl := ld.ResourceLogs().AppendEmpty()
			project := []string{"", "app-denied", "app-allowed"}[max(0, rnd.IntN(6)-3)]
			if project != "" {
				rl.Resource().Attributes().PutStr("gcp.project_id", project)
			}
			records := rl.ScopeLogs().AppendEmpty().LogRecords()
			for range 1 + rnd.IntN(8) {
				kind, at := []string{"bad", "odd", "old", "ok", "ok", "ok", "ok", "ok"}[rnd.IntN(8)], start
				if kind == "old" {
					at = start.Add(-40 * 24 * time.Hour)
				}
				text := fmt.Sprintf("%s/%s/%d/%d", kind, project, p, n)
				r := records.AppendEmpty()
				r.SetTimestamp(pcommon.NewTimestampFromTime(at))
				r.Body().SetStr(text)
				places[text] = [2]int{p, n}
				n++
			}
		}
		payload := encodeLogs(t, ld)
		b.Parts = append(b.Parts, exporter.Part{Items: n, Off: len(b.Payload), Len: len(payload), Sources: []exporter.Source{{Message: rnd.Uint64(), Items: n}}})
		b.Payload, b.Items = append(b.Payload, payload...), b.Items+n
	}
	return b, places
}

// TestModel: whatever mixes, each record is written with one content or named in one refusal; never both, never neither.
func TestModel(t *testing.T) {
	for seed := range uint64(60) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		m := &model{t: t, rnd: rand.New(rand.NewPCG(seed, 2)), written: map[string]*loggingpb.LogEntry{}}
		x, err := New(t.Context(), Config{
			Dial:           gcp.Dial{Endpoint: exportertest.Bare(t, m.serve), Insecure: true},
			Routes:         gcp.Routes{Project: "shop-logs"},
			InitialBackoff: time.Microsecond, MaxBackoff: time.Millisecond, Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
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

func check(t *testing.T, seed uint64, b *exporter.Batch, places map[string][2]int, written map[string]*loggingpb.LogEntry, err error) {
	t.Helper()
	refused := map[[2]int]int{}
	if p, is := errors.AsType[*exporter.PermanentError](err); is && p.Refused != nil {
		for _, r := range p.Refused {
			items := r.Items
			for i := 0; items == nil && i < b.Parts[r.Part].Items; i++ {
				refused[[2]int{r.Part, i}]++
			}
			for _, i := range items {
				refused[[2]int{r.Part, i}]++
			}
		}
	} else if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	there := map[string]bool{}
	for _, e := range written {
		there[e.GetTextPayload()] = true
	}
	for text, at := range places {
		want := !strings.HasPrefix(text, "ok/") || strings.Contains(text, "/app-denied/")
		if got := refused[at]; (got == 1) != want || got > 1 || there[text] == want {
			t.Errorf("seed %d: %s is refused %d times, written %t", seed, text, got, there[text])
		}
	}
}
