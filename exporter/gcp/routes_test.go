package gcp

import (
	"strings"
	"testing"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"tailweir/otlp"
)

var routes = Routes{Project: "own-project", Routes: []Route{
	{Attribute: "tenant", Value: "a", Project: "tenant-a"},
	{Attribute: "level", Value: "7", Project: "level-seven"},
	{Attribute: "debug", Value: "true", Project: "debug-true"},
}}

func TestProjectOfAnItem(t *testing.T) {
	type attrs = map[string]any
	for _, test := range []struct {
		name           string
		resource, item attrs
		want           string
	}{
		{"none", nil, nil, "own-project"},
		{"resource matches", attrs{"tenant": "a"}, nil, "tenant-a"},
		{"item matches", nil, attrs{"tenant": "a"}, "tenant-a"},
		{"resource before item", attrs{"tenant": "b"}, attrs{"tenant": "a"}, "own-project"},
		{"first route wins", attrs{"tenant": "a", "debug": true}, nil, "tenant-a"},
		{"first route wins, the item's", attrs{"debug": true}, attrs{"tenant": "a"}, "tenant-a"},
		{"later route of the resource", attrs{"debug": true}, attrs{"tenant": "b"}, "debug-true"},
		{"value as text", nil, attrs{"level": int64(7)}, "level-seven"},
		{"other case", attrs{"tenant": "A"}, nil, "own-project"},
		{"resource names it", attrs{"gcp.project_id": "named-one"}, nil, "named-one"},
		{"by the older name", attrs{"gcp.project.id": "named-two"}, nil, "named-two"},
		{"documented name first", attrs{"gcp.project.id": "named-two", "gcp.project_id": "named-one"}, nil, "named-one"},
		{"no project id", attrs{"gcp.project_id": "Not A Project"}, nil, "own-project"},
		{"not a text", attrs{"gcp.project_id": int64(1234567)}, nil, "own-project"},
		{"route before the name", attrs{"gcp.project_id": "named-one", "debug": true}, nil, "debug-true"},
		{"item's name is not asked", nil, attrs{"gcp.project_id": "named-one"}, "own-project"},
	} {
		spans, records := spanAndRecord(t, test.resource, test.item)
		for what, got := range map[string]string{
			"span": routes.Span(spans.Span(0)), "chosen for span": routes.For(spans).Project(0),
			"record": routes.Record(records.Record(0)), "chosen for record": routes.For(records).Project(0),
		} {
			if got != test.want {
				t.Errorf("%s: %s: project %q, want %q", test.name, what, got, test.want)
			}
		}
	}
}

func spanAndRecord(t *testing.T, resource, item map[string]any) (spans, records *otlp.Payload) {
	td, ld := ptrace.NewTraces(), plog.NewLogs()
	rs, rl := td.ResourceSpans().AppendEmpty(), ld.ResourceLogs().AppendEmpty()
	span, rec := rs.ScopeSpans().AppendEmpty().Spans().AppendEmpty(), rl.ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
	for _, m := range []pcommon.Map{rs.Resource().Attributes(), rl.Resource().Attributes()} {
		set(t, m, resource)
	}
	for _, m := range []pcommon.Map{span.Attributes(), rec.Attributes()} {
		set(t, m, item)
	}
	tb, err1 := (&ptrace.ProtoMarshaler{}).MarshalTraces(td)
	lb, err2 := (&plog.ProtoMarshaler{}).MarshalLogs(ld)
	spans, records = new(otlp.Payload), new(otlp.Payload)
	if err1 != nil || err2 != nil || spans.Scan(otlp.Traces, tb) != nil || records.Scan(otlp.Logs, lb) != nil {
		t.Fatal("payload does not encode or scan")
	}
	return spans, records
}

func set(t *testing.T, m pcommon.Map, attrs map[string]any) {
	if err := m.FromRaw(attrs); err != nil {
		t.Fatal(err)
	}
}

func TestValidateNamesAllFaultsOfRoutes(t *testing.T) {
	err := (&Routes{Project: "1234567", Routes: []Route{{}, {Attribute: "k", Value: "v", Project: "short"}}}).Validate()
	for _, want := range []string{`project "1234567"`, "routes[0]: attribute", "routes[0]: value", `routes[0] project ""`, `routes[1] project "short"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("fault %q is not in: %v", want, err)
		}
	}
	if err := routes.Validate(); err != nil {
		t.Error(err)
	}
}

func TestProjectIDs(t *testing.T) {
	for id, want := range map[string]bool{
		"my-project": true, "a12345": true, "example.com:my-project": true, "a" + strings.Repeat("b", 29): true,
		"": false, "short": false, "1abcdef": false, "My-project": false, "project-": false, "a" + strings.Repeat("b", 30): false,
		"my_project": false, "123456789012": false, "my-project\n": false, "projects/my-project": false,
	} {
		if got := ValidProject(id); got != want {
			t.Errorf("%q is a project id: %t, want %t", id, got, want)
		}
	}
}
