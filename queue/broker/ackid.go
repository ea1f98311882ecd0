package broker

import (
	"strconv"
	"strings"
)

// An ack id is epoch-seq-number in base 36: the life of the subscription (so
// that an id of a deleted one, or of an earlier broker, never acks anything), the
// message in it, and which delivery of it, so that an id whose lease has ended is stale.
type ackID struct {
	epoch, seq uint64
	number     uint32
}

func (a ackID) append(b []byte) []byte {
	b = strconv.AppendUint(b, a.epoch, 36)
	b = append(b, '-')
	b = strconv.AppendUint(b, a.seq, 36)
	b = append(b, '-')
	return strconv.AppendUint(b, uint64(a.number), 36)
}

// parseAckID reports false for what append cannot have written.
func parseAckID(s string) (ackID, bool) {
	epoch, rest, _ := strings.Cut(s, "-")
	seq, number, _ := strings.Cut(rest, "-")
	e, err1 := strconv.ParseUint(epoch, 36, 64)
	q, err2 := strconv.ParseUint(seq, 36, 64)
	n, err3 := strconv.ParseUint(number, 36, 32)
	return ackID{epoch: e, seq: q, number: uint32(n)}, err1 == nil && err2 == nil && err3 == nil
}
