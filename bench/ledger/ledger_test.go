package ledger

import (
	"encoding/binary"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestIdentityRoundTrip(t *testing.T) {
	for _, want := range []Identity{
		{Spans: 1},
		{Run: 65535, Number: math.MaxUint32, Spans: MaxSpans, Error: true, Slow: true},
		{Run: 1, Number: 77, Spans: 19, Slow: true},
	} {
		b := want.TraceID()
		if got, ok := ParseTraceID(b[:]); !ok || got != want {
			t.Errorf("trace id of %+v reads %+v, %v", want, got, ok)
		}
		for i := range want.Spans {
			if got, ok := ParseSpanID(want.High(), wireSpan(want, i)); !ok || got != i {
				t.Fatalf("span %d of %+v reads %d, %v", i, want, got, ok)
			}
		}
	}
}

func TestEveryFlippedBitIsNoticed(t *testing.T) {
	id := Identity{Run: 3, Number: 12345, Spans: 19, Error: true}
	trace, span := id.TraceID(), wireSpan(id, 5)
	for bit := range 128 {
		b := trace
		b[bit/8] ^= 1 << (bit % 8)
		if got, ok := ParseTraceID(b[:]); ok {
			t.Errorf("trace id with bit %d flipped reads %+v", bit, got)
		}
	}
	for bit := range 64 {
		span[bit/8] ^= 1 << (bit % 8)
		if got, ok := ParseSpanID(id.High(), span); ok {
			t.Errorf("span id with bit %d flipped reads %d", bit, got)
		}
		span[bit/8] ^= 1 << (bit % 8)
	}
	if _, ok := ParseSpanID(id.High(), wireSpan(id, 19)); ok {
		t.Error("span 19 of 19 is accepted")
	}
}

func TestRandomnessIsUniform(t *testing.T) {
	const n, bins = 100_000, 64
	var counts [bins]int
	run := Run{ID: 1, Seed: 1}
	for i := range uint32(n) {
		counts[Low(run.Plan(i).High())<<8>>58]++
	}
	var chi2 float64
	for _, c := range counts {
		d := float64(c) - n/bins
		chi2 += d * d / (n / bins)
	}
	if chi2 > 130 { // 63 degrees of freedom: once in 1e6 seeds
		t.Errorf("chi² of the upper bits of the randomness is %.0f, want about 63", chi2)
	}
}

func TestVerdict(t *testing.T) {
	var kept, borderline int
	const n = 100_000
	run := Run{ID: 1, Seed: 1}
	for i := range uint32(n) {
		id := run.Plan(i).Identity
		id.Error, id.Slow = false, false
		switch id.Verdict(10) {
		case Keep:
			kept++
		case Either:
			borderline++
		}
	}
	if share := float64(kept) / n; math.Abs(share-0.1) > 0.005 {
		t.Errorf("10 %% keeps %.4f", share)
	}
	if borderline > 30 {
		t.Errorf("%d of %d traces are borderline, want about 6", borderline, n)
	}
	for _, id := range []Identity{{Spans: 1, Error: true}, {Spans: 1, Slow: true}} {
		if got := id.Verdict(0); got != Keep {
			t.Errorf("verdict on %+v is %v, want Keep", id, got)
		}
	}
	if got := (Identity{Spans: 1}).Verdict(0); got != Drop {
		t.Errorf("0 %% gives %v, want Drop", got)
	}
}

func wireSpan(id Identity, i int) []byte {
	return binary.BigEndian.AppendUint64(nil, SpanID(id.High(), i))
}

// stateOf is the tracestate of a trace that was kept as it had to be, at 10 %.
func stateOf(id Identity) []byte {
	if id.Error || id.Slow {
		return nil
	}
	return []byte("ot=th:e666")
}

// deliver adds spans [from, to) of a trace, and their log records if asked.
func deliver(s *Seen, id Identity, from, to int, logs bool) {
	trace := id.TraceID()
	for i := from; i < to; i++ {
		s.AddSpan(trace[:], wireSpan(id, i), wireSpan(id, i), stateOf(id))
		if logs && HasRecord(id.High(), i) {
			s.AddRecord(trace[:], wireSpan(id, i), nil)
		}
	}
}

// sent is a run of 2000 traces that were all acknowledged.
func sent() Sent { return Sent{Run: Run{ID: 1, Seed: 1}, Traces: 2000, Acked: 38000} }

// find is the first trace, from number n on, with the verdict and at least two spans.
func find(s Sent, n uint32, want Verdict) Identity {
	for ; ; n++ {
		if id := s.Plan(n).Identity; id.Verdict(10) == want && id.Spans > 1 {
			return id
		}
	}
}

// A record is one entry, under one id that no other has, with one content.
func TestEntries(t *testing.T) {
	id := find(sent(), 100, Keep)
	trace := id.TraceID()
	var with []int // spans that have a record
	for i := range id.Spans {
		if HasRecord(id.High(), i) {
			with = append(with, i)
		}
	}
	s := new(Seen)
	for _, tt := range []struct {
		name        string
		record      int
		id, content string
		altered     int // afterwards
	}{
		{"first", 0, "a", "x", 0},
		{"again", 0, "a", "x", 0},
		{"another", 1, "b", "x", 0},
		{"other content", 0, "a", "y", 1},
		{"that again", 0, "a", "y", 1},
		{"other id", 1, "c", "x", 2},
		{"id of another", 1, "a", "x", 3},
	} {
		s.AddEntry(trace[:], wireSpan(id, with[tt.record]), []byte(tt.id), []byte(tt.content), true)
		if got := s.Counts(); got.Altered != tt.altered || got.Invented != 0 {
			t.Errorf("%s: %+v, want %d altered", tt.name, got, tt.altered)
		}
	}
	s.AddEntry(trace[:], make([]byte, 8), []byte("d"), nil, true)
	if got := s.Counts(); got.Records != 2 || got.Invented != 1 {
		t.Errorf("%+v, want 2 records and 1 invented", got)
	}
}

func TestProve(t *testing.T) {
	s := sent()
	keep, drop := find(s, 100, Keep), find(s, 100, Drop)
	for _, tt := range []struct {
		name  string
		alter func(seen *Seen, s *Sent)
		skip  bool // keep does not arrive with the others
		want  func(p *Proof)
	}{
		{name: "whole"},
		{name: "lost", skip: true, want: func(p *Proof) { p.Lost = 1 }},
		{name: "split", skip: true, alter: func(seen *Seen, _ *Sent) { deliver(seen, keep, 1, keep.Spans, false) },
			want: func(p *Proof) { p.Split = 1 }},
		{name: "duplicate", alter: func(seen *Seen, _ *Sent) { deliver(seen, keep, 0, 2, false) },
			want: func(p *Proof) { p.DuplicateSpans = 2 }},
		{name: "altered", alter: func(seen *Seen, _ *Sent) {
			trace := keep.TraceID()
			seen.AddSpan(trace[:], wireSpan(keep, 0), []byte("other bytes"), stateOf(keep))
		}, want: func(p *Proof) { p.DuplicateSpans, p.Altered = 1, 1 }},
		{name: "a part of one that had to be dropped", alter: func(seen *Seen, _ *Sent) { deliver(seen, drop, 0, 1, false) },
			want: func(p *Proof) { p.Unexpected, p.Uncounted, p.Split = 1, 1, 1 }},
		{name: "kept, its records say", alter: func(seen *Seen, _ *Sent) { say(seen, keep, true) }},
		{name: "dropped, its records say", alter: func(seen *Seen, _ *Sent) { say(seen, drop, false) }},
		{name: "kept, one of its records says not", alter: func(seen *Seen, _ *Sent) { say(seen, keep, true, false) },
			want: func(p *Proof) { p.Contradicted = 1 }},
		{name: "dropped, one of its records says not", alter: func(seen *Seen, _ *Sent) { say(seen, drop, false, true) },
			want: func(p *Proof) { p.Contradicted = 1 }},
		{name: "unexpected", alter: func(seen *Seen, _ *Sent) { deliver(seen, drop, 0, drop.Spans, false) },
			want: func(p *Proof) { p.Unexpected, p.Uncounted = 1, 1 }},
		{name: "uncounted", alter: func(seen *Seen, _ *Sent) {
			trace := keep.TraceID()
			seen.AddSpan(trace[:], wireSpan(keep, 0), wireSpan(keep, 0), []byte("ot=th:0"))
		}, want: func(p *Proof) { p.DuplicateSpans, p.Uncounted = 1, 1 }},
		{name: "invented", alter: func(seen *Seen, _ *Sent) { seen.AddSpan(make([]byte, 16), make([]byte, 8), nil, nil) },
			want: func(p *Proof) { p.Invented = 1 }},
		{name: "other run", alter: func(seen *Seen, _ *Sent) { deliver(seen, Identity{Run: 2, Spans: 3}, 0, 3, false) },
			want: func(p *Proof) { p.Invented = 3 }},
		{name: "number beyond the last", alter: func(seen *Seen, s *Sent) { deliver(seen, s.Plan(5000).Identity, 0, 1, false) },
			want: func(p *Proof) { p.Invented = 1 }},
		{name: "never acknowledged", skip: true, alter: func(_ *Seen, s *Sent) { s.Incomplete = []uint32{keep.Number} },
			want: func(p *Proof) { p.Excluded, p.MustKeep = 1, p.MustKeep-1 }},
		{name: "delayed", skip: true, alter: func(_ *Seen, s *Sent) { s.Delayed = []uint32{keep.Number} },
			want: func(p *Proof) { p.Late, p.MustKeep = 1, p.MustKeep-1 }},
		{name: "delayed and split", skip: true, alter: func(seen *Seen, s *Sent) {
			s.Delayed = []uint32{keep.Number}
			deliver(seen, keep, 0, 1, false)
		}, want: func(p *Proof) { p.Late, p.Split, p.MustKeep = 1, 1, p.MustKeep-1 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, seen := sent(), new(Seen)
			want := Proof{Acked: s.Acked, Traces: int(s.Traces)}
			for n := range s.Traces {
				id := s.Plan(n).Identity
				switch id.Verdict(10) {
				case Keep:
					want.MustKeep++
					if !tt.skip || n != keep.Number {
						deliver(seen, id, 0, id.Spans, false)
					}
				case Either:
					want.Borderline++
				}
			}
			if tt.alter != nil {
				tt.alter(seen, &s)
			}
			if tt.want != nil {
				tt.want(&want)
			}
			got := seen.Prove(s, Expect{Percent: 10})
			ok := want.Lost+want.Split+want.Unexpected+want.Contradicted+want.Invented+want.Altered == 0
			if got.OK() != ok {
				t.Errorf("OK is %v, want %v", got.OK(), ok)
			}
			want.KeptSpans, want.KeptTraces, want.KeptRecords, want.DuplicateRecords, want.Examples =
				got.KeptSpans, got.KeptTraces, got.KeptRecords, got.DuplicateRecords, got.Examples
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("proof (-want +got):\n%s", diff)
			}
		})
	}
}

