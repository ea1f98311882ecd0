package otlp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"iter"
	"slices"
	"testing"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// stateEdits are the kinds of change to a trace_state.
var stateEdits = map[string]func(dst, old []byte) []byte{
	"none":  func(dst, old []byte) []byte { return append(dst, old...) },
	"erase": func(dst, _ []byte) []byte { return dst },
	"front": func(dst, old []byte) []byte { return append(append(dst, "ot=th:e666,"...), old...) },
	"long":  func(dst, old []byte) []byte { return append(append(dst, bytes.Repeat([]byte{'x'}, 100)...), old...) },
}

const mostGrowth = 100 + 2 // of "long"

// checkEdits holds what AppendGroup makes of a payload with each edit to what pdata makes of it by setting trace states and
// parents.
func checkEdits(t *testing.T, b []byte) {
	var p Payload
	if p.Scan(Traces, b) != nil || usesDeprecated(b) {
		return
	}
	for _, g := range p.Groups() {
		checkGroup(t, &p, g, "none", Edit{}, nil)
		for name, state := range stateEdits {
			checkGroup(t, &p, g, name, Edit{State: state}, state)
		}
		for i, n := g.First, 0; i >= 0 && n < 8; i, n = p.Next(i), n+1 {
			first := uint32(p.Span(i).Start())
			checkGroup(t, &p, g, "none", Edit{First: first}, nil)
			checkGroup(t, &p, g, "front", Edit{First: first, State: stateEdits["front"]}, stateEdits["front"])
		}
	}
}

func checkGroup(t *testing.T, p *Payload, g Group, name string, e Edit, state func(dst, old []byte) []byte) {
	t.Helper()
	x := p.Index()
	plain, edited := x.AppendGroup(nil, g.First, nil), x.AppendGroup([]byte("dst"), g.First, &e)
	if !bytes.HasPrefix(edited, []byte("dst")) {
		t.Fatalf("%s: what was there was changed", name)
	}
	edited = edited[3:]
	if most := x.SizeEncoded(g.First, mostGrowth); len(edited) > most {
		t.Fatalf("%s: %d bytes, SizeEncoded says %d", name, len(edited), most)
	}
	if name == "none" && e.First == 0 && !bytes.Equal(plain, edited) {
		t.Fatalf("%x became %x by no change", plain, edited)
	}
	var u Unique
	if all, n := u.AppendGroup(nil, x, g.First, &e); n == int(g.Items) && !bytes.Equal(all, edited) {
		t.Fatalf("%s: %x by Unique, %x by the index", name, all, edited)
	}
	equal(t, name, fmt.Sprintf("%x", remarshalled(t, edited, nil, 0)), fmt.Sprintf("%x", remarshalled(t, plain, state, e.First)))
	checkBytes(t, scanned(t, Traces, plain), scanned(t, Traces, edited))
}

