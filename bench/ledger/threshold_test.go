package ledger

import "testing"

// A trace counts for what it was kept for: once with certainty, or as the percentage has it.
func TestUncounted(t *testing.T) {
	s := sent()
	search := func(accept func(Identity, int64) bool) Identity {
		for n := range s.Traces {
			if id := s.Plan(n).Identity; id.Spans > 1 && accept(id, int64(Low(id.High())&(1<<56-1))) {
				return id
			}
		}
		t.Fatal("no such trace was sent")
		return Identity{}
	}
	failed := search(func(id Identity, random int64) bool { return id.Error && random > 0xe7<<48 })
	unlucky := search(func(id Identity, random int64) bool { return id.Slow && !id.Error && random < 0x80<<48 })
	lucky := search(func(id Identity, random int64) bool {
		return id.Verdict(10) == Keep && !id.Error && !id.Slow && random < 0xf0<<48
	})
	const late, incomplete = 1, 2
	for _, tt := range []struct {
		name   string
		id     Identity
		doubt  int
		states []string // of its spans, the last one of the rest, too
		want   int
	}{
		{"by percentage", lucky, 0, []string{"ot=th:e666"}, 0},
		{"by percentage, in all digits", lucky, 0, []string{"ot=th:e6666666666666"}, 0},
		{"by percentage, without", lucky, 0, []string{""}, 1},
		{"by percentage, without, late", lucky, late, []string{""}, 1},
		{"by percentage, one without", lucky, 0, []string{"ot=th:e666", "", "ot=th:e666"}, 1},
		{"by percentage, for certain", lucky, 0, []string{"ot=th:0"}, 1},
		{"by another percentage", lucky, 0, []string{"ot=th:e66"}, 1},
		{"by a greater threshold", lucky, 0, []string{"ot=th:e66a"}, 1},
		{"in one span by another", lucky, 0, []string{"ot=th:e667", "ot=th:e666"}, 1},
		{"beyond its randomness", lucky, 0, []string{"ot=th:f"}, 1},
		{"too long", lucky, 0, []string{"ot=th:e66600000000000"}, 1},
		{"in capitals", lucky, 0, []string{"ot=th:E666"}, 1},
		{"no digits", lucky, 0, []string{"ot=th:"}, 1},
		{"signed", lucky, 0, []string{"ot=th:+e666"}, 1},
		{"something beside it", lucky, 0, []string{"ot=th:e666,a=b"}, 1},
		{"a randomness", lucky, 0, []string{"ot=rv:e6660000000000"}, 1},
		{"certain", failed, 0, []string{""}, 0},
		{"certain, with a threshold", failed, 0, []string{"ot=th:e666"}, 1},
		{"certain, in one span with a threshold", failed, 0, []string{"ot=th:e666", ""}, 1},
		{"certain, and it says so", failed, 0, []string{"ot=th:0"}, 1},
		{"certain, late", failed, late, []string{""}, 0},
		{"certain too late", failed, late, []string{"ot=th:e666"}, 0},
		{"certain too late, by another percentage", failed, late, []string{"ot=th:e"}, 1},
		{"certain too late, both", failed, late, []string{"ot=th:e666", ""}, 1},
		{"certain, what makes it so not acknowledged", failed, incomplete, []string{"ot=th:e666"}, 0},
		{"certain, beyond its randomness", unlucky, late, []string{"ot=th:e666"}, 1},
		{"certain, excluded by the percentage", unlucky, 0, []string{""}, 0},
	} {
		s, seen, trace := s, new(Seen), tt.id.TraceID()
		switch tt.doubt {
		case late:
			s.Delayed = []uint32{tt.id.Number}
		case incomplete:
			s.Incomplete = []uint32{tt.id.Number}
		}
		for i := range tt.id.Spans {
			seen.AddSpan(trace[:], wireSpan(tt.id, i), nil, []byte(tt.states[min(i, len(tt.states)-1)]))
		}
		if got := seen.Prove(s, Expect{Percent: 10}).Uncounted; got != tt.want {
			t.Errorf("%s: %d uncounted, want %d", tt.name, got, tt.want)
		}
	}
}

func TestAllCountOnceAtAHundredPercent(t *testing.T) {
	s, seen := sent(), new(Seen)
	id := find(s, 0, Drop)
	deliver(seen, id, 0, id.Spans, false)
	if got := seen.Prove(s, Expect{Percent: 100}).Uncounted; got != 1 {
		t.Errorf("%d uncounted with a threshold, want 1", got)
	}
	seen, trace := new(Seen), id.TraceID()
	seen.AddSpan(trace[:], wireSpan(id, 0), nil, nil)
	if got := seen.Prove(s, Expect{Percent: 100}).Uncounted; got != 0 {
		t.Errorf("%d uncounted without a threshold, want 0", got)
	}
}
