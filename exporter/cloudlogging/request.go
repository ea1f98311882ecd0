package cloudlogging

import (
	loggingpb "cloud.google.com/go/logging/apiv2/loggingpb"
	"google.golang.org/protobuf/encoding/protowire"
)

// entryOverhead is what an entry takes in a request beside itself: tag and length.
const entryOverhead = 5

// entriesField is of WriteLogEntriesRequest.
const entriesField = 4

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
