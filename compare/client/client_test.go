package client

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"tailweir/otlp"
	"tailweir/receiver"
)

// rich fills attributes with every kind of value.
func rich(m pcommon.Map) {
	m.PutStr("text", "ä<>&\u2028\"")
	m.PutInt("int", -1<<63)
	m.PutDouble("double", 1.5e-300)
	m.PutBool("bool", true)
	m.PutEmptyBytes("bytes").FromRaw([]byte{0, 255})
	s := m.PutEmptySlice("list")
	s.AppendEmpty().SetInt(1)
	s.AppendEmpty().SetEmptyMap().PutStr("k", "v")
}

func traces() ptrace.Traces {
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	rs.SetSchemaUrl("https://schema")
	rich(rs.Resource().Attributes())
	ss := rs.ScopeSpans().AppendEmpty()
	ss.Scope().SetName("library")
	for i := range 20 {
		s := ss.Spans().AppendEmpty()
		s.SetTraceID(pcommon.TraceID{1, byte(i)})
		s.SetSpanID(pcommon.SpanID{2, byte(i)})
		s.SetParentSpanID(pcommon.SpanID{3})
		s.SetName("GET /")
		s.SetKind(ptrace.SpanKindServer)
		s.SetFlags(0x301)
		s.TraceState().FromRaw("ot=th:8")
		s.SetStartTimestamp(1_700_000_000_000_000_001)
		s.SetEndTimestamp(1_700_000_000_100_000_002)
		s.Status().SetCode(ptrace.StatusCodeError)
		rich(s.Attributes())
		rich(s.Events().AppendEmpty().Attributes())
		s.Links().AppendEmpty().SetTraceID(pcommon.TraceID{9})
	}
	return td
}

func logs() plog.Logs {
	ld := plog.NewLogs()
	rl := ld.ResourceLogs().AppendEmpty()
	rich(rl.Resource().Attributes())
	r := rl.ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
	rich(r.Body().SetEmptyMap())
	r.SetSeverityNumber(plog.SeverityNumberWarn)
	r.SetTimestamp(1_700_000_000_000_000_001)
	r.SetTraceID(pcommon.TraceID{1})
	r.SetEventName("event")
	return ld
}

func metrics() pmetric.Metrics {
	md := pmetric.NewMetrics()
	rm := md.ResourceMetrics().AppendEmpty()
	rich(rm.Resource().Attributes())
	ms := rm.ScopeMetrics().AppendEmpty().Metrics()
	sum := ms.AppendEmpty()
	sum.SetName("sum")
	p := sum.SetEmptySum().DataPoints().AppendEmpty()
	p.SetIntValue(-1 << 63)
	rich(p.Attributes())
	p.Exemplars().AppendEmpty().SetTraceID(pcommon.TraceID{1})
	h := ms.AppendEmpty().SetEmptyHistogram().DataPoints().AppendEmpty()
	h.SetCount(3)
	h.BucketCounts().FromRaw([]uint64{1, 2})
	h.ExplicitBounds().FromRaw([]float64{0.5})
	e := ms.AppendEmpty().SetEmptyExponentialHistogram().DataPoints().AppendEmpty()
	e.SetScale(-2)
	e.Positive().BucketCounts().FromRaw([]uint64{1, 300})
	ms.AppendEmpty().SetEmptySummary().DataPoints().AppendEmpty().QuantileValues().AppendEmpty().SetQuantile(0.5)
	return md
}

// send gives the exporter all three signals, and returns the first error.
func (c *collector) send(t *testing.T) error {
	ctx := within(t)
	return errors.Join(c.ConsumeTraces(ctx, traces()), c.ConsumeLogs(ctx, logs()), c.ConsumeMetrics(ctx, metrics()))
}

