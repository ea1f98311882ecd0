package buffer

import (
	"fmt"
	"testing"

	"tailweir/sampler"
)

// One trace of many facts: in the order of publish, as the queue gives them with neighbours swapped, and all of them said
// a second time.
func BenchmarkLargeTrace(b *testing.B) {
	for _, n := range []int{10, 1_000, 100_000} {
		for name, order := range map[string]func(i int) int{
			"in order": func(i int) int { return i },
			"swapped":  func(i int) int { return i ^ 15 },
			"twice":    func(i int) int { return i % (n / 2) },
		} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					w := New(Config{MaxBytes: 1 << 40}.Defaults())
					for i := range n {
						k := order(i)
						w.Add(id(1), Fact{Message: uint64(k) * 0x9e3779b97f4a7c15, Publish: Stamp(k / 5), Facts: sampler.Facts{Spans: 1}}, func(Release) {})
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/fact")
			})
		}
	}
}
