package ottlcond

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"tailweir/otlp"
)

// sample is one span with an attribute of each type, two events, a resource and a scope.
func sample() ptrace.Traces {
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	rs.SetSchemaUrl("https://schema/1")
	rs.Resource().Attributes().PutStr("service.name", "checkout")
	ss := rs.ScopeSpans().AppendEmpty()
	ss.Scope().SetName("http")
	ss.Scope().SetVersion("1.2")
	ss.Scope().Attributes().PutBool("stable", true)
	s := ss.Spans().AppendEmpty()
	s.SetTraceID(pcommon.TraceID{1})
	s.SetSpanID(pcommon.SpanID{2})
	s.SetName("GET /cart")
	s.SetKind(ptrace.SpanKindServer)
	s.SetStartTimestamp(1_000_000_000)
	s.SetEndTimestamp(3_000_000_000)
	s.TraceState().FromRaw("ot=th:8,vendor=x")
	s.Status().SetCode(ptrace.StatusCodeError)
	s.Status().SetMessage("boom")
	a := s.Attributes()
	a.PutStr("text", "hello")
	a.PutStr("json", `{"a":{"b":7}}`)
	a.PutInt("int", 500)
	a.PutDouble("double", 1.5)
	a.PutBool("bool", true)
	a.PutEmptyBytes("bytes").FromRaw([]byte{1, 2})
	a.PutEmptySlice("list").AppendEmpty().SetInt(3)
	a.PutEmptyMap("map").PutStr("k", "v")
	a.PutEmpty("empty")
	e := s.Events().AppendEmpty()
	e.SetName("retry")
	e.Attributes().PutInt("attempt", 1)
	e = s.Events().AppendEmpty()
	e.SetName("exception")
	e.Attributes().PutStr("exception.type", "Timeout")
	s.Links().AppendEmpty()
	return td
}

func scan(t testing.TB, td ptrace.Traces) *otlp.Payload {
	t.Helper()
	var m ptrace.ProtoMarshaler
	b, err := m.MarshalTraces(td)
	if err != nil {
		t.Fatal(err)
	}
	return scanBytes(t, b)
}

func scanBytes(t testing.TB, b []byte) *otlp.Payload {
	t.Helper()
	p := new(otlp.Payload)
	if err := p.Scan(otlp.Traces, b); err != nil {
		t.Fatal(err)
	}
	return p
}

func mustCompile(t testing.TB, spans, events []string, mode Mode) *Condition {
	t.Helper()
	c, faults := Compile(spans, events, mode)
	if len(faults) > 0 {
		t.Fatalf("Compile: %v", faults)
	}
	return c
}

func TestEvalSpan(t *testing.T) {
	p := scan(t, sample())
	for _, tt := range []struct {
		condition string
		want      string // "yes", "no", or part of the error
	}{
		{`attributes["text"] == "hello"`, "yes"},
		{`span.attributes["text"] == "hello"`, "yes"},
		{`attributes["text"] == "Hello"`, "no"},
		{`attributes["int"] >= 500`, "yes"},
		{`attributes["int"] > 500`, "no"},
		{`attributes["int"] == "500"`, "no"},
		{`attributes["double"] < 2`, "yes"},
		{`attributes["bool"]`, "invalid"}, // not a condition: a comparison is wanted
		{`attributes["bool"] == true`, "yes"},
		{`attributes["bytes"] == 0x0102`, "yes"},
		{`attributes["list"][0] == 3`, "yes"},
		{`attributes["map"]["k"] == "v"`, "yes"},
		{`attributes["empty"] == nil`, "yes"},
		{`attributes["absent"] == nil`, "yes"},
		{`attributes["absent"] != "x"`, "yes"},
		{`attributes["absent"] == "x"`, "no"},
		{`attributes["absent"] > 1`, "no"},
		{`resource.attributes["service.name"] == "checkout"`, "yes"},
		{`resource.schema_url == "https://schema/1"`, "yes"},
		{`scope.name == "http" and scope.version == "1.2"`, "yes"},
		{`instrumentation_scope.name == "http"`, "yes"},
		{`scope.attributes["stable"] == true`, "yes"},
		{`status.code == STATUS_CODE_ERROR and status.message == "boom"`, "yes"},
		{`status.code == 1`, "no"},
		{`kind == SPAN_KIND_SERVER`, "yes"},
		{`kind.string == "Server"`, "yes"},
		{`name == "GET /cart"`, "yes"},
		{`trace_state["vendor"] == "x"`, "yes"},
		{`trace_id.string == "01000000000000000000000000000000"`, "yes"},
		{`trace_id == TraceID(0x01000000000000000000000000000000)`, "yes"},
		{`end_time_unix_nano - start_time_unix_nano == 2000000000`, "yes"},
		{`(end_time - start_time) > Duration("1s")`, "yes"},
		{`IsRootSpan()`, "yes"},
		{`IsMatch(name, "^GET ")`, "yes"},
		{`IsMatch(attributes["int"], "^5..$")`, "yes"},
		{`IsMatch(attributes["absent"], "x")`, "no"},
		{`HasPrefix(name, "GET") and not HasSuffix(name, "x")`, "yes"},
		{`ParseJSON(attributes["json"])["a"]["b"] == 7`, "yes"},
		{`Len(attributes["list"]) == 1`, "yes"},
		{`Len(events) == 2`, "yes"},
		{`IsString(attributes["text"]) and IsInt(attributes["int"]) and IsMap(attributes["map"])`, "yes"},
		{`true`, "yes"},
		{`false or not true`, "no"},
		{`ParseJSON(attributes["text"])["a"] == 1`, "invalid"},
		{`Int(attributes["text"]) == 1`, "ParseInt"},
		{`ParseJSON(attributes["absent"])["a"] == 1`, "expected string but got nil"},
		{`Concat([attributes["text"]], attributes["int"]) == "x"`, "expected string but got int64"},
		{`Substring(attributes["text"], 3, 9) == "x"`, "range"},
		{`attributes["text"]["key"] == "x"`, "does not support string indexing"},
		{`attributes["list"][5] == 1`, "index"},
		{`attributes["int"] / 0 == 1`, "divide by 0"},
	} {
		check(t, p, []string{tt.condition}, nil, tt.condition, tt.want)
	}
}

