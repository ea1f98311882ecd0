package telemetry

import (
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"

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

// BenchmarkExport sends to a server that throws away what it is sent, in the same process, and to the fake, which takes it apart.
// The processor's time is that of both sides.
func BenchmarkExport(b *testing.B) {
	for _, compression := range []string{exporter.CompressionNone, exporter.CompressionGzip} {
		for _, connections := range []int{1, 4} {
			b.Run(fmt.Sprintf("sink/%s/%d connections", compression, connections), func(b *testing.B) {
				benchExport(b, sink(b), compression, connections)
			})
		}
	}
	b.Run("fake/none/4 connections", func(b *testing.B) {
		benchExport(b, startFake(b, googletest.Config{Discard: true}).Addr(), exporter.CompressionNone, 4)
	})
}

func benchExport(b *testing.B, addr, compression string, connections int) {
	x := start(b, addr, func(c *Config) { c.Compression, c.Connections, c.Timeout = compression, connections, time.Minute })
	in := benchBatch(b)
	b.ReportAllocs()
	b.SetParallelism(8)
	before := processorTime(b)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := x.Export(b.Context(), in); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(processorTime(b)-before)/float64(b.N*in.Items), "cpu-ns/span")
	perSpan(b, in)
}

func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// sink answers every request with an empty message.
func sink(b *testing.B) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	s := grpc.NewServer(grpc.ForceServerCodecV2(discard{}), grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		if err := stream.RecvMsg(nil); err != nil {
			return err
		}
		return stream.SendMsg(nil)
	}))
	go s.Serve(l)
	b.Cleanup(s.Stop)
	return l.Addr().String()
}

type discard struct{}

func (discard) Name() string                         { return "proto" }
func (discard) Marshal(any) (mem.BufferSlice, error) { return nil, nil }
func (discard) Unmarshal(mem.BufferSlice, any) error { return nil }

func perSpan(b *testing.B, in *exporter.Batch) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*in.Items), "ns/span")
	b.ReportMetric(float64(len(in.Payload))/float64(in.Items), "B/span")
}
