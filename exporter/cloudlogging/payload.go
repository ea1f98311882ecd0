package cloudlogging

import (
	"encoding/base64"
	"unicode/utf8"

	loggingpb "cloud.google.com/go/logging/apiv2/loggingpb"
	"google.golang.org/protobuf/types/known/structpb"

	"tailweir/otlp"
)

// setPayload makes the payload of the body: JSON of maps and of text or bytes that are a JSON object, text of all else. A
// stack trace comes where Error Reporting finds it: after the text, or in the field stack_trace.
func setPayload(e *loggingpb.LogEntry, body otlp.Value, structured bool, stack string, l *labels) {
	if s, ok := object(body, structured); ok {
		if stack != "" && s.Fields["stack_trace"] == nil {
			s.Fields["stack_trace"] = structpb.NewStringValue(stack)
		}
		e.Payload = &loggingpb.LogEntry_JsonPayload{JsonPayload: s}
		return
	}
	if body.Kind() == otlp.Bytes && !utf8.Valid(body.Str()) {
		l.own(labelEncoding, "base64")
	}
	if t := bodyText(body, stack); t != "" {
		e.Payload = &loggingpb.LogEntry_TextPayload{TextPayload: t}
	}
}

func object(body otlp.Value, structured bool) (*structpb.Struct, bool) {
	switch kind := body.Kind(); {
	case !structured:
	case kind == otlp.Map:
		return toStruct(body, maxDepth)
	case kind == otlp.String || kind == otlp.Bytes:
		return parseObject(body.Str())
	}
	return nil, false
}

func bodyText(body otlp.Value, stack string) (t string) {
	switch {
	case body.Kind() == otlp.Bytes && !utf8.Valid(body.Str()):
		t = base64.StdEncoding.EncodeToString(body.Str())
	case body.Kind() == otlp.Bytes:
		t = string(body.Str())
	case body.Kind() != otlp.Empty:
		t = plain(body)
	}
	if t != "" && stack != "" {
		t += "\n"
	}
	return t + stack
}
