package otlp

import (
	"hash/maphash"
	"math/bits"
	"slices"
)

// Group is the items of one trace in a payload, after Partition those of one class.
type Group struct {
	Trace TraceID // zero for the items without a trace id
	Class uint8   // 0 without Partition
	First int32   // its first item; the others follow by Payload.Next
	Items int32
	Bytes int32 // sum of the encoded sizes of the items
}

// tableSeed keys the hash of trace ids, which senders choose, so that nobody can make them collide.
var tableSeed = maphash.MakeSeed()

// Groups returns the traces in the payload in the order of their first items, the classes of each in a row.
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

// Partition splits the groups of a logs payload by what class says of each record: a trace then has a group for each of its
// classes, in the order of their first records. Scan undoes it.
func (p *Payload) Partition(class func(Record) uint8) {
	p.whole = append(p.whole[:0], p.groups...)
	p.groups, p.tails = p.groups[:0], p.tails[:0]
	for _, g := range p.whole {
		first := len(p.groups)
		for i := g.First; i >= 0; {
			next := p.chain[i]
			p.sortIn(first, i, Group{Trace: g.Trace, Class: class(p.Record(i)), First: i})
			i = next
		}
	}
}

// sortIn appends item i to the group from index first on that has its class, or to the new one g.
func (p *Payload) sortIn(first int, i int32, g Group) {
	at := first
	for at < len(p.groups) && p.groups[at].Class != g.Class {
		at++
	}
	if at == len(p.groups) {
		p.groups, p.tails = append(p.groups, g), append(p.tails, i)
	} else {
		p.chain[p.tails[at]] = i
	}
	p.groups[at].Items++
	p.groups[at].Bytes += int32(p.entries[i].size)
	p.tails[at], p.chain[i] = i, -1
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
