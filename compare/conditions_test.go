package compare

var spanConditions = []string{
	`attributes["tenant"] == "a"`, `span.attributes["http.status"] >= 400`, `name == "op1"`, `IsMatch(name, "^op")`, `IsRootSpan()`,
	`status.code == STATUS_CODE_ERROR`, `span.kind == SPAN_KIND_SERVER`, `resource.attributes["tenant"] == "a"`, `scope.name == "lib"`,
	`instrumentation_scope.attributes["tenant"] != nil`, `end_time_unix_nano - start_time_unix_nano > 5000000`, `trace_state["vendor"] == "a"`,
	`attributes["nowhere"] != nil`, `attributes["text"] == nil and name != ""`, `resource.schema_url != ""`, `flags == 1`, `false`, `Len(events) == 2`,
	// These fail for some spans.
	`Substring(attributes["text"], 0, 5) == "hello"`, `ParseJSON(attributes["text"])["a"] == 1`, `Len(attributes["http.status"]) > 2`,
	`attributes["http.status"] / attributes["retried"] == 1`, `ToUpperCase(resource.attributes["tenant"]) == "ACME"`, `name == "op2" and Substring(attributes["text"], 0, 1) == "h"`,
	`name == "op1" or Substring(attributes["tenant"], 0, 1) == "a"`,
}

var eventConditions = []string{
	`name == "exception"`, `spanevent.attributes["tenant"] == "a"`, `span.name == "op1" and spanevent.name == "log"`, `attributes["nowhere"] == "x"`,
	`resource.attributes["tenant"] == "b"`, `event_index == 1`, `span.status.code == STATUS_CODE_ERROR`,
	`Substring(attributes["text"], 0, 1) == "h"`, `Len(spanevent.attributes["tenant"]) == 1`,
}

func (g generator) ottl() map[string]any {
	s := map[string]any{}
	some := func(from []string) (list []string) {
		for range pick(g, 1, 1, 2, 3) {
			list = append(list, pick(g, from...))
		}
		return list
	}
	g.maybe(s, 75, "error_mode", pick(g, "ignore", "propagate", "propagate", "silent"))
	g.maybe(s, 75, "span", some(spanConditions))
	if s["span"] == nil || g.chance(30) {
		s["spanevent"] = some(eventConditions)
	}
	return s
}
