package cloudlogging

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"google.golang.org/protobuf/proto"

	"tailweir/exporter"
	"tailweir/exporter/googletest"
)

// shopLogs are n records as a web shop on Cloud Run writes them: a line of text, eight attributes; every fourth is JSON.
func shopLogs(t testing.TB, n int, at time.Time) *exporter.Batch {
	ld := plog.NewLogs()
	rl := ld.ResourceLogs().AppendEmpty()
	for k, v := range map[string]string{"cloud.provider": "gcp", "cloud.platform": "gcp_cloud_run", "cloud.account.id": "shop-prod",
		"cloud.region": "europe-west1", "faas.name": "cart", "faas.version": "cart-00007-abc", "service.name": "cart", "telemetry.sdk.language": "nodejs"} {
		rl.Resource().Attributes().PutStr(k, v)
	}
	sl := rl.ScopeLogs().AppendEmpty()
	sl.Scope().SetName("@opentelemetry/instrumentation-pino")
	for i := range n {
		r := sl.LogRecords().AppendEmpty()
		r.SetTimestamp(pcommon.NewTimestampFromTime(at))
		r.SetObservedTimestamp(pcommon.NewTimestampFromTime(at))
		r.SetSeverityNumber(9)
		r.SetSeverityText("info")
		r.SetTraceID(pcommon.TraceID{1, byte(i >> 8), byte(i)})
		r.SetSpanID(pcommon.SpanID{1})
		if r.Body().SetStr(fmt.Sprintf("cart %d: item added, 3 items, 59.90 EUR in total", i)); i%4 == 0 {
			r.Body().SetStr(fmt.Sprintf(`{"message":"item added","cart":%d,"items":3,"total":59.90,"currency":"EUR"}`, i))
		}
		for _, k := range []string{"user.id", "session.id", "cart.id", "shop.region", "http.route", "feature.flag"} {
			r.Attributes().PutStr(k, "0123456789abcdef")
		}
		r.Attributes().PutInt("cart.items", 3)
		r.Attributes().PutBool("user.known", true)
	}
	return batchOf(t, encodeLogs(t, ld))
}

// BenchmarkMapping maps and encodes, as for one attempt.
func BenchmarkMapping(b *testing.B) {
	batch := shopLogs(b, 1000, clock)
	c := testConfig()
	b.ReportAllocs()
	bytes := 0
	cpu := cpuTime(b)
	for b.Loop() {
		m := mapped(b, c, batch)
		for _, r := range pack(m.entries) {
			out, err := proto.Marshal(newRequest(r))
			if err != nil {
				b.Fatal(err)
			}
			bytes = len(out)
		}
	}
	b.ReportMetric(float64(cpuTime(b)-cpu)/float64(b.N*1000), "cpu-ns/entry")
	b.ReportMetric(float64(bytes)/1000, "B/entry")
}

// BenchmarkExport sends to the fake, which is in the process too, four batches at once.
func BenchmarkExport(b *testing.B) {
	_, x := serve(b, googletest.Config{Discard: true})
	batch := shopLogs(b, 1000, start)
	b.ReportAllocs()
	b.SetParallelism(2)
	cpu := cpuTime(b)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := x.Export(b.Context(), batch); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(cpuTime(b)-cpu)/float64(b.N*1000), "cpu-ns/entry")
	b.ReportMetric(float64(b.N*1000)/b.Elapsed().Seconds(), "entries/s")
}

// cpuTime is what the process has used so far, of all its threads: other processes cannot change it as they do the wall's time.
func cpuTime(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
