package receiver

import (
	"fmt"
	"slices"
	"strings"

	"tailweir/otlp"
)

// Limits bound what one request may hold beside its size. They are far above what SDKs send by default (128 attributes, events and
// links to a span) and what Google's APIs store, so that who meets them has a fault in the app.
type Limits struct {
	// Bounds of an item and of what is around it. What breaks one is rejected by partial success, and the rest is stored. Defaults:
	// 4096 attributes, 10,000 events and links, keys of 4 KiB, names of 64 KiB, and a depth of 30: readers of protobuf in C++ and
	// Java take 100 messages within one another, and a map in a map is three.
	otlp.Bounds
	// Items is the most spans or records of a request; one with more is refused as too large. Default 500,000: with ids and times
	// they fill MaxInflated.
	Items int
}

func (l *Limits) withDefaults() {
	set(&l.Attributes, 4096)
	set(&l.Events, 10_000)
	set(&l.Links, 10_000)
	set(&l.Depth, 30)
	set(&l.Key, 4<<10)
	set(&l.Name, 64<<10)
	set(&l.Items, 500_000)
}

// flaws are the items of a payload that cannot be stored.
type flaws struct {
	noIDs int     // spans without a valid trace id and span id
	over  []int32 // items over a limit, in order; some of them may lack ids, too
	first *otlp.Breach
	where string // names the first
	all   int
}

// inspect finds what cannot be stored. Log records need no ids.
func (c *call) inspect(p *otlp.Payload) (f flaws, err error) {
	f.over, f.first = c.r.cfg.Limits.Check(p)
	f.all = len(f.over)
	if p.Signal() == otlp.Traces {
		for i := range int32(p.Len()) {
			if !p.Span(i).Valid() {
				f.noIDs++
				if !f.isOver(i) {
					f.all++
				}
			}
		}
	}
	if f.first == nil {
		return f, nil
	}
	f.where = whereIs(p, f.first.Item)
	return f, c.reserve(4 * int64(cap(f.over)))
}

func (f *flaws) isOver(i int32) bool {
	if len(f.over) == 0 {
		return false
	}
	_, found := slices.BinarySearch(f.over, i)
	return found
}

// keeps reports whether item i can be stored.
func (f *flaws) keeps(p *otlp.Payload, i int32) bool {
	return !f.isOver(i) && (p.Signal() != otlp.Traces || p.Span(i).Valid())
}

// whereIs names an item so that its sender finds it: by its ids and its place in the request.
func whereIs(p *otlp.Payload, i int32) string {
	if p.Signal() == otlp.Logs {
		return fmt.Sprintf("log record %d of %d", i+1, p.Len())
	}
	s := p.Span(i)
	return fmt.Sprintf("span %d of %d, id %s of trace %s", i+1, p.Len(), s.SpanID(), s.TraceID())
}

// rejection says what was rejected, and why, in one line.
func (f *flaws) rejection(s otlp.Signal, tooLarge, limit int) string {
	var parts []string
	add := func(n int, format string, args ...any) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s ", n, itemName(s))+fmt.Sprintf(format, args...))
		}
	}
	add(f.noIDs, "without a valid trace id and span id")
	add(tooLarge, "larger than %d bytes with resource and scope, the limit of one message", limit)
	if f.first != nil {
		add(len(f.over), "over a limit, the first %s: %s (ingest.limits.%s)", f.where, f.first, f.first.Bound)
	}
	return strings.Join(parts, "; ")
}
