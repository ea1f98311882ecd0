package cloudlogging

import (
	"fmt"
	"maps"
	"slices"

	loggingpb "cloud.google.com/go/logging/apiv2/loggingpb"
	mrpb "google.golang.org/genproto/googleapis/api/monitoredres"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// Fields of WriteLogEntriesRequest and of LogEntry.
const (
	entriesField  = 4
	resourceField = 8
	labelsField   = 11
)

// marshal encodes the message, the fields of a Struct in one order. All its strings are UTF-8, see text, so it cannot fail.
func marshal(m proto.Message) []byte {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		panic(fmt.Sprintf("encode %s: %v", m.ProtoReflect().Descriptor().Name(), err))
	}
	return b
}

// encode returns the entry's encoding, which is always the same for the same entry. The resource comes encoded, since
// many entries share it. Maps are what costs most in the generated code, so labels are written here: together an entry takes
// a third of the time.
func encode(e *loggingpb.LogEntry, resource []byte) []byte {
	labels, monitored := e.Labels, e.Resource
	e.Labels, e.Resource = nil, nil
	b := marshal(e)
	e.Labels, e.Resource = labels, monitored
	b = append(b, resource...)
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		b = appendPair(b, k, labels[k])
	}
	return b
}

func appendPair(b []byte, k, v string) []byte {
	b = protowire.AppendTag(b, labelsField, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(2+protowire.SizeBytes(len(k))+protowire.SizeBytes(len(v))))
	b = protowire.AppendString(protowire.AppendTag(b, 1, protowire.BytesType), k)
	return protowire.AppendString(protowire.AppendTag(b, 2, protowire.BytesType), v)
}

// encodeResource returns the resource as the entry's field.
func encodeResource(r *mrpb.MonitoredResource) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, resourceField, protowire.BytesType), marshal(r))
}

// entryOverhead is what an entry takes in a request beside itself: tag and length.
const entryOverhead = 5

// pack groups entries into requests: of one project each, within the API's limits, in the order of the batch.
func pack(entries []entry) (requests [][]entry) {
	open := map[string]int{} // by project: index of the request that takes more
	sizes := []int{}
	for _, e := range entries {
		i, ok := open[e.project]
		if !ok || sizes[i]+len(e.encoded)+entryOverhead > maxRequest || len(requests[i]) == maxEntries {
			i = len(requests)
			open[e.project] = i
			requests, sizes = append(requests, nil), append(sizes, 0)
		}
		requests[i] = append(requests[i], e)
		sizes[i] += len(e.encoded) + entryOverhead
	}
	return requests
}

// newRequest is the request that writes the entries. With partial success one that is refused does not stop the others. The entries
// are in it as unknown fields, which are encoded as they are: so each is encoded once, however often it is sent.
func newRequest(entries []entry) *loggingpb.WriteLogEntriesRequest {
	n := 0
	for _, e := range entries {
		n += len(e.encoded) + entryOverhead
	}
	raw := make([]byte, 0, n)
	for _, e := range entries {
		raw = protowire.AppendBytes(protowire.AppendTag(raw, entriesField, protowire.BytesType), e.encoded)
	}
	r := &loggingpb.WriteLogEntriesRequest{PartialSuccess: true}
	r.ProtoReflect().SetUnknown(raw)
	return r
}
