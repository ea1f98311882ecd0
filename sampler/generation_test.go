package sampler

import (
	"encoding/binary"
	"math"
	"testing"
)

// Whatever the hashes of traces are, each has its own verdict, also behind the index's end, and what was forgotten is not found.
func TestGenerationOfCollidingHashes(t *testing.T) {
	const n = perChunk + 7
	for name, hash := range map[string]func(i int) uint64{
		"all the same":       func(int) uint64 { return 5 },
		"at the index's end": func(int) uint64 { return math.MaxUint64 },
		"same place":         func(i int) uint64 { return uint64(i) },
		"same bits in slot":  func(i int) uint64 { return uint64(i) << 40 },
		"spread":             func(i int) uint64 { return uint64(i) * 0x9e3779b97f4a7c15 },
	} {
		g := newGeneration(n)
		for round := range 2 {
			check := func(i int, want bool) {
				t.Helper()
				id := numbered(i)
				wanted, its := nth(i, round)
				if v, first, known := g.find(&id, hash(i)); known != want || known && (v != wanted || first != its) {
					t.Fatalf("%s, round %d: entry %d of %d is %v, %d, %v, want %v, %d, %v", name, round, i, g.n, v, first, known, wanted, its, want)
				}
			}
			for i := range n {
				check(i, false)
				id := numbered(i)
				v, first := nth(i, round)
				g.add(&id, hash(i), v, first)
				check(i/2, true)
			}
			for i := range n {
				check(i, true)
			}
			g.clear()
			check(n-1, false)
		}
	}
}

// nth is another verdict for each trace and round, and the First that every third has.
func nth(i, round int) (v verdict, first uint32) {
	binary.LittleEndian.PutUint32(v[:], uint32(i))
	v[9] = byte(round)
	if i%3 == round {
		v[7], first = firstBit>>56, uint32(i+1)
	}
	return v, first
}
