package otlp

import "fmt"

// maxDepth bounds the nesting of messages inside a payload, as the Go protobuf library does. One level
// takes about 200 B of stack; without a bound 64 MiB of nested arrays need 4 GB of it.
const maxDepth = 10_000

// message names a schema in schemas.
type message uint8

const (
	scalar message = iota // not a message: any bytes
	keyValue
	anyValue
	arrayValue
	keyValueList
	resource
	entityRef
	scope
	status
	event
	link
	span
	record
	itemsOfResource
	itemsOfScope
)

// rule is what a known field has to be.
type rule struct {
	name string // "" for an unknown field
	wire uint64
	sub  message
	id   int // length of an id, which may also be empty; 0 for other fields
}

func text(name string) rule           { return rule{name: name, wire: wireLen} }
func id(name string, n int) rule      { return rule{name: name, wire: wireLen, id: n} }
func sub(name string, m message) rule { return rule{name: name, wire: wireLen, sub: m} }
func number(name string) rule         { return rule{name: name, wire: wireVarint} }
func fixed64(name string) rule        { return rule{name: name, wire: wireI64} }
func fixed32(name string) rule        { return rule{name: name, wire: wireI32} }
func attributes(name ...string) rule  { return sub("attributes", keyValue) }
func count(of string) rule            { return number("dropped_" + of + "_count") }

// deprecatedScopes is the field of ResourceSpans and ResourceLogs that held the scopes between OTLP 0.15
// and 0.19. It is too great for the tables.
const deprecatedScopes = 1000

// schemas holds the known fields of the messages of OTLP by number, as pdata v1.70 knows them.
var schemas = [...]struct {
	name  string
	rules [17]rule
}{
	keyValue: {"attribute", [17]rule{1: text("key"), 2: sub("value", anyValue), 3: number("key_strindex")}},
	anyValue: {"value", [17]rule{1: text("string_value"), 2: number("bool_value"), 3: number("int_value"),
		4: fixed64("double_value"), 5: sub("array_value", arrayValue), 6: sub("kvlist_value", keyValueList),
		7: text("bytes_value"), 8: number("string_value_strindex")}},
	arrayValue:   {"array", [17]rule{1: sub("values", anyValue)}},
	keyValueList: {"map", [17]rule{1: sub("values", keyValue)}},
	resource:     {"resource", [17]rule{1: attributes(), 2: count("attributes"), 3: sub("entity_refs", entityRef)}},
	entityRef: {"entity", [17]rule{1: text("schema_url"), 2: text("type"), 3: text("id_keys"),
		4: text("description_keys")}},
	scope:  {"scope", [17]rule{1: text("name"), 2: text("version"), 3: attributes(), 4: count("attributes")}},
	status: {"status", [17]rule{2: text("message"), 3: number("code")}},
	event: {"event", [17]rule{1: fixed64("time_unix_nano"), 2: text("name"), 3: attributes(),
		4: count("attributes")}},
	link: {"link", [17]rule{1: id("trace_id", 16), 2: id("span_id", 8), 3: text("trace_state"),
		4: attributes(), 5: count("attributes"), 6: fixed32("flags")}},
	span: {"span", [17]rule{1: id("trace_id", 16), 2: id("span_id", 8), 3: text("trace_state"),
		4: id("parent_span_id", 8), 5: text("name"), 6: number("kind"), 7: fixed64("start_time_unix_nano"),
		8: fixed64("end_time_unix_nano"), 9: attributes(), 10: count("attributes"), 11: sub("events", event),
		12: count("events"), 13: sub("links", link), 14: count("links"), 15: sub("status", status),
		16: fixed32("flags")}},
	record: {"log record", [17]rule{1: fixed64("time_unix_nano"), 2: number("severity_number"),
		3: text("severity_text"), 5: sub("body", anyValue), 6: attributes(), 7: count("attributes"),
		8: fixed32("flags"), 9: id("trace_id", 16), 10: id("span_id", 8),
		11: fixed64("observed_time_unix_nano"), 12: text("event_name")}},
	itemsOfResource: {"resource group", [17]rule{1: sub("resource", resource), 2: text("scopes"),
		3: text("schema_url")}},
	itemsOfScope: {"scope group", [17]rule{1: sub("scope", scope), 2: text("items"), 3: text("schema_url")}},
}

// nesting is how deep a walk is in messages below an item or a group, and how deep it has been.
type nesting struct{ now, most int }

// validate checks the message m that reaches from pos to the end of b.
func (d *nesting) validate(b []byte, pos int, m message) *ScanError {
	if d.now++; d.now > d.most {
		if d.most = d.now; d.now > maxDepth {
			return &ScanError{Offset: pos, What: tooDeep}
		}
	}
	for pos < len(b) {
		at := pos
		tag, next := readTag(b, at)
		if next < 0 {
			return badTag(at, m)
		}
		if tag>>3 < 17 && tag&7 == wireLen && schemas[m].rules[tag>>3].sub == keyValue {
			if pos = attributeRun(b, at, byte(tag)); pos > at {
				continue
			}
		}
		var err *ScanError
		if pos, err = d.checkField(b, at, next, tag, m); err != nil {
			return err
		}
	}
	d.now--
	return nil
}

// checkField checks the value at pos of the field of m whose tag stands at at, and returns where it ends.
func (d *nesting) checkField(b []byte, at, pos int, tag uint64, m message) (int, *ScanError) {
	var r rule
	if tag>>3 < 17 {
		r = schemas[m].rules[tag>>3]
	}
	if r.name != "" && tag&7 != r.wire {
		return 0, fault(at, m, r.name, "has wire type %d, want %d", tag&7, r.wire)
	}
	next := skip(b, pos, tag&7)
	if next < 0 {
		return 0, fault(at, m, r.name, "is cut off or malformed")
	}
	if r.name == "" || r.wire != wireLen {
		return next, nil
	}
	start, _ := chunk(b, pos)
	if n := next - start; r.id != 0 && n != 0 && n != r.id {
		return 0, fault(at, m, r.name, "has %d bytes, want %d", n, r.id)
	}
	if r.sub == scalar {
		return next, nil
	}
	return next, d.validate(b[:next], start, r.sub)
}

const tooDeep = "messages nest deeper than 10,000 levels"

func badTag(at int, m message) *ScanError {
	return &ScanError{Offset: at, What: schemas[m].name + " has a malformed field tag"}
}

func fault(at int, m message, field, format string, args ...any) *ScanError {
	if field == "" {
		field = "unknown field"
	}
	return &ScanError{Offset: at, What: schemas[m].name + " " + field + " " + fmt.Sprintf(format, args...)}
}
