package cloudtrace

import (
	"slices"
	"strconv"
)

// notes tell what of a span was cut.
type notes struct {
	b    []byte
	more int // of which the text has no room to tell
}

// maxNotes bounds the text, in bytes. A span of a thousand long values needs no list of them to be found out.
const maxNotes = 1000

// place is where in a span something was cut.
type place struct {
	kind  string // "event", "link"
	index int
}

var ofSpan place

func (n *notes) any() bool { return len(n.b) > 0 }

func (n *notes) copy(from *notes) {
	n.b, n.more = append(n.b[:0], from.b...), from.more
}

// add notes that a name (of is nil), or the key or value named of, was cut.
func (n *notes) add(what string, of []byte, where place) {
	b := append([]byte(nil), what...)
	if of != nil {
		b = append(append(b, " of "...), clip(valid(of), 80)...)
	}
	n.append(b, where)
}

// by tells of what was just noted how many bytes are missing.
func (n *notes) by(bytes int) {
	if n.more == 0 {
		n.b = append(strconv.AppendInt(append(n.b, " by "...), int64(bytes), 10), " bytes"...)
	}
}

// left notes that of count things those beyond the limit, if there are any, were left out.
func (n *notes) left(count, limit int, what string, where place) {
	if count > limit {
		n.append([]byte(strconv.Itoa(count-limit)+" of "+strconv.Itoa(count)+" "+what), where)
	}
}

func (n *notes) append(b []byte, where place) {
	if where != ofSpan {
		b = slices.Concat(b, []byte(" ("+where.kind+" "+strconv.Itoa(where.index)+")"))
	}
	if len(n.b)+len(b) > maxNotes {
		n.more++
		return
	}
	if len(n.b) > 0 {
		n.b = append(n.b, ", "...)
	}
	n.b = append(n.b, b...)
}

func (n *notes) text() string {
	if n.more == 0 {
		return string(n.b)
	}
	return string(n.b) + " and " + strconv.Itoa(n.more) + " more"
}
