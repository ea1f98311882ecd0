package exporter

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

// BenchmarkExport sends 20 traces of 25 spans at a time.
func BenchmarkExport(b *testing.B) {
	var traces []int
	for i := range 20 {
		traces = append(traces, i+1)
	}
	batch := traceBatch(b, 25, traces...)
	backend := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	defer backend.Close()
	sender := func(compression string) Exporter {
		o, err := NewOTLP(OTLPConfig{Endpoint: backend.URL, Compression: compression})
		if err != nil {
			b.Fatal(err)
		}
		return o
	}
	file, err := NewFile(FileConfig{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	for name, e := range map[string]Exporter{
		"otlp-http-gzip": sender(CompressionGzip), "otlp-http-zstd": sender(CompressionZstd), "otlp-http-none": sender(CompressionNone), "file": file,
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(batch.Payload)))
			for b.Loop() {
				if err := e.Export(b.Context(), batch); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch.Items), "ns/span")
		})
	}
}