func TestEvalEvent(t *testing.T) {
	p := scan(t, sample())
	for _, tt := range []struct{ condition, want string }{
		{`name == "exception"`, "yes"},
		{`spanevent.name == "exception"`, "yes"},
		{`spanevent.name == "GET /cart"`, "no"},
		{`spanevent.attributes["exception.type"] == "Timeout" and span.name == "GET /cart"`, "yes"},
		{`attributes["attempt"] == 1 and attributes["exception.type"] != nil`, "no"}, // never of one event
		{`resource.attributes["service.name"] == "checkout" and scope.name == "http"`, "yes"},
		{`ParseJSON(name)["a"] == 1`, "invalid"},
		{`event_index == 0`, "no 'event_index'"}, // the collector does not say which event it is
	} {
		check(t, p, nil, []string{tt.condition}, tt.condition, tt.want)
	}
}

func check(t *testing.T, p *otlp.Payload, spans, events []string, name, want string) {
	t.Helper()
	c, faults := Compile(spans, events, Propagate)
	if len(faults) > 0 {
		if !strings.Contains(faults[0].Error(), want) {
			t.Errorf("%s: %v, want %s", name, faults, want)
		}
		return
	}
	var d Decoder
	d.Reset(p)
	got, err := c.Eval(&d, 0)
	answer := map[bool]string{true: "yes", false: "no"}[got]
	if err != nil {
		answer = err.Error()
	}
	if !strings.Contains(answer, want) || (err == nil) != (want == "yes" || want == "no") {
		t.Errorf("%s: %s, want %s", name, answer, want)
	}
}

func TestModes(t *testing.T) {
	p := scan(t, sample())
	fails := `ParseJSON(attributes["text"])["a"] == 1`
	for _, tt := range []struct {
		name          string
		spans, events []string
		mode          Mode
		want          bool
		wantErr       string
		wantIgnored   []string
	}{
		{"silent goes on", []string{fails, "true"}, nil, Silent, true, "", nil},
		{"ignore goes on and tells", []string{fails, "false", fails, "true"}, nil, Ignore, true, "", []string{"span[0]", "span[2]"}},
		{"ignore goes on to the events", []string{fails}, []string{`ParseJSON(name)["a"] == 1`, `name == "exception"`}, Ignore, true, "", []string{"span[0]", "spanevent[0]", "spanevent[0]"}},
		{"propagate ends", []string{"false", fails, "true"}, []string{"true"}, Propagate, false, "span[1]", nil},
		{"propagate ends with the first true", []string{"true", fails}, nil, Propagate, true, "", nil},
		{"propagate ends at the first event", nil, []string{`ParseJSON(name)["a"] == 1`}, Propagate, false, "spanevent[0]", nil},
	} {
		var ignored []string
		d := Decoder{Ignored: func(e *EvalError) { ignored = append(ignored, place(e)) }}
		d.Reset(p)
		got, err := mustCompile(t, tt.spans, tt.events, tt.mode).Eval(&d, 0)
		var failed *EvalError
		if errors.As(err, &failed) != (tt.wantErr != "") || failed != nil && place(failed) != tt.wantErr || got != tt.want {
			t.Errorf("%s: %v, %v, want %v and an error of %q", tt.name, got, err, tt.want, tt.wantErr)
		}
		if diff := cmp.Diff(tt.wantIgnored, ignored); diff != "" {
			t.Errorf("%s: ignored (-want +got):\n%s", tt.name, diff)
		}
	}
}

