package cloudtrace

import (
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"

	"tailweir/exporter"
	"tailweir/exporter/gcp"
	"tailweir/exporter/googletest"
	"tailweir/otlp"
)

// ordinary is a batch as the pipeline makes them: 1 MiB, traces of 12 spans in 3 services.
func ordinary(t testing.TB) *exporter.Batch {
	var all []ptrace.Traces
	for n := range 95 {
		td := ptrace.NewTraces()
		for service := range 3 {
			rs := td.ResourceSpans().AppendEmpty()
			ordinaryResource(rs.Resource().Attributes(), service)
			ss := rs.ScopeSpans().AppendEmpty()
			ss.Scope().SetName("go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp")
			ss.Scope().SetVersion("0.63.0")
			for i := range 4 {
				ordinarySpan(addSpan(ss, 16*n+4*service+i), n)
			}
		}
		all = append(all, td)
	}
	return batch(t, all...)
}

func ordinaryResource(a pcommon.Map, service int) {
	for _, kv := range [][2]string{
		{"service.namespace", "shop"}, {"service.version", "1.2.3"}, {"deployment.environment.name", "production"},
		{"telemetry.sdk.language", "go"}, {"telemetry.sdk.name", "opentelemetry"}, {"telemetry.sdk.version", "1.47.0"},
		{"cloud.provider", "gcp"}, {"cloud.platform", "gcp_cloud_run"}, {"cloud.region", "europe-west1"}, {"faas.version", "shop-00001-abc"},
	} {
		a.PutStr(kv[0], kv[1])
	}
	a.PutStr("faas.name", fmt.Sprintf("service-%d", service))
	a.PutStr("service.name", fmt.Sprintf("service-%d", service))
	a.PutStr("faas.instance", fmt.Sprintf("00bf4bf02d%054d", service))
}

func ordinarySpan(s ptrace.Span, n int) {
	s.SetKind(ptrace.SpanKindServer)
	s.SetParentSpanID(pcommon.SpanID{1: 1})
	s.SetFlags(0x301)
	s.TraceState().FromRaw("ot=th:c")
	a := s.Attributes()
	a.PutStr("http.request.method", "GET")
	a.PutStr("url.path", fmt.Sprintf("/products/%d", n))
	a.PutStr("url.scheme", "https")
	a.PutStr("http.route", "/products/{id}")
	a.PutStr("server.address", "shop.example")
	a.PutInt("server.port", 443)
	a.PutStr("network.protocol.version", "1.1")
	a.PutStr("client.address", "203.0.113.7")
	a.PutStr("user_agent.original", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
	a.PutInt("http.response.status_code", 200)
	a.PutInt("http.response.body.size", 5120)
}

func BenchmarkMap(b *testing.B) {
	batch := ordinary(b)
	routes := &gcp.Routes{Project: project}
	b.ReportAllocs()
	before := cpuTime(b)
	for b.Loop() {
		var payload otlp.Payload
		if err := payload.Scan(otlp.Traces, batch.Payload); err != nil {
			b.Fatal(err)
		}
		newPlan(&payload, batch, routes, today, func(*request) {}).run()
	}
	perSpan(b, batch, cpuTime(b)-before)
}

// BenchmarkSend is all of the sender's part: the server takes bytes and answers.
func BenchmarkSend(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	srv := grpc.NewServer(grpc.ForceServerCodecV2(deaf{}), grpc.MaxRecvMsgSize(maxSpanBytes), grpc.UnknownServiceHandler(func(_ any, s grpc.ServerStream) error {
		if err := s.RecvMsg(nil); err != nil {
			return err
		}
		return s.SendMsg(nil)
	}))
	go func() { _ = srv.Serve(l) }()
	b.Cleanup(srv.Stop)
	benchmarkExport(b, func(c *Config) { c.Dial.Endpoint = l.Addr().String() })
}

// deaf neither reads nor says anything.
type deaf struct{}

func (deaf) Name() string                         { return "proto" }
func (deaf) Marshal(any) (mem.BufferSlice, error) { return nil, nil }
func (deaf) Unmarshal(mem.BufferSlice, any) error { return nil }

// BenchmarkExport counts the fake's part, too: it decodes each span and checks it.
func BenchmarkExport(b *testing.B) { benchmarkExport(b) }

func benchmarkExport(b *testing.B, change ...func(*Config)) {
	batch := ordinary(b)
	_, e := start(b, googletest.Config{Discard: true}, change...)
	b.SetParallelism(2)
	b.ReportAllocs()
	b.ResetTimer()
	before := cpuTime(b)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := export(b, e, batch); err != nil {
				b.Error(err)
			}
		}
	})
	perSpan(b, batch, cpuTime(b)-before)
}

func perSpan(b *testing.B, batch *exporter.Batch, cpu time.Duration) {
	b.ReportMetric(float64(cpu)/float64(b.N*batch.Items), "cpu-ns/span")
	b.ReportMetric(float64(b.Elapsed())/float64(b.N*batch.Items), "ns/span")
}

// cpuTime is what the process has used of all cores, the garbage collector's share too.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