// stored checks that the topic has the three payloads, and that they say what was sent.
func stored(t *testing.T, to *topic) {
	t.Helper()
	td, _ := (&ptrace.ProtoMarshaler{}).MarshalTraces(traces())
	ld, _ := (&plog.ProtoMarshaler{}).MarshalLogs(logs())
	md, _ := (&pmetric.ProtoMarshaler{}).MarshalMetrics(metrics())
	want := map[string][]byte{otlp.Traces.EventType(): td, otlp.Logs.EventType(): ld, otlp.Metrics.EventType(): md}
	if len(to.all()) != len(want) {
		t.Fatalf("%d messages, want %d", len(to.all()), len(want))
	}
	for _, m := range to.all() {
		if !bytes.Equal(m.data, want[m.attrs[otlp.AttrType]]) || m.attrs[otlp.AttrContentType] != otlp.ContentTypeProtobuf {
			t.Errorf("the message of %v does not say what was sent", m.attrs)
		}
	}
}

// TestEncodings sends every way that the exporters have. What the ingest takes arrives whole; what it does not take is refused for good and at
// once, in words that name the encoding. The documented ones must be taken.
func TestEncodings(t *testing.T) {
	tests := []struct {
		kind   string
		change map[string]any
		must   bool
	}{
		{"otlp_http", nil, true},
		{"otlp_http", map[string]any{"compression": "none"}, true},
		{"otlp_http", map[string]any{"encoding": "json"}, true},
		{"otlp_http", map[string]any{"encoding": "json", "compression": "none"}, true},
		{"otlp_http", map[string]any{"compression": "zstd"}, false},
		{"otlp_http", map[string]any{"compression": "zstd", "encoding": "json"}, false},
		{"otlp_http", map[string]any{"compression": "snappy"}, false},
		{"otlp_http", map[string]any{"compression": "deflate"}, false},
		{"otlp_http", map[string]any{"compression": "lz4"}, false},
		{"otlp_grpc", nil, true},
		{"otlp_grpc", map[string]any{"compression": "none"}, true},
		{"otlp_grpc", map[string]any{"compression": "zstd"}, false},
		{"otlp_grpc", map[string]any{"compression": "snappy"}, false},
	}
	for _, tt := range tests {
		name := tt.kind
		for _, key := range []string{"encoding", "compression"} {
			if v, ok := tt.change[key]; ok {
				name += " " + v.(string)
			}
		}
		t.Run(name, func(t *testing.T) {
			to := &topic{}
			r, addr := serve(t, to, receiver.Config{})
			err := start(t, tt.kind, addr, tt.change).send(t)
			if err == nil {
				stored(t, to)
				t.Log("taken")
				return
			}
			text := "content encoding"
			switch {
			case tt.kind == "otlp_grpc":
				text = "grpc-encoding"
			case tt.change["encoding"] == "json": // of which the exporter does not read the Status body
				text = "415"
			}
			if tt.must || !consumererror.IsPermanent(err) || !strings.Contains(err.Error(), text) {
				t.Errorf("%v, want it taken, or else refused for good with what is wrong", err)
			}
			if n := requests(r); len(to.all()) != 0 || n[receiver.Unsupported] != 3 || len(n) != 1 {
				t.Errorf("%d messages after %v requests, want none and one of each signal", len(to.all()), n)
			}
			t.Log("refused for good")
		})
	}
}

func requests(r *receiver.Receiver) map[receiver.Outcome]uint64 {
	n := map[receiver.Outcome]uint64{}
	for _, c := range r.Stats().Requests {
		n[c.Outcome] += c.Count
	}
	return n
}

// gate lets nobody in for some requests.
type gate struct {
	denial receiver.Denial
	times  int
	key    string // of the last request
}

func (g *gate) Admit(req *http.Request) (receiver.Caller, *receiver.Denial) {
	g.key = req.Header.Get("X-Api-Key")
	if g.times == 0 {
		return receiver.Caller{}, nil
	}
	g.times--
	return receiver.Caller{}, &g.denial
}

type refuser struct{}

func (refuser) Rewrite(otlp.Signal, []byte) ([]byte, error) { return nil, errors.New("not OTLP") }

