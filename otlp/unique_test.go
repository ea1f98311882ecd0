package otlp

import (
	"bytes"
	"testing"

	"go.opentelemetry.io/collector/pdata/ptrace"
)

// repeated makes a payload of one trace: a span for each name, in a resource for each run of names with the same service.
func repeated(t *testing.T, spans ...[2]string) *Index {
	t.Helper()
	td := ptrace.NewTraces()
	var ss ptrace.ScopeSpans
	for i, s := range spans {
		if i == 0 || spans[i-1][0] != s[0] {
			rs := td.ResourceSpans().AppendEmpty()
			rs.Resource().Attributes().PutStr("service.name", s[0])
			ss = rs.ScopeSpans().AppendEmpty()
		}
		x := ss.Spans().AppendEmpty()
		x.SetTraceID([16]byte{1})
		x.SetSpanID([8]byte{s[1][0]})
		x.SetName(s[1])
	}
	b, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(td)
	if err != nil {
		t.Fatal(err)
	}
	return scanned(t, Traces, b).Index()
}

func TestUnique(t *testing.T) {
	for _, tt := range []struct {
		name     string
		payloads [][][2]string
		want     []string // "service/name" of what is appended
	}{
		{"nothing repeats", [][][2]string{{{"a", "x"}, {"a", "y"}}, {{"a", "z"}}}, []string{"a/x", "a/y", "a/z"}},
		{"in another payload", [][][2]string{{{"a", "x"}, {"a", "y"}}, {{"a", "y"}, {"a", "z"}}}, []string{"a/x", "a/y", "a/z"}},
		{"in one payload", [][][2]string{{{"a", "x"}, {"a", "x"}, {"a", "y"}, {"a", "x"}}}, []string{"a/x", "a/y"}},
		{"a whole payload", [][][2]string{{{"a", "x"}, {"b", "y"}}, {{"b", "y"}, {"a", "x"}}}, []string{"a/x", "b/y"}},
		{"the first of a resource", [][][2]string{{{"a", "x"}}, {{"a", "x"}, {"a", "y"}, {"b", "z"}}}, []string{"a/x", "a/y", "b/z"}},
		{"the same id, other bytes", [][][2]string{{{"a", "x1"}}, {{"a", "x2"}}}, []string{"a/x1", "a/x2"}},
		{"the same bytes of another service", [][][2]string{{{"a", "x"}}, {{"b", "x"}}}, []string{"a/x", "b/x"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var u Unique
			for range 2 { // after a Reset all is new again
				var out []byte
				items := 0
				for _, spans := range tt.payloads {
					var n int
					out, n = u.AppendGroup(out, repeated(t, spans...), 0, nil)
					items += n
				}
				equal(t, "items", items, len(tt.want))
				p := scanned(t, Traces, out)
				equal(t, "items in the request", p.Len(), len(tt.want))
				for i := range min(p.Len(), len(tt.want)) {
					service, _ := p.Span(int32(i)).Resource().Attribute("service.name")
					equal(t, "span", string(service.Str())+"/"+string(p.Span(int32(i)).Name()), tt.want[i])
				}
				u.Reset()
			}
		})
	}
}

func TestUniqueIsAppendGroup(t *testing.T) {
	p := scanned(t, Traces, sampleTraces(300, 9))
	x := p.Index()
	for _, g := range p.Groups() {
		var u Unique
		got, n := u.AppendGroup(nil, x, g.First, nil)
		if want := x.AppendGroup(nil, g.First, nil); !bytes.Equal(got, want) || n != int(g.Items) {
			t.Fatalf("group %s: %d items in %d bytes, want %d in %d", g.Trace, n, len(got), g.Items, len(want))
		}
		if size := x.SizeEncoded(g.First, 0); size < len(got) || size > len(got)+200 {
			t.Errorf("group %s: %d bytes, SizeEncoded says %d", g.Trace, len(got), size)
		}
		again, n := u.AppendGroup(got, x, g.First, nil)
		if !bytes.Equal(again, got) || n != 0 {
			t.Fatalf("group %s: %d items were appended twice", g.Trace, n)
		}
	}
}