// remarshalled is the payload as pdata writes it after each trace state was changed, and the parents were cleared of the local
// roots that start at first and whose parent is not there.
func remarshalled(t *testing.T, b []byte, state func(dst, old []byte) []byte, first uint32) []byte {
	t.Helper()
	td, err := (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(b)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[pcommon.SpanID]bool{}
	for s := range allSpans(td) {
		seen[s.SpanID()] = true
	}
	for s := range allSpans(td) {
		if state != nil {
			s.TraceState().FromRaw(string(state(nil, []byte(s.TraceState().AsRaw()))))
		}
		remote := s.Flags()&0x200 != 0
		if s.Flags()&0x100 == 0 {
			remote = s.Kind() == ptrace.SpanKindServer || s.Kind() == ptrace.SpanKindConsumer
		}
		if first != 0 && uint32(s.StartTimestamp()) == first && remote && !seen[s.ParentSpanID()] {
			s.SetParentSpanID(pcommon.SpanID{})
		}
	}
	if b, err = (&ptrace.ProtoMarshaler{}).MarshalTraces(td); err != nil {
		t.Fatal(err)
	}
	return b
}

func allSpans(td ptrace.Traces) iter.Seq[ptrace.Span] {
	return func(yield func(ptrace.Span) bool) {
		for _, rs := range td.ResourceSpans().All() {
			for _, ss := range rs.ScopeSpans().All() {
				for _, s := range ss.Spans().All() {
					if !yield(s) {
						return
					}
				}
			}
		}
	}
}

// checkBytes checks that the spans are the same bytes in the same order but for their trace states, of which a changed one
// stands once, in the place of the last, and for parents that are gone.
func checkBytes(t *testing.T, before, after *Payload) {
	t.Helper()
	for i := range int32(before.Len()) {
		was, is := before.body(i), after.body(i)
		if after.Span(i).ParentSpanID().IsZero() && !before.Span(i).ParentSpanID().IsZero() {
			equal(t, "parents", sizeOf(is, parentTag), 0)
			was = appendWithout(nil, was, parentTag, parentTag)
		}
		if !bytes.Equal(appendWithout(nil, was, stateTag, stateTag), appendWithout(nil, is, stateTag, stateTag)) {
			t.Fatalf("%x became %x", was, is)
		}
		if bytes.Equal(before.Span(i).TraceState(), after.Span(i).TraceState()) {
			equal(t, "unchanged", bytes.Equal(was, is), true)
			continue
		}
		old, now := stateAfter(was), stateAfter(is)
		if len(old) == 0 { // at the end
			old = []int{len(was)}
		}
		if len(after.Span(i).TraceState()) == 0 {
			equal(t, "states", len(now), 0)
			continue
		}
		equal(t, "states", len(now), 1)
		equal(t, "bytes before the state", now[0], old[len(old)-1])
	}
}

// stateAfter is the number of bytes of other fields before each trace state.
func stateAfter(body []byte) (all []int) {
	f, others := fields{b: body}, 0
	for at := 0; at < len(body); at = f.pos {
		if tag, _, _, _ := f.next(); tag == stateTag {
			all = append(all, others)
		} else {
			others += f.pos - at
		}
	}
	return all
}

func TestEdit(t *testing.T) {
	for _, b := range append(traceSeeds(), sampleTraces(300, 9), keyFirst(Traces, sampleTraces(30, 9)), oddTraces(), severalStates(), entrySpans()) {
		checkEdits(t, b)
	}
}

// severalStates has spans with two and three trace states, between other fields, with tags and lengths longer than they need be.
func severalStates() []byte {
	state := func(s string) []byte { return append(appendField(nil, stateTag, len(s)), s...) }
	longer := append([]byte{stateTag | 0x80, 0, 0x83, 0x80, 0}, "a=b"...)
	name := append(appendField(nil, 5<<3|wireLen, 1), 'n')
	kind := []byte{6 << 3, 2}
	var scope []byte
	for _, span := range [][]byte{
		slices.Concat(state("x=1"), name, state("y=22"), kind),
		slices.Concat(name, longer, kind),
		slices.Concat(state("x=1"), longer, name, state(""), kind),
		slices.Concat(longer, state("a=b"), name),
		slices.Concat(name, state("last=1")),
	} {
		scope = append(append(scope, appendField(nil, 2<<3|wireLen, len(span))...), span...)
	}
	resource := append(appendField(nil, 2<<3|wireLen, len(scope)), scope...)
	return append(appendField(nil, 1<<3|wireLen, len(resource)), resource...)
}

// entrySpan is one span as it may stand in an entry's place.
type entrySpan struct {
	id, parent byte
	start      uint64
	kind       byte
	flags      uint32
	orphan     bool // its parent is to go
}

const entryStart = 1_760_000_000_123_456_789

var entryCases = []entrySpan{
	{id: 1, parent: 101, start: entryStart, kind: 2, orphan: true},
	{id: 2, parent: 102, start: entryStart, kind: 5, flags: 1, orphan: true},
	{id: 3, parent: 103, start: entryStart, kind: 1, flags: 0x301, orphan: true}, // remote, so says the SDK
	{id: 4, parent: 104, start: entryStart, kind: 1},
	{id: 5, parent: 105, start: entryStart, kind: 3, flags: 0x200}, // the flag alone says nothing
	{id: 6, parent: 106, start: entryStart, kind: 2, flags: 0x100}, // of this process
	{id: 7, parent: 107, start: entryStart + 1, kind: 2},
	{id: 8, parent: 7, start: entryStart, kind: 2}, // the parent is there, by a clock that is ahead
	{id: 9, start: entryStart, kind: 2},
	{id: 10, parent: 110, start: entryStart + 1<<32, kind: 2, orphan: true}, // the price of 32 bits
}

// entrySpans is a payload of the entry cases, with parents in several places and forms.
func entrySpans() []byte {
	var scope []byte
	for i, c := range entryCases {
		id := append(appendField(nil, 2<<3|wireLen, 8), c.id, 0, 0, 0, 0, 0, 0, 1)
		parent := append(appendField(nil, parentTag, 8), c.parent, 0, 0, 0, 0, 0, 0, 1)
		if c.parent == 0 {
			parent = appendField(nil, parentTag, 0)
		}
		start := binary.LittleEndian.AppendUint64([]byte{startTag}, c.start)
		rest := append(appendField(nil, stateTag, 3), "x=1"...)
		rest = append(rest, 6<<3, c.kind, 16<<3&0x7f|wireI32|0x80, 1)
		rest = binary.LittleEndian.AppendUint32(rest, c.flags)
		var span []byte
		switch i % 3 {
		case 0:
			span = slices.Concat(id, parent, start, rest)
		case 1: // the last of two counts, and its tag is longer than need be
			other := append(appendField(nil, parentTag, 8), 7, 0, 0, 0, 0, 0, 0, 1)
			span = slices.Concat(other, start, rest, id, append([]byte{parentTag | 0x80, 0}, parent[1:]...))
		default:
			span = slices.Concat(parent, rest, rest, id, start)
		}
		scope = append(append(scope, appendField(nil, 2<<3|wireLen, len(span))...), span...)
	}
	return field(1, field(2, scope))
}

func TestEditClearsTheEntrysParent(t *testing.T) {
	p := scanned(t, Traces, entrySpans())
	first := uint32(entryStart & (1<<32 - 1))
	for name, first := range map[string]uint32{"on": first, "of another trace": first + 2, "off": 0} {
		after := scanned(t, Traces, p.Index().AppendGroup(nil, 0, &Edit{First: first}))
		for i, c := range entryCases {
			gone := !p.Span(int32(i)).ParentSpanID().IsZero() && after.Span(int32(i)).ParentSpanID().IsZero()
			if want := c.orphan && name == "on"; gone != want {
				t.Errorf("%s: %+v: the parent is gone: %t", name, c, gone)
			}
		}
	}
}

// A parent that is there, but left out since it was written before, is there.
func TestEditOfAPartOfTheGroup(t *testing.T) {
	all := scanned(t, Traces, entrySpans())
	parent := scanned(t, Traces, Select(all, func(i int32) bool { return i == 6 })).Index()
	both := scanned(t, Traces, Select(all, func(i int32) bool { return i == 6 || i == 7 })).Index()
	var u Unique
	b, _ := u.AppendGroup(nil, parent, 0, nil)
	b, n := u.AppendGroup(b, both, 0, &Edit{First: uint32(entryStart & (1<<32 - 1))})
	equal(t, "new spans", n, 1)
	equal(t, "parent", scanned(t, Traces, b).Span(1).ParentSpanID(), SpanID{7, 7: 1})
}

// The spans of a group before this one are not among its spans.
func TestEditAgain(t *testing.T) {
	e := &Edit{First: uint32(entryStart & (1<<32 - 1))}
	all := scanned(t, Traces, entrySpans())
	all.Index().AppendGroup(nil, 0, e)
	alone := scanned(t, Traces, Select(all, func(i int32) bool { return i == 7 }))
	after := scanned(t, Traces, alone.Index().AppendGroup(nil, 0, e))
	equal(t, "parent before", alone.Span(0).ParentSpanID(), SpanID{7, 7: 1})
	equal(t, "parent", after.Span(0).ParentSpanID(), SpanID{})
}

func TestEditAllocatesNothing(t *testing.T) {
	x := scanned(t, Traces, entrySpans()).Index()
	e, dst := &Edit{State: stateEdits["front"], First: uint32(entryStart & (1<<32 - 1))}, make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() { x.AppendGroup(dst, 0, e) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestEditOfMutants(t *testing.T) {
	rnd, seeds := newMutants(t), append(traceSeeds()[1:], severalStates(), entrySpans())
	for range 2000 {
		check(t, Traces, mutant(rnd, seeds), checkEdits)
	}
}

func FuzzEdit(f *testing.F) {
	for _, b := range append(traceSeeds(), oddTraces(), severalStates(), entrySpans()) {
		f.Add(b)
	}
	f.Fuzz(checkEdits)
}

func TestEditLeavesRecords(t *testing.T) {
	p := scanned(t, Logs, sampleLogs(40))
	e := &Edit{State: stateEdits["front"]}
	traces := scanned(t, Traces, oddTraces()).Index()
	for _, g := range p.Groups() {
		traces.AppendGroup(nil, 0, e) // what it remembers is not taken for records
		if !bytes.Equal(p.Index().AppendGroup(nil, g.First, e), p.Index().AppendGroup(nil, g.First, nil)) {
			t.Fatal("records were changed")
		}
	}
}

func TestEditWithSuffix(t *testing.T) {
	suffix := AttributeField(Traces, "k", "v")
	x := scanned(t, Traces, severalStates()).Index()
	both := scanned(t, Traces, x.AppendGroup(nil, 0, &Edit{Suffix: suffix, State: stateEdits["front"]}))
	plain := scanned(t, Traces, x.AppendGroup(nil, 0, &Edit{State: stateEdits["front"]}))
	for i := range int32(both.Len()) {
		if !bytes.Equal(both.body(i), slices.Concat(plain.body(i), suffix)) {
			t.Fatalf("%x, want %x and the suffix", both.body(i), plain.body(i))
		}
	}
	equal(t, "spans", both.Len(), 5)
}
