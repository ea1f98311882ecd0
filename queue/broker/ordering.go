package broker

import (
	"container/heap"
	"slices"
	"sort"
)

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
	rest   *delivery // nothing is sent before this, items[sent], is ready again; nil = nothing rests
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
	if k.queued || !k.waiting() {
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

// trimKeyLocked takes from the front of the key what is done, and returns freed
// with the messages that nothing needs any more.
func (s *subscription) trimKeyLocked(k *orderKey, freed []*message) []*message {
	n := 0
	for n < k.sent && k.items[n].state == done {
		k.items[n].key = nil
		freed = s.doneLocked(k.items[n], freed)
		k.items[n] = nil
		n++
	}
	k.items = k.items[n:]
	k.sent -= n
	s.settleKeyLocked(k)
	return freed
}

// removeKeyedLocked takes d, which is not leased, out of its key, so that no redelivery brings it again.
func (s *subscription) removeKeyedLocked(d *delivery, freed []*message) []*message {
	k := d.key
	d.key = nil
	at := k.find(d)
	if at == 0 { // always with expiry, which would be quadratic otherwise
		k.items[0] = nil
		k.items = k.items[1:]
	} else {
		k.items = slices.Delete(k.items, at, at+1)
	}
	if at < k.sent {
		k.sent--
	}
	if k.rest == d {
		k.rest = nil
	}
	return s.trimKeyLocked(k, freed)
}

func (k *orderKey) find(d *delivery) int {
	return sort.Search(len(k.items), func(i int) bool { return k.items[i].seq >= d.seq })
}

// waiting reports whether the key has something to send now.
func (k *orderKey) waiting() bool { return k.rest == nil && k.sent < len(k.items) }

// rewindKeyLocked takes d and all later messages of its key back; the caller says when d is ready.
func (s *subscription) rewindKeyLocked(d *delivery) {
	k := d.key
	if rest := k.rest; rest != nil { // of a later one
		k.rest = nil
		if rest.state == resting {
			heap.Remove(&s.heap, rest.heapAt)
			rest.state = ready
		}
	}
	at := k.find(d)
	for _, later := range k.items[at:k.sent] {
		if later.state == leased {
			s.endLeaseLocked(later)
		} else {
			s.unacked++
		}
		later.state = ready
	}
	k.sent = at
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
