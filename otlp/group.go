package otlp

import (
	"hash/maphash"
	"math/bits"
	"slices"
)

// Group is the items of one trace in a payload.
type Group struct {
	Trace TraceID // zero for the items without a trace id
	First int32   // its first item; the others follow by Payload.Next
	Items int32
	Bytes int32 // sum of the encoded sizes of the items
}

// tableSeed keys the hash of trace ids, which senders choose, so that nobody can make them collide.
var tableSeed = maphash.MakeSeed()

// Groups returns the traces in the payload in the order of their first items.
func (p *Payload) Groups() []Group { return p.groups }

// Next returns the item that follows i in its group, -1 at the end.
func (p *Payload) Next(i int32) int32 { return p.chain[i] }

// group fills groups and chain. Items of one trace mostly come in a row, so that the table is asked only
// when the trace changes.
func (p *Payload) group() {
	n := len(p.items)
	p.chain = slices.Grow(p.chain, n)[:n]
	p.clearSlots(n)
	last := int32(-1)
	for i := range p.items {
		trace := &p.items[i].trace
		if last < 0 || p.groups[last].Trace != *trace {
			last = p.lookup(trace)
		}
		g := &p.groups[last]
		if g.Items == 0 {
			g.First = int32(i)
		} else {
			p.chain[p.tails[last]] = int32(i)
		}
		g.Items++
		g.Bytes += int32(p.entries[i].size)
		p.tails[last] = int32(i)
		p.chain[i] = -1
	}
}

// clearSlots makes the table empty and at least twice as large as n.
func (p *Payload) clearSlots(n int) {
	size := 1 << bits.Len(uint(2*n))
	p.slots = slices.Grow(p.slots[:0], size)[:size]
	clear(p.slots)
}

// lookup returns the group of the trace, a new one if there is none.
func (p *Payload) lookup(trace *TraceID) int32 {
	mask := uint64(len(p.slots) - 1)
	for h := maphash.Bytes(tableSeed, trace[:]) & mask; ; h = (h + 1) & mask {
		g := p.slots[h] - 1
		if g < 0 {
			p.groups = append(p.groups, Group{Trace: *trace})
			p.tails = append(p.tails, -1)
			p.slots[h] = int32(len(p.groups))
			return int32(len(p.groups) - 1)
		}
		if p.groups[g].Trace == *trace {
			return g
		}
	}
}
