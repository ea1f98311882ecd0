package order

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fullEntry has every part.
func fullEntry() Entry {
	return Entry{
		ID: ID{1, 2, 3}, Worker: 7, ClaimPublish: 1_700_000_000_000, Seq: 300, Cert: Cert{299, 1_700_000_001_000}, ChainHash: 0xfeed, E: -5,
		Body: Body{
			Resign:   true,
			Members:  []Member{{7, 1}, {1 << 63, 400}},
			Decide:   []Decision{{Trace: [16]byte{9}}, {Trace: [16]byte{8}, Keep: true, Policy: 31, Reason: 7}, {Trace: [16]byte{15: 1}, Keep: true, Policy: 65535, Threshold: maxThreshold, First: 1}},
			Policy:   &PolicyChange{Epoch: 4, Hash: 5, Config: []byte("policies: []")},
			Limiters: []byte{0},
			Away:     7,
		},
	}
}

func TestRoundTrip(t *testing.T) {
	for name, m := range map[string]Message{
		"claim":      Claim{ID{15: 9}, 1<<64 - 1},
		"probe":      Probe{3, 4},
		"open":       Entry{ID: ID{1}, Seq: 1, Body: Body{Open: true}},
		"no members": Entry{Seq: 2, Body: Body{Members: []Member{}}},
		"policy":     Entry{Seq: 2, Body: Body{Policy: &PolicyChange{}}},
		"everything": fullEntry(),
	} {
		t.Run(name, func(t *testing.T) {
			b := Append([]byte("before"), m)[len("before"):]
			got, err := Parse(b)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(m, got); diff != "" {
				t.Errorf("Parse(Append(m)) (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRoundTripOfRandomEntries(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 2000 {
		e := Entry{
			ID: ID{byte(rng.Uint32())}, Worker: Worker(rng.Uint64()), ClaimPublish: rng.Int64() >> rng.IntN(64), Seq: 2 + rng.Uint64N(1<<63)>>rng.IntN(63),
			Cert: Cert{rng.Uint64() >> rng.IntN(64), -rng.Int64() >> rng.IntN(64)}, ChainHash: Hash(rng.Uint64()), E: rng.Int64(),
		}
		for range rng.IntN(4) {
			e.Body.Members = append(e.Body.Members, Member{Worker(rng.Uint64()), rng.Uint64() >> rng.IntN(64)})
			e.Body.Decide = append(e.Body.Decide, Decision{[16]byte{byte(rng.Uint32())}, rng.IntN(2) == 0, uint8(rng.IntN(8)), uint16(rng.Uint32()), rng.Uint64N(maxThreshold+1) >> rng.IntN(56), rng.Uint32() * uint32(rng.IntN(2))})
		}
		got, err := Parse(Append(nil, e))
		if err != nil {
			t.Fatalf("%+v: %v", e, err)
		}
		if diff := cmp.Diff(Message(e), got); diff != "" {
			t.Fatalf("Parse(Append(m)) (-want +got):\n%s", diff)
		}
	}
}

func TestDecisionSizes(t *testing.T) {
	size := func(n int, d Decision) int {
		return len(Append(nil, Entry{Seq: 2, Body: Body{Decide: slices.Repeat([]Decision{d}, n)}}))
	}
	for want, d := range map[int]Decision{
		17: {Reason: 7},
		18: {Policy: 31, Keep: true, Reason: 7},
		25: {Policy: 511, Keep: true, Threshold: 1},
		30: {Policy: 511, Keep: true, Threshold: 1, First: 1},
	} {
		if got := size(100, d) - size(99, d); got != want {
			t.Errorf("%+v takes %d bytes, want %d: the doc's reckoning of traces a second is off", d, got, want)
		}
	}
}

// What no reader of version 1 lacks is written so that it reads it.
func TestVersions(t *testing.T) {
	all := fullEntry()
	if got := Append(nil, all)[0]; got != 2 {
		t.Errorf("an entry with a First is of version %d", got)
	}
	all.Body.Decide[2].First = 0
	for _, m := range []Message{all, Claim{}, Probe{}} {
		if got := Append(nil, m)[0]; got != 1 {
			t.Errorf("%+v is of version %d", m, got)
		}
	}
}

// The chain hash is over every entry and its place.
func TestFold(t *testing.T) {
	seen := map[Hash]bool{}
	for _, entries := range [][]Hash{{1}, {2}, {1, 2}, {2, 1}, {0}, {0, 0}, {1, 0}, {1 << 32}} {
		var chain Hash
		for _, e := range entries {
			chain = fold(chain, e)
		}
		if seen[chain] {
			t.Errorf("the chain hash over %v is that of others", entries)
		}
		seen[chain] = true
	}
}

func TestParseRefuses(t *testing.T) {
	claim := Append(nil, Claim{ID{1}, 2})
	open := Append(nil, Entry{Seq: 1, Body: Body{Open: true}}) // seq at 27, parts at the end
	with := func(b []byte, at int, to ...byte) []byte {
		return append(append(bytes.Clone(b[:at]), to...), b[min(len(b), at+1):]...)
	}
	parts := len(open) - 1
	second := with(open, 27, 2)
	for name, c := range map[string]struct {
		b    []byte
		want string
	}{
		"nothing":                 {nil, "version at byte 0"},
		"version only":            {[]byte{1}, "kind at byte 1"},
		"version 0":               {with(claim, 0, 0), "version at byte 0"},
		"kind 0":                  {with(claim, 1, 0), "kind at byte 1"},
		"cut in the id":           {claim[:10], "id at byte 2: 16 bytes wanted, 8 left"},
		"cut in the worker":       {claim[:20], "worker at byte 18"},
		"trailing garbage":        {append(bytes.Clone(claim), 0), "end at byte 26: 1 bytes too many"},
		"cut before a number":     {open[:26], "claim publish at byte 26: no varint"},
		"entry 0":                 {with(open, 27, 0), "seq at byte 27"},
		"entry 2 that opens":      {second, "open true in entry 2"},
		"entry 1 without an open": {with(open, parts, 0), "open false in entry 1"},
		"firsts in version 1":     {with(open, parts, 0x81), "parts at byte 39: 0x81 in version 1"},
		"version 2 without them":  {with(open, 0, 2), "parts at byte 39: 0x1 in version 2"},
		"a claim of version 2":    {with(claim, 0, 2), "version at byte 0: 2 is of entries"},
		"firsts of no decisions":  {with(with(second, 0, 2), parts, partFirsts, 1, 0, 0, 0, 0, 1), "first at byte 41: of a decision that is not there"},
		"no firsts":               {with(with(second, 0, 2), parts, partFirsts, 0), "firsts at byte 40"},
		"a first of 0":            {with(with(second, 0, 2), parts, append(append([]byte{partFirsts | partDecide, 1, 0}, make([]byte, 16)...), 1, 0, 0, 0, 0, 0)...), "first at byte 59: 0 is not written"},
		"a second first of one":   {with(with(second, 0, 2), parts, append(append([]byte{partFirsts | partDecide, 1, 0}, make([]byte, 16)...), 2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1)...), "first at byte 64: of a decision that is not there"},
		"an away of 0":            {with(second, parts, partAway, 0), "away at byte 40: 0 is not written"},
		"a long varint":           {with(open, 26, 0x80, 0), "claim publish at byte 26: varint longer"},
		"an endless varint":       {with(open, 26, bytes.Repeat([]byte{0xff}, 11)...), "claim publish at byte 26: no varint"},
		"members that are absent": {with(second, parts, partMembers, 0xff, 0xff, 0xff, 0x7f), "members at byte 40: 268435455 of them, want 0 to 0"},
		"no decisions":            {with(second, parts, partDecide, 0), "decisions at byte 40"},
		"a policy beyond 16 bits": {with(second, parts, append([]byte{partDecide, 1, 0x80, 0x80, 0x80, 0x01}, make([]byte, 16)...)...), "decision at byte 41: policy 65536"},
		"limiters without bytes":  {with(second, parts, partLimiters, 0), "limiters at byte 40"},
		"limiters cut":            {with(second, parts, partLimiters, 3, 1), "limiters at byte 40: 3 of them, want 1 to 1"},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := Parse(c.b)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Parse = %v, %v; want an error with %q", m, err, c.want)
			}
		})
	}
}

func TestParseOfWhatIsNewer(t *testing.T) {
	for _, c := range []struct {
		b    []byte
		want Unknown
	}{
		{[]byte{version, 4, 99}, Unknown{version, 4}},
		{[]byte{newest, 4, 99}, Unknown{newest, 4}},
		{[]byte{newest + 1, kindEntry}, Unknown{newest + 1, kindEntry}},
	} {
		if got, err := Parse(c.b); err != nil || got != c.want {
			t.Errorf("Parse(%v) = %v, %v; want %v", c.b, got, err, c.want)
		}
	}
}

func TestAppendPanics(t *testing.T) {
	for name, m := range map[string]Message{
		"unknown":        Unknown{2, 2},
		"entry 0":        Entry{},
		"late open":      Entry{Seq: 2, Body: Body{Open: true}},
		"early other":    Entry{Seq: 1},
		"long threshold": Entry{Seq: 2, Body: Body{Decide: []Decision{{Threshold: maxThreshold + 1}}}},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			Append(nil, m)
		})
	}
}

// FuzzParse: whatever is parsed is written again with the same bytes, and nothing panics.
func FuzzParse(f *testing.F) {
	f.Add(Append(nil, fullEntry()))
	old := fullEntry()
	old.Body.Decide = old.Body.Decide[:2]
	f.Add(Append(nil, old))
	f.Add(Append(nil, Claim{ID{1}, 2}))
	f.Add(Append(nil, Probe{1, 2}))
	f.Add(Append(nil, Entry{Seq: 1, Body: Body{Open: true, Members: []Member{}}}))
	f.Add([]byte{2, 9})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Parse(b)
		if _, newer := m.(Unknown); err != nil || newer {
			return
		}
		if again := Append(nil, m); !bytes.Equal(b, again) {
			t.Errorf("%x is written again as %x: %+v", b, again, m)
		}
	})
}
