package otlp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// ErrMalformed is what every *ScanError is.
var ErrMalformed = errors.New("malformed OTLP payload")

// ScanError says why a payload is not a valid export request and where.
type ScanError struct {
	Signal Signal
	Offset int    // bytes from the start of the payload to the field at fault
	What   string // the field and its fault: "span trace_id has 15 bytes, want 16"
}

func (e *ScanError) Error() string {
	return fmt.Sprintf("otlp: %s payload malformed at byte %d: %s", e.Signal, e.Offset, e.What)
}

// Is makes errors.Is(err, ErrMalformed) true.
func (e *ScanError) Is(target error) bool { return target == ErrMalformed }

const (
	// maxItems bounds what a payload of empty messages, two bytes each, can make Scan allocate: 120 B per
	// item. With a trace id an item takes more than 20 bytes.
	maxItems = 1 << 21

	// keptItems is the number of items up to which a Payload keeps its memory for the next Scan whatever
	// that holds.
	keptItems = 1 << 16
)

// Payload is one scanned export request. The zero value is ready for Scan, which reuses the memory of the
// scan before, so a pooled Payload allocates nothing. Views and groups taken from it are valid until the
// next Scan and alias the scanned bytes, which must not change meanwhile. Scan must not run concurrently
// with anything else; everything else may run concurrently.
type Payload struct {
	layout
	items  []item
	groups []Group
	whole  []Group // as they were before Partition
	tails  []int32 // last item of each group
	slots  []int32 // hash table: index into groups + 1, 0 for a free slot

	nesting nesting // how deep the messages of the payload are
	largest int     // bytes of the largest item or header
}

// layout is where the items and their headers lie in the payload; an Index is a copy of it.
type layout struct {
	signal    Signal
	b         []byte
	loose     []byte // headers whose fields stand between children, gathered
	entries   []entry
	chain     []int32 // next item of the same group, -1 at the end
	scopes    []header
	resources []header
}

// entry is an item's place: its message without tag and length.
type entry struct {
	off, size uint32
	scope     int32
}

// header is a ResourceSpans, ScopeSpans, ResourceLogs or ScopeLogs message less its children: the bytes
// [start, child) and [childEnd, end) of the payload, or of layout.loose.
type header struct {
	start, child, childEnd, end uint32
	resource                    int32 // of a scope
	loose                       bool
}

func (h *header) size() int { return int(h.child - h.start + h.end - h.childEnd) }

// item is what of a span, log record or metric is read during the scan. Offsets are into the payload; those of
// absent fields are 0.
type item struct {
	trace            TraceID
	span, parent     SpanID
	start, end       uint64 // of a record: time, observed time
	attrs, attrsEnd  uint32 // from the first attribute to the end of the last
	text, textLen    uint32 // name; of a record: severity text
	state, stateLen  uint32 // trace_state
	kind, statusCode int32  // of a record kind is the severity number, of a metric how many points it has
	flags            uint32
	attrsPlain       bool // the attributes are one run in the form that attributeRun knows
}

// SpanFlags of trace.proto: whether the parent is known to be in another process or not, and whether it is.
const (
	flagHasIsRemote = 1 << 8
	flagIsRemote    = 1 << 9
)

func (it *item) localRoot() bool {
	switch {
	case it.parent.IsZero():
		return true
	case it.flags&flagHasIsRemote != 0:
		return it.flags&flagIsRemote != 0
	}
	return it.kind == 2 || it.kind == 5 // server, consumer
}

// Scan reads the export request b of the signal. It returns a *ScanError if b is malformed,
// after which the payload is empty. It keeps b.
func (p *Payload) Scan(signal Signal, b []byte) error {
	p.reset(signal, b)
	if signal < Traces || signal > Metrics {
		return fmt.Errorf("otlp: scan %s: not a signal", signal)
	}
	err := p.scan(b)
	if err == nil {
		p.group()
		return nil
	}
	p.reset(signal, nil)
	err.Signal = signal
	return err
}

func (p *Payload) reset(signal Signal, b []byte) {
	if cap(p.items) > keptItems && cap(p.items) > len(b)/64 {
		*p = Payload{}
	}
	p.signal, p.b = signal, b
	p.loose, p.entries, p.chain = p.loose[:0], p.entries[:0], p.chain[:0]
	p.scopes, p.resources = p.scopes[:0], p.resources[:0]
	p.items, p.groups, p.tails = p.items[:0], p.groups[:0], p.tails[:0]
	p.nesting = nesting{now: 1} // an item, or a group
	p.largest = 0
}

// Signal returns what the payload carries.
func (l *layout) Signal() Signal { return l.signal }

// Bytes returns the export request as it was scanned.
func (l *layout) Bytes() []byte { return l.b }

// Len returns the number of spans, log records or metrics.
func (l *layout) Len() int { return len(l.entries) }

// Resources returns the number of resources that have items.
func (p *Payload) Resources() int { return len(p.resources) }

