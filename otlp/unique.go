package otlp

import (
	"bytes"
	"hash/maphash"
	"slices"
)

// Unique appends groups without the items that were appended before: the same bytes in the same resource and scope.
// An app's retry in another batch, or a relay that batches anew, sends a span twice; what differs in one byte is another
// item, such as the two halves of a span that client and server share. The zero value is ready. Not safe for concurrent use.
type Unique struct {
	seed  maphash.Seed
	seen  map[uint64]place
	chain []int32 // of the call that is running: those of its items that are new
}

// place is an item of an index. The bytes are compared, so that a collision of hashes loses nothing.
type place struct {
	index *Index
	item  int32
}

// Reset forgets what was appended.
func (u *Unique) Reset() { clear(u.seen) }

// AppendGroup is Index.AppendGroup for the items that were not appended since the last Reset, whatever the edits. It returns
// how many those are; with none dst is as it was.
func (u *Unique) AppendGroup(dst []byte, x *Index, first int32, e *Edit) ([]byte, int) {
	if u.seen == nil {
		u.seed, u.seen = maphash.MakeSeed(), map[uint64]place{}
	}
	u.chain = slices.Grow(u.chain[:0], len(x.chain))[:len(x.chain)]
	head, last, items := int32(-1), int32(-1), 0
	scope, context := int32(-1), uint64(0)
	for i := first; i >= 0; i = x.chain[i] {
		if s := x.entries[i].scope; s != scope {
			scope, context = s, u.context(x, i)
		}
		if !u.repeats(place{x, i}, context) {
			enchain(u.chain, &head, &last, i)
			items++
		}
	}
	return x.appendChain(dst, u.chain, head, first, e), items
}

// repeats notes the item and reports whether it was there.
func (u *Unique) repeats(p place, context uint64) bool {
	key := maphash.Bytes(u.seed, p.index.body(p.item)) ^ context
	was, ok := u.seen[key]
	if !ok {
		u.seen[key] = p
		return false
	}
	return bytes.Equal(was.index.body(was.item), p.index.body(p.item)) && sameContext(was, p)
}

// context hashes the scope and the resource of an item.
func (u *Unique) context(x *Index, i int32) uint64 {
	var h maphash.Hash
	h.SetSeed(u.seed)
	for _, part := range x.contextOf(i) {
		h.Write(part)
		h.WriteByte(0)
	}
	return h.Sum64()
}

func (x *Index) contextOf(i int32) [4][]byte {
	s := &x.scopes[x.entries[i].scope]
	scope, resource := x.parts(s), x.parts(&x.resources[x.resourceOf(i)])
	return [4][]byte{scope[0], scope[1], resource[0], resource[1]}
}

func sameContext(a, b place) bool {
	one, two := a.index.contextOf(a.item), b.index.contextOf(b.item)
	for i := range one {
		if !bytes.Equal(one[i], two[i]) {
			return false
		}
	}
	return true
}
