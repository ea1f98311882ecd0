package cloudlogging

import (
	"bytes"
	"fmt"

	loggingpb "cloud.google.com/go/logging/apiv2/loggingpb"
	mrpb "google.golang.org/genproto/googleapis/api/monitoredres"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// Fields of LogEntry.
const (
	resourceField = 8
	labelsField   = 11
)

// encoder encodes entries, the same always in the same way: fields of a Struct in one order, as are labels. Maps are what costs
// most in the generated code, so labels are written here, and the resource, which many entries share, comes encoded. It keeps
// memory for the next entry, so it serves one at a time.
type encoder struct{ buf []byte }

// entry returns the encoded entry. Its own labels and resource do not count. It fails for strings that are not UTF-8, see text.
func (c *encoder) entry(e *loggingpb.LogEntry, labels []label, resource []byte) ([]byte, error) {
	of, monitored := e.Labels, e.Resource
	e.Labels, e.Resource = nil, nil
	b, err := proto.MarshalOptions{Deterministic: true}.MarshalAppend(c.buf[:0], e)
	e.Labels, e.Resource = of, monitored
	if err != nil {
		return nil, fmt.Errorf("encode entry: %w", err)
	}
	b = append(b, resource...)
	for _, l := range labels {
		b = appendPair(b, labelsField, l.key, l.value)
	}
	c.buf = b
	return bytes.Clone(b), nil
}

// appendPair appends an element of a map of strings.
func appendPair(b []byte, field protowire.Number, k, v string) []byte {
	b = protowire.AppendTag(b, field, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(2+protowire.SizeBytes(len(k))+protowire.SizeBytes(len(v))))
	b = protowire.AppendString(protowire.AppendTag(b, 1, protowire.BytesType), k)
	return protowire.AppendString(protowire.AppendTag(b, 2, protowire.BytesType), v)
}

// encodeResource returns the resource as the entry's field.
func encodeResource(r *mrpb.MonitoredResource) []byte {
	b := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), r.Type)
	for _, l := range fromMap(r.Labels) {
		b = appendPair(b, 2, l.key, l.value)
	}
	return protowire.AppendBytes(protowire.AppendTag(nil, resourceField, protowire.BytesType), b)
}
