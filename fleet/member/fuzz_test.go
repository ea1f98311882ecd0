package member

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"tailweir/fleet"
	"tailweir/fleet/facts"
	"tailweir/fleet/order"
	"tailweir/otlp"
)

// FuzzTake: whatever is in the log, and whenever it was published, is executed, ignored or counted; what cannot be read is
// logged.
func FuzzTake(f *testing.F) {
	id := order.ID{1}
	entry := order.Entry{ID: id, Worker: stranger, ClaimPublish: 1_000_000, Seq: 2, E: 5}
	for _, body := range []order.Body{
		{}, {Resign: true}, {Open: true}, {Members: []order.Member{}}, {Members: []order.Member{{Worker: stranger, Stream: 1 << 63}}},
		{Decide: []order.Decision{{Trace: [16]byte{1}, Keep: true, Reason: 7, Policy: 500, Threshold: 1}}},
		{Policy: &order.PolicyChange{Epoch: 1 << 63, Hash: 1, Config: []byte("policies: [")}, Limiters: []byte("x"), Away: 1 << 62},
	} {
		if entry.Body, entry.Seq = body, 2; body.Open {
			entry.Seq = 1
		}
		f.Add(order.Append(nil, entry), int64(2500))
	}
	f.Add(order.Append(nil, order.Claim{ID: order.ID{2}, Worker: stranger}), int64(20_000))
	f.Add(order.Append(nil, order.Probe{Worker: 1, Nonce: 1 << 63}), int64(-1))
	f.Add([]byte{}, int64(0))
	f.Add([]byte("{}"), int64(0))
	f.Fuzz(func(t *testing.T, data []byte, after int64) {
		log := &errorsLogged{}
		cfg := (&topics{}).config()
		cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
		m := still(cfg, &holding{})
		m.replica = order.New(cfg.Order, 0)
		m.candidate = order.NewCandidate(m.replica, time.Now(), 0)
		m.take(order.Append(nil, order.Claim{ID: id, Worker: stranger}), time.UnixMilli(1_000_000))
		open := order.Entry{ID: id, Worker: stranger, ClaimPublish: 1_000_000, Seq: 1, Body: order.Body{Open: true}}
		m.take(order.Append(nil, open), time.UnixMilli(1_002_100))
		if !m.reading.anchored || !m.reading.open || log.n > 0 {
			t.Fatal("the term of every case is not open")
		}
		m.take(data, time.UnixMilli(1_000_000+after%1e9))
		_, err := order.Parse(data)
		if read := m.stats.LogRead == 3; read != (err == nil) || err != nil && log.n != 1 {
			t.Errorf("the message is counted: %t, and logged as an error %d times; %v", read, log.n, err)
		}
		m.mayHold()
		m.State()
	})
}

// FuzzGather: whatever is on the facts topic is taken in, left to others, or acked and logged.
func FuzzGather(f *testing.F) {
	m := New((&topics{}).config())
	batch := facts.Batch{Fleet: m.fleet, Claim: order.ID{1}, Epoch: 1, Worker: [16]byte{5}, Stream: 1}
	f.Add(batch.Append(nil), int64(0))
	batch.Newest, batch.Lag, batch.Away, batch.Bye = -1<<63, -1<<63, 1<<62, true
	f.Add(batch.Append(nil), int64(-1))
	batch.Messages = []fleet.Facts{{Message: 1, Publish: 1 << 62, First: true, Again: true, Fragments: []fleet.Fragment{{Trace: otlp.TraceID{1}}}}}
	f.Add(batch.Append(nil), int64(1))
	batch.Claim, batch.Fleet = order.ID{2}, m.fleet
	f.Add(batch.Append(nil), int64(1000))
	batch.Fleet++
	f.Add(batch.Append(nil), int64(1000))
	f.Add([]byte{255}, int64(0))
	f.Add([]byte("{}"), int64(0))
	f.Fuzz(func(t *testing.T, data []byte, after int64) {
		log := &errorsLogged{}
		cfg := (&topics{}).config()
		cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
		m := still(cfg, &holding{})
		now := time.Now()
		l := leading(t, m, now.UnixMilli()-10_000)
		publish := now.Add(time.Duration(after % int64(time.Hour)))
		var b facts.Batch
		got := m.gather(l, &b, data, publish)
		err := new(facts.Batch).Parse(data)
		switch newer := errors.Is(err, facts.ErrNewer); {
		case err != nil && got == Ack && log.n == 1:
		case newer && got == Later && log.n == 0:
		case err == nil && b.Fleet != m.fleet && got == Ack && log.n == 1:
		case err == nil && b.Fleet == m.fleet && log.n == 0:
			if b.Claim == l.term.ID && b.Epoch == 1 && b.Stream > 0 && b.Seq == 0 && got != Ack {
				t.Error("a batch of this term is not acked")
			}
		default:
			t.Errorf("acked: %t, logged as an error %d times; %v", got == Ack, log.n, err)
		}
		m.body(now)
		m.State()
	})
}
