package buffer

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tailweir/sampler"
)

// plainFold is the trace's release by the plainest reading: each message once, at its earliest publish time, in order.
func plainFold(facts []Fact, cfg Config) (out Release) {
	earliest := map[uint64]Fact{}
	for _, f := range facts {
		if known, again := earliest[f.Message]; !again || f.Publish < known.Publish {
			earliest[f.Message] = f
		}
	}
	var spans []Fact
	firstLog := Stamp(1 << 60)
	for _, f := range earliest {
		if f.Facts.Spans > 0 {
			spans = append(spans, f)
			continue
		}
		out.Facts.Logs += f.Facts.Logs
		firstLog = min(firstLog, f.Publish)
	}
	if len(spans) == 0 {
		out.Deadline, out.Reason = firstLog.Add(cfg.MaxAge), Orphan
		return out
	}
	slices.SortFunc(spans, canonical)
	for i, f := range spans {
		if i > 0 && f.Publish > out.Deadline {
			out.Late = len(spans) - i
			break
		}
		out.Facts.Merge(&f.Facts)
		quiet, reason := cfg.Idle, Idle
		if out.Facts.Root {
			quiet, reason = cfg.Settle, Settled
		}
		out.Deadline, out.Reason = f.Publish.Add(quiet), reason
		if end := spans[0].Publish.Add(cfg.MaxAge); end <= out.Deadline {
			out.Deadline, out.Reason = end, Expired
		}
	}
	return out
}

// However many facts a trace has, in whatever order and how often they are said: it is released as by the plain reading,
// and nothing stays charged.
func TestReleasesAsThePlainFold(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 26))
	reasons, late := map[Reason]int{}, 0
	for round := range 3000 {
		var facts []Fact
		messages, apart := 1+rng.IntN(3*few), 1+rng.Int64N(12_000)
		at, root := int64(100_000), rng.IntN(3*messages)
		logsOnly := rng.IntN(20) == 0
		for m := range messages {
			f := Fact{Message: rng.Uint64(), Publish: Stamp(at), Facts: sampler.Facts{Spans: 1, Start: uint64(1 + m), Root: m == root || m == root+3}}
			if logsOnly || rng.IntN(4) == 0 {
				f.Facts = sampler.Facts{Logs: 1 + rng.Uint32N(3)}
			}
			for range 1 + rng.IntN(3)*rng.IntN(2) {
				facts = append(facts, f)
				f.Publish += Stamp(rng.Int64N(2)) * Stamp(rng.Int64N(20_000))
			}
			at += rng.Int64N(2 * apart)
		}
		if rng.IntN(2) == 0 {
			rng.Shuffle(len(facts), func(i, j int) { facts[i], facts[j] = facts[j], facts[i] })
		}
		w := New(testConfig)
		for _, f := range facts {
			w.Add(id(1), f, noEviction(t))
		}
		var got []Release
		w.Advance(1<<50, collect(&got))
		want := plainFold(facts, testConfig)
		want.Trace = id(1)
		if diff := cmp.Diff([]Release{want}, got); diff != "" {
			t.Fatalf("round %d: %d facts of %d messages (-want +got):\n%s", round, len(facts), messages, diff)
		}
		if w.Bytes() != 0 {
			t.Fatalf("round %d: %d bytes stay charged", round, w.Bytes())
		}
		reasons[want.Reason]++
		late += min(want.Late, 1)
	}
	if late < 300 || min(reasons[Settled], reasons[Idle], reasons[Expired], reasons[Orphan]) < 100 {
		t.Errorf("reasons %v, %d with late facts: too few of a kind to prove anything", reasons, late)
	}
}

func TestMessagesAreCharged(t *testing.T) {
	for name, one := range map[string]func(message uint64) Fact{
		"spans": func(m uint64) Fact { return fact(m, 100, false) },
		"logs":  func(m uint64) Fact { return logs(m, 100) },
	} {
		w := New(testConfig)
		for m := range uint64(1000) {
			w.Add(id(1), one(m), noEviction(t))
		}
		if least := int64(traceBytes + messagesBytes + 1000*indexBytes); w.Bytes() < least {
			t.Errorf("%s: %d bytes charged for 1000 messages, want %d and their facts", name, w.Bytes(), least)
		}
		before := w.Bytes()
		for m := range uint64(1000) {
			w.Add(id(1), one(m), noEviction(t))
		}
		if w.Bytes() != before {
			t.Errorf("%s: said again they are charged %d, want %d", name, w.Bytes(), before)
		}
	}
}

func TestExpireByTheWallClock(t *testing.T) {
	cfg := testConfig
	cfg.MaxHold = 2 * time.Minute
	w, start := New(cfg), time.Unix(1000, 0)
	var got []Release
	expire := func(after time.Duration, want ...string) {
		t.Helper()
		got = nil
		w.Expire(start.Add(after), collect(&got))
		var what []string
		for _, r := range got {
			what = append(what, fmt.Sprint(r.Trace[15], " ", r.Reason))
		}
		if diff := cmp.Diff(want, what, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("after %s (-want +got):\n%s", after, diff)
		}
	}
	w.Clock(start)
	w.Add(id(5), fact(1, 100, true), noEviction(t))
	w.Add(id(4), logs(2, 100), noEviction(t))
	w.Add(id(3), fact(3, 50, false), noEviction(t))
	w.Advance(70_000, collect(&got)) // 3 leaves from the end of the line, where 2 comes next
	w.Clock(start.Add(time.Minute))
	w.Clock(start)                                     // a clock that goes back is not followed
	w.Add(id(2), fact(4, 90_000, true), noEviction(t)) // event time says nothing
	w.Add(id(5), fact(5, 101, false), noEviction(t))   // a known trace does not arrive anew
	w.Add(id(1), fact(6, 100, true), noEviction(t))
	w.Add(id(6), fact(7, 100, true), noEviction(t))
	w.Add(id(8), fact(8, 90_000, true), noEviction(t))
	w.Add(id(9), fact(9, 100, true), noEviction(t))
	expire(2*time.Minute - 1)
	expire(2*time.Minute, "5 pressure", "4 orphan")
	if got[0].Facts.Spans != 2 || got[0].Deadline != 111_000 {
		t.Errorf("released %+v, want two spans and the deadline they give", got[0])
	}
	w.Advance(110_000, func(Release) {}) // 1, 6 and 9 leave from the midst and the end
	w.Add(id(7), fact(10, 100, true), noEviction(t))
	expire(3*time.Minute - 1)
	expire(3*time.Minute, "2 pressure", "8 pressure")
	expire(4*time.Minute, "7 pressure")
	if w.Len() != 0 || w.Bytes() != 0 {
		t.Errorf("after all: %d traces, %d bytes", w.Len(), w.Bytes())
	}
}

// Without a clock before, traces count from the first Expire.
func TestExpireBeforeAnyClock(t *testing.T) {
	w, now := New(testConfig), time.Unix(1000, 0)
	w.Add(id(1), fact(1, 100, true), noEviction(t))
	w.Expire(now, noEviction(t))
	w.Expire(now.Add(testConfig.MaxHold-1), noEviction(t))
	var got []Release
	w.Expire(now.Add(testConfig.MaxHold), collect(&got))
	if len(got) != 1 || got[0].Reason.String() != "pressure" {
		t.Errorf("released %+v, want the trace by pressure", got)
	}
}
