package otlp

import (
	"encoding/json"
	"fmt"

	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
)

// FromJSON converts an export request of Traces or Logs from OTLP JSON to protobuf. Unknown fields are
// ignored. The JSON must be one value that nests at most 10,000 deep; pdata by itself takes what follows
// the value for nothing and has no such limit.
func FromJSON(signal Signal, b []byte) ([]byte, error) {
	if !json.Valid(b) {
		var v json.RawMessage
		return nil, fmt.Errorf("otlp: read %s JSON: %w", signal, json.Unmarshal(b, &v))
	}
	payload, err := fromJSON(signal, b)
	if err != nil {
		return nil, fmt.Errorf("otlp: read %s JSON: %w", signal, err)
	}
	return payload, nil
}

func fromJSON(signal Signal, b []byte) ([]byte, error) {
	switch signal {
	case Traces:
		var u ptrace.JSONUnmarshaler
		td, err := u.UnmarshalTraces(b)
		if err != nil {
			return nil, err
		}
		return ptraceotlp.NewExportRequestFromTraces(td).MarshalProto()
	case Logs:
		var u plog.JSONUnmarshaler
		ld, err := u.UnmarshalLogs(b)
		if err != nil {
			return nil, err
		}
		return plogotlp.NewExportRequestFromLogs(ld).MarshalProto()
	}
	return nil, errNoJSON
}

var errNoJSON = fmt.Errorf("only traces and logs are converted")

// ToJSON converts an export request of Traces or Logs from protobuf to OTLP JSON on one line, without a
// newline. The error of a malformed payload is a *ScanError.
func ToJSON(signal Signal, payload []byte) ([]byte, error) {
	var p Payload
	if err := p.Scan(signal, payload); err != nil { // pdata would recurse without a limit
		return nil, err
	}
	if signal == Traces {
		req := ptraceotlp.NewExportRequest()
		if err := req.UnmarshalProto(payload); err != nil {
			return nil, fmt.Errorf("otlp: read traces payload: %w", err)
		}
		return req.MarshalJSON()
	}
	req := plogotlp.NewExportRequest()
	if err := req.UnmarshalProto(payload); err != nil {
		return nil, fmt.Errorf("otlp: read logs payload: %w", err)
	}
	return req.MarshalJSON()
}
