package cloudtrace

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"cloud.google.com/go/trace/apiv2/tracepb"
	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"tailweir/exporter"
	"tailweir/exporter/googletest"
	"tailweir/otlp"
)

// FuzzExport: of any valid payload, each span gets through the fake's limits, or is refused here for a reason that is not one of the
// API's; and our encoding of the package's requests is the library's.
func FuzzExport(f *testing.F) {
	for _, c := range goldens {
		if !strings.HasPrefix(c.name, "limits") { // with those the fuzzer is too slow
			td, ss, r := scoped()
			c.make(td, ss, r)
			f.Add(marshal(f, td))
		}
	}
	check := newChecker(f)
	f.Fuzz(func(t *testing.T, b []byte) { check(t, b) })
}

func TestRandomPayloads(t *testing.T) {
	check := newChecker(t)
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		check(t, marshal(t, randomTraces(rnd)))
	}
}

func TestLimitsThroughTheChecker(t *testing.T) {
	for over := range 2 {
		td, ss, _ := scoped()
		atLimits(ss, over)
		newChecker(t)(t, marshal(t, td))
	}
}

func marshal(t testing.TB, td ptrace.Traces) []byte {
	t.Helper()
	return batch(t, td).Payload
}

// newChecker returns what exports a payload and looks at the outcome.
func newChecker(t testing.TB) func(t *testing.T, payload []byte) {
	var sent []*sending
	fake, e := start(t, googletest.Config{Discard: true}, func(c *Config) {
		c.more = []grpc.DialOption{grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			sent = append(sent, req.(*sending))
			return invoke(ctx, method, req, reply, conn, opts...)
		})}
		c.Courier.Concurrency = 1
	})
	return func(t *testing.T, b []byte) {
		t.Helper()
		var payload otlp.Payload
		if payload.Scan(otlp.Traces, b) != nil {
			t.Skip("malformed")
		}
		sent = nil
		before := fake.Stats().Spans
		err := export(t, e, &exporter.Batch{Signal: otlp.Traces, Payload: b, Items: payload.Len(), Parts: []exporter.Part{{Items: payload.Len(), Len: len(b)}}})
		refused := 0
		if p, ok := errors.AsType[*exporter.PermanentError](err); ok {
			refused = refusedItems(t, p, &payload)
		} else if err != nil {
			t.Fatal(err)
		}
		if got := fake.Stats().Spans - before; got+refused != payload.Len() {
			t.Errorf("of %d spans %d were refused and %d written: %v", payload.Len(), refused, got, err)
		}
		for _, r := range sent {
			checkEncoding(t, r)
		}
	}
}

// refusedItems counts those refused and checks that it was here, and with reason.
func refusedItems(t *testing.T, p *exporter.PermanentError, payload *otlp.Payload) int {
	t.Helper()
	if len(p.Refused) != 1 || p.Refused[0].Part != 0 {
		t.Fatalf("refused %+v, want some of the part", p.Refused)
	}
	items := p.Refused[0].Items
	if items == nil {
		for i := range payload.Len() {
			items = append(items, i)
		}
	}
	for _, i := range items {
		s := payload.Span(int32(i))
		age := today.Sub(timeOf(s.Start())).Hours() / 24
		if s.Valid() && age < 13.9 && age > -2.9 && s.Size() < maxSpanBytes/4 {
			t.Errorf("span %d was refused: %v", i, p)
		}
	}
	return len(items)
}

// checkEncoding is of what the package made; what is added to that is seen by what the fake has.
func checkEncoding(t *testing.T, r *sending) {
	t.Helper()
	var all, w writer
	all.request(r)
	bare := &sending{r.BatchWriteSpansRequest, slices.Repeat([]sdktrace.ReadOnlySpan{&span{}}, len(r.spans))}
	w.request(bare)
	got := new(tracepb.BatchWriteSpansRequest)
	if err := proto.Unmarshal(w.b, got); err != nil {
		t.Fatalf("%v: %x", err, w.b)
	}
	if !proto.Equal(r.BatchWriteSpansRequest, got) {
		t.Errorf("encoded request (-want +got):\n%s", cmp.Diff(r.BatchWriteSpansRequest, got, protocmp.Transform()))
	}
	if len(all.b) > maxRequestBytes && len(r.Spans) > 1 {
		t.Errorf("%d spans in a request of %d bytes", len(r.Spans), len(all.b))
	}
}

