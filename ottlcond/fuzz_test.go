package ottlcond

import (
	"fmt"
	"github.com/google/go-cmp/cmp"
	"regexp"

	"strings"
	"testing"

	"go.opentelemetry.io/collector/pdata/ptrace"

	"tailweir/otlp"
)

// everyConverter returns conditions that call the functions which read data in some language or keep something between
// calls, on whatever the span has. UserAgent is not among them: it takes 10 µs for each byte.
func everyConverter() []string {
	out := append([]string{}, pool...)
	for _, call := range []string{
		`ParseJSON(attributes["a"])`, `ParseCSV(attributes["a"], "x|y", "|")`, `ParseKeyValue(attributes["a"])`,
		`ParseXML(attributes["a"])`, `ParseSimplifiedXML(attributes["a"])`, `GetXML(attributes["a"], "/a/b")`,
		`RemoveXML(attributes["a"], "/a")`, `ExtractPatterns(attributes["a"], "(?P<x>.)")`,
		`ExtractGrokPatterns(attributes["a"], "%{WORD:x}")`, `URL(attributes["a"])`,
		`Decode(attributes["a"], "base64")`, `Decode(attributes["a"], "utf-16")`, `Time(attributes["a"], "%Y-%m-%d")`,
		`Duration(attributes["a"])`, `Double(attributes["a"])`, `Hex(attributes["a"])`, `SHA256(attributes["a"])`,
		`XXH3(attributes["a"])`, `Murmur3Hash(attributes["a"])`, `FNV(attributes["a"])`, `Sort(attributes["c"])`,
		`SliceToMap(attributes["c"], ["k"])`, `ToKeyValueString(attributes)`, `Format("%s %d", [attributes["a"], attributes["b"]])`,
		`Index(attributes["c"], attributes["a"])`, `ContainsValue(attributes["c"], attributes["a"])`, `Split(attributes["a"], attributes["b"])`,
		`ConvertCase(attributes["a"], "snake")`, `Values(attributes)`, `Keys(attributes)`, `Substring(attributes["a"], attributes["b"], 2)`,
		`IsValidLuhn(attributes["a"])`, `CommunityID(attributes["a"], 1, attributes["b"], 2)`, `Log(attributes["b"])`,
	} {
		out = append(out, call+` == attributes["c"]`)
	}
	return out
}

// FuzzSpan evaluates all kinds of conditions on payloads from outside: there is an answer for each span that Scan accepts,
// the same one twice, and no panic, not even a recovered one.
func FuzzSpan(f *testing.F) {
	var m ptrace.ProtoMarshaler
	td := sample()
	td.ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0).Attributes().PutStr("a", `<a><b x="1">{"k":1}</b></a>`)
	b, err := m.MarshalTraces(td)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	var all []*Condition
	for _, text := range everyConverter() {
		all = append(all, mustCompile(f, []string{text}, nil, Ignore), mustCompile(f, nil, []string{text}, Ignore))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var p otlp.Payload
		if p.Scan(otlp.Traces, b) != nil {
			return
		}
		d := Decoder{Ignored: func(e *EvalError) { notPanic(t, e) }}
		d.Reset(&p)
		for i := range int32(p.Len()) {
			for _, c := range all {
				first, err := c.Eval(&d, i)
				if again, _ := c.Eval(&d, i); err != nil || first != again {
					t.Errorf("%s on span %d: %v, then %v, %v", c, i, first, again, err)
				}
			}
		}
	})
}

// FuzzCondition compiles conditions of any text and evaluates those that compile, also with all of the span decoded, which
// must not make a difference.
func FuzzCondition(f *testing.F) {
	for _, s := range everyConverter() {
		f.Add(s)
	}
	for _, s := range []string{
		`span.attributes["text"] == "hello"`, `Len(events) == 2`, `span.attributes [ "map" ] [ "k" ] == "v"`, `span.attributes[span.name] == 1`,
		`Len(span.attributes) == resource.attributes["x"]`, `span.attributes["a\"b"] == "attributes"`, `span.links != nil`, `span.dropped_attributes_count == 0`,
	} {
		f.Add(s)
	}
	p := scan(f, sample())
	f.Fuzz(func(t *testing.T, text string) {
		c, faults := Compile([]string{text}, []string{text}, Ignore)
		for _, fault := range faults {
			if fault.Message == "" {
				t.Errorf("%q: a fault without a message", text)
			}
		}
		if c == nil || volatile.MatchString(text) {
			return
		}
		whole := *c
		whole.needs = otlp.Part{AllAttributes: true, Events: true, Links: true}
		got, want := outcome(t, c, p), outcome(t, &whole, p)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: as needed and whole differ (-whole +needed):\n%s", text, diff)
		}
	})
}

func notPanic(t *testing.T, e *EvalError) {
	if strings.HasPrefix(e.Err.Error(), "panic: ") {
		t.Errorf("%s: %v", e.Text, e.Err)
	}
}

var volatile = regexp.MustCompile(`Now|UUID`)

// outcome returns the answers and the errors on all spans.
func outcome(t *testing.T, c *Condition, p *otlp.Payload) (out []string) {
	d := Decoder{Ignored: func(e *EvalError) {
		notPanic(t, e)
		out = append(out, place(e)) // without the text: OTTL prints some values as addresses
	}}
	d.Reset(p)
	for i := range int32(p.Len()) {
		ok, err := c.Eval(&d, i)
		out = append(out, fmt.Sprint(ok, err))
	}
	return out
}
