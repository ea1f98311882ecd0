package queue

// Stats counts messages since the subscriber was made; Received = settled + held at all times, where settled is what
// was acked, nacked or handed back, confirmed or not.
type Stats struct {
	Received uint64 // deliveries
	// Redelivered are the deliveries known not to be the first: by their delivery attempt, or because an earlier
	// delivery of the message is still held here.
	Redelivered uint64
	Acked       uint64 // confirmed by the server
	Nacked      uint64 // confirmed by the server
	HandedBack  uint64 // confirmed by the server
	// FailedAcks were not confirmed while their lease held; the messages may be redelivered.
	FailedAcks uint64
	// FailedReturns are nacks and hand-backs not confirmed; the messages are redelivered when their leases end.
	FailedReturns    uint64
	Extensions       uint64 // leases extended, one for each message and request
	FailedExtensions uint64
	Reconnects       uint64 // streams opened after the first of each
}

// count records the outcome of a settled lease.
func (s *Stats) count(l *lease, ok bool) {
	switch {
	case l.state == leaseAcking && ok:
		s.Acked++
	case l.state == leaseAcking:
		s.FailedAcks++
	case !ok:
		s.FailedReturns++
	case l.delay == 0:
		s.Nacked++
	default:
		s.HandedBack++
	}
}