// TestAnswers holds the table of docs/collector.md: what the ingest may ask to be sent again is sent again, after the time that it asks for; what it
// refuses for good is dropped at once.
func TestAnswers(t *testing.T) {
	const asked = time.Second
	tests := []struct {
		name     string
		cfg      func() receiver.Config
		fail     int // publishes
		outcomes map[receiver.Outcome]uint64
		dropped  bool
	}{
		{"Pub/Sub is away", func() receiver.Config { return receiver.Config{RetryDelay: asked} }, 1,
			map[receiver.Outcome]uint64{receiver.Unpublished: 1, receiver.Accepted: 1}, false},
		{"over a limit of the key", func() receiver.Config {
			return receiver.Config{Gate: &gate{receiver.Denial{Reason: receiver.Throttled, RetryAfter: asked}, 1, ""}}
		}, 0, map[receiver.Outcome]uint64{denied(receiver.Throttled): 1, receiver.Accepted: 1}, false},
		{"nobody can tell who it is", func() receiver.Config {
			return receiver.Config{Gate: &gate{receiver.Denial{Reason: receiver.Unverified, RetryAfter: asked}, 1, ""}}
		}, 0, map[receiver.Outcome]uint64{denied(receiver.Unverified): 1, receiver.Accepted: 1}, false},
		{"no key", func() receiver.Config {
			return receiver.Config{Gate: &gate{receiver.Denial{Reason: receiver.Missing}, -1, ""}}
		}, 0, map[receiver.Outcome]uint64{denied(receiver.Missing): 1}, true},
		{"a key for elsewhere", func() receiver.Config {
			return receiver.Config{Gate: &gate{receiver.Denial{Reason: receiver.Forbidden}, -1, ""}}
		}, 0, map[receiver.Outcome]uint64{denied(receiver.Forbidden): 1}, true},
		{"not OTLP", func() receiver.Config { return receiver.Config{Rewriter: refuser{}} }, 0,
			map[receiver.Outcome]uint64{receiver.Malformed: 1}, true},
		{"too large", func() receiver.Config { return receiver.Config{MaxBody: 100, MaxInflated: 200} }, 0,
			map[receiver.Outcome]uint64{receiver.TooLarge: 1}, true},
	}
	for _, tt := range tests {
		for kind := range factories {
			t.Run(tt.name+"/"+kind, func(t *testing.T) {
				t.Parallel()
				to := &topic{fail: tt.fail}
				r, addr := serve(t, to, tt.cfg())
				c, begun := start(t, kind, addr, nil), time.Now()
				err := c.ConsumeTraces(within(t), traces())
				if took := time.Since(begun); !tt.dropped && took < asked {
					t.Errorf("sent again after %v, asked for was %v", took, asked)
				}
				if consumererror.IsPermanent(err) != tt.dropped || (err != nil) != tt.dropped {
					t.Errorf("%v, want the data dropped: %t", err, tt.dropped)
				}
				got := requests(r)
				for o, n := range tt.outcomes {
					if got[o] != n || len(got) != len(tt.outcomes) {
						t.Errorf("requests %v, want %v", got, tt.outcomes)
					}
				}
				if n := len(to.all()); (n == 0) != tt.dropped || n > 1 {
					t.Errorf("%d messages stored", n)
				}
			})
		}
	}
}

// denied is how a denial is counted.
func denied(r receiver.Reason) receiver.Outcome {
	for o := receiver.Accepted; ; o++ {
		if o.String() == r.String() {
			return o
		}
	}
}

// A partial success is logged with its numbers and its reason, and what was good is stored; the headers of the documented configuration arrive.
func TestPartialSuccess(t *testing.T) {
	for kind := range factories {
		t.Run(kind, func(t *testing.T) {
			to, door := &topic{}, &gate{}
			_, addr := serve(t, to, receiver.Config{Gate: door})
			c := start(t, kind, addr, nil)
			td := traces()
			td.ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(7).SetSpanID(pcommon.SpanID{})
			if err := c.ConsumeTraces(within(t), td); err != nil {
				t.Fatal(err)
			}
			said := c.logged.FilterMessage("Partial success response").All()
			if len(said) != 1 {
				t.Fatalf("%d lines of a partial success, want 1", len(said))
			}
			if f := said[0].ContextMap(); f["dropped_spans"] != int64(1) || f["message"] != "1 spans without a valid trace id and span id" {
				t.Errorf("logged %v", f)
			}
			got, err := (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(to.all()[0].data)
			if err != nil || got.SpanCount() != td.SpanCount()-1 {
				t.Errorf("%d spans stored, %v", got.SpanCount(), err)
			}
			if door.key != "the-key" {
				t.Errorf("the key arrived as %q", door.key)
			}
		})
	}
}
