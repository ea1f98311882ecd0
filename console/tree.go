package console

import (
	"cmp"
	"slices"

	"tailweir/otlp"
)

// treeSpan is what the order of the waterfall depends on.
type treeSpan struct {
	id, parent otlp.SpanID
	start      uint64 // unix ns, 0 = not set
}

// placed is a span at its place in the waterfall.
type placed struct {
	span   int // index of the span
	parent int // index of the span it is drawn under, -1 at the top
	depth  int
	note   string // why it is not under its parent, or is doubtful; "" is the usual case
}

const (
	noteOrphan    = "its parent was not received"
	noteRemote    = "its parent is in another process, which may be a proxy that sends no spans"
	noteCycle     = "its parents form a cycle"
	noteDuplicate = "another span has the same id"
)

// arrange orders the spans as a waterfall: parents before their children, children by start. Every
// span appears exactly once, whatever the parents say: one whose parent is missing becomes a root,
// and a cycle is cut at one of its spans. O(n log n), no recursion, because a broken
// instrumentation can produce a chain of any depth.
func arrange(spans []treeSpan) []placed {
	t := newTree(spans)
	for _, i := range t.order {
		if t.parent[i] < 0 {
			note := ""
			if !spans[i].parent.IsZero() {
				note = noteOrphan
			}
			t.walk(i, note)
		}
	}
	for _, i := range t.order {
		if !t.seen[i] {
			t.walk(t.cycleAbove(i), noteCycle)
		}
	}
	return t.out
}

type tree struct {
	order    []int // by start
	parent   []int // index, -1 when there is none
	children [][]int
	twin     []bool // the id was taken by an earlier span
	seen     []bool
	out      []placed
}

func newTree(spans []treeSpan) *tree {
	n := len(spans)
	t := &tree{order: make([]int, n), parent: make([]int, n), children: make([][]int, n), twin: make([]bool, n), seen: make([]bool, n)}
	byID := make(map[otlp.SpanID]int, n)
	for i, s := range spans {
		t.order[i] = i
		_, t.twin[i] = byID[s.id]
		if !t.twin[i] && !s.id.IsZero() {
			byID[s.id] = i
		}
	}
	slices.SortStableFunc(t.order, func(a, b int) int { return cmp.Compare(spans[a].start, spans[b].start) })
	for _, i := range t.order {
		p, ok := byID[spans[i].parent]
		if !ok {
			t.parent[i] = -1
			continue
		}
		t.parent[i] = p
		t.children[p] = append(t.children[p], i)
	}
	return t
}

// walk puts out the subtree of root, which gets note.
func (t *tree) walk(root int, note string) {
	stack := []placed{{root, -1, 0, note}}
	for len(stack) > 0 {
		at := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if t.seen[at.span] {
			continue
		}
		t.seen[at.span] = true
		if at.note == "" && t.twin[at.span] {
			at.note = noteDuplicate
		}
		t.out = append(t.out, at)
		for _, child := range slices.Backward(t.children[at.span]) {
			stack = append(stack, placed{child, at.span, at.depth + 1, ""})
		}
	}
}

// cycleAbove climbs from an unseen span, all of whose ancestors are unseen and have parents, to the
// first span of the cycle they end in, so that what hangs under the cycle stays under it.
func (t *tree) cycleAbove(i int) int {
	climbed := map[int]bool{}
	for !climbed[i] {
		climbed[i] = true
		i = t.parent[i]
	}
	return i
}
