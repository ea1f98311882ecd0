package otlp

import (
	"testing"

	"go.opentelemetry.io/collector/pdata/ptrace"
)

// The payload of the benchmarks: 100 spans of about 540 B with 12 attributes each, in 2 resources and 10
// traces.
const benchSpans = 100

func benchPayload() []byte { return sampleTraces(benchSpans, 10) }

// bothOrders runs a benchmark over the payload as SDKs write it and as collectors do.
func bothOrders(b *testing.B, bench func(b *testing.B, payload []byte)) {
	payload := benchPayload()
	b.Run("key first", func(b *testing.B) { bench(b, keyFirst(Traces, payload)) })
	b.Run("value first", func(b *testing.B) { bench(b, payload) })
}

func perSpan(b *testing.B, payload []byte) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchSpans, "ns/span")
	b.ReportMetric(float64(len(payload))/benchSpans, "B/span")
}

func BenchmarkScan(b *testing.B) {
	bothOrders(b, func(b *testing.B, payload []byte) {
		var p Payload
		b.ReportAllocs()
		for b.Loop() {
			if err := p.Scan(Traces, payload); err != nil {
				b.Fatal(err)
			}
		}
		perSpan(b, payload)
	})
}

func BenchmarkPdata(b *testing.B) {
	payload := benchPayload()
	var u ptrace.ProtoUnmarshaler
	b.ReportAllocs()
	for b.Loop() {
		if _, err := u.UnmarshalTraces(payload); err != nil {
			b.Fatal(err)
		}
	}
	perSpan(b, payload)
}

// BenchmarkAttribute looks for the eleventh of twelve attributes.
func BenchmarkAttribute(b *testing.B) {
	bothOrders(b, func(b *testing.B, payload []byte) {
		p := scanned(b, Traces, payload)
		b.ReportAllocs()
		for b.Loop() {
			if v, ok := p.Span(7).Attribute("http.response.status_code"); !ok || v.Int() != 200 {
				b.Fatal(v, ok)
			}
		}
	})
}

// BenchmarkAppendGroup copies each trace out as it came, with another trace_state in spans that have none and in spans
// that have one, and without the parent of its first span.
func BenchmarkAppendGroup(b *testing.B) {
	states := sampleTracesWith(benchSpans, 10, "rojo=00f067aa0ba902b7,ot=rv:0123456789abcd")
	edit := &Edit{State: func(dst, old []byte) []byte { return append(append(dst, "ot=th:e666,"...), old...) }}
	for _, c := range []struct {
		name    string
		payload []byte
		edit    *Edit
		entry   bool
	}{
		{"as it came", benchPayload(), nil, false},
		{"state added", benchPayload(), edit, false},
		{"state added key first", keyFirst(Traces, benchPayload()), edit, false},
		{"state changed", states, edit, false},
		{"state added parent cleared", benchPayload(), &Edit{State: edit.State}, true},
	} {
		b.Run(c.name, func(b *testing.B) {
			p := scanned(b, Traces, c.payload)
			x := p.Index()
			var dst []byte
			b.ReportAllocs()
			for b.Loop() {
				dst = dst[:0]
				for _, g := range p.Groups() {
					if c.entry {
						c.edit.First = uint32(p.Span(g.First).Start())
					}
					dst = x.AppendGroup(dst, g.First, c.edit)
				}
			}
			perSpan(b, c.payload)
		})
	}
}

// BenchmarkUnique is BenchmarkAppendGroup with each span held against those of its trace.
func BenchmarkUnique(b *testing.B) {
	payload := benchPayload()
	p := scanned(b, Traces, payload)
	x := p.Index()
	var u Unique
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = dst[:0]
		for _, g := range p.Groups() {
			u.Reset()
			dst, _ = u.AppendGroup(dst, x, g.First, nil)
		}
	}
	perSpan(b, payload)
}