// say lets a record of the trace arrive once for each answer.
func say(s *Seen, id Identity, answers ...bool) {
	trace := id.TraceID()
	for i := range id.Spans {
		if HasRecord(id.High(), i) {
			for _, kept := range answers {
				s.AddRecord(trace[:], wireSpan(id, i), &kept)
			}
			return
		}
	}
	panic("no span of the trace has a record")
}

// The latency of a trace ends when its last span arrives, and not with a repeat of it; late traces have none.
func TestLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, seen := sent(), new(Seen)
		s.Delayed, s.Ended = []uint32{1}, make([]int64, s.Traces)
		for n := range uint32(101) {
			id := s.Plan(n).Identity
			deliver(seen, id, 0, id.Spans-1, false)
			s.Ended[n] = time.Now().UnixMilli()
			time.Sleep(time.Duration(n) * time.Millisecond)
			deliver(seen, id, id.Spans-1, id.Spans, false)
			time.Sleep(time.Second)
			deliver(seen, id, 0, id.Spans, false)
		}
		id := s.Plan(500).Identity // never whole
		s.Ended[500] = time.Now().UnixMilli()
		deliver(seen, id, 1, id.Spans, false)
		want := Latency{Traces: 100, P50: 51, P99: 100, Max: 100}
		if diff := cmp.Diff(want, seen.Prove(s, Expect{Percent: 10}).Latency); diff != "" {
			t.Errorf("latency (-want +got):\n%s", diff)
		}
	})
}

