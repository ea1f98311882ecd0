package sampler

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"tailweir/otlp"
)

func numbered(n int) (id otlp.TraceID) {
	binary.BigEndian.PutUint64(id[:], uint64(n)*0x9e3779b97f4a7c15)
	binary.BigEndian.PutUint64(id[8:], uint64(n))
	return id
}

// The decisions of the size/2 traces used last are there, those of size at most, and each is the first.
func TestHistoryKeepsTheRecentHalf(t *testing.T) {
	for _, size := range []int{0, 2, 3, 10, 101} {
		rng := rand.New(rand.NewPCG(uint64(size), 3))
		h, first, recent := NewHistory(size), map[otlp.TraceID]Decision{}, []otlp.TraceID(nil)
		use := func(id otlp.TraceID) {
			recent = append(slices.DeleteFunc(recent, func(r otlp.TraceID) bool { return r == id }), id)
			recent = recent[max(0, len(recent)-size/2):]
		}
		for step := range 5000 {
			id := numbered(rng.IntN(2*size + 3))
			must := slices.Contains(recent, id)
			if rng.IntN(2) == 0 {
				d, known := h.Get(id)
				if must && !known || known && d != first[id] {
					t.Fatalf("size %d, step %d: Get = %+v, %v; want %+v, recent %v", size, step, d, known, first[id], must)
				}
				if !known {
					continue
				}
			} else {
				d := Decision{Keep: rng.IntN(2) == 0, First: rng.Uint32() * uint32(rng.IntN(2)), Policy: fmt.Sprint("p", step%7), Threshold: rng.Uint64N(never + 1)}
				switch isFirst := h.Put(id, d); {
				case isFirst && must:
					t.Fatalf("size %d, step %d: the decision of a recent trace was made anew", size, step)
				case isFirst:
					first[id] = d
				}
			}
			use(id)
			both := remembered(&h.old)
			maps.Copy(both, remembered(&h.young))
			if h.Len() > max(size, 2) || h.Len() != len(both) {
				t.Fatalf("size %d, step %d: Len %d, and it remembers %d", size, step, h.Len(), len(both))
			}
		}
	}
}

func TestHistoryOfMoreNamesThanNumbers(t *testing.T) {
	h := NewHistory(1 << 20)
	for i := range mostNames + 10 {
		h.Put(numbered(i), Decision{Keep: true, Policy: fmt.Sprint(i)})
	}
	for i, want := range map[int]string{0: "0", mostNames - 2: fmt.Sprint(mostNames - 2), mostNames - 1: "", mostNames + 9: ""} {
		if d, ok := h.Get(numbered(i)); !ok || !d.Keep || d.Policy != want {
			t.Errorf("decision %d is %+v, %v, want kept by %q", i, d, ok, want)
		}
	}
}

// An entry's memory when the history is full, and the time of a Put once it forgets for each.
func BenchmarkHistoryPut(b *testing.B) {
	b.Run("200000", func(b *testing.B) { benchmarkPut(b, 200_000, 0) })
	b.Run("1000000", func(b *testing.B) { benchmarkPut(b, 1_000_000, 0) }) // a worker's default
	b.Run("1000000 every tenth with a first", func(b *testing.B) { benchmarkPut(b, 1_000_000, 10) })
	b.Run("1000000 all with a first", func(b *testing.B) { benchmarkPut(b, 1_000_000, 1) })
}

// benchmarkPut gives each of so many decisions a First; 0: none.
func benchmarkPut(b *testing.B, size, firsts int) {
	first := func(n int) uint32 {
		if firsts == 0 || n%firsts > 0 {
			return 0
		}
		return uint32(n) | 1
	}
	policies := []string{"errors", "slow", "rest", ""}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	h := NewHistory(size)
	for i := range 2 * size {
		h.Put(numbered(i), Decision{Keep: true, First: first(i), Policy: policies[i%4]})
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	perEntry := float64(after.HeapAlloc-before.HeapAlloc) / float64(h.Len())
	n := 2 * size
	b.ReportAllocs()
	for b.Loop() {
		h.Put(numbered(n), Decision{Keep: n%2 == 0, First: first(n), Policy: policies[n%4], Threshold: 1 << 55})
		n++
	}
	b.ReportMetric(perEntry, "B/entry")
}

func BenchmarkHistoryGet(b *testing.B) {
	const size = 200_000
	h := NewHistory(size)
	for i := range size {
		h.Put(numbered(i), Decision{Keep: true, Policy: "errors"})
	}
	n := 0
	for b.Loop() {
		h.Get(numbered(n % (2 * size)))
		n += 7919
	}
}

func remembered(g *generation) map[otlp.TraceID]verdict {
	all := map[otlp.TraceID]verdict{}
	for i := range g.n {
		all[g.entry(i).id] = g.entry(i).v
	}
	return all
}
