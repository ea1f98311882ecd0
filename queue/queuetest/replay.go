package queuetest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

func (f *fixture) seek(to time.Time) {
	f.Helper()
	_, err := f.sub.Seek(f.ctx, &pubsubpb.SeekRequest{Subscription: f.subscription, Target: &pubsubpb.SeekRequest_Time{Time: timestamppb.New(to)}})
	if err != nil {
		f.Fatalf("seek to %v: %v", to, err)
	}
}

func (f *fixture) seekTo(snapshot string) error {
	_, err := f.sub.Seek(f.ctx, &pubsubpb.SeekRequest{Subscription: f.subscription, Target: &pubsubpb.SeekRequest_Snapshot{Snapshot: snapshot}})
	return err
}

func retaining(pb *pubsubpb.Subscription) { pb.RetainAckedMessages = true }

// receiveTexts wants these messages next, in any order.
func (s *stream) receiveTexts(want ...string) []*pubsubpb.ReceivedMessage {
	s.f.Helper()
	received := s.receive(len(want))
	got := slices.Sorted(slices.Values(texts(received)))
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		s.f.Fatalf("messages (-want +got):\n%s", diff)
	}
	return received
}

// apart publishes n messages with distinct publish times, which servers stamp in milliseconds.
func (f *fixture) apart(n int) {
	f.Helper()
	for i := range n {
		f.publish(numbered(i, i+1, "")...)
		time.Sleep(20 * time.Millisecond)
	}
}

func seekTime(f *fixture) {
	f = f.subscribe("-retaining", retaining)
	f.apart(4)
	s := f.open(credit{})
	received := s.receiveTexts("0", "1", "2", "3")
	at := map[string]time.Time{}
	for _, r := range received {
		at[string(r.Message.Data)] = r.Message.PublishTime.AsTime()
	}
	f.ack(received...)
	f.seek(at["2"])
	held := s.receiveTexts("2", "3")
	f.seek(at["0"].Add(-time.Minute))
	again := s.receiveTexts("0", "1", "2", "3")
	f.ack(held...) // stale since the seek
	f.modack(0, again...)
	s.receiveTexts("0", "1", "2", "3")
	f.seek(at["3"])
	f.ack(s.receiveTexts("3")...)
	s.none(ackDeadline + 2*time.Second)
}

func seekFuture(f *fixture) {
	f.apart(3)
	f.seek(time.Now().Add(time.Hour))
	s := f.open(credit{})
	s.none(silence)
	f.publish(numbered(3, 4, "")...)
	f.ack(s.receiveTexts("3")...)
}

func seekOrdering(f *fixture) {
	ordered := f.subscribe("-retaining", func(pb *pubsubpb.Subscription) {
		pb.RetainAckedMessages, pb.EnableMessageOrdering = true, true
	})
	for n := range 3 {
		for _, key := range []string{"a", "b"} {
			f.publish(numbered(10*n, 10*n+10, key)...)
		}
	}
	s := ordered.open(credit{})
	received := s.receive(60)
	ordered.ack(received[:30]...)
	ordered.seek(received[0].Message.PublishTime.AsTime().Add(-time.Minute))
	got := map[string][]string{}
	again := s.receive(60)
	for _, r := range again {
		got[r.Message.OrderingKey] = append(got[r.Message.OrderingKey], string(r.Message.Data))
	}
	want := countTexts(0, 30)
	if diff := cmp.Diff(map[string][]string{"a": want, "b": want}, got); diff != "" {
		f.Errorf("messages by key after the seek (-want +got):\n%s", diff)
	}
	ordered.ack(again...)
	s.none(silence)
}

func countTexts(from, to int) (out []string) {
	for i := from; i < to; i++ {
		out = append(out, fmt.Sprint(i))
	}
	return out
}

func (f *fixture) snapshotName() string {
	return strings.Replace(f.subscription, "/subscriptions/", "/snapshots/", 1)
}

// snapshot takes one under the name of the subscription.
func (f *fixture) snapshot() *pubsubpb.Snapshot {
	f.Helper()
	snap, err := f.sub.CreateSnapshot(f.ctx, &pubsubpb.CreateSnapshotRequest{Name: f.snapshotName(), Subscription: f.subscription})
	if err != nil {
		f.Fatalf("create snapshot: %v", err)
	}
	return snap
}

func seekSnapshot(f *fixture) {
	other := f.subscribe("-other", nil)
	f.publish(numbered(0, 6, "")...)
	s, o := f.open(credit{}), other.open(credit{})
	received := s.receive(6)
	o.ack(o.receive(6)...)
	slices.SortFunc(received, func(a, b *pubsubpb.ReceivedMessage) int {
		return strings.Compare(string(a.Message.Data), string(b.Message.Data))
	})
	f.ack(received[:3]...)
	snap := f.snapshot()
	f.ack(received[3:]...)
	f.publish(numbered(6, 8, "")...)
	f.ack(s.receiveTexts("6", "7")...)
	other.ack(o.receiveTexts("6", "7")...)
	for range 2 {
		for _, to := range []struct {
			*fixture
			*stream
		}{{f, s}, {other, o}} {
			if err := to.fixture.seekTo(snap.Name); err != nil {
				f.Fatalf("seek to the snapshot: %v", err)
			}
			to.fixture.ack(to.receiveTexts("3", "4", "5", "6", "7")...)
		}
	}
	s.none(silence)
	o.none(silence)
}

