package receiver

import (
	"encoding/json"
	"strconv"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	"tailweir/otlp"
)

// exportResponse is the Export*ServiceResponse: empty for full success. The three signals' messages have the same
// fields: partial_success 1, with rejected count 1 and error message 2.
func exportResponse(a answer) []byte {
	if a.outcome != Partial {
		return nil
	}
	var partial []byte
	partial = protowire.AppendTag(partial, 1, protowire.VarintType)
	partial = protowire.AppendVarint(partial, uint64(a.rejected))
	partial = protowire.AppendTag(partial, 2, protowire.BytesType)
	partial = protowire.AppendString(partial, a.text)
	b := protowire.AppendTag(nil, 1, protowire.BytesType)
	return protowire.AppendBytes(b, partial)
}

// exportResponseJSON is the same in protobuf's JSON, in which an int64 is a string.
func exportResponseJSON(s otlp.Signal, a answer) []byte {
	if a.outcome != Partial {
		return []byte("{}")
	}
	count := map[otlp.Signal]string{otlp.Traces: "rejectedSpans", otlp.Logs: "rejectedLogRecords", otlp.Metrics: "rejectedDataPoints"}[s]
	b, _ := json.Marshal(map[string]any{"partialSuccess": map[string]string{ // strings always marshal
		count: strconv.Itoa(a.rejected), "errorMessage": a.text,
	}})
	return b
}

// statusOf is the google.rpc.Status of a refused request, with RetryInfo when it may be repeated, and with BadRequest when what
// it holds is at fault.
func statusOf(a answer, delay time.Duration) *status.Status {
	st := &status.Status{Code: int32(answers[a.outcome].grpc), Message: validText(a.text)}
	var detail proto.Message
	switch {
	case answers[a.outcome].retry:
		detail = &errdetails.RetryInfo{RetryDelay: durationpb.New(delay)}
	case a.outcome == Malformed:
		detail = &errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "body", Description: st.Message}}}
	default:
		return st
	}
	if detail, err := anypb.New(detail); err == nil {
		st.Details = append(st.Details, detail)
	}
	return st
}

func marshalStatus(st *status.Status, encoding Encoding) []byte {
	var b []byte
	if encoding == JSON {
		b, _ = protojson.Marshal(st) // cannot fail: the text is valid UTF-8 and the details are registered
	} else {
		b, _ = proto.Marshal(st)
	}
	return b
}
