package broker

import (
	"maps"
	"slices"
	"strings"
)

// Stats is what the broker holds and has done, for gauges and counters.
type Stats struct {
	Published     uint64 // messages accepted since New
	Faults        uint64 // calls befallen by injected faults, counted once for each fault
	Bytes         int64  // kept now, as counted against MaxBytes
	MaxBytes      int64
	Topics        []TopicStats        // by name
	Subscriptions []SubscriptionStats // by name
}

// TopicStats is one topic's share: messages that a subscription has not acked.
type TopicStats struct {
	Name     string
	Messages int
	Bytes    int64 // data, attributes and ordering keys
}

// SubscriptionStats is one subscription. Counters count deliveries, so a message may count several times.
type SubscriptionStats struct {
	Name             string
	Unacked          int   // messages not acked, outstanding ones included
	Outstanding      int   // delivered and under a lease
	OutstandingBytes int64 // data, attributes and ordering keys of those
	Delivered        uint64
	Redelivered      uint64 // of Delivered, those that were not the first of their message
	Acked            uint64
	Nacked           uint64
	Expired          uint64
	DeadLettered     uint64 // messages forwarded to the dead-letter topic
}

// Stats returns a reading; its parts are each consistent in themselves.
func (s *Server) Stats() Stats {
	st := Stats{Published: s.published.Load(), Faults: s.faults.hits.Load(), Bytes: s.used.Load(), MaxBytes: s.cfg.MaxBytes}
	s.mu.RLock()
	topics := slices.Collect(maps.Values(s.topics))
	subscriptions := slices.Collect(maps.Values(s.subscriptions))
	s.mu.RUnlock()
	for _, t := range topics {
		st.Topics = append(st.Topics, t.reading())
	}
	for _, sub := range subscriptions {
		st.Subscriptions = append(st.Subscriptions, sub.reading())
	}
	slices.SortFunc(st.Topics, func(a, b TopicStats) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(st.Subscriptions, func(a, b SubscriptionStats) int { return strings.Compare(a.Name, b.Name) })
	return st
}

func (t *topic) reading() TopicStats {
	t.mu.Lock()
	defer t.mu.Unlock()
	return TopicStats{Name: t.name, Messages: t.log.live, Bytes: t.bytes}
}

func (s *subscription) reading() SubscriptionStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.Name, st.Unacked = s.name, s.unacked
	st.Outstanding, st.OutstandingBytes = len(s.leases), s.outstandingBytes
	return st
}
