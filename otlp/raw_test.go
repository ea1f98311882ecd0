package otlp

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

func TestParts(t *testing.T) {
	td := ptrace.NewTraces()
	for _, name := range []string{"a", "b"} {
		rs := td.ResourceSpans().AppendEmpty()
		rs.Resource().Attributes().PutStr("r", name)
		for _, n := range []string{"1", "2"} {
			ss := rs.ScopeSpans().AppendEmpty()
			ss.Scope().SetName(name + n)
			for _, n := range []string{"x", "y"} {
				s := ss.Spans().AppendEmpty()
				s.SetName(ss.Scope().Name() + n)
				s.SetTraceID(pcommon.TraceID{1})
				s.Attributes().PutStr("k", strings.Repeat("v", 300))
				s.Attributes().PutStr("l", "w")
				s.Events().AppendEmpty().SetName("e")
				s.Links().AppendEmpty()
			}
		}
	}
	p := scanTraces(t, marshalTraces(t, td))
	if p.Resources() != 2 || p.Scopes() != 4 {
		t.Fatalf("%d resources, %d scopes", p.Resources(), p.Scopes())
	}
	prefix := []byte("before")
	for i := range int32(p.Len()) {
		v := p.Span(i)
		rs := decodeAfter(t, prefix, p.AppendResource(slices.Clone(prefix), v.ResourceIndex()))
		ss := decodeAfter(t, prefix, p.AppendScope(slices.Clone(prefix), v.ScopeIndex())).ScopeSpans().At(0)
		r, _ := rs.Resource().Attributes().Get("r")
		if got, name := r.Str()+" "+ss.Scope().Name(), string(v.Name()); got != name[:1]+" "+name[:2] || rs.ScopeSpans().Len()+ss.Spans().Len() > 0 {
			t.Errorf("span %s: resource and scope %s, %d scopes, %d spans", name, got, rs.ScopeSpans().Len(), ss.Spans().Len())
		}
		for _, tt := range []struct {
			part Part
			want []int // attributes, events, links
		}{
			{Part{}, []int{0, 0, 0}},
			{Part{Attributes: []string{"x", "l"}}, []int{1, 0, 0}},
			{Part{Attributes: []string{"k"}, Events: true}, []int{1, 1, 0}},
			{Part{AllAttributes: true, Links: true}, []int{2, 0, 1}},
		} {
			s := decodeAfter(t, prefix, v.AppendPart(slices.Clone(prefix), &tt.part)).ScopeSpans().At(0).Spans().At(0)
			got := []int{s.Attributes().Len(), s.Events().Len(), s.Links().Len()}
			if diff := cmp.Diff(tt.want, got); diff != "" || s.Name() != string(v.Name()) || s.TraceID() != (pcommon.TraceID{1}) {
				t.Errorf("span %s, %+v: %s, %s", v.Name(), tt.part, s.Name(), diff)
			}
		}
	}
}

func decodeAfter(t *testing.T, prefix, b []byte) ptrace.ResourceSpans {
	t.Helper()
	var u ptrace.ProtoUnmarshaler
	td, err := u.UnmarshalTraces(b[len(prefix):])
	if err != nil || string(b[:len(prefix)]) != string(prefix) {
		t.Fatalf("%x: %v", b, err)
	}
	return td.ResourceSpans().At(0)
}

func scanTraces(t *testing.T, b []byte) *Payload {
	t.Helper()
	p := new(Payload)
	if err := p.Scan(Traces, b); err != nil {
		t.Fatal(err)
	}
	return p
}

func marshalTraces(t *testing.T, td ptrace.Traces) []byte {
	t.Helper()
	var m ptrace.ProtoMarshaler
	b, err := m.MarshalTraces(td)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
