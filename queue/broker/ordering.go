package broker

import "sort"

// orderKey is the messages of one ordering key in publish order:
// items[:sent] were delivered, each leased or acked, items[sent:] wait. The
// acked ones at the front are dropped at once, those behind an un-acked one
// stay, because its redelivery brings them again.
type orderKey struct {
	name   string
	items  []*delivery
	sent   int
	leased int
	owner  *consumer // gets all messages of the key while any is leased; may be closed
	queued bool      // stands in a queue of keys to deliver
}

func (s *subscription) addKeyedLocked(d *delivery) {
	name := d.msg.pb.OrderingKey
	k := s.keys[name]
	if k == nil {
		k = &orderKey{name: name}
		s.keys[name] = k
	}
	d.key = k
	k.items = append(k.items, d)
	s.offerKeyLocked(k)
}

// offerKeyLocked queues a key that has messages waiting, with its owner or, without one, for all.
// A queue may hold a key that has changed hands since; take skips it.
func (s *subscription) offerKeyLocked(k *orderKey) {
	if k.queued || k.sent == len(k.items) {
		return
	}
	k.queued = true
	if k.owner != nil {
		k.owner.keys.push(k)
		k.owner.nudge()
		return
	}
	s.freeKeys.push(k)
	s.wakeLocked()
}

// ackKeyedLocked returns freed with the messages that nothing needs any more.
func (s *subscription) ackKeyedLocked(d *delivery, freed []*message) []*message {
	k := d.key
	d.state = acked
	n := 0
	for n < k.sent && k.items[n].state == acked {
		freed = append(freed, k.items[n].msg)
		k.items[n] = nil
		n++
	}
	k.items = k.items[n:]
	k.sent -= n
	s.settleKeyLocked(k)
	return freed
}

// rewindKeyLocked makes d and all later messages of its key deliverable again.
func (s *subscription) rewindKeyLocked(d *delivery) {
	k := d.key
	at := sort.Search(k.sent, func(i int) bool { return k.items[i].seq >= d.seq })
	for _, later := range k.items[at:k.sent] {
		if later.state == leased {
			s.endLeaseLocked(later)
		} else {
			s.unacked++
		}
		later.state = ready
	}
	k.sent = at
	s.settleKeyLocked(k)
}

// settleKeyLocked lets the key go when nothing of it is outstanding.
func (s *subscription) settleKeyLocked(k *orderKey) {
	if k.leased == 0 {
		if k.owner != nil {
			k.owner, k.queued = nil, false
		}
		if len(k.items) == 0 {
			delete(s.keys, k.name)
			return
		}
	}
	s.offerKeyLocked(k)
}
