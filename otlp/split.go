package otlp

// splitBudget bounds the parts of a payload together, with 4 times its size: repeating a header of
// megabytes for thousands of spans is an attack. Parts whose headers take less than half of each stay
// below 4 times the payload.
const splitBudget = 64 << 20

// Split cuts the payload into export requests of at most max bytes each: between resources, scopes and
// items, in their order, each part as full as it can be. Equal payloads give equal parts. A payload that
// fits is returned as it is, in the same slice. Items that do not fit even alone with their headers are left
// out and returned as tooLarge, as are those for which the parts would take more than 64 MiB and four times
// the payload.
func Split(p *Payload, max int) (parts [][]byte, tooLarge []int32) {
	if len(p.b) <= max {
		return [][]byte{p.b}, nil
	}
	chain := make([]int32, p.Len())
	first, last := int32(-1), int32(-1)
	budget := splitBudget
	if n := 4 * len(p.b); n > budget {
		budget = n
	}
	var part partSize
	flush := func() {
		if first >= 0 {
			parts = append(parts, p.appendChain(make([]byte, 0, part.total()), chain, first, first, nil))
			budget -= part.total()
		}
		first, last, part = -1, -1, partSize{}
	}
	for i := range int32(p.Len()) {
		grown := part.with(&p.layout, last, i)
		if grown.total() > max {
			flush()
			grown = part.with(&p.layout, last, i)
		}
		if grown.total() > max || grown.total() > budget {
			tooLarge = append(tooLarge, i)
			continue
		}
		part = grown
		enchain(chain, &first, &last, i)
	}
	flush()
	return parts, tooLarge
}

// partSize is the size of an export request under construction.
type partSize struct {
	closed   int // resources that are complete
	resource int // content of the last resource without its last scope
	scope    int // content of the last scope
}

func (s partSize) total() int {
	if s.scope == 0 {
		return s.closed
	}
	return s.closed + fieldSize(s.resource+fieldSize(s.scope))
}

// with returns the size after item i was added behind item last, -1 for none.
func (s partSize) with(l *layout, last, i int32) partSize {
	e := &l.entries[i]
	switch {
	case last >= 0 && l.entries[last].scope == e.scope:
		s.scope += fieldSize(int(e.size))
		return s
	case last >= 0 && l.resourceOf(last) == l.resourceOf(i):
		s.resource += fieldSize(s.scope)
	default:
		s = partSize{closed: s.total(), resource: l.resources[l.resourceOf(i)].size()}
	}
	s.scope = l.scopes[e.scope].size() + fieldSize(int(e.size))
	return s
}
