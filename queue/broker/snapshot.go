package broker

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

const (
	// A snapshot lives this long, less the age of its oldest message.
	snapshotLife = 7 * 24 * time.Hour
	// One that would live shorter is refused.
	minSnapshotLife = time.Hour
)

// snapshot holds what was un-acked in a subscription when it was taken, and
// everything published since, in publish order.
type snapshot struct {
	topic    *topic
	pb       *pubsubpb.Snapshot // replaced, never changed; Server.mu guards it
	expiry   *time.Timer
	messages []*message // topic.mu guards it
}

// addLocked takes a reference of each message; the topic's lock is held.
func (snap *snapshot) addLocked(messages []*message) {
	for _, m := range messages {
		m.refs.Add(1)
	}
	snap.messages = append(snap.messages, messages...)
}

func (u subscriberService) CreateSnapshot(_ context.Context, req *pubsubpb.CreateSnapshotRequest) (*pubsubpb.Snapshot, error) {
	s := u.srv
	s.mu.Lock()
	defer s.mu.Unlock()
	sub := s.subscriptions[req.Subscription]
	if sub == nil {
		return nil, notFound("subscription", req.Subscription)
	}
	name := req.Name
	if name == "" {
		project, _, _ := strings.Cut(req.Subscription, "/subscriptions/")
		name = fmt.Sprintf("%s/snapshots/snapshot-%016x", project, rand.Uint64())
	}
	if err := checkName(snapshotName, "snapshot", name); err != nil {
		return nil, err
	}
	if s.snapshots[name] != nil {
		return nil, alreadyExists("snapshot", name)
	}
	snap := &snapshot{topic: sub.topic, pb: &pubsubpb.Snapshot{Name: name, Labels: req.Labels}}
	if err := sub.capture(snap); err != nil {
		return nil, err
	}
	s.snapshots[name] = snap
	snap.expiry = time.AfterFunc(time.Until(snap.pb.ExpireTime.AsTime()), func() { s.deleteSnapshot(name, snap) })
	return snap.pb, nil
}

// capture attaches the snapshot to the topic with what is un-acked now.
func (s *subscription) capture(snap *snapshot) error {
	s.topic.mu.Lock()
	defer s.topic.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return status.Errorf(codes.FailedPrecondition, "subscription %q is detached from its topic", s.name)
	}
	var unacked []*message
	for _, d := range s.log.from(0) {
		if d.state != done {
			unacked = append(unacked, d.msg)
		}
	}
	life := snapshotLife
	if len(unacked) > 0 {
		life -= unacked[0].age()
	}
	if life < minSnapshotLife {
		return status.Errorf(codes.FailedPrecondition, "snapshot of %s: the oldest message is %v old, so it would live %v, want at least %v", s.name, snapshotLife-life, life, minSnapshotLife)
	}
	snap.pb.Topic, snap.pb.ExpireTime = s.pb.Topic, timestamppb.New(time.Now().Add(life))
	snap.addLocked(unacked)
	s.topic.snapshots[snap.pb.Name] = snap
	return nil
}

func (s *Server) snapshotLocked(name string) (*snapshot, error) {
	if snap := s.snapshots[name]; snap != nil {
		return snap, nil
	}
	return nil, notFound("snapshot", name)
}

func (u subscriberService) GetSnapshot(_ context.Context, req *pubsubpb.GetSnapshotRequest) (*pubsubpb.Snapshot, error) {
	u.srv.mu.RLock()
	defer u.srv.mu.RUnlock()
	snap, err := u.srv.snapshotLocked(req.Snapshot)
	if err != nil {
		return nil, err
	}
	return snap.pb, nil
}

func (u subscriberService) ListSnapshots(_ context.Context, req *pubsubpb.ListSnapshotsRequest) (*pubsubpb.ListSnapshotsResponse, error) {
	u.srv.mu.RLock()
	defer u.srv.mu.RUnlock()
	names, next := page(u.srv.snapshots, req.Project+"/snapshots/", req.PageSize, req.PageToken)
	resp := &pubsubpb.ListSnapshotsResponse{NextPageToken: next}
	for _, name := range names {
		resp.Snapshots = append(resp.Snapshots, u.srv.snapshots[name].pb)
	}
	return resp, nil
}

func (p publisherService) ListTopicSnapshots(_ context.Context, req *pubsubpb.ListTopicSnapshotsRequest) (*pubsubpb.ListTopicSnapshotsResponse, error) {
	t, err := p.srv.topic(req.Topic)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	names, next := page(t.snapshots, "", req.PageSize, req.PageToken)
	return &pubsubpb.ListTopicSnapshotsResponse{Snapshots: names, NextPageToken: next}, nil
}

// UpdateSnapshot changes the labels.
func (u subscriberService) UpdateSnapshot(_ context.Context, req *pubsubpb.UpdateSnapshotRequest) (*pubsubpb.Snapshot, error) {
	u.srv.mu.Lock()
	defer u.srv.mu.Unlock()
	snap, err := u.srv.snapshotLocked(req.GetSnapshot().GetName())
	if err != nil {
		return nil, err
	}
	paths := req.GetUpdateMask().GetPaths()
	if len(paths) == 0 {
		return nil, invalid("update of %s: the update mask is empty", snap.pb.Name)
	}
	for _, path := range paths {
		if path != "labels" {
			return nil, unimplemented("an update of " + path)
		}
	}
	pb := proto.Clone(snap.pb).(*pubsubpb.Snapshot)
	pb.Labels = req.Snapshot.Labels
	snap.pb = pb
	return pb, nil
}

func (u subscriberService) DeleteSnapshot(_ context.Context, req *pubsubpb.DeleteSnapshotRequest) (*emptypb.Empty, error) {
	u.srv.mu.RLock()
	snap, err := u.srv.snapshotLocked(req.Snapshot)
	u.srv.mu.RUnlock()
	if err != nil {
		return nil, err
	}
	snap.expiry.Stop()
	u.srv.deleteSnapshot(req.Snapshot, snap)
	return &emptypb.Empty{}, nil
}

// deleteSnapshot does nothing when the snapshot is gone already.
func (s *Server) deleteSnapshot(name string, snap *snapshot) {
	s.mu.Lock()
	if s.snapshots[name] == snap {
		delete(s.snapshots, name)
	}
	t := snap.topic
	t.mu.Lock()
	if t.snapshots[name] == snap {
		delete(t.snapshots, name)
	}
	freed := snap.messages
	snap.messages = nil
	t.mu.Unlock()
	s.mu.Unlock()
	release(freed)
}