func TestLogRecordsAreProved(t *testing.T) {
	s := Sent{Run: Run{ID: 1, Seed: 1}, Traces: 50, Logs: true}
	seen, all := new(Seen), 0
	for n := range s.Traces {
		id := s.Plan(n).Identity
		all += id.Records()
		deliver(seen, id, 0, id.Spans, n%2 == 0)
	}
	arrived := seen.Counts().Records
	if got := seen.Prove(s, Expect{Percent: 100}); got.LostRecords != all-arrived || arrived == all || got.OK() {
		t.Errorf("%d of %d log records arrived, %d lost, OK %v", arrived, all, got.LostRecords, got.OK())
	}
	first := s.Plan(0).Identity
	deliver(seen, first, 0, first.Spans, true)
	if got := seen.Counts().DuplicateRecords; got != first.Records() {
		t.Errorf("%d duplicate log records, want %d", got, first.Records())
	}
}

func TestCounts(t *testing.T) {
	seen := new(Seen)
	deliver(seen, Identity{Run: 1, Number: 9, Spans: 130}, 0, 130, false)
	deliver(seen, Identity{Run: 1, Number: 2, Spans: 5}, 1, 4, false)
	deliver(seen, Identity{Run: 1, Number: 2, Spans: 5}, 3, 4, false)
	want := Counts{Traces: 2, Spans: 133, DuplicateSpans: 1, Complete: 1, Split: 1}
	if diff := cmp.Diff(want, seen.Counts()); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
}