func place(e *EvalError) string { return Fault{List: e.List, Index: e.Index}.Error()[:len(e.List)+3] }

func TestPanicIsAnError(t *testing.T) {
	c := mustCompile(t, []string{"true"}, nil, Propagate)
	c.spans[0].Condition = nil // OTTL's methods do not expect that
	var d Decoder
	d.Reset(scan(t, sample()))
	if ok, err := c.Eval(&d, 0); ok || err == nil || !strings.Contains(err.Error(), "panic: ") {
		t.Errorf("got %v, %v", ok, err)
	}
}

func TestErrorsAreShort(t *testing.T) {
	td := sample()
	td.ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0).Attributes().PutStr("text", "("+strings.Repeat("ü", 1<<20))
	var d Decoder
	d.Reset(scan(t, td))
	_, err := mustCompile(t, []string{`IsMatch(name, attributes["text"])`}, nil, Propagate).Eval(&d, 0)
	if err == nil || len(err.Error()) > 500 || !strings.HasSuffix(err.Error(), "ü…") {
		t.Errorf("error: %.600v", err)
	}
}

func TestModeText(t *testing.T) {
	for _, text := range []string{"ignore", "Propagate", "SILENT"} {
		if m, err := ParseMode(text); err != nil || m.String() != strings.ToLower(text) {
			t.Errorf("ParseMode(%s) = %v, %v", text, m, err)
		}
	}
	for _, text := range []string{"", "ignored"} {
		if m, err := ParseMode(text); err == nil {
			t.Errorf("ParseMode(%q) = %v, want an error", text, m)
		}
	}
}

func TestString(t *testing.T) {
	seen := map[string]string{}
	for name, c := range map[string]*Condition{
		"one":       mustCompile(t, []string{`name == "a"`}, nil, Silent),
		"ignore":    mustCompile(t, []string{`name == "a"`}, nil, Ignore),
		"event":     mustCompile(t, nil, []string{`name == "a"`}, Silent),
		"both":      mustCompile(t, []string{`name == "a"`}, []string{`name == "a"`}, Silent),
		"two":       mustCompile(t, []string{`name == "a"`, `name == "b"`}, nil, Silent),
		"two, back": mustCompile(t, []string{`name == "b"`, `name == "a"`}, nil, Silent),
	} {
		if other, ok := seen[c.String()]; ok {
			t.Errorf("%s and %s are both %s", name, other, c)
		}
		seen[c.String()] = name
	}
	if c := mustCompile(t, []string{`true`, `name == "x"`}, []string{"false"}, Ignore); c.String() != `ottl ignore span "true","name == \"x\"" spanevent "false"` {
		t.Errorf("got %s", c)
	}
}

func TestFaults(t *testing.T) {
	_, got := Compile([]string{
		`attributes["x"`, `true`, `IsMach(name, "x")`, `span.nme == "x"`, `attributes["x"] = 1`, "name ==\n  \"x\" or or true",
		`IsMatch(name, "(")`, `IsMatch(name)`, `name == 'a'`, `kind == SPAN_KIND_SEVER`, ``,
		strings.Repeat("(", 51) + "true" + strings.Repeat(")", 51), strings.Repeat(" ", 64<<10) + "true",
	}, []string{`IsRootSpan()`}, Ignore)
	want := []Fault{
		{Spans, 0, 1, 11, "invalid syntax near `[\"x\"` (expected a comparison)"},
		{Spans, 2, 0, 0, `undefined function "IsMach"`},
		{Spans, 3, 0, 0, `segment "nme" from path "span.nme" is not a valid path`},
		{Spans, 4, 1, 17, "invalid syntax near `= 1` (expected a comparison)"},
		{Spans, 5, 2, 10, "invalid syntax near `or true` (expected a path or a value)"},
		{Spans, 6, 0, 0, "the regex pattern supplied to IsMatch '\"(\"' is not a valid pattern: error parsing regexp: missing closing ): `(`"},
		{Spans, 7, 0, 0, `call to "IsMatch": incorrect number of arguments. Expected: 2 Received: 1`},
		{Spans, 8, 1, 9, `invalid syntax near "'a'"`},
		{Spans, 9, 0, 0, `enum symbol, SPAN_KIND_SEVER, not found`},
		{Spans, 10, 1, 1, "invalid syntax (expected a path or a value)"},
		{Spans, 11, 0, 0, "brackets nest deeper than 50"},
		{Spans, 12, 0, 0, "65540 bytes, at most 65536 can be parsed"},
		{Events, 0, 0, 0, `undefined function "IsRootSpan"`},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
	if got := want[4].Error(); got != "span[5]:2:10: invalid syntax near `or true` (expected a path or a value)" {
		t.Errorf("Error() = %s", got)
	}
	if _, got := Compile(nil, nil, Ignore); len(got) != 1 || got[0].List != "" {
		t.Errorf("no conditions: %v", got)
	}
}