func (p *Payload) scan(b []byte) *ScanError {
	if len(b) > math.MaxInt32 {
		return &ScanError{What: fmt.Sprintf("%d bytes, at most %d can be scanned", len(b), math.MaxInt32)}
	}
	for pos := 0; pos < len(b); {
		at := pos
		tag, next := readTag(b, at)
		if next < 0 {
			return &ScanError{Offset: at, What: "request has a malformed field tag"}
		}
		if pos = skip(b, next, tag&7); pos < 0 || tag>>3 == 1 && tag&7 != wireLen {
			return &ScanError{Offset: at, What: "request field is cut off, malformed or of the wrong wire type"}
		}
		if tag == 1<<3|wireLen {
			start, _ := chunk(b, next)
			if err := p.scanResource(b[:pos], start); err != nil {
				return err
			}
		}
	}
	return nil
}

// scanResource reads the ResourceSpans or ResourceLogs from start to the end of b. Only one with items is
// remembered.
func (p *Payload) scanResource(b []byte, start int) *ScanError {
	h := headerScan{message: itemsOfResource, nesting: &p.nesting, pos: start}
	scopes := len(p.scopes)
	for h.next(b) {
		if err := p.scanScope(b[:h.pos], h.body); err != nil {
			return err
		}
	}
	if h.err == nil && len(p.scopes) > scopes {
		p.resources = append(p.resources, p.header(&h, b, start))
	}
	return h.err
}

func (p *Payload) scanScope(b []byte, start int) *ScanError {
	h := headerScan{message: itemsOfScope, nesting: &p.nesting, pos: start}
	items, scope := len(p.items), int32(len(p.scopes))
	for h.next(b) {
		if len(p.items) == maxItems {
			return &ScanError{Offset: h.at, What: fmt.Sprintf("more than %d items", maxItems)}
		}
		p.largest = max(p.largest, h.pos-h.body)
		p.entries = append(p.entries, entry{uint32(h.body), uint32(h.pos - h.body), scope})
		p.items = append(p.items, item{})
		it := &p.items[len(p.items)-1]
		var err *ScanError
		switch p.signal {
		case Traces:
			err = it.scanSpan(b[:h.pos], h.body, &p.nesting)
		case Logs:
			err = it.scanRecord(b[:h.pos], h.body, &p.nesting)
		default:
			err = it.scanMetric(b[:h.pos], h.body, &p.nesting)
		}
		if err != nil {
			return err
		}
	}
	if h.err == nil && len(p.items) > items {
		p.scopes = append(p.scopes, p.header(&h, b, start))
	}
	return h.err
}

// headerScan walks the children of a resource group or a scope group and checks the fields between them.
type headerScan struct {
	message
	*nesting
	at, body, pos  int // of the child: tag, content, end
	first, lastEnd int // start of the first child, 0 for none, and end of the last
	children       int // bytes of all children
	err            *ScanError
}

// next finds the next child; it returns false at the end of b and at an error.
func (h *headerScan) next(b []byte) bool {
	for h.pos < len(b) {
		h.at = h.pos
		tag, next := readTag(b, h.at)
		if next < 0 {
			h.err = badTag(h.at, h.message)
			return false
		}
		if child := h.isChild(tag >> 3); child && tag&7 != wireLen {
			h.err = fault(h.at, h.message, "children", "have wire type %d, want %d", tag&7, wireLen)
			return false
		} else if child {
			return h.child(b, next)
		}
		if h.pos, h.err = h.checkField(b, h.at, next, tag, h.message); h.err != nil {
			return false
		}
	}
	return false
}

func (h *headerScan) isChild(field uint64) bool {
	return field == 2 || field == deprecatedScopes && h.message == itemsOfResource
}

func (h *headerScan) child(b []byte, pos int) bool {
	h.body, h.pos = chunk(b, pos)
	if h.pos < 0 {
		h.err = fault(h.at, h.message, "child", "is cut off")
		return false
	}
	if h.first == 0 {
		h.first = h.at
	}
	h.lastEnd = h.pos
	h.children += h.pos - h.at
	return true
}

// header makes the header of the message from start to the end of b, which has been walked and has
// children. Nearly always its own fields stand before and after all children.
func (p *Payload) header(h *headerScan, b []byte, start int) header {
	p.largest = max(p.largest, len(b)-start-h.children)
	hd := header{
		start: uint32(start), child: uint32(h.first), childEnd: uint32(h.lastEnd), end: uint32(len(b)),
		resource: int32(len(p.resources)),
	}
	if h.lastEnd-h.first == h.children {
		return hd
	}
	hd = header{start: uint32(len(p.loose)), resource: hd.resource, loose: true}
	for pos := start; pos < len(b); {
		at := pos
		tag, next := readTag(b, at)
		if pos = skip(b, next, tag&7); !h.isChild(tag >> 3) {
			p.loose = append(p.loose, b[at:pos]...)
		}
	}
	hd.child = uint32(len(p.loose))
	hd.childEnd, hd.end = hd.child, hd.child
	return hd
}

func uint64At(b []byte, pos int) uint64 { return binary.LittleEndian.Uint64(b[pos:]) }