// randomTraces has all fields, with odd contents and sizes in all of them.
func randomTraces(rnd *rand.Rand) ptrace.Traces {
	td := ptrace.NewTraces()
	for range 1 + rnd.IntN(3) {
		rs := td.ResourceSpans().AppendEmpty()
		rs.SetSchemaUrl(randomText(rnd))
		randomAttributes(rnd, rs.Resource().Attributes())
		rs.Resource().SetDroppedAttributesCount(sparse(rnd))
		for range 1 + rnd.IntN(2) {
			ss := rs.ScopeSpans().AppendEmpty()
			ss.SetSchemaUrl(randomText(rnd))
			ss.Scope().SetName(randomText(rnd))
			ss.Scope().SetVersion(randomText(rnd))
			ss.Scope().SetDroppedAttributesCount(sparse(rnd))
			randomAttributes(rnd, ss.Scope().Attributes())
			for range rnd.IntN(5) {
				randomSpan(rnd, addSpan(ss, rnd.IntN(1<<16)))
			}
		}
	}
	return td
}

func randomSpan(rnd *rand.Rand, s ptrace.Span) {
	s.SetName(randomText(rnd))
	s.SetKind(ptrace.SpanKind(rnd.IntN(8) - 1))
	s.SetParentSpanID(pcommon.SpanID{7: byte(rnd.IntN(3))})
	s.SetFlags(rnd.Uint32())
	s.TraceState().FromRaw(randomText(rnd))
	s.Status().SetCode(ptrace.StatusCode(rnd.IntN(4)))
	s.Status().SetMessage(randomText(rnd))
	s.SetEndTimestamp(pcommon.Timestamp(rnd.Uint64()))
	s.SetDroppedAttributesCount(sparse(rnd))
	s.SetDroppedEventsCount(sparse(rnd))
	s.SetDroppedLinksCount(sparse(rnd))
	randomAttributes(rnd, s.Attributes())
	for range rnd.IntN(3) * rnd.IntN(150) {
		e := s.Events().AppendEmpty()
		e.SetName(randomText(rnd))
		e.SetTimestamp(pcommon.Timestamp(rnd.Uint64()))
		e.SetDroppedAttributesCount(sparse(rnd))
		e.Attributes().PutStr(randomText(rnd), randomText(rnd))
	}
	for range rnd.IntN(3) * rnd.IntN(70) {
		l := s.Links().AppendEmpty()
		l.SetTraceID(pcommon.TraceID{3: byte(rnd.IntN(4))})
		l.SetSpanID(pcommon.SpanID{3: byte(rnd.IntN(4))})
		l.SetFlags(rnd.Uint32())
		l.TraceState().FromRaw(randomText(rnd))
		l.Attributes().PutStr(randomText(rnd), randomText(rnd))
	}
}

func randomAttributes(rnd *rand.Rand, m pcommon.Map) {
	for range rnd.IntN(6) {
		allValues(m)
		m.PutStr(randomText(rnd), randomText(rnd))
		m.PutDouble(randomText(rnd), rnd.NormFloat64()*1e300)
		m.PutEmptySlice(randomText(rnd)).AppendEmpty().SetStr(randomText(rnd))
		m.PutStr(sources[rnd.IntN(len(sources))].key, randomText(rnd))
	}
	if rnd.IntN(20) == 0 {
		for i := range rnd.IntN(2000) {
			m.PutInt(fmt.Sprint("n", i), int64(i))
		}
	}
}

func sparse(rnd *rand.Rand) uint32 { return rnd.Uint32() * uint32(rnd.IntN(2)) }

// randomText is short as a rule, and now and then about as long as some limit, with characters of all lengths and bytes that are none.
func randomText(rnd *rand.Rand) string {
	n := rnd.IntN(12)
	switch rnd.IntN(60) {
	case 0:
		n = maxKey - 20 + rnd.IntN(30)
	case 1:
		n = maxName - 20 + rnd.IntN(30)
	case 2:
		n = maxValue - 20 + rnd.IntN(30)
	}
	unit := []string{"a", "é", "\xff", "\U0001F600", "\"", "\x00"}[rnd.IntN(6)]
	return strings.Repeat(unit, 1+n/len(unit)) + []string{"", "b"}[rnd.IntN(2)]
}
