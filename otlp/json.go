package otlp

import (
	"encoding/json"
	"errors"
	"fmt"

	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
)

// FromJSON converts an export request from OTLP JSON to protobuf. Unknown fields are
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
	case Metrics:
		var u pmetric.JSONUnmarshaler
		md, err := u.UnmarshalMetrics(b)
		if err != nil {
			return nil, err
		}
		return pmetricotlp.NewExportRequestFromMetrics(md).MarshalProto()
	}
	return nil, errNoSignal
}

var errNoSignal = errors.New("not a signal")

// ToJSON converts an export request from protobuf to OTLP JSON on one line, without a
// newline. The error of a malformed payload is a *ScanError.
func ToJSON(signal Signal, payload []byte) ([]byte, error) {
	var p Payload
	if err := p.Scan(signal, payload); err != nil { // pdata would recurse without a limit
		return nil, err
	}
	var req interface {
		UnmarshalProto([]byte) error
		MarshalJSON() ([]byte, error)
	}
	switch signal {
	case Traces:
		req = ptraceotlp.NewExportRequest()
	case Logs:
		req = plogotlp.NewExportRequest()
	default:
		req = pmetricotlp.NewExportRequest()
	}
	if err := req.UnmarshalProto(payload); err != nil {
		return nil, fmt.Errorf("otlp: read %s payload: %w", signal, err)
	}
	return req.MarshalJSON()
}
