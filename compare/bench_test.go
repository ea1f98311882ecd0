package compare

import (
	"context"
	"fmt"
	"testing"
	"time"

	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"tailweir/otlp"
	"tailweir/sampler"
)

// BenchmarkPolicies takes the same 1000 traces of 8 spans, 100 spans a payload, from payloads to decisions: the collector
// gets them decoded and has to group them, ours gets the bytes and has to scan them. ns/span is all of it on one core's
// worth of work; the collector's part in decoding a request is not in it. Of ours, fold-ns/span is what folding and merging
// takes of it, and decide-ns/trace the decisions.
func BenchmarkPolicies(b *testing.B) {
	payloads := traffic()
	for _, bench := range []struct{ name, policy string }{
		{"always_sample", "type: always_sample"},
		{"latency", "type: latency, latency: {threshold_ms: 5000}"},
		{"status_code", "type: status_code, status_code: {status_codes: [ERROR]}"},
		{"string_attribute", "type: string_attribute, string_attribute: {key: http.route, values: [/none, /other]}"},
		{"string_attribute_regex", "type: string_attribute, string_attribute: {key: http.route, values: ['^/none.*'], enabled_regex_matching: true}"},
		{"numeric_attribute", "type: numeric_attribute, numeric_attribute: {key: http.response.status_code, min_value: 500, max_value: 599}"},
		{"boolean_attribute", "type: boolean_attribute, boolean_attribute: {key: retried, value: true}"},
		{"span_count", "type: span_count, span_count: {min_spans: 100}"},
		{"trace_state", "type: trace_state, trace_state: {key: vendor, values: [b]}"},
		{"trace_flags", "type: trace_flags"},
		{"probabilistic", "type: probabilistic, probabilistic: {sampling_percentage: 10}"},
		{"rate_limiting", "type: rate_limiting, rate_limiting: {spans_per_second: 1000}"},
		{"bytes_limiting", "type: bytes_limiting, bytes_limiting: {bytes_per_second: 100000}"},
		{"ottl_condition", `type: ottl_condition, ottl_condition: {span: ['attributes["http.response.status_code"] == 500']}`},
		{"composite", `type: composite, composite: {max_total_spans_per_second: 1000, policy_order: [a, b], composite_sub_policy: [
			{name: a, type: status_code, status_code: {status_codes: [ERROR]}}, {name: b, type: always_sample}], rate_allocation: [{policy: a, percent: 50}, {policy: b, percent: 50}]}`},
	} {
		config := fmt.Appendf(nil, "tail_sampling: {policies: [{name: p, %s}]}", bench.policy)
		b.Run(bench.name+"/collector", func(b *testing.B) { benchmarkCollector(b, config, payloads) })
		b.Run(bench.name+"/ours", func(b *testing.B) { benchmarkOurs(b, config, payloads) })
	}
}

const benchmarkSpans = 8000

func perSpan(b *testing.B) {
	b.ReportAllocs()
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchmarkSpans, "ns/span")
}

func benchmarkCollector(b *testing.B, config []byte, payloads []ptrace.Traces) {
	for b.Loop() {
		c, err := startCollector(config, time.Hour, componenttest.NewNopHost())
		if err != nil {
			b.Fatal(err)
		}
		for _, pl := range payloads {
			if err := c.ConsumeTraces(context.Background(), pl); err != nil {
				b.Fatal(err)
			}
		}
		if err := c.Shutdown(context.Background()); err != nil {
			b.Fatal(err)
		}
		if len(c.got) != benchmarkSpans/8 {
			b.Fatalf("%d traces decided", len(c.got))
		}
	}
	perSpan(b)
}

func benchmarkOurs(b *testing.B, config []byte, payloads []ptrace.Traces) {
	p, err := sampler.Parse("config", config)
	if err != nil {
		b.Fatal(err)
	}
	var raws [][]byte
	for _, pl := range payloads {
		raw, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(pl)
		if err != nil {
			b.Fatal(err)
		}
		raws = append(raws, raw)
	}
	o, d := p.NewObserver(), p.NewDecider()
	var scanned otlp.Payload
	at := int64(0)
	var fold, decide time.Duration
	for b.Loop() {
		facts := map[otlp.TraceID]*sampler.Facts{}
		var batch []sampler.Candidate
		for _, raw := range raws {
			if err := scanned.Scan(otlp.Traces, raw); err != nil {
				b.Fatal(err)
			}
			begun := time.Now()
			o.Reset(&scanned)
			for _, g := range scanned.Groups() {
				f := o.Fold(g)
				if known := facts[g.Trace]; known != nil {
					known.Merge(&f)
					continue
				}
				facts[g.Trace] = &f
				batch = append(batch, sampler.Candidate{Trace: g.Trace, Facts: &f})
			}
			fold += time.Since(begun)
		}
		at += 1000
		begun := time.Now()
		if got := d.Decide(nil, batch, at); len(got) != benchmarkSpans/8 {
			b.Fatalf("%d traces decided", len(got))
		}
		decide += time.Since(begun)
	}
	perSpan(b)
	b.ReportMetric(float64(fold.Nanoseconds())/float64(b.N)/benchmarkSpans, "fold-ns/span")
	b.ReportMetric(float64(decide.Nanoseconds())/float64(b.N)/(benchmarkSpans/8), "decide-ns/trace")
}

// traffic is 80 payloads of 100 spans: 4 resources, 25 traces in each, 12 attributes a span.
func traffic() []ptrace.Traces {
	out := make([]ptrace.Traces, 80)
	n := 0
	for i := range out {
		out[i] = ptrace.NewTraces()
		for r := range 4 {
			rs := out[i].ResourceSpans().AppendEmpty()
			rs.Resource().Attributes().PutStr("service.name", fmt.Sprintf("service-%d", r))
			for k := range 7 {
				rs.Resource().Attributes().PutStr(fmt.Sprintf("host.property.%d", k), "some-value-of-the-host")
			}
			ss := rs.ScopeSpans().AppendEmpty()
			ss.Scope().SetName("library")
			for j := range 25 {
				ordinarySpan(ss.Spans().AppendEmpty(), i/2*25+j, n)
				n++
			}
		}
	}
	return out
}

func ordinarySpan(s ptrace.Span, trace, n int) {
	s.SetTraceID(pcommon.TraceID{1, 2, 12: byte(trace >> 8), 13: byte(trace), 15: 1})
	s.SetSpanID(pcommon.SpanID{1, 5: byte(n >> 16), 6: byte(n >> 8), 7: byte(n)})
	s.SetParentSpanID(pcommon.SpanID{2})
	s.SetName("GET /api/v1/things/{id}")
	s.TraceState().FromRaw("vendor=a,other=1")
	s.SetStartTimestamp(start + pcommon.Timestamp(n))
	s.SetEndTimestamp(start + 100*ms)
	for k := range 9 {
		s.Attributes().PutStr(fmt.Sprintf("http.request.attribute.%d", k), "a value of common length")
	}
	s.Attributes().PutStr("http.route", "/api/v1/things")
	s.Attributes().PutInt("http.response.status_code", 200)
	s.Attributes().PutBool("retried", false)
}
