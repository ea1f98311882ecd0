package otlp

import (
	"bytes"
	"testing"
)

// What SDKs send: OpenTelemetry's own examples, and what the Node SDK sends over HTTP.
var jsonSeeds = []struct {
	signal Signal
	json   string
}{
	{Traces, `{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"my.service"}}]},"scopeSpans":[{"scope":{"name":"my.library","version":"1.0.0","attributes":[{"key":"my.scope.attribute","value":{"stringValue":"some scope attribute"}}]},"spans":[{"traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"EEE19B7EC3C1B174","parentSpanId":"EEE19B7EC3C1B173","name":"I'm a server span","startTimeUnixNano":"1544712660000000000","endTimeUnixNano":"1544712661000000000","kind":2,"attributes":[{"key":"my.span.attr","value":{"stringValue":"some value"}}]}]}]}]}`},
	{Traces, `{"resourceSpans":[{"resource":{"attributes":[{"key":"process.pid","value":{"intValue":4711}},{"key":"process.command_args","value":{"arrayValue":{"values":[{"stringValue":"/usr/bin/node"},{"stringValue":"app.js"}]}}}],"droppedAttributesCount":0},"scopeSpans":[{"scope":{"name":"@opentelemetry/instrumentation-http","version":"0.57.0"},"spans":[{"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"b7ad6b7169203331","name":"GET","kind":3,"startTimeUnixNano":"1700000000000000000","endTimeUnixNano":"1700000000150000000","attributes":[{"key":"http.response.status_code","value":{"intValue":"200"}},{"key":"ratio","value":{"doubleValue":1.5e-7}},{"key":"ok","value":{"boolValue":true}}],"droppedAttributesCount":0,"events":[{"attributes":[{"key":"exception.type","value":{"stringValue":"Error"}}],"name":"exception","timeUnixNano":1700000000100000000,"droppedAttributesCount":0}],"droppedEventsCount":0,"status":{"code":2,"message":"ärger\n"},"links":[{"traceId":"0af7651916cd43dd8448eb211c80319d","spanId":"b7ad6b7169203332","traceState":"a=b","attributes":[],"droppedAttributesCount":0}],"droppedLinksCount":0,"flags":257}]}]}]}`},
	{Traces, `{"resourceSpans":[{"scopeSpans":[{"spans":[{"kind":"SPAN_KIND_CLIENT","status":{"code":"STATUS_CODE_ERROR"},"attributes":[{"key":"d","value":{"doubleValue":"NaN"}},{"key":"i","value":{"doubleValue":"-Infinity"}},{"key":"b","value":{"bytesValue":"AAEC/w=="}},{"key":"m","value":{"kvlistValue":{"values":[{"key":"x","value":{}}]}}}],"unknown":{"a":[1,null]}}]}],"schemaUrl":"u"}]}`},
	{Logs, `{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"my.service"}}]},"scopeLogs":[{"scope":{"name":"my.library","version":"1.0.0"},"logRecords":[{"timeUnixNano":"1544712660300000000","observedTimeUnixNano":"1544712660300000000","severityNumber":10,"severityText":"Information","traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"EEE19B7EC3C1B174","body":{"stringValue":"Example log record"},"attributes":[{"key":"array.attribute","value":{"arrayValue":{"values":[{"stringValue":"many"},{"stringValue":"values"}]}}},{"key":"map.attribute","value":{"kvlistValue":{"values":[{"key":"some.map.key","value":{"stringValue":"some value"}}]}}}],"eventName":"e","flags":1}]}]}]}`},
	{Traces, `{}`},
	{Logs, ` {"resourceLogs": null} `},
	{Logs, `{"resourceLogs":[{}],"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"\ud800"}}]}]}]}`},
	{Traces, `{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"zz"}]}]}]}`},
	{Metrics, `{}`},
	{Metrics, `{"resourceMetrics":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"my.service"}}]},"scopeMetrics":[{"scope":{"name":"my.library"},"metrics":[{"name":"my.counter","unit":"1","description":"I am a Counter","sum":{"aggregationTemporality":1,"isMonotonic":true,"dataPoints":[{"asDouble":5,"startTimeUnixNano":"1544712660300000000","timeUnixNano":1544712660300000000,"attributes":[{"key":"my.counter.attr","value":{"stringValue":"some value"}}]}]}},{"name":"my.gauge","gauge":{"dataPoints":[{"asInt":"-5","timeUnixNano":"1544712660300000000"}]}},{"name":"my.histogram","histogram":{"aggregationTemporality":"AGGREGATION_TEMPORALITY_CUMULATIVE","dataPoints":[{"count":2,"sum":2,"bucketCounts":["1",1],"explicitBounds":[1],"min":0,"max":2,"exemplars":[{"traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"EEE19B7EC3C1B174","asInt":"7"}]}]}},{"name":"e","exponentialHistogram":{"dataPoints":[{"count":"3","scale":-1,"zeroCount":"1","positive":{"offset":1,"bucketCounts":["0","2"]}}]}},{"name":"q","summary":{"dataPoints":[{"count":1,"quantileValues":[{"quantile":0.5,"value":1}]}]}}]}]}]}`},
}

// FuzzJSON feeds the JSON intake. What it accepts can be scanned, and survives the way to JSON and back.
func FuzzJSON(f *testing.F) {
	for _, seed := range jsonSeeds {
		f.Add(uint8(seed.signal), []byte(seed.json))
	}
	f.Fuzz(func(t *testing.T, signal uint8, in []byte) { checkJSON(t, Signal(signal), in) })
}

func checkJSON(t *testing.T, signal Signal, in []byte) {
	before := bytes.Clone(in)
	payload, err := FromJSON(signal, in)
	if !bytes.Equal(in, before) {
		t.Fatal("the input was changed")
	}
	if err != nil {
		return
	}
	if signal < Traces || signal > Metrics {
		t.Fatalf("%s was converted", signal)
	}
	var p Payload
	if err := p.Scan(signal, payload); err != nil {
		t.Fatalf("what was accepted cannot be scanned: %v", err)
	}
	out, err := ToJSON(signal, payload)
	if err != nil {
		t.Fatalf("to JSON: %v", err)
	}
	if bytes.ContainsRune(out, '\n') {
		t.Fatalf("not one line: %q", out)
	}
	again, err := FromJSON(signal, out)
	if err != nil {
		t.Fatalf("back from %q: %v", out, err)
	}
	if !bytes.Equal(payload, again) {
		t.Fatalf("by %q became\n%x, was\n%x", out, again, payload)
	}
}
