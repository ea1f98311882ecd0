package otlp

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

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

// checkEdits holds what AppendGroup makes of a payload with each edit to what pdata makes of it by setting trace states.
func checkEdits(t *testing.T, b []byte) {
	var p Payload
	if p.Scan(Traces, b) != nil || usesDeprecated(b) {
		return
	}
	x := p.Index()
	for name, state := range stateEdits {
		e := Edit{State: state}
		for _, g := range p.Groups() {
			plain, edited := x.AppendGroup(nil, g.First, nil), x.AppendGroup([]byte("dst"), g.First, &e)
			if !bytes.HasPrefix(edited, []byte("dst")) {
				t.Fatalf("%s: what was there was changed", name)
			}
			edited = edited[3:]
			if most := x.SizeEncoded(g.First, mostGrowth); len(edited) > most {
				t.Fatalf("%s: %d bytes, SizeEncoded says %d", name, len(edited), most)
			}
			if name == "none" && !bytes.Equal(plain, edited) {
				t.Fatalf("%x became %x by no change", plain, edited)
			}
			var u Unique
			if all, n := u.AppendGroup(nil, x, g.First, &e); n == int(g.Items) && !bytes.Equal(all, edited) {
				t.Fatalf("%s: %x by Unique, %x by the index", name, all, edited)
			}
			equal(t, name, fmt.Sprintf("%x", remarshalled(t, edited, nil)), fmt.Sprintf("%x", remarshalled(t, plain, state)))
			checkBytes(t, scanned(t, Traces, plain), scanned(t, Traces, edited))
		}
	}
}

// remarshalled is the payload as pdata writes it after each trace state was changed.
func remarshalled(t *testing.T, b []byte, state func(dst, old []byte) []byte) []byte {
	t.Helper()
	td, err := (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(b)
	if err != nil {
		t.Fatal(err)
	}
	for _, rs := range td.ResourceSpans().All() {
		for _, ss := range rs.ScopeSpans().All() {
			for _, s := range ss.Spans().All() {
				if state != nil {
					s.TraceState().FromRaw(string(state(nil, []byte(s.TraceState().AsRaw()))))
				}
			}
		}
	}
	if b, err = (&ptrace.ProtoMarshaler{}).MarshalTraces(td); err != nil {
		t.Fatal(err)
	}
	return b
}

// checkBytes checks that the spans are the same bytes in the same order but for their trace states, of which a changed one
// stands once, in the place of the last.
func checkBytes(t *testing.T, before, after *Payload) {
	t.Helper()
	for i := range int32(before.Len()) {
		was, is := before.body(i), after.body(i)
		if !bytes.Equal(appendWithout(nil, was, stateTag), appendWithout(nil, is, stateTag)) {
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
	for _, b := range append(traceSeeds(), sampleTraces(300, 9), keyFirst(Traces, sampleTraces(30, 9)), oddTraces(), severalStates()) {
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

func TestEditOfMutants(t *testing.T) {
	rnd, seeds := newMutants(t), append(traceSeeds()[1:], severalStates())
	for range 2000 {
		check(t, Traces, mutant(rnd, seeds), checkEdits)
	}
}

func FuzzEdit(f *testing.F) {
	for _, b := range append(traceSeeds(), oddTraces(), severalStates()) {
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
