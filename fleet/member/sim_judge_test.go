package member_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"time"

	"tailweir/buffer"
	"tailweir/fleet/facts"
	"tailweir/fleet/order"
	"tailweir/otlp"
)

// judge sees everything that reaches the topics and the backend, and knows the rules. The world's mutex guards it.
type judge struct {
	w        *world
	names    map[string]*worker // by the name that others see
	replica  *order.Replica     // reads each entry as the topic takes it in: nobody accepts one earlier
	verdicts map[otlp.TraceID]*verdict
	terms    map[order.ID]*termRun
	flows    map[order.ID]map[order.Worker]*flow
	built    map[batchName]time.Time
	spans    map[spanKey]*spanRun
	faults   []string
	more     int

	opens, differ int        // terms opened; traces decided again in the other way
	cleared       int        // spans exported without the parent they came with
	active        order.Hash // the policy set
	fleet         uint64     // as batches name it
}

// verdict is the first accepted decision on a trace.
type verdict struct {
	keep   bool
	reason buffer.Reason
	by     uint16 // number of the policy that said so
	first  uint32
	at     time.Time
	term   order.ID
	seq    uint64
	number int        // of all verdicts, in the log's order
	policy order.Hash // of the set
	basis
}

// basis is what a leader knew when it made an entry.
type basis struct {
	reached buffer.Stamp            // the least that the members had said of event time
	slowest string                  // who said it
	known   map[order.Worker][]told // what each had received before, stream by stream, in whose batches there was no hole
}

type spanRun struct {
	copies    int
	confirmed bool
}

type batchName struct {
	worker      order.Worker
	stream, seq uint64
}

// told is when a worker made the first batch of a stream, and the last, that a leader has taken without a hole: what the worker
// had in between, the leader knows. The first is zero until a batch has an event time: until all is said that was held then.
type told struct{ first, last time.Time }

// flow is what a leader has taken from a worker.
type flow struct {
	stream, next uint64
	newest       buffer.Stamp
	ahead        map[uint64]buffer.Stamp
	told         []told // by stream
}

func newJudge(w *world) *judge {
	return &judge{
		w: w, names: map[string]*worker{}, verdicts: map[otlp.TraceID]*verdict{}, terms: map[order.ID]*termRun{},
		flows: map[order.ID]map[order.Worker]*flow{}, built: map[batchName]time.Time{}, spans: map[spanKey]*spanRun{},
		replica: order.New(order.Config{}, w.begin.Add(-time.Hour).UnixMilli()),
	}
}

func (j *judge) nameOf(n order.Worker) string {
	if k := j.names[fmt.Sprintf("%016x", uint64(n))]; k != nil {
		return k.name
	}
	return "nobody"
}

// orderName is k's name in the log.
func (j *judge) orderName(k *worker) order.Worker {
	n, _ := strconv.ParseUint(k.m.Name(), 16, 64)
	return order.Worker(n)
}

func (j *judge) fault(format string, args ...any) {
	if len(j.faults) >= 12 {
		j.more++
		return
	}
	text := fmt.Sprintf(format, args...)
	j.w.note("FAULT: %s", text)
	j.faults = append(j.faults, fmt.Sprintf("%.3fs: %s", j.w.now().Seconds(), text))
}

// termRun is what a leader has published under one claim.
type termRun struct {
	k       *worker
	seq     uint64
	data    []byte
	sent    time.Time // first
	replied bool
	reply   time.Time
	resign  bool
	basis   map[uint64]basis // by entry
}

// slow is after which time a leader has stepped down, with the step of its clock.
const slow = 4*time.Second + 200*time.Millisecond

// send judges what k is about to publish on the log, and returns what it publishes in truth: with tossed verdicts, where
// the scenario says so.
func (j *judge) send(k *worker, data []byte) []byte {
	msg, err := order.Parse(data)
	if err != nil {
		j.fault("%s publishes what cannot be parsed: %v", k.name, err)
		return data
	}
	switch e := msg.(type) {
	case order.Claim:
		j.w.note("%s claims %.4x", k.name, e.ID)
		if j.w.setup.claim != nil {
			j.w.setup.claim(k)
		}
	case order.Entry:
		if !k.dead {
			j.entry(k, e, data)
		}
		if j.w.setup.coin && len(e.Body.Decide) > 0 {
			return order.Append(nil, j.toss(e))
		}
	}
	return data
}

// entry is the fleet's rule 10, seen from outside.
func (j *judge) entry(k *worker, e order.Entry, data []byte) {
	t := j.terms[e.ID]
	if t == nil {
		t = &termRun{k: k, replied: true, basis: map[uint64]basis{}}
		j.terms[e.ID] = t
	}
	now := time.Now()
	switch {
	case t.k != k:
		j.fault("%s publishes in the term of %s", k.name, t.k.name)
	case e.Seq == t.seq && !bytes.Equal(data, t.data):
		j.fault("%s: entry %d again, with other bytes", k.name, e.Seq)
	case e.Seq == t.seq && now.Sub(t.sent) > slow && !t.replied:
		j.fault("%s: entry %d again, %s after the first time", k.name, e.Seq, now.Sub(t.sent))
	case e.Seq == t.seq:
	case e.Seq != t.seq+1:
		j.fault("%s: entry %d after %d", k.name, e.Seq, t.seq)
	case !t.replied:
		j.fault("%s: entry %d before the reply to %d", k.name, e.Seq, t.seq)
	case t.resign:
		j.fault("%s: entry %d after it has resigned", k.name, e.Seq)
	case t.seq > 0 && now.Sub(t.reply) > slow:
		j.fault("%s: entry %d, %s after the reply before", k.name, e.Seq, now.Sub(t.reply))
	case t.seq == 1 && e.Cert.Seq == 0:
		j.fault("%s: entry 2 before the open was accepted", k.name)
	}
	if e.Seq > t.seq {
		t.basis[e.Seq] = j.basisOf(e)
		t.seq, t.data, t.sent, t.replied, t.resign = e.Seq, data, now, false, e.Body.Resign
	}
}

