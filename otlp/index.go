package otlp

import (
	"encoding/binary"
	"slices"
)

// Index is what remains of a scanned payload while it is held: 16 B per item and 24 B per resource and
// scope, and the payload's bytes, which it aliases. It is immutable and safe for concurrent use.
type Index struct{ layout }

// Index returns an index that outlives the payload's next Scan.
func (p *Payload) Index() *Index {
	return &Index{layout{
		signal:    p.signal,
		b:         p.b,
		loose:     slices.Clone(p.loose),
		entries:   slices.Clone(p.entries),
		chain:     slices.Clone(p.chain),
		scopes:    slices.Clone(p.scopes),
		resources: slices.Clone(p.resources),
	}}
}

// AppendGroup appends to dst an export request that holds the group starting at first, a Group.First: the
// headers of each resource and scope once, all bytes as they came but for the edit, which may be nil. Outputs of
// several calls, also of several indices of the same signal, concatenated are one valid export request.
//
// The resource header is written for every group, so the output of all groups together can be larger than
// the payload by far: bound what you batch by its size.
func (x *Index) AppendGroup(dst []byte, first int32, e *Edit) []byte {
	return x.appendChain(dst, x.chain, first, first, e)
}

// SizeGroup returns the number of items in the group starting at first and the sum of their encoded sizes.
func (x *Index) SizeGroup(first int32) (items, bytes int) {
	for i := first; i >= 0; i = x.chain[i] {
		items++
		bytes += int(x.entries[i].size)
	}
	return items, bytes
}

// SizeEncoded returns the size of what AppendGroup appends for the group starting at first, or a little more: headers are
// written for each group, so it can be far above SizeGroup's sum. grow is by how much the edit makes an item larger at
// most: the length of the suffix, and for a state that becomes n < 128 bytes longer, n + 2.
func (x *Index) SizeEncoded(first int32, grow int) (n int) {
	scope, resource := int32(-1), int32(-1)
	for i := first; i >= 0; i = x.chain[i] {
		n += fieldSize(int(x.entries[i].size) + grow)
		if r := x.resourceOf(i); r != resource {
			resource, scope = r, -1
			n += fieldSize(x.resources[r].size()) + maxLengthGrowth
		}
		if s := x.entries[i].scope; s != scope {
			scope = s
			n += fieldSize(x.scopes[s].size()) + maxLengthGrowth
		}
	}
	return n
}

// maxLengthGrowth is by how much the length of a message that holds others is longer than that of its header alone.
const maxLengthGrowth = 4

// Footprint returns the memory of the index beside the payload, in bytes.
func (x *Index) Footprint() int {
	return 16*len(x.entries) + 24*(len(x.scopes)+len(x.resources)) + len(x.loose)
}

// Select returns an export request of the items for which keep returns true, in their order. It is empty,
// which is a valid request, if there are none.
func Select(p *Payload, keep func(i int32) bool) []byte {
	chain := make([]int32, p.Len())
	first, last := int32(-1), int32(-1)
	size := 0
	for i := range int32(p.Len()) {
		if !keep(i) {
			continue
		}
		size += int(p.entries[i].size) + 6
		enchain(chain, &first, &last, i)
	}
	return p.appendChain(make([]byte, 0, min(size, len(p.b))), chain, first, first, nil)
}

// enchain appends item i to the chain from first to last.
func enchain(chain []int32, first, last *int32, i int32) {
	if *first < 0 {
		*first = i
	} else {
		chain[*last] = i
	}
	*last, chain[i] = i, -1
}

func (l *layout) body(i int32) []byte { return l.b[l.entries[i].off:][:l.entries[i].size] }

func (l *layout) resourceOf(i int32) int32 { return l.scopes[l.entries[i].scope].resource }

// parts returns the header's fields before and after its children.
func (l *layout) parts(h *header) [2][]byte {
	b := l.b
	if h.loose {
		b = l.loose
	}
	return [2][]byte{b[h.start:h.child], b[h.childEnd:h.end]}
}

// appendChain appends an export request of the items of the chain, whose order is that of the payload. They are of the group
// that starts at group, where there is an edit.
// Lengths come before contents, so each item is visited three times: to size its resource, to size its
// scope, and to be copied.
func (l *layout) appendChain(dst []byte, chain []int32, first, group int32, e *Edit) []byte {
	if e != nil {
		e.prepare(l, chain, first, group)
	}
	for i := first; i >= 0; {
		r := l.resourceOf(i)
		parts := l.parts(&l.resources[r])
		size := l.resources[r].size()
		for j := i; j >= 0 && l.resourceOf(j) == r; {
			var n int
			n, j = l.scopeSize(chain, j, e)
			size += fieldSize(n)
		}
		dst = append(appendField(dst, 1<<3|wireLen, size), parts[0]...)
		for i >= 0 && l.resourceOf(i) == r {
			dst, i = l.appendScope(dst, chain, i, e)
		}
		dst = append(dst, parts[1]...)
	}
	return dst
}

// scopeSize returns the size of a scope message that holds the chain's items from i on as far as they are of
// one scope, and the item after them.
func (l *layout) scopeSize(chain []int32, i int32, e *Edit) (int, int32) {
	s := l.entries[i].scope
	size := l.scopes[s].size()
	for ; i >= 0 && l.entries[i].scope == s; i = chain[i] {
		size += fieldSize(e.size(l, i))
	}
	return size, i
}

func (l *layout) appendScope(dst []byte, chain []int32, i int32, e *Edit) ([]byte, int32) {
	s := l.entries[i].scope
	parts := l.parts(&l.scopes[s])
	size, after := l.scopeSize(chain, i, e)
	dst = append(appendField(dst, 2<<3|wireLen, size), parts[0]...)
	for ; i != after; i = chain[i] {
		dst = e.append(appendField(dst, 2<<3|wireLen, e.size(l, i)), l, i)
	}
	return append(dst, parts[1]...), after
}

// AttributeField returns the encoded field that adds a string attribute to a span or a log record, for use
// as Edit.Suffix. The first of several attributes with one key counts, so it does not replace one.
func AttributeField(signal Signal, key, value string) []byte {
	v := append(appendField(nil, 1<<3|wireLen, len(value)), value...)
	return attributeField(signal, key, v)
}

// BoolAttributeField is AttributeField for a bool.
func BoolAttributeField(signal Signal, key string, v bool) []byte {
	n := uint64(0)
	if v {
		n = 1
	}
	return attributeField(signal, key, binary.AppendUvarint([]byte{2<<3 | wireVarint}, n))
}

func attributeField(signal Signal, key string, value []byte) []byte {
	tag := byte(9<<3 | wireLen)
	if signal == Logs {
		tag = 6<<3 | wireLen
	}
	dst := appendField(nil, tag, fieldSize(len(key))+fieldSize(len(value)))
	dst = append(appendField(dst, 1<<3|wireLen, len(key)), key...)
	return append(appendField(dst, 2<<3|wireLen, len(value)), value...)
}