func snapshots(f *fixture) {
	f.publish(numbered(0, 1, "")...)
	snap := f.snapshot()
	if life := time.Until(snap.ExpireTime.AsTime()); snap.Topic != f.topic || life < 7*24*time.Hour-time.Hour || life > 7*24*time.Hour+time.Minute {
		f.Errorf("snapshot %v that lives %v, want one of %s for about 7 days", snap, life, f.topic)
	}
	_, err := f.sub.CreateSnapshot(f.ctx, &pubsubpb.CreateSnapshotRequest{Name: snap.Name, Subscription: f.subscription})
	f.wantCode("a snapshot of the same name", err, codes.AlreadyExists)
	got, err := f.sub.GetSnapshot(f.ctx, &pubsubpb.GetSnapshotRequest{Snapshot: snap.Name})
	if err != nil || got.Name != snap.Name || !got.ExpireTime.AsTime().Equal(snap.ExpireTime.AsTime()) {
		f.Errorf("snapshot %v, %v; want %v", got, err, snap)
	}
	if of, err := f.pub.ListTopicSnapshots(f.ctx, &pubsubpb.ListTopicSnapshotsRequest{Topic: f.topic}); err != nil || !slices.Equal(of.Snapshots, []string{snap.Name}) {
		f.Errorf("snapshots of the topic %v, %v; want %s", of.GetSnapshots(), err, snap.Name)
	}
	all, err := f.sub.ListSnapshots(f.ctx, &pubsubpb.ListSnapshotsRequest{Project: f.project})
	if named := func(s *pubsubpb.Snapshot) bool { return s.Name == snap.Name }; err != nil || !slices.ContainsFunc(all.Snapshots, named) {
		f.Errorf("snapshots %v, %v; want %s among them", all.GetSnapshots(), err, snap.Name)
	}
	other := f.onTopic("-other", nil).subscribe("-other", nil)
	f.wantCode("seek to a snapshot of another topic", other.seekTo(snap.Name), codes.FailedPrecondition)
	if _, err := f.sub.DeleteSnapshot(f.ctx, &pubsubpb.DeleteSnapshotRequest{Snapshot: snap.Name}); err != nil {
		f.Error(err)
	}
	for name, call := range map[string]func() error{
		"GetSnapshot": func() error {
			_, err := f.sub.GetSnapshot(f.ctx, &pubsubpb.GetSnapshotRequest{Snapshot: snap.Name})
			return err
		},
		"DeleteSnapshot": func() error {
			_, err := f.sub.DeleteSnapshot(f.ctx, &pubsubpb.DeleteSnapshotRequest{Snapshot: snap.Name})
			return err
		},
		"Seek": func() error { return f.seekTo(snap.Name) },
	} {
		f.wantCode(name+" of what was deleted", call(), codes.NotFound)
	}
	_, err = f.sub.Seek(f.ctx, &pubsubpb.SeekRequest{Subscription: f.subscription})
	f.wantCode("seek to nothing", err, codes.InvalidArgument)
}

func labelSnapshot(f *fixture) {
	snap := f.snapshot()
	defer f.sub.DeleteSnapshot(f.ctx, &pubsubpb.DeleteSnapshotRequest{Snapshot: snap.Name})
	labels := map[string]string{"team": "a"}
	_, err := f.sub.UpdateSnapshot(f.ctx, &pubsubpb.UpdateSnapshotRequest{
		Snapshot:   &pubsubpb.Snapshot{Name: snap.Name, Labels: labels},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"labels"}},
	})
	if err != nil {
		f.Fatal(err)
	}
	got, err := f.sub.GetSnapshot(f.ctx, &pubsubpb.GetSnapshotRequest{Snapshot: snap.Name})
	if err != nil || got.Labels["team"] != "a" {
		f.Errorf("snapshot %v, %v; want labels %v", got, err, labels)
	}
	unnamed, err := f.sub.CreateSnapshot(f.ctx, &pubsubpb.CreateSnapshotRequest{Subscription: f.subscription})
	if err != nil || !strings.HasPrefix(unnamed.Name, f.project+"/snapshots/") {
		f.Fatalf("snapshot without a name: %v, %v; want a name from the server", unnamed, err)
	}
	if _, err := f.sub.DeleteSnapshot(f.ctx, &pubsubpb.DeleteSnapshotRequest{Snapshot: unnamed.Name}); err != nil {
		f.Error(err)
	}
}

// What a topic retains is within reach of any of its subscriptions, also of later ones.
func topicRetention(f *fixture) {
	f = f.onTopic("-retaining", func(pb *pubsubpb.Topic) { pb.MessageRetentionDuration = durationpb.New(time.Hour) })
	start := time.Now()
	early := f.subscribe("-early", nil)
	f.apart(3)
	e := early.open(credit{})
	early.ack(e.receiveTexts("0", "1", "2")...)
	late := f.subscribe("-late", nil)
	l := late.open(credit{})
	l.none(silence)
	late.seek(start.Add(-time.Minute))
	late.ack(l.receiveTexts("0", "1", "2")...)
	early.seek(start.Add(-time.Minute))
	early.ack(e.receiveTexts("0", "1", "2")...)
	e.none(silence)
}
