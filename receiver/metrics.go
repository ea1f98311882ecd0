package receiver

import (
	"fmt"

	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"google.golang.org/protobuf/encoding/protowire"
)

// fields is a set of protobuf field numbers below 32, as bits.
type fields uint32

var (
	// itemPath leads to the spans or log records of a request: resource, scope, item.
	itemPath = []fields{1 << 1, 1 << 2, 1 << 2}
	// pointPath leads to the data points of a metrics request: resource, scope, metric, one of gauge, sum,
	// histogram, exponential histogram and summary, point.
	pointPath = []fields{1 << 1, 1 << 2, 1 << 2, 1<<5 | 1<<7 | 1<<9 | 1<<10 | 1<<11, 1 << 1}
)

// countAt counts the messages that the path leads to, without looking into them.
func countAt(b []byte, path []fields) (int, error) {
	n := 0
	for len(b) > 0 {
		number, kind, head := protowire.ConsumeTag(b)
		if head < 0 {
			return 0, fmt.Errorf("payload malformed: %w", protowire.ParseError(head))
		}
		size := protowire.ConsumeFieldValue(number, kind, b[head:])
		if size < 0 {
			return 0, fmt.Errorf("payload malformed: %w", protowire.ParseError(size))
		}
		value := b[head : head+size]
		b = b[head+size:]
		if number > 31 || path[0]&(1<<number) == 0 {
			continue
		}
		if kind != protowire.BytesType {
			return 0, fmt.Errorf("payload malformed: field %d has wire type %d, want a message", number, kind)
		}
		if len(path) == 1 {
			n++
			continue
		}
		message, _ := protowire.ConsumeBytes(value)
		inner, err := countAt(message, path[1:])
		if err != nil {
			return 0, err
		}
		n += inner
	}
	return n, nil
}

const noMetrics = "metrics are not stored here, traces and logs are: set OTEL_METRICS_EXPORTER=none, or send metrics elsewhere"

// refuseMetrics rejects every data point: an error would make SDKs retry or log for ever, and success would lie.
func refuseMetrics(body []byte, encoding Encoding) (answer, error) {
	var points int
	var err error
	if encoding == JSON {
		request := pmetricotlp.NewExportRequest()
		err = request.UnmarshalJSON(body)
		points = request.Metrics().DataPointCount()
	} else {
		points, err = countAt(body, pointPath)
	}
	switch {
	case err != nil:
		return answer{}, faultf(Malformed, "metrics: %v", err)
	case points == 0:
		return answer{outcome: Accepted}, nil
	}
	return answer{outcome: Partial, rejected: points, text: noMetrics}, nil
}
