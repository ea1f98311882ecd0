package otlp

// Place says where in a request a text or an attribute stands.
type Place uint8

// The places of attributes, and those of texts without a key.
const (
	InResource Place = iota // attributes of a resource, and so on; maps inside of their values are of the same place
	InScope
	InSpan
	InEvent
	InLink
	InRecord
	InMetric // metadata of a metric, attributes of its points, and what their exemplars filtered out
	SpanName
	EventName // of a span's event, and the event class of a log record
	StatusMessage
	Body // of a log record: a text, or a map whose entries are attributes of this place
	TraceState
	OtherText // scope names and versions, severity texts, schema URLs, entities, names and units of metrics
	Places    = iota
)

// shape names what a Walker does with the fields of a message. It is not the schema that Scan validates with: that says what is well
// formed, and nothing of places.
type shape uint8

const (
	requestShape shape = iota
	groupShape
	resourceShape
	entityShape
	scopeGroupShape
	scopeShape
	spanShape
	eventShape
	linkShape
	statusShape
	recordShape
	metricShape
	dataShape // of a gauge, a sum or a histogram: points, and settings
	numberPointShape
	histogramShape
	histogramPointShape
	exponentialShape
	exponentialPointShape
	summaryShape
	summaryPointShape
	exemplarShape
)

type act uint8

const (
	doUnknown   act = iota // the zero step: a field that OTLP does not have
	doPass                 // nothing to look at: a number, an id
	doLook                 // a text
	doDescend              // a message
	doAttribute            // KeyValue
	doValue                // AnyValue
	doItem                 // span, record or metric: which one the signal says
)

// step is what is done with a field.
type step struct {
	do act
	to shape
	at Place
}

func to(s shape) step { return step{do: doDescend, to: s} }

var (
	passed = step{do: doPass}
	texts  = step{do: doLook, at: OtherText}
)

// shapes has the fields of opentelemetry-proto 1.9 by number. Field 1000 of a group, the scopes of before OTLP 0.19, is greater.
var shapes = [...]struct {
	name  string
	steps [17]step
}{
	requestShape:    {"request", [17]step{1: to(groupShape)}},
	groupShape:      {"resource group", [17]step{1: to(resourceShape), 2: to(scopeGroupShape), 3: texts}},
	resourceShape:   {"resource", [17]step{1: {doAttribute, 0, InResource}, 2: passed, 3: to(entityShape)}},
	entityShape:     {"entity", [17]step{1: texts, 2: texts, 3: texts, 4: texts}},
	scopeGroupShape: {"scope group", [17]step{1: to(scopeShape), 2: {do: doItem}, 3: texts}},
	scopeShape:      {"scope", [17]step{1: texts, 2: texts, 3: {doAttribute, 0, InScope}, 4: passed}},
	spanShape: {"span", [17]step{1: passed, 2: passed, 3: {doLook, 0, TraceState}, 4: passed, 5: {doLook, 0, SpanName}, 6: passed,
		7: passed, 8: passed, 9: {doAttribute, 0, InSpan}, 10: passed, 11: to(eventShape), 12: passed, 13: to(linkShape),
		14: passed, 15: to(statusShape), 16: passed}},
	eventShape: {"event", [17]step{1: passed, 2: {doLook, 0, EventName}, 3: {doAttribute, 0, InEvent}, 4: passed}},
	linkShape: {"link", [17]step{1: passed, 2: passed, 3: {doLook, 0, TraceState}, 4: {doAttribute, 0, InLink}, 5: passed,
		6: passed}},
	statusShape: {"status", [17]step{2: {doLook, 0, StatusMessage}, 3: passed}},
	recordShape: {"log record", [17]step{1: passed, 2: passed, 3: texts, 5: {doValue, 0, Body}, 6: {doAttribute, 0, InRecord},
		7: passed, 8: passed, 9: passed, 10: passed, 11: passed, 12: {doLook, 0, EventName}}},
	metricShape: {"metric", [17]step{1: texts, 2: texts, 3: texts, 5: to(dataShape), 7: to(dataShape), 9: to(histogramShape),
		10: to(exponentialShape), 11: to(summaryShape), 12: {doAttribute, 0, InMetric}}},
	dataShape: {"data", [17]step{1: to(numberPointShape), 2: passed, 3: passed}},
	numberPointShape: {"point", [17]step{2: passed, 3: passed, 4: passed, 5: to(exemplarShape), 6: passed,
		7: {doAttribute, 0, InMetric}, 8: passed}},
	histogramShape: {"histogram", [17]step{1: to(histogramPointShape), 2: passed}},
	histogramPointShape: {"point", [17]step{2: passed, 3: passed, 4: passed, 5: passed, 6: passed, 7: passed,
		8: to(exemplarShape), 9: {doAttribute, 0, InMetric}, 10: passed, 11: passed, 12: passed}},
	exponentialShape: {"exponential histogram", [17]step{1: to(exponentialPointShape), 2: passed}},
	exponentialPointShape: {"point", [17]step{1: {doAttribute, 0, InMetric}, 2: passed, 3: passed, 4: passed, 5: passed,
		6: passed, 7: passed, 8: passed, 9: passed, 10: passed, 11: to(exemplarShape), 12: passed, 13: passed, 14: passed}},
	summaryShape: {"summary", [17]step{1: to(summaryPointShape)}},
	summaryPointShape: {"point", [17]step{2: passed, 3: passed, 4: passed, 5: passed, 6: passed, 7: {doAttribute, 0, InMetric},
		8: passed}},
	exemplarShape: {"exemplar", [17]step{2: passed, 3: passed, 4: passed, 5: passed, 6: passed, 7: {doAttribute, 0, InMetric}}},
}
