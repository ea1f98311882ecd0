package otlp

import (
	"encoding/binary"
	"fmt"
	"testing"
)

func TestLocalRoot(t *testing.T) {
	const internal, server, client, producer, consumer = 1, 2, 3, 4, 5
	for _, c := range []struct {
		parent byte
		kind   byte
		flags  uint32
		want   bool
	}{
		{0, internal, 0, true},
		{0, client, flagHasIsRemote, true},
		{9, 0, 0, false},
		{9, internal, 0, false},
		{9, client, 1, false},
		{9, producer, 0, false},
		{9, server, 0, true},
		{9, consumer, 1, true},
		{9, internal, flagHasIsRemote | flagIsRemote, true},
		{9, client, flagHasIsRemote | flagIsRemote | 1, true},
		{9, server, flagHasIsRemote, false}, // a handler in a handler
		{9, consumer, flagHasIsRemote | 1, false},
		{9, internal, flagIsRemote, false}, // does not say that it says so
		{9, server, flagIsRemote, true},
	} {
		flags := binary.LittleEndian.AppendUint32([]byte{16<<3&0x7f | 0x80 | wireI32, 1}, c.flags)
		p := scanned(t, Traces, inSpan(field(4, []byte{c.parent, 7: 0}), []byte{6 << 3, c.kind}, flags))
		equal(t, fmt.Sprintf("%+v", c), p.Span(0).LocalRoot(), c.want)
	}
}
