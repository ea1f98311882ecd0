package redact

import (
	"os"
	"syscall"
	"testing"

	"go.opentelemetry.io/collector/pdata/ptrace"

	"tailweir/otlp"
)

// BenchmarkRewrite redacts what an SDK's auto-instrumentation has sent. off is the scan that every payload gets, to compare. cpu-ns/span
// is the processor's time: other work on the machine is not in it.
func BenchmarkRewrite(b *testing.B) {
	payload, err := os.ReadFile("../exporter/testdata/recorded/node-traces.pb")
	if err != nil {
		b.Fatal(err)
	}
	td, err := (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(payload)
	if err != nil {
		b.Fatal(err)
	}
	spans := td.SpanCount()
	dirty := ptrace.NewTraces()
	td.CopyTo(dirty)
	for _, rs := range dirty.ResourceSpans().All() {
		for _, ss := range rs.ScopeSpans().All() {
			for i, s := range ss.Spans().All() {
				if i%10 == 0 {
					s.Attributes().PutStr("http.request.header.authorization", "Bearer abcdef0123456789")
				}
			}
		}
	}
	short := ptrace.NewTraces()
	td.CopyTo(short)
	for _, rs := range short.ResourceSpans().All() {
		for _, ss := range rs.ScopeSpans().All() {
			for _, s := range ss.Spans().All() {
				s.Events().RemoveIf(func(ptrace.SpanEvent) bool { return true })
			}
		}
	}
	quiet, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(short)
	if err != nil {
		b.Fatal(err)
	}
	hits, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(dirty)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("off", func(b *testing.B) {
		var p otlp.Payload
		start := cpu()
		for range b.N {
			if err := p.Scan(otlp.Traces, payload); err != nil {
				b.Fatal(err)
			}
		}
		perSpan(b, spans, len(payload), start)
	})
	for _, bm := range []struct {
		name, rules string
		payload     []byte
	}{
		{"keys", "rules: [{name: r, keys: [diagnosis, patient.name]}]", payload},
		{"value pattern with a literal", `rules: [{name: r, value_pattern: 'CH-\d{6}'}]`, payload},
		{"value pattern without", `rules: [{name: r, value_pattern: '[A-Z]{2}\d{6}'}]`, payload},
		{"all sets", "sets: [secrets, cookies, cards, my_number_jp, ssn_us, insurance_jp, phone_jp, phone_intl, email]", payload},
		{"all sets, without events", "sets: [secrets, cookies, cards, my_number_jp, ssn_us, insurance_jp, phone_jp, phone_intl, email]", quiet},
		{"all sets, every tenth span redacted", "sets: [secrets, cookies, cards, my_number_jp, ssn_us, insurance_jp, phone_jp, phone_intl, email]", hits},
		{"allow list", "allow: {patterns: ['[a-z._]+']}", payload},
	} {
		b.Run(bm.name, func(b *testing.B) {
			r := mustRules(b, "redact:\n  "+bm.rules)
			b.ReportAllocs()
			start := cpu()
			for range b.N {
				if _, err := r.Rewrite(otlp.Traces, bm.payload); err != nil {
					b.Fatal(err)
				}
			}
			perSpan(b, spans, len(bm.payload), start)
		})
	}
}

func perSpan(b *testing.B, spans, size int, since int64) {
	b.ReportMetric(float64(cpu()-since)/float64(b.N)/float64(spans), "cpu-ns/span")
	b.ReportMetric(float64(size)/float64(spans), "B/span")
}

// cpu is the processor time of the process in nanoseconds.
func cpu() int64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return u.Utime.Nano() + u.Stime.Nano()
}
