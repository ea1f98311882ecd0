package ledger

import (
	"fmt"
	"math/bits"
	"slices"
)

// Sent is what the load says of itself: the numbers 0..Traces-1 of the run were
// begun, and all their items were acknowledged, except for those listed.
type Sent struct {
	Run
	Traces     uint32   `json:"traces"`
	Logs       bool     `json:"logs"`       // log records were sent too
	Acked      int      `json:"acked"`      // spans acknowledged
	Incomplete []uint32 `json:"incomplete"` // traces with an item that was never acknowledged; ascending
	Delayed    []uint32 `json:"delayed"`    // traces that may have been decided before their deciding span came; ascending
	Ended      []int64  `json:"ended"`      // by trace: unix ms when its last span was sent; nil: not known
}

// Expect is what the pipeline was told to do.
type Expect struct {
	Percent  float64 `json:"percent"`   // of traces that are neither in error nor slow
	LogsWith bool    `json:"logs_with"` // logs share the fate of their trace; otherwise all are kept
}

// Proof is the result of the join. Lost, Split, Unexpected, Contradicted, Invented, Altered and LostRecords
// must be 0; everything else informs.
type Proof struct {
	Acked      int `json:"acked"`      // spans
	Traces     int `json:"traces"`     // begun
	MustKeep   int `json:"must_keep"`  // traces that had to arrive whole, and of which every item was acknowledged
	Lost       int `json:"lost"`       // of MustKeep: not one span arrived
	Split      int `json:"split"`      // some spans of a wholly acknowledged trace arrived, others not
	Unexpected int `json:"unexpected"` // traces that had to be dropped, but arrived
	// Contradicted are traces of which a log record says that they were kept, or dropped, and what became of them says otherwise.
	Contradicted int `json:"contradicted"`

	Invented int `json:"invented"` // items with ids that the load did not make
	Altered  int `json:"altered"`  // spans and log entries that arrived again with other bytes, or another id; see Counts
	// Uncounted are traces with a span whose threshold in the tracestate is not that with which the trace was kept, or that
	// has none, as from samplers that write none. Those in error or slow are kept with certainty, which has none.
	Uncounted int `json:"uncounted"`

	LostRecords int `json:"lost_records"` // log records that had to arrive, but did not

	DuplicateSpans   int `json:"duplicate_spans"`
	DuplicateRecords int `json:"duplicate_records"`
	KeptSpans        int `json:"kept_spans"` // arrived, without duplicates
	KeptRecords      int `json:"kept_records"`
	Excluded         int `json:"excluded"`    // traces not wholly acknowledged: their loss proves nothing
	KeptTraces       int `json:"kept_traces"` // arrived whole
	Late             int `json:"late"`        // the deciding span may have come after the decision: both verdicts are right
	Borderline       int `json:"borderline"`  // too near to the sampling threshold: both verdicts are right

	Latency Latency `json:"latency"`

	Examples []string `json:"examples,omitempty"` // trace ids of the first 10 faults
}

// Latency is from the moment a trace's last span was sent to that at which the trace was whole here, in ms, where the load
// said when it sent. Late traces do not count: their last span need not have waited for the window.
type Latency struct {
	Traces int   `json:"traces"`
	P50    int64 `json:"p50_ms"`
	P99    int64 `json:"p99_ms"`
	Max    int64 `json:"max_ms"`
}

// OK says whether the run proves that nothing was lost, torn or made up.
func (p Proof) OK() bool {
	return p.Lost == 0 && p.Split == 0 && p.Unexpected == 0 && p.Contradicted == 0 && p.Invented == 0 && p.Altered == 0 && p.LostRecords == 0
}

