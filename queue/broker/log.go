package broker

import "iter"

const chunkLen = 512

// chunkLog keeps items by offset, in the order of append: a topic's messages, and a
// subscription's deliveries. Dropping is O(1) in any order; a chunk goes when its
// last item does, so that one forgotten item pins 4 kB of pointers, not the log
// after it. The zero value is ready.
type chunkLog[T any] struct {
	first  int64 // number of chunks[0]
	next   int64 // offset of the next item
	live   int
	chunks []*chunk[T]
}

type chunk[T any] struct {
	live  int
	items [chunkLen]*T
}

func (l *chunkLog[T]) append(item *T) (offset int64) {
	offset = l.next
	if offset%chunkLen == 0 {
		l.chunks = append(l.chunks, &chunk[T]{})
	}
	c := l.chunks[len(l.chunks)-1]
	c.items[offset%chunkLen] = item
	c.live++
	l.live++
	l.next++
	return offset
}

func (l *chunkLog[T]) drop(offset int64) {
	number := offset / chunkLen
	c := l.chunks[number-l.first]
	c.items[offset%chunkLen] = nil
	c.live--
	l.live--
	if c.live > 0 || number == l.next/chunkLen {
		return // still filling, or still needed
	}
	l.chunks[number-l.first] = nil
	l.trim()
}

func (l *chunkLog[T]) trim() {
	n := 0
	for n < len(l.chunks) && l.chunks[n] == nil {
		n++
	}
	l.chunks = l.chunks[n:]
	l.first += int64(n)
}

// at returns nil for an offset that was dropped, or that there never was.
func (l *chunkLog[T]) at(offset int64) *T {
	i := offset/chunkLen - l.first
	if offset >= l.next || i < 0 || l.chunks[i] == nil {
		return nil
	}
	return l.chunks[i].items[offset%chunkLen]
}

// from yields the items at offset and after it in their order; each may be dropped as it comes.
func (l *chunkLog[T]) from(offset int64) iter.Seq2[int64, *T] {
	return func(yield func(int64, *T) bool) {
		for at := offset; at < l.next; at++ {
			at = max(at, l.first*chunkLen)
			if at < l.next && l.chunks[at/chunkLen-l.first] == nil {
				at += chunkLen - 1 - at%chunkLen
				continue
			}
			if item := l.at(at); item != nil && !yield(at, item) {
				return
			}
		}
	}
}