func (j *judge) basisOf(e order.Entry) (b basis) {
	b.known = map[order.Worker][]told{}
	for worker, f := range j.flows[e.ID] {
		b.known[worker] = slices.Clone(f.told)
	}
	members := e.Body.Members
	if status, _ := j.replica.Status(); members == nil {
		members = status.Members
	}
	for i, m := range members {
		var newest buffer.Stamp
		if f := j.flows[e.ID][m.Worker]; f != nil {
			newest = f.newest
		}
		if i == 0 || newest < b.reached {
			b.reached, b.slowest = newest, fmt.Sprintf("%s of %d", j.nameOf(m.Worker), len(members))
		}
	}
	return b
}

// replied says that k has got a reply to a publish.
func (j *judge) replied(_ *worker, data []byte) {
	msg, _ := order.Parse(data)
	if e, ok := msg.(order.Entry); ok {
		if t := j.terms[e.ID]; t != nil && t.seq == e.Seq && !t.replied {
			t.replied, t.reply = true, time.Now()
		}
	}
}

// toss replaces the verdicts of e by a coin's, one toss for each trace and term: a trace that is decided twice is torn.
func (j *judge) toss(e order.Entry) order.Entry {
	decide := make([]order.Decision, len(e.Body.Decide))
	for i, d := range e.Body.Decide {
		keep := j.w.die("coin", string(d.Trace[:]), string(e.ID[:])).Float64() < 0.5
		decide[i] = order.Decision{Trace: d.Trace, Keep: keep, Reason: d.Reason}
	}
	e.Body.Decide = decide
	return e
}

// read takes in what the topic has taken in.
func (j *judge) read(x logEntry) {
	msg, err := order.Parse(x.data)
	if err != nil {
		return
	}
	for _, effect := range j.replica.Read(msg, x.publish.UnixMilli(), order.Sum(x.data)) {
		switch effect := effect.(type) {
		case order.NewLeader:
			j.w.note("term %.4x of %s", effect.Term.ID, x.publisher)
		case order.Anomaly:
			j.fault("the log itself has an anomaly: %s", effect.Kind)
		case order.Accepted:
			j.accept(effect.Entry)
		}
	}
}

func (j *judge) accept(e order.Entry) {
	if e.Body.Open {
		j.opens++
		j.w.note("term %.4x is open", e.ID)
	}
	policy := j.active // a change counts for the entries after it
	if e.Body.Policy != nil {
		j.active = e.Body.Policy.Hash
	}
	if e.Body.Policy != nil && policy != j.active {
		j.w.note("policy %x, epoch %d", uint64(e.Body.Policy.Hash), e.Body.Policy.Epoch)
	}
	if e.Body.Resign {
		j.w.note("term %.4x resigns", e.ID)
	}
	if len(e.Body.Decide) == 0 {
		return
	}
	basis := j.terms[e.ID].basis[e.Seq]
	for _, d := range e.Body.Decide {
		id := otlp.TraceID(d.Trace)
		if v := j.verdicts[id]; v != nil {
			if v.keep != d.Keep {
				j.differ++
			}
			continue
		}
		j.verdicts[id] = &verdict{d.Keep, buffer.Reason(d.Reason), d.Policy, d.First, time.Now(), e.ID, e.Seq, len(j.verdicts), policy, basis}
	}
}

// batch notes when a batch of facts was made.
func (j *judge) batch(data []byte) {
	var b facts.Batch
	if err := b.Parse(data); err != nil {
		j.fault("a batch of facts cannot be parsed: %v", err)
		return
	}
	j.fleet = b.Fleet
	j.built[batchName{workerOf(b.Worker), b.Stream, b.Seq}] = time.Now()
}

func workerOf(b [16]byte) order.Worker { return order.Worker(binary.BigEndian.Uint64(b[:])) }

// took says that k has acked a batch of facts.
func (j *judge) took(k *worker, data []byte) {
	var b facts.Batch
	if b.Parse(data) != nil {
		return
	}
	id, worker := order.ID(b.Claim), workerOf(b.Worker)
	t, status := j.terms[id], order.Status{}
	status, _ = j.replica.Status()
	switch {
	case status.Term.ID == id && j.names[fmt.Sprintf("%016x", uint64(status.Term.Worker))] != k:
		j.fault("%s acks facts that are for the leader", k.name)
	case t != nil && t.k != k:
		return // of a term that is over
	case t != nil && t.seq < 2 && !status.Open:
		j.fault("%s acks facts before its open is accepted", k.name)
	}
	if j.flows[id] == nil {
		j.flows[id] = map[order.Worker]*flow{}
	}
	f := j.flows[id][worker]
	if f == nil {
		f = &flow{}
		j.flows[id][worker] = f
	}
	switch {
	case b.Stream < f.stream:
		return
	case b.Stream > f.stream:
		f.stream, f.next, f.newest, f.ahead = b.Stream, 0, 0, map[uint64]buffer.Stamp{}
		f.told = append(f.told, told{})
	}
	f.ahead[b.Seq] = b.Newest
	for newest, ok := f.ahead[f.next]; ok; newest, ok = f.ahead[f.next] {
		f.newest = newest
		t := &f.told[len(f.told)-1]
		t.last = later(t.last, j.built[batchName{worker, f.stream, f.next}])
		if t.first.IsZero() && f.newest > 0 { // before, it has not said all that it held when it began
			t.first = j.built[batchName{worker, f.stream, 0}]
		}
		f.next++
	}
}
