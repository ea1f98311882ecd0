package broker

const chunkLen = 512

// messageLog is a topic's messages by offset, in publish order. Dropping is
// O(1) in any order; a chunk goes when its last message does, so that one
// forgotten message pins 4 kB of pointers, not the log after it. The zero value is ready.
type messageLog struct {
	first  int64 // number of chunks[0]
	next   int64 // offset of the next message
	live   int
	chunks []*chunk
}

type chunk struct {
	live  int
	items [chunkLen]*message
}

func (l *messageLog) append(m *message) (offset int64) {
	offset = l.next
	if offset%chunkLen == 0 {
		l.chunks = append(l.chunks, &chunk{})
	}
	c := l.chunks[len(l.chunks)-1]
	c.items[offset%chunkLen] = m
	c.live++
	l.live++
	l.next++
	return offset
}

func (l *messageLog) drop(offset int64) {
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

func (l *messageLog) trim() {
	n := 0
	for n < len(l.chunks) && l.chunks[n] == nil {
		n++
	}
	l.chunks = l.chunks[n:]
	l.first += int64(n)
}