// String is the proof in one line, with the figures that depart from the ordinary.
func (p Proof) String() string {
	line := fmt.Sprintf("complete: %d acked spans, %d must-keep traces, %d lost, %d split, %d invented, %d unexpected, %d duplicate spans",
		p.Acked, p.MustKeep, p.Lost, p.Split, p.Invented, p.Unexpected, p.DuplicateSpans)
	for _, extra := range []struct {
		n    int
		what string
	}{
		{p.Contradicted, "traces contradicted by their log records"}, {p.Altered, "spans or entries altered"}, {p.Uncounted, "traces without their threshold"}, {p.KeptRecords, "kept log records"}, {p.LostRecords, "lost log records"}, {p.DuplicateRecords, "duplicate log records"},
		{p.Excluded, "traces not acknowledged"}, {p.Late, "traces late"}, {p.Borderline, "traces borderline"},
	} {
		if extra.n != 0 {
			line += fmt.Sprintf(", %d %s", extra.n, extra.what)
		}
	}
	if !p.OK() {
		return "in" + line
	}
	return line
}

// Prove joins what was sent with what arrived.
func (s *Seen) Prove(sent Sent, expect Expect) Proof {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := Proof{
		Acked: sent.Acked, Traces: int(sent.Traces), Invented: s.counts.Invented, Altered: s.counts.Altered,
		DuplicateSpans: s.counts.DuplicateSpans, DuplicateRecords: s.counts.DuplicateRecords,
		KeptSpans: s.counts.Spans, KeptRecords: s.counts.Records,
	}
	if s.any && s.run != sent.ID {
		p.Invented += s.counts.Spans + s.counts.Records
	}
	for n := range sent.Traces {
		s.judgeLocked(&p, sent, expect, sent.Plan(n).Identity)
	}
	for _, e := range s.at[min(int(sent.Traces), len(s.at)):] {
		if e.row != 0 {
			p.Invented++
		}
	}
	p.Latency = s.latencyLocked(sent)
	return p
}

func (s *Seen) judgeLocked(p *Proof, sent Sent, expect Expect, id Identity) {
	verdict := id.Verdict(expect.Percent)
	if verdict == Either {
		p.Borderline++
	}
	late := contains(sent.Delayed, id.Number)
	if late {
		p.Late++
		verdict = Either
	}
	spans, records := s.arrivedLocked(id)
	if spans > 0 && verdict == Drop {
		p.Unexpected++
		p.example("unexpected", id)
	}
	incomplete := contains(sent.Incomplete, id.Number)
	if spans > 0 && !s.at[id.Number].counted(id, expect.Percent, late || incomplete) {
		p.Uncounted++
	}
	if said := s.saidLocked(id); said&saidKept != 0 && spans == 0 || said&saidDropped != 0 && spans > 0 {
		p.Contradicted++
		p.example("contradicted", id)
	}
	if incomplete {
		p.Excluded++
		return
	}
	if verdict == Keep {
		p.MustKeep++
	}
	switch {
	case spans == 0 && verdict == Keep:
		p.Lost++
		p.example("lost", id)
	case spans == id.Spans:
		p.KeptTraces++
	case spans > 0:
		p.Split++
		p.example(fmt.Sprintf("split (%d of %d)", spans, id.Spans), id)
	}
	if sent.Logs && (!expect.LogsWith || spans > 0) {
		p.LostRecords += id.Records() - records
	}
}

func (p *Proof) example(what string, id Identity) {
	if len(p.Examples) < 10 {
		p.Examples = append(p.Examples, fmt.Sprintf("%s %x", what, id.TraceID()))
	}
}

func (s *Seen) latencyLocked(sent Sent) (l Latency) {
	var all []int64
	for n, e := range s.at[:min(len(s.at), len(sent.Ended))] {
		if e.whole != 0 && sent.Ended[n] != 0 && !contains(sent.Delayed, uint32(n)) {
			all = append(all, e.whole-sent.Ended[n])
		}
	}
	if l.Traces = len(all); l.Traces > 0 {
		slices.Sort(all)
		l.P50, l.P99, l.Max = all[len(all)/2], all[len(all)*99/100], all[len(all)-1]
	}
	return l
}

func contains(ascending []uint32, n uint32) bool {
	_, found := slices.BinarySearch(ascending, n)
	return found
}

func ones(bitmap []uint64) (n int) {
	for _, w := range bitmap {
		n += bits.OnesCount64(w)
	}
	return n
}
