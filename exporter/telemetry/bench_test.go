package telemetry

import (
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace"

	"tailweir/exporter"
	"tailweir/exporter/googletest"
	"tailweir/otlp"
)

// benchBatch is 40 traces of 25 spans with 12 attributes, about 500 bytes each.
func benchBatch(b *testing.B) *exporter.Batch {
	var parts [][]byte
	for i := range 40 {
		parts = append(parts, spans(i, 25, func(j int, rs ptrace.ResourceSpans, s ptrace.Span) {
			a := rs.Resource().Attributes()
			a.PutStr("cloud.platform", "gcp_cloud_run")
			a.PutStr("faas.name", "checkout")
			a.PutStr("faas.instance", "0069c7a988c0b1c2d3e4f5060718293a4b5c6d7e")
			a.PutStr("telemetry.sdk.language", "nodejs")
			m := s.Attributes()
			m.PutStr("http.request.method", "GET")
			m.PutStr("url.path", "/orders/0123456789")
			m.PutStr("url.scheme", "https")
			m.PutStr("server.address", "shop.example.com")
			m.PutInt("server.port", 443)
			m.PutInt("http.response.status_code", 200)
			m.PutStr("user_agent.original", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0")
			m.PutStr("network.peer.address", "10.20.30.40")
			m.PutStr("network.protocol.version", "1.1")
			m.PutStr("http.route", "/orders/:id")
			m.PutDouble("cart.total", 19.9)
			m.PutBool("cache.hit", j%2 == 0)
		}))
	}
	return batch(b, otlp.Traces, parts...)
}

// BenchmarkPlan is all that is done to a span but sending it.
func BenchmarkPlan(b *testing.B) {
	in := benchBatch(b)
	x := start(b, "127.0.0.1:1", nil)
	var w work
	var body []byte
	b.ReportAllocs()
	for b.Loop() {
		if err := w.plan(in, &x.routes, today, newDelivery(in)); err != nil || w.shortened > 0 {
			b.Fatal(err, w.shortened)
		}
		for _, to := range w.destinations {
			body, _ = w.encode(body[:0], to.project, to.items)
		}
	}
	perSpan(b, in)
}

// BenchmarkExport sends to the fake, which takes apart what it is sent, in the same process.
func BenchmarkExport(b *testing.B) {
	for _, connections := range []int{1, 4} {
		for _, compression := range []string{exporter.CompressionNone, exporter.CompressionGzip} {
			b.Run(compression+"/"+string(rune('0'+connections)), func(b *testing.B) {
				fake := startFake(b, googletest.Config{Discard: true})
				x := start(b, fake.Addr(), func(c *Config) { c.Compression, c.Connections, c.Timeout = compression, connections, time.Minute })
				in := benchBatch(b)
				b.ReportAllocs()
				b.SetParallelism(8)
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						if err := x.Export(b.Context(), in); err != nil {
							b.Error(err)
						}
					}
				})
				perSpan(b, in)
			})
		}
	}
}

func perSpan(b *testing.B, in *exporter.Batch) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*in.Items), "ns/span")
	b.ReportMetric(float64(len(in.Payload))/float64(in.Items), "B/span")
}
