package exporter

import (
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"

	"tailweir/otlp"
)

// partialSuccess reads an answer's partial_success; nil when there is none. An answer that cannot be read is
// still a confirmation: its status said so, and many backends answer with an empty or a foreign body.
func partialSuccess(signal otlp.Signal, answer []byte, isJSON bool) *PartialError {
	if len(answer) == 0 {
		return nil
	}
	var rejected int64
	var message string
	switch signal {
	case otlp.Logs:
		res := plogotlp.NewExportResponse()
		if unmarshal(res, answer, isJSON) != nil {
			return nil
		}
		rejected, message = res.PartialSuccess().RejectedLogRecords(), res.PartialSuccess().ErrorMessage()
	case otlp.Metrics:
		res := pmetricotlp.NewExportResponse()
		if unmarshal(res, answer, isJSON) != nil {
			return nil
		}
		rejected, message = res.PartialSuccess().RejectedDataPoints(), res.PartialSuccess().ErrorMessage()
	default:
		res := ptraceotlp.NewExportResponse()
		if unmarshal(res, answer, isJSON) != nil {
			return nil
		}
		rejected, message = res.PartialSuccess().RejectedSpans(), res.PartialSuccess().ErrorMessage()
	}
	if rejected <= 0 && message == "" {
		return nil
	}
	return &PartialError{Rejected: int(max(0, rejected)), Msg: Clip(message)}
}

func unmarshal(res interface {
	UnmarshalProto([]byte) error
	UnmarshalJSON([]byte) error
}, answer []byte, isJSON bool) error {
	if isJSON {
		return res.UnmarshalJSON(answer)
	}
	return res.UnmarshalProto(answer)
}
