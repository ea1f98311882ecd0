package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"google.golang.org/protobuf/encoding/protowire"

	"tailweir/exporter"
	"tailweir/exporter/gcp"
	"tailweir/exporter/googletest"
	"tailweir/otlp"
)

// today is when all tests take place, so that recorded spans do not become too old.
var today = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func now() time.Time { return today }

func startFake(t testing.TB, c googletest.Config) *googletest.Server {
	t.Helper()
	if c.Now == nil {
		c.Now = now
	}
	s, err := googletest.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// start makes an exporter to addr for the project shop-project; change may be nil.
func start(t testing.TB, addr string, change func(*Config)) *Telemetry {
	t.Helper()
	c := Config{
		Dial: gcp.Dial{Endpoint: addr, Insecure: true}, Routes: gcp.Routes{Project: "shop-project"},
		InitialBackoff: 10 * time.Millisecond, MaxBackoff: 50 * time.Millisecond, Logger: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&c)
	}
	x, err := New(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	x.now = now
	t.Cleanup(func() { x.Close() })
	return x
}

func traces(build func(ptrace.Traces)) []byte {
	td := ptrace.NewTraces()
	build(td)
	b, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(td)
	if err != nil {
		panic(err)
	}
	return b
}

func logs(build func(plog.Logs)) []byte {
	ld := plog.NewLogs()
	build(ld)
	b, err := (&plog.ProtoMarshaler{}).MarshalLogs(ld)
	if err != nil {
		panic(err)
	}
	return b
}

// spans is a request of n spans of a trace in one resource; change may be nil.
func spans(trace, n int, change func(i int, rs ptrace.ResourceSpans, s ptrace.Span)) []byte {
	return traces(func(td ptrace.Traces) {
		rs := td.ResourceSpans().AppendEmpty()
		rs.Resource().Attributes().PutStr("service.name", "shop")
		ss := rs.ScopeSpans().AppendEmpty()
		ss.Scope().SetName("http")
		for i := range n {
			s := ss.Spans().AppendEmpty()
			s.SetTraceID(pcommon.TraceID{byte(trace >> 8), byte(trace), 15: 1})
			s.SetSpanID(pcommon.SpanID{byte(i >> 8), byte(i), 7: 1})
			s.SetName("GET /")
			s.SetStartTimestamp(pcommon.NewTimestampFromTime(today))
			s.SetEndTimestamp(pcommon.NewTimestampFromTime(today.Add(time.Millisecond)))
			if change != nil {
				change(i, rs, s)
			}
		}
	})
}

// batch makes one of the parts, each a request.
func batch(t testing.TB, signal otlp.Signal, parts ...[]byte) *exporter.Batch {
	t.Helper()
	b := &exporter.Batch{Signal: signal}
	for _, p := range parts {
		q := scanned(t, signal, p)
		b.Parts = append(b.Parts, exporter.Part{Items: q.Len(), Off: len(b.Payload), Len: len(p), Kept: true, Decided: true})
		b.Items += q.Len()
		b.Payload = append(b.Payload, p...)
	}
	return b
}

func scanned(t testing.TB, signal otlp.Signal, b []byte) *otlp.Payload {
	t.Helper()
	var p otlp.Payload
	if err := p.Scan(signal, b); err != nil {
		t.Fatal(err)
	}
	return &p
}

// bodies are the payloads' spans or records as they are encoded, in order.
func bodies(payloads ...[]byte) (all [][]byte) {
	for _, b := range payloads {
		for _, resource := range children(b, 1) {
			for _, scope := range children(resource, 2) {
				all = append(all, children(scope, 2)...)
			}
		}
	}
	return all
}

// children are the contents of the fields with the number, of a valid message.
func children(b []byte, number protowire.Number) (all [][]byte) {
	for len(b) > 0 {
		n, wire, size := protowire.ConsumeTag(b)
		b = b[size:]
		if n == number {
			body, _ := protowire.ConsumeBytes(b)
			all = append(all, body)
		}
		b = b[protowire.ConsumeFieldValue(n, wire, b):]
	}
	return all
}

var long = regexp.MustCompile(`x{30,}|é{30,}`)

// shown is a request in JSON, long texts by their length.
func shown(t testing.TB, signal otlp.Signal, b []byte) string {
	t.Helper()
	var out []byte
	var err error
	if signal == otlp.Logs {
		ld, e := (&plog.ProtoUnmarshaler{}).UnmarshalLogs(b)
		if e != nil {
			t.Fatal(e)
		}
		out, err = (&plog.JSONMarshaler{}).MarshalLogs(ld)
	} else {
		td, e := (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(b)
		if e != nil {
			t.Fatal(e)
		}
		out, err = (&ptrace.JSONMarshaler{}).MarshalTraces(td)
	}
	if err != nil {
		t.Fatal(err)
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, out, "", " "); err != nil {
		t.Fatal(err)
	}
	return long.ReplaceAllStringFunc(pretty.String(), func(s string) string { return fmt.Sprintf("<%d bytes>", len(s)) })
}

// story tells what the fake was sent, and what Export returned.
func story(t testing.TB, fake *googletest.Server, err error) string {
	t.Helper()
	var out strings.Builder
	requests := fake.Requests()
	slices.SortFunc(requests, func(a, b googletest.Request) int { return bytes.Compare(a.OTLP, b.OTLP) })
	for _, r := range requests {
		fmt.Fprintf(&out, "%s %s x-goog-user-project=%s\n%s\n", r.Signal, r.Code, strings.Join(r.Header[gcp.QuotaHeader], ","), shown(t, r.Signal, r.OTLP))
	}
	for _, r := range refusals(err) {
		fmt.Fprintf(&out, "refused: part %d items %v: %s: %v\n", r.Part, r.Items, r.Reason, r.Err)
	}
	if err != nil && len(refusals(err)) == 0 {
		fmt.Fprintf(&out, "error: %v\n", err)
	}
	return out.String()
}
