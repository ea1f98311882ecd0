package broker

import (
	"cmp"
	"context"
	"slices"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Seek sets what is acked and what is not, by publish time or by a snapshot. Leases end, their
// ack ids become stale, and streams live on.
func (u subscriberService) Seek(_ context.Context, req *pubsubpb.SeekRequest) (*pubsubpb.SeekResponse, error) {
	sub, err := u.srv.subscription(req.Subscription)
	if err != nil {
		return nil, err
	}
	switch target := req.Target.(type) {
	case *pubsubpb.SeekRequest_Time:
		err = sub.seek(nil, target.Time.AsTime())
	case *pubsubpb.SeekRequest_Snapshot:
		err = u.srv.seekSnapshot(sub, target.Snapshot)
	default:
		err = invalid("seek of %s: neither a time nor a snapshot is named", sub.name)
	}
	if err != nil {
		return nil, err
	}
	return &pubsubpb.SeekResponse{}, nil
}

func (s *Server) seekSnapshot(sub *subscription, name string) error {
	s.mu.RLock() // held, so that the snapshot is not deleted meanwhile
	defer s.mu.RUnlock()
	snap, err := s.snapshotLocked(name)
	if err != nil {
		return err
	}
	if snap.topic != sub.topic {
		return status.Errorf(codes.FailedPrecondition, "seek of %s: snapshot %s is of another topic, %s", sub.name, name, snap.pb.Topic)
	}
	return sub.seek(snap, time.Time{})
}

// seek makes un-acked what is in the snapshot or, without one, what was published
// at or after the time, and everything else acked. It visits every message within reach.
func (s *subscription) seek(snap *snapshot, from time.Time) error {
	s.topic.mu.Lock()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		s.topic.mu.Unlock()
		return s.ended()
	}
	wanted := func(m *message) bool { return !m.pb.PublishTime.AsTime().Before(from) }
	if snap != nil {
		in := make(map[*message]bool, len(snap.messages))
		for _, m := range snap.messages {
			in[m] = true
		}
		wanted = func(m *message) bool { return in[m] }
	}
	reach := s.reachLocked(snap)
	held := s.resetLocked()
	for _, m := range reach {
		if wanted(m) {
			s.addLocked(m)
		} else if s.pb.RetainAckedMessages {
			m.refs.Add(1)
			d := &delivery{msg: m, state: done}
			d.seq = uint64(s.log.append(d))
		}
	}
	s.purging = false // older messages may be back
	s.armPurgeLocked()
	s.wakeLocked()
	s.mu.Unlock()
	s.topic.mu.Unlock()
	release(held)
	return nil
}

// reachLocked returns in publish order what the subscription, its topic and the
// snapshot, which may be nil, still hold for it. The topic's lock is held too.
func (s *subscription) reachLocked(snap *snapshot) []*message {
	var reach []*message
	for _, d := range s.log.from(0) {
		if d.state != done || s.pb.RetainAckedMessages {
			reach = append(reach, d.msg)
		}
	}
	others := func(m *message) {
		if s.filter == nil || s.filter(m.pb.Attributes) {
			reach = append(reach, m)
		}
	}
	for _, m := range s.topic.log.from(s.topic.retained) {
		if m.retained {
			others(m)
		}
	}
	if snap != nil {
		for _, m := range snap.messages {
			others(m)
		}
	}
	slices.SortFunc(reach, func(a, b *message) int { return cmp.Compare(a.offset, b.offset) })
	return slices.Compact(reach)
}
