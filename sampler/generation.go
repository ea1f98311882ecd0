package sampler

import (
	"cmp"
	"math/bits"
	"slices"

	"tailweir/otlp"
)

// generation is a set of verdicts that is only added to, and forgotten as a whole. Not safe for concurrent use.
//
// The entries lie in a row, as they came, and an index of a fixed size says where. In a fleet most of what is looked up is
// not there: then only the index is read, at 6 B an entry, which caches hold. A map of the runtime is 37 to 59 B an entry,
// of which it reads parts all over, and takes two to three times as long. Nothing is a pointer, so the garbage collector
// does not look into it, and nothing moves when it grows.
type generation struct {
	// index has a slot for each entry: its number, from 1 on, in the lower bits, and bits of its hash above them. It is in the
	// first free slot from where the upper bits of the hash say.
	index  []uint32
	number uint32 // mask of the number in a slot
	n      int
	chunks [][]entry // of perChunk each; more than n needs after clear
	firsts []firstOf // of the entries that have one, in their order
}

// firstOf is the First of an entry, by its place.
type firstOf struct{ entry, first uint32 }

type entry struct {
	id otlp.TraceID
	v  verdict
}

const perChunk = 1260 // 32,760 B, of 32,768 that the allocator has

// newGeneration returns one for at most n entries, less than 2^31. Its index is two thirds full with them: what is not
// there is found out after 5 slots on average, in one line of the cache or two.
func newGeneration(n int) generation {
	return generation{index: make([]uint32, n+n/2+1), number: 1<<bits.Len(uint(n)) - 1}
}

// find looks for id.
func (g *generation) find(id *otlp.TraceID, hash uint64) (v verdict, first uint32, known bool) {
	print := uint32(hash) &^ g.number
	for i := g.home(hash); g.index[i] != 0; i = g.next(i) {
		if slot := g.index[i]; slot&^g.number == print {
			at := slot&g.number - 1
			if e := g.entry(int(at)); e.id == *id {
				return e.v, g.first(e, at), true
			}
		}
	}
	return v, 0, false
}

func (g *generation) first(e *entry, at uint32) uint32 {
	if !e.v.hasFirst() {
		return 0
	}
	i, _ := slices.BinarySearchFunc(g.firsts, at, func(f firstOf, at uint32) int { return cmp.Compare(f.entry, at) })
	return g.firsts[i].first
}

// add puts in id, which is not there. The verdict says whether it has a first.
func (g *generation) add(id *otlp.TraceID, hash uint64, v verdict, first uint32) {
	if v.hasFirst() {
		g.firsts = append(g.firsts, firstOf{uint32(g.n), first})
	}
	if g.n == len(g.chunks)*perChunk {
		g.chunks = append(g.chunks, make([]entry, perChunk))
	}
	*g.entry(g.n) = entry{*id, v}
	g.n++
	i := g.home(hash)
	for g.index[i] != 0 {
		i = g.next(i)
	}
	g.index[i] = uint32(hash)&^g.number | uint32(g.n)
}

// clear forgets all, and keeps the memory.
func (g *generation) clear() {
	clear(g.index)
	g.n, g.firsts = 0, g.firsts[:0]
}

func (g *generation) entry(i int) *entry { return &g.chunks[i/perChunk][i%perChunk] }

func (g *generation) home(hash uint64) int {
	i, _ := bits.Mul64(hash, uint64(len(g.index)))
	return int(i)
}

func (g *generation) next(i int) int {
	if i++; i == len(g.index) {
		return 0
	}
	return i
}
