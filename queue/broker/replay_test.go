package broker

import (
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
)

func (r *rig) seek(to time.Time) {
	r.Helper()
	_, err := r.api.Seek(r.Context(), &pubsubpb.SeekRequest{Subscription: testSubscription, Target: &pubsubpb.SeekRequest_Time{Time: timestamppb.New(to)}})
	if err != nil {
		r.Fatal(err)
	}
}

func (r *rig) snapshot() *pubsubpb.Snapshot {
	r.Helper()
	snap, err := r.api.CreateSnapshot(r.Context(), &pubsubpb.CreateSnapshotRequest{Subscription: testSubscription})
	if err != nil {
		r.Fatal(err)
	}
	return snap
}

func (r *rig) seekTo(snap *pubsubpb.Snapshot) {
	r.Helper()
	_, err := r.api.Seek(r.Context(), &pubsubpb.SeekRequest{Subscription: testSubscription, Target: &pubsubpb.SeekRequest_Snapshot{Snapshot: snap.Name}})
	if err != nil {
		r.Fatal(err)
	}
}

// pass lets virtual time pass, and the timers that are due then do their work.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// What is held twice, by the topic and by the subscription, comes once and in order.
func TestSeekJoinsWhatIsHeld(t *testing.T) {
	r := newRig(t, Config{}, func(pb *pubsubpb.Subscription) { pb.RetainAckedMessages = true })
	c := newConsumer(10 * time.Second)
	r.setTopicRetention(time.Hour)
	r.publish("", "0", "1", "2")
	held := r.take(c)
	r.ack(held[0], held[2])
	r.setTopicRetention(0)
	r.publish("", "3")
	r.setTopicRetention(time.Hour)
	r.publish("", "4")
	snap := r.snapshot()
	r.seek(time.Now().Add(time.Hour))
	r.wantTexts(r.take(c))
	r.seek(time.Time{})
	r.wantTexts(r.take(c), "0", "1", "2", "3", "4")
	r.seekTo(snap)
	r.wantTexts(r.take(c), "1", "3", "4")
}

// An acked message that is kept only for the order of its key is not within reach.
func TestSeekLeavesTheAcked(t *testing.T) {
	r := newRig(t, Config{}, ordered)
	c := newConsumer(10 * time.Second)
	r.publish("k", "0", "1", "2")
	r.ack(r.take(c)[1])
	r.seek(time.Time{})
	held := r.take(c)
	r.wantTexts(held, "0", "2")
	r.ack(held...)
	r.wantEmpty()
}

// After a seek old leases give their credit back and their ack ids do nothing.
func TestSeekEndsLeases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{}, ordered)
		c := newConsumer(10 * time.Second)
		c.maxMessages = 3
		r.publish("k", "0", "1")
		r.publish("", "2", "3")
		old := r.take(c)
		if len(old) != 3 {
			t.Fatalf("%d messages, want 3", len(old))
		}
		r.seek(time.Time{})
		<-c.wake
		held := r.take(c)
		if len(held) != 3 {
			t.Fatalf("%d messages after the seek, want 3", len(held))
		}
		r.ack(old...)
		r.modack(0, old...)
		if st := r.sub.reading(); st.Unacked != 4 || st.Outstanding != 3 || c.messages != 3 {
			t.Errorf("after stale acks: %+v, %d with the consumer", st, c.messages)
		}
		r.ack(held...)
		r.ack(r.take(c)...)
		r.wantEmpty()
		r.publish("k", "4")
		r.seek(time.Now().Add(time.Hour))
		r.wantEmpty()
		if len(r.sub.keys) != 0 || len(r.sub.leases) != 0 || r.sub.heap.Len() != 0 {
			t.Errorf("%d keys, %d leases after a purge", len(r.sub.keys), len(r.sub.leases))
		}
	})
}

func TestSeekWakesWhoWaits(t *testing.T) {
	r := newRig(t, Config{}, func(pb *pubsubpb.Subscription) { pb.RetainAckedMessages = true })
	c := newConsumer(10 * time.Second)
	r.publish("", "a")
	r.ack(r.take(c)...)
	r.wantTexts(r.take(c))
	r.seek(time.Time{})
	select {
	case <-c.wake:
		r.wantTexts(r.take(c), "a")
	default:
		t.Error("a seek that brings messages back woke nobody")
	}
}

func TestSnapshotKeepsItsMessagesUntilItExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{}, nil)
		c := newConsumer(600 * time.Second)
		r.publish("", "0", "1")
		held := r.take(c)
		r.ack(held[0])
		pass(24 * time.Hour)
		r.wantTexts(r.take(c), "1")
		snap := r.snapshot()
		if life := time.Until(snap.ExpireTime.AsTime()); life != 6*24*time.Hour {
			t.Errorf("a snapshot with a message of one day lives %v, want 6 days", life)
		}
		r.seek(time.Now().Add(time.Hour))
		pass(time.Hour)
		r.publish("", "2")
		r.ack(r.take(c)...)
		r.wantKept(2)
		for range 2 {
			r.seekTo(snap)
			held = r.take(c)
			r.wantTexts(held, "1", "2")
			r.ack(held...)
		}
		pass(6 * 24 * time.Hour)
		r.wantEmpty()
		if _, err := r.api.GetSnapshot(t.Context(), &pubsubpb.GetSnapshotRequest{Snapshot: snap.Name}); status.Code(err) != codes.NotFound {
			t.Errorf("snapshot after its time: %v, want NOT_FOUND", err)
		}
	})
}

func TestSnapshotOfAnOldBacklogIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{}, retained(31*24*time.Hour))
		r.publish("", "0")
		pass(7*24*time.Hour - 50*time.Minute)
		_, err := r.api.CreateSnapshot(t.Context(), &pubsubpb.CreateSnapshotRequest{Subscription: testSubscription})
		if status.Code(err) != codes.FailedPrecondition {
			t.Errorf("snapshot that would live 50 min: %v, want FAILED_PRECONDITION", err)
		}
	})
}

func TestSeekKeepsToTheFilter(t *testing.T) {
	r := newRig(t, Config{}, func(pb *pubsubpb.Subscription) { pb.Filter = `attributes:a` })
	r.setTopicRetention(time.Hour)
	r.publish("", "no")
	snap := r.snapshot()
	r.publish("", "no")
	c := newConsumer(10 * time.Second)
	r.seek(time.Time{})
	r.wantTexts(r.take(c))
	r.seekTo(snap)
	r.wantTexts(r.take(c))
}
