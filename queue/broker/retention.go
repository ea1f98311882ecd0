package broker

import (
	"container/heap"
	"time"
)

// Bounds of both kinds of retention, and a subscription's default, from
// https://cloud.google.com/pubsub/quotas#resource_limits.
const (
	minRetention     = 10 * time.Minute
	maxRetention     = 31 * 24 * time.Hour
	defaultRetention = 7 * 24 * time.Hour
)

// age is the time since publish.
func (m *message) age() time.Duration { return time.Since(m.pb.PublishTime.AsTime()) }

// retentionLocked is the longer of the subscription's and the topic's, as in the service.
func (s *subscription) retentionLocked() time.Duration {
	return max(s.pb.MessageRetentionDuration.AsDuration(), time.Duration(s.topic.retention.Load()))
}

// armPurgeLocked sets the timer to when the oldest message goes, if it is not set.
// An ack of the oldest leaves it: it then fires early once, and looks again.
func (s *subscription) armPurgeLocked() {
	if s.purging || s.closed {
		return
	}
	for _, d := range s.log.from(0) {
		s.purging = true
		wait := s.retentionLocked() - d.msg.age()
		if s.purger == nil {
			s.purger = time.AfterFunc(wait, s.purge)
		} else {
			s.purger.Reset(wait)
		}
		return
	}
}

// purge is the timer's function: it drops what is older than the retention, from the oldest on and in pieces.
func (s *subscription) purge() {
	s.mu.Lock()
	s.purging = false
	retention := s.retentionLocked()
	var freed []*message
	for _, d := range s.log.from(0) {
		if len(freed) >= expireAtOnce || d.msg.age() < retention {
			break
		}
		if d.state != forwarding { // that looks for itself whether it is still wanted
			freed = s.dropLocked(d, freed)
		}
	}
	s.trimQueuesLocked() // of a subscription that nobody pulls from
	s.armPurgeLocked()
	s.mu.Unlock()
	release(freed)
}

// repurge is for when the retention has changed.
func (s *subscription) repurge() {
	s.mu.Lock()
	if s.purger != nil {
		s.purger.Stop()
	}
	s.mu.Unlock()
	s.purge()
}

// dropLocked ends d in whatever state it is, as if its message had never come.
func (s *subscription) dropLocked(d *delivery, freed []*message) []*message {
	switch d.state {
	case leased:
		s.endLeaseLocked(d)
	case resting:
		heap.Remove(&s.heap, d.heapAt)
	}
	if d.state != done {
		s.unacked--
	}
	d.state = done
	if d.key != nil {
		freed = s.removeKeyedLocked(d, freed)
	}
	return s.forgetLocked(d, freed)
}

// doneLocked is for a delivery that was acked: it stays where acked messages are retained.
func (s *subscription) doneLocked(d *delivery, freed []*message) []*message {
	if s.pb.RetainAckedMessages {
		return freed
	}
	return s.forgetLocked(d, freed)
}

func (s *subscription) forgetLocked(d *delivery, freed []*message) []*message {
	s.log.drop(int64(d.seq))
	freed = append(freed, d.msg)
	d.msg = nil // d may stand in a queue for long
	return freed
}

// forgetAcked is for when acked messages are no longer retained.
func (s *subscription) forgetAcked() {
	var freed []*message
	s.mu.Lock()
	for _, d := range s.log.from(0) {
		if d.state == done && d.key == nil {
			freed = s.forgetLocked(d, freed)
		}
	}
	s.mu.Unlock()
	release(freed)
}

func (t *topic) retainLocked(messages []*message) {
	if t.retention.Load() == 0 {
		return
	}
	for _, m := range messages {
		m.refs.Add(1)
		m.retained = true
	}
	t.armPurgeLocked()
}

// setRetention makes the topic keep messages published from now on for d, 0 for
// not at all; those that it keeps already go by the new measure too.
func (t *topic) setRetention(d time.Duration) {
	t.mu.Lock()
	t.retention.Store(int64(d))
	if t.purger != nil {
		t.purger.Stop()
	}
	subscriptions := t.attachedLocked()
	t.mu.Unlock()
	t.purge()
	for _, sub := range subscriptions {
		sub.repurge()
	}
}

// armPurgeLocked sets the timer to when the oldest retained message goes, if it is not set.
func (t *topic) armPurgeLocked() {
	if t.purging {
		return
	}
	for at, m := range t.log.from(t.retained) {
		t.retained = at
		if !m.retained {
			continue
		}
		t.purging = true
		wait := time.Duration(t.retention.Load()) - m.age()
		if t.purger == nil {
			t.purger = time.AfterFunc(wait, t.purge)
		} else {
			t.purger.Reset(wait)
		}
		return
	}
}

// purge is the timer's function: the topic lets go what it has retained for long enough, in pieces.
func (t *topic) purge() {
	t.mu.Lock()
	t.purging = false
	retention := time.Duration(t.retention.Load())
	var freed []*message
	for at, m := range t.log.from(t.retained) {
		t.retained = at
		if len(freed) >= expireAtOnce || m.retained && m.age() < retention {
			break
		}
		if m.retained {
			m.retained = false
			freed = append(freed, m)
		}
	}
	t.armPurgeLocked()
	t.mu.Unlock()
	release(freed)
}
