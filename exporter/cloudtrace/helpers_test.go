package cloudtrace

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/trace/apiv2/tracepb"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"google.golang.org/protobuf/encoding/protojson"

	"tailweir/exporter"
	"tailweir/exporter/gcp"
	"tailweir/exporter/googletest"
	"tailweir/otlp"
)

// today is the time of all tests; spans begin an hour before.
var (
	today = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	began = pcommon.NewTimestampFromTime(today.Add(-time.Hour))
)

const project = "my-project"

// start starts the fakes and an exporter to them.
func start(t testing.TB, fake googletest.Config, change ...func(*Config)) (*googletest.Server, *Exporter) {
	t.Helper()
	if fake.Now == nil {
		fake.Now = func() time.Time { return today }
	}
	s, err := googletest.Start(fake)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	c := Config{
		Dial:    gcp.Dial{Endpoint: s.Addr(), Insecure: true},
		Routes:  gcp.Routes{Project: project},
		Courier: exporter.CourierConfig{InitialBackoff: time.Millisecond, MaxBackoff: 20 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))},
	}
	for _, f := range change {
		f(&c)
	}
	e, err := New(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	e.now = fake.Now
	return s, e
}

// batch makes one of payloads, a part each.
func batch(t testing.TB, all ...ptrace.Traces) *exporter.Batch {
	t.Helper()
	b := &exporter.Batch{Signal: otlp.Traces}
	for _, td := range all {
		payload, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(td)
		if err != nil {
			t.Fatal(err)
		}
		n := td.SpanCount()
		b.Parts = append(b.Parts, exporter.Part{Kept: true, Decided: true, Items: n, Off: len(b.Payload), Len: len(payload)})
		b.Payload, b.Items = append(b.Payload, payload...), b.Items+n
	}
	return b
}

// scoped is a payload with one resource and one scope.
func scoped() (ptrace.Traces, ptrace.ScopeSpans, pcommon.Resource) {
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	return td, rs.ScopeSpans().AppendEmpty(), rs.Resource()
}

// addSpan adds an ordinary span whose ids are made of n.
func addSpan(ss ptrace.ScopeSpans, n int) ptrace.Span {
	s := ss.Spans().AppendEmpty()
	s.SetTraceID(pcommon.TraceID{0: 0xaa, 14: byte(n >> 8), 15: byte(n)})
	s.SetSpanID(pcommon.SpanID{0: 0xbb, 6: byte(n >> 8), 7: byte(n)})
	s.SetName("span")
	s.SetStartTimestamp(began)
	s.SetEndTimestamp(began + 1_500_000_000)
	return s
}

func export(t testing.TB, e *Exporter, b *exporter.Batch) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return e.Export(ctx, b)
}

// requestText is the same for the same requests: protojson itself spaces at random.
func requestText(t *testing.T, r *tracepb.BatchWriteSpansRequest) string {
	t.Helper()
	b, err := protojson.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	thin(v)
	var out strings.Builder
	enc := json.NewEncoder(&out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// thin makes long lists, and attributes that tests number, ones that people can read.
func thin(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = thin(v[i])
		}
		if n := len(v); n > 20 {
			return []any{v[0], fmt.Sprintf("%d more", n-2), v[n-1]}
		}
	case map[string]any:
		numbered := slices.Sorted(maps.Keys(v))
		numbered = slices.DeleteFunc(numbered, func(k string) bool { return !regexp.MustCompile(`^k\d{4}$`).MatchString(k) })
		for i, k := range numbered {
			if i > 0 && i < len(numbered)-1 {
				delete(v, k)
			}
		}
		if len(numbered) > 0 {
			v[numbered[0]+" and so on"] = len(numbered) - 2
		}
		for k, of := range v {
			v[k] = thin(of)
		}
	}
	return v
}

func requests(s *googletest.Server) (all []*tracepb.BatchWriteSpansRequest) {
	for _, r := range s.Requests() {
		all = append(all, r.Message.(*tracepb.BatchWriteSpansRequest))
	}
	return all
}
