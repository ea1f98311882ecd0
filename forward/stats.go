package forward

// Stats is what a Forwarder counted since it was made. Received = Forwarded + DeadLettered + Returned + InFlight at all times, in
// messages and in points; a message that is delivered again is received again.
type Stats struct {
	Received     Count
	Forwarded    Count // confirmed by every exporter that is required
	DeadLettered Count
	Returned     Count // given back to Pub/Sub
	InFlight     Count

	Rejected        int64 // points of what was forwarded that a backend rejected by partial success, without naming them
	Bytes, MaxBytes int64 // memory charged for what is held, and its bound
}

// Count counts messages, and the data points in them; of one that cannot be read nobody knows any.
type Count struct{ Messages, Points int64 }

func (c *Count) add(m *message) {
	c.Messages++
	c.Points += int64(m.points)
}

func (c *Count) remove(m *message) {
	c.Messages--
	c.Points -= int64(m.points)
}

// Stats returns the counters, consistent among each other.
func (f *Forwarder) Stats() Stats {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stats
}

// settle ends the holding of a message: as is the only place where a receipt is used.
func (f *Forwarder) settle(m *message, outcome *Count, as func(Receipt)) {
	as(m.Receipt)
	f.room.Release(m.charge)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stats.Bytes -= m.charge
	f.stats.InFlight.remove(m)
	outcome.add(m)
	f.settled.Broadcast()
}

func (f *Forwarder) giveBack(batch []*message) {
	for _, m := range batch {
		f.settle(m, &f.stats.Returned, Receipt.Nack)
	}
}
