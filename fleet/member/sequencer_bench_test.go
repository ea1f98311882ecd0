package member

import (
	"encoding/binary"
	"iter"
	"testing"
	"time"

	"tailweir/buffer"
	"tailweir/fleet"
	"tailweir/fleet/facts"
	"tailweir/fleet/order"
	"tailweir/otlp"
	"tailweir/sampler"
)

// nobody is a holder of nothing that remembers decisions.
type nobody struct{ history *sampler.History }

func (n nobody) Apply(all []fleet.Decision) {
	for i := range all {
		n.history.Put(all[i].Trace, all[i].Decision)
	}
}
func (n nobody) Decided(id otlp.TraceID) (sampler.Decision, bool) { return n.history.Get(id) }
func (nobody) Held() iter.Seq[fleet.Facts]                        { return func(func(fleet.Facts) bool) {} }
func (nobody) Use(*sampler.Policies)                              {}
func (nobody) Busy() bool                                         { return false }
func (nobody) Back() time.Time                                    { return time.Time{} }
func (nobody) Resume()                                            {}
func (nobody) Fence()                                             {}

// BenchmarkSequencer is what a fragment costs the leader: its share of a batch decoded, gathered, decided, said and taken
// for decided. Five fragments make a trace; 25,000 traces are open at a time, as at 10,000 fragments a second; eight
// workers send.
func BenchmarkSequencer(b *testing.B) {
	const workers, messages, fragments = 8, 20, 100
	h := nobody{sampler.NewHistory(200_000)}
	m := New(Config{Policies: sampler.Default()})
	m.holder, m.policy = h, newPolicy(1, sampler.Default().Hash(), sampler.Default(), nil)
	m.replica = order.New(m.cfg.Order, 0)
	claim := order.ID{1}
	m.replica.Read(order.Claim{ID: claim, Worker: 9}, 100_000, 1)
	m.replica.Read(order.Entry{ID: claim, Worker: 9, ClaimPublish: 100_000, Seq: 1, Body: order.Body{Open: true}}, 102_100, 2)
	o, err := order.Lead(m.replica, claim)
	if err != nil {
		b.Fatal(err)
	}
	l := &lead{order: o, term: o.Term(), ctx: b.Context(), opened: true, seats: map[[16]byte]*seat{}, inbox: facts.NewInbox(m.fleet, claim, 1)}
	m.newSequencer(l)
	m.lead = l
	batches := make([][]byte, 0, b.N/(messages*fragments)+1)
	for i := 0; i*messages*fragments < b.N; i++ {
		batches = append(batches, batchOf(m.fleet, claim, i, workers, messages, fragments))
	}
	var batch facts.Batch
	now, decided := time.Now(), 0
	b.ReportAllocs()
	b.ResetTimer()
	for _, data := range batches {
		if m.gather(l, &batch, data, now) != Ack {
			b.Fatal("a batch was not taken")
		}
		if mark, known := l.watermark(0); known {
			l.seq.Advance(mark)
		}
		all := l.seq.Take(perEntry)
		decided += len(encode(all, m.policy.names))
		h.Apply(all)
		l.seq.Confirm(all, time.Now())
	}
	b.ReportMetric(float64(decided)/float64(b.N), "decided/op")
}

// batchOf is the i-th batch of all workers': its fragments are of traces that go on over five messages.
func batchOf(fleetHash uint64, claim order.ID, i, workers, messages, fragments int) []byte {
	b := facts.Batch{
		Fleet: fleetHash, Claim: claim, Epoch: 1, Worker: factsName(order.Worker(i%workers + 1)), Stream: 1, Seq: uint64(i / workers),
		Report: facts.Report{Newest: buffer.Stamp(200_000 + i*200)},
	}
	for j := range messages {
		n := i*messages + j
		f := fleet.Facts{Message: uint64(n) * 0x9e3779b97f4a7c15, Publish: buffer.Stamp(200_000 + i*200), First: true}
		for k := range fragments {
			var id otlp.TraceID
			binary.BigEndian.PutUint64(id[:], uint64(n/5*fragments+k)*0x9e3779b97f4a7c15)
			binary.BigEndian.PutUint64(id[8:], uint64(n/5*fragments+k)*0xbf58476d1ce4e5b9)
			f.Fragments = append(f.Fragments, fleet.Fragment{Trace: id, Facts: sampler.Facts{Spans: 5, Bytes: 2500, Start: 1, End: 1000, Root: n%5 == 4}})
		}
		b.Messages = append(b.Messages, f)
	}
	return b.Append(nil)
}
