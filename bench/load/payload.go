package load

import (
	"encoding/binary"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"tailweir/bench/ledger"
)

// Item is one span or log record of a payload.
type Item struct {
	Number   uint32 // of its trace
	Deciding bool   // without it, the trace could be decided wrongly
}

// Payload is one export request of one service, with spans (or log records) of several traces.
type Payload struct {
	Logs  bool
	Body  []byte        // the encoded request
	Due   time.Duration // since the start of the run
	Items []Item

	room []byte // Body with room before it for headers that come last
}

// headroom holds the headers of a payload: the resource and the scope, with their lengths.
const headroom = 1024

// batch is a payload in the making.
type batch struct {
	logs   bool
	target int           // items it will have, unless it gets too old
	opened time.Duration // when its first item came
	room   []byte        // headroom, then the encoded items
	items  []Item
}

func (b *batch) open(free *Payload, target int, now time.Duration) {
	b.room = append(free.room[:0], make([]byte, headroom)...)
	b.items, b.target, b.opened = free.Items[:0], target, now
}

// addSpan copies the template and patches what differs.
func (b *batch) addSpan(t *spanTemplate, e *event) {
	at := len(b.room)
	b.room = append(b.room, t.bytes...)
	out := b.room[at:]
	binary.BigEndian.PutUint64(out[t.trace:], e.high)
	binary.BigEndian.PutUint64(out[t.trace+8:], e.low)
	id := ledger.SpanID(e.high, int(e.index))
	binary.BigEndian.PutUint64(out[t.span:], id)
	if t.parent != 0 {
		binary.BigEndian.PutUint64(out[t.parent:], ledger.SpanID(e.high, int(e.parent)))
	}
	putTime(out[t.start:], e.start)
	putTime(out[t.end:], e.end)
	putHex(out[t.request:], id*0x9e3779b97f4a7c15)
	if t.event != 0 {
		putTime(out[t.event:], e.end)
	}
	b.items = append(b.items, Item{Number: uint32(e.high >> 16), Deciding: e.deciding})
}

// addRecord adds the log record that belongs to the span.
func (b *batch) addRecord(t *recordTemplate, e *event) {
	at := len(b.room)
	b.room = append(b.room, t.bytes...)
	out := b.room[at:]
	putTime(out[t.time:], e.start)
	putTime(out[t.observed:], e.start)
	binary.BigEndian.PutUint64(out[t.trace:], e.high)
	binary.BigEndian.PutUint64(out[t.trace+8:], e.low)
	binary.BigEndian.PutUint64(out[t.span:], ledger.SpanID(e.high, int(e.index)))
	b.items = append(b.items, Item{Number: uint32(e.high >> 16)})
}

// seal writes the headers into the headroom, innermost first, and fills p.
func (b *batch) seal(p *Payload, s *service, due time.Duration) {
	start := headroom
	start = prepend(b.room, start, s.scope)
	start = prependLength(b.room, start, 2) // scope_spans, scope_logs
	start = prepend(b.room, start, s.resource)
	start = prependLength(b.room, start, 1) // resource_spans, resource_logs
	*p = Payload{Logs: b.logs, Body: b.room[start:], Due: due, Items: b.items, room: b.room}
	b.room, b.items = nil, nil
}

func prepend(room []byte, start int, head []byte) int {
	start -= len(head)
	copy(room[start:], head)
	return start
}

// prependLength makes room[start:] the body of a length-delimited field.
func prependLength(room []byte, start int, field protowire.Number) int {
	var head [2 + 10]byte
	h := protowire.AppendTag(head[:0], field, protowire.BytesType)
	h = protowire.AppendVarint(h, uint64(len(room)-start))
	return prepend(room, start, h)
}
