package pipeline

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"tailweir/exporter"
	"tailweir/otlp"
)

func TestKeepsAndDropsWholeTraces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		defer r.stop()
		a := r.deliver(otlp.Traces, traces(span{trace: 1, id: 1}, span{trace: 2, id: 2, root: true}))
		b := r.deliver(otlp.Traces, traces(span{trace: 1, id: 3, root: true, bad: true}))
		c := r.deliver(otlp.Traces, traces(span{trace: 2, id: 4}))
		r.sleep(1500 * time.Millisecond)
		r.want("acked before the decision", a.String()+b.String()+c.String(), "")
		r.sleep(3 * time.Second)
		r.want("spans exported", r.backend.spans, map[string]int{"1/1": 1, "1/3": 1})
		r.want("settled", []string{a.String(), b.String(), c.String()}, []string{"ack", "ack", "ack"})

		late := r.deliver(otlp.Traces, traces(span{trace: 1, id: 5}, span{trace: 2, id: 6, bad: true}))
		r.sleep(time.Second)
		r.want("late spans follow the decision", r.backend.spans, map[string]int{"1/1": 1, "1/3": 1, "1/5": 1})
		r.want("late message", late.String(), "ack")
		s := r.p.State()
		r.want("kept", s.Kept, Count{Spans: 3, Traces: 1})
		r.want("dropped", s.Dropped, Count{Spans: 3, Traces: 1})
		r.check()
	})
}

func TestLogs(t *testing.T) {
	for _, tc := range []struct {
		keep LogsKeep
		want map[string]int
		kept Count
	}{
		{LogsAll, map[string]int{"1: record 0 true": 1, "2: record 1 false": 1, "3: record 2 false": 1, "0: record 3 false": 1}, Count{Spans: 1, Traces: 1, Logs: 4}},
		{LogsWithTrace, map[string]int{"1: record 0 true": 1, "3: record 2 false": 1, "0: record 3 false": 1}, Count{Spans: 1, Traces: 1, Logs: 3}},
	} {
		t.Run(string(tc.keep), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, func(c *Config) { c.LogsKeep = tc.keep })
				defer r.stop()
				before := r.deliver(otlp.Logs, logs(1, 2, 3, 0)) // before their spans, and 3 has none
				r.deliver(otlp.Traces, traces(span{trace: 1, id: 1, root: true, bad: true}, span{trace: 2, id: 2, root: true}))
				r.sleep(5 * time.Second)
				r.want("message with a waiting record", before.String(), "")
				r.sleep(8 * time.Second)
				r.want("message", before.String(), "ack")
				r.want("records exported", r.backend.logs, tc.want)
				r.want("kept", r.p.State().Kept, tc.kept)
				r.check()
			})
		})
	}
}

// A trace of which only log records were seen is not decided: spans that come later open it anew.
func TestLogsAloneDecideNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		defer r.stop()
		r.deliver(otlp.Logs, logs(1))
		r.sleep(12 * time.Second)
		r.deliver(otlp.Traces, traces(span{trace: 1, id: 1, root: true, bad: true}))
		r.sleep(4 * time.Second)
		r.want("spans exported", r.backend.spans, map[string]int{"1/1": 1})
	})
}

func TestRepeatedPayloads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		defer r.stop()
		payload := traces(span{trace: 1, id: 1, root: true, bad: true})
		first, repeat := r.deliver(otlp.Traces, payload), r.deliver(otlp.Traces, payload)
		r.want("a redelivery waits for the outcome of the first", repeat.String(), "")
		retry := r.deliverAs(Delivery{ID: "other", Data: payload, Attributes: attrs(otlp.Traces), Publish: time.Now()})
		r.want("and so does an SDK's retry: another worker may hold a copy of it, and ack this one's", retry.String(), "")
		r.sleep(4 * time.Second)
		after := r.deliver(otlp.Traces, payload)
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		_, _ = z.Write(payload)
		_ = z.Close()
		zipped := attrs(otlp.Traces)
		zipped[otlp.AttrContentEncoding] = otlp.EncodingGzip
		same := r.deliverAs(Delivery{Data: packed.Bytes(), Attributes: zipped, Publish: time.Now()})
		r.sleep(time.Second)
		r.want("settled", []string{first.String(), repeat.String(), retry.String(), after.String(), same.String()}, []string{"ack", "ack", "ack", "ack", "ack"})
		r.want("exported once", r.backend.spans, map[string]int{"1/1": 1})
		r.want("duplicates", r.p.State().Duplicate, Count{Spans: 4})
		r.check()
	})
}

func TestDeadLetters(t *testing.T) {
	huge := func() Delivery {
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		_, _ = z.Write(make([]byte, 1<<20))
		_ = z.Close()
		a := attrs(otlp.Traces)
		a[otlp.AttrContentEncoding] = otlp.EncodingGzip
		return Delivery{Data: packed.Bytes(), Attributes: a}
	}()
	with := func(key, value string) map[string]string {
		a := attrs(otlp.Traces)
		a[key] = value
		return a
	}
	for name, tc := range map[string]struct {
		delivery Delivery
		reason   string
		counted  Count
	}{
		"not OTLP":           {Delivery{Data: []byte("hello"), Attributes: attrs(otlp.Traces)}, ReasonUndecodable, Count{}},
		"no type":            {Delivery{Data: traces(span{trace: 1, id: 1})}, ReasonUndecodable, Count{}},
		"metrics":            {Delivery{Attributes: attrs(otlp.Metrics)}, ReasonUndecodable, Count{}},
		"unknown encoding":   {Delivery{Attributes: with(otlp.AttrContentEncoding, "br")}, ReasonUndecodable, Count{}},
		"not gzip":           {Delivery{Data: []byte("hello"), Attributes: with(otlp.AttrContentEncoding, "gzip")}, ReasonUndecodable, Count{}},
		"decompression bomb": {huge, ReasonUndecodable, Count{}},
		"no trace id":        {Delivery{Data: traces(span{trace: 0, id: 1}), Attributes: attrs(otlp.Traces)}, ReasonInvalidID, Count{Spans: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, func(c *Config) { c.MaxInflated = 1 << 16 })
				defer r.stop()
				d := tc.delivery
				d.Publish = time.Now()
				rec := r.deliverAs(d)
				r.sleep(time.Second)
				r.want("settled", rec.String(), "ack")
				r.want("dead letters", r.dead.reasons, []string{tc.reason})
				r.want("counted", r.p.State().DeadLettered, tc.counted)
				r.check()
			})
		})
	}
}

// A backend that refuses one trace for good costs that trace alone.
func TestOnlyWhatIsRefusedBecomesADeadLetter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		defer r.stop()
		r.backend.answer = func(b *exporter.Batch) error {
			for _, p := range b.Parts {
				if p.Trace == (otlp.TraceID{15: 3}) {
					return &exporter.PermanentError{Err: errors.New("400 bad span")}
				}
			}
			return nil
		}
		var recs []*receipt
		for i := byte(1); i <= 7; i++ {
			recs = append(recs, r.deliver(otlp.Traces, traces(span{trace: i, id: i, root: true, bad: true})))
		}
		r.sleep(5 * time.Second)
		for i, rec := range recs {
			r.want(fmt.Sprintf("message %d", i+1), rec.String(), "ack")
		}
		r.want("exported", slices.Sorted(maps.Keys(r.backend.spans)), []string{"1/1", "2/2", "4/4", "5/5", "6/6", "7/7"})
		r.want("dead letters", r.dead.reasons, []string{ReasonRejected})
		r.want("dead-lettered", r.p.State().DeadLettered, Count{Spans: 1, Traces: 1})
		r.check()
	})
}

// While the backend is away nothing is acked, memory stays within its budget by handing the newest messages back, and
// what was held goes out when it is back.
func TestBackendAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.MaxBytes = 40_000; c.HandBack = 30 * time.Second })
		defer r.stop()
		back := make(chan struct{})
		r.backend.answer = func(*exporter.Batch) error { <-back; return nil }
		recs := map[byte]*receipt{}
		for i := byte(1); i <= 100; i++ {
			recs[i] = r.deliver(otlp.Traces, traces(span{trace: i, id: i, root: true, bad: true}))
			r.sleep(100 * time.Millisecond)
			if s := r.p.State(); s.Bytes > s.MaxBytes {
				t.Fatalf("%d bytes are held, over the budget of %d", s.Bytes, s.MaxBytes)
			}
		}
		r.sleep(10 * time.Second)
		handed := 0
		for i := byte(1); i <= 100; i++ {
			switch recs[i].String() {
			case "":
				if handed > 0 {
					t.Errorf("message %d is held, and an older one was handed back", i)
				}
			case "hand back 30s":
				handed++
			default:
				t.Errorf("message %d: %s while the backend is away", i, recs[i])
			}
		}
		if handed == 0 || handed == 100 {
			t.Fatalf("%d of 100 messages were handed back, want some", handed)
		}
		close(back)
		r.sleep(time.Second)
		r.want("exported", len(r.backend.spans), 100-handed)
		r.want("returned", r.p.State().Returned, Count{Spans: int64(handed), Traces: int64(handed)})
		r.check()
	})
}

// Log records without a trace id wait for nothing but the backend; while it is away they, too, go back.
func TestBackendAwayForLogsWithoutTrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.MaxBytes = 40_000 })
		defer r.stop()
		back := make(chan struct{})
		r.backend.answer = func(*exporter.Batch) error { <-back; return nil }
		var recs []*receipt
		for range 3000 {
			recs = append(recs, r.deliverAs(Delivery{Data: append(logs(0), unknownField(len(recs))...), Attributes: attrs(otlp.Logs), Publish: time.Now()}))
			if s := r.p.State(); s.Bytes > s.MaxBytes {
				t.Fatalf("%d bytes are held, over the budget of %d", s.Bytes, s.MaxBytes)
			}
			r.sleep(10 * time.Millisecond)
			r.p.mu.Lock()
			if n := r.p.waitingLocked(); n > 2400 {
				r.p.mu.Unlock()
				t.Fatalf("%d departures wait of the few messages that are held", n)
			}
			r.p.mu.Unlock()
		}
		close(back)
		r.sleep(time.Second)
		how := map[string]int{}
		for _, rec := range recs {
			how[rec.String()]++
		}
		s := r.p.State()
		r.want("settled", how, map[string]int{"ack": int(s.Kept.Logs), "hand back 30s": int(s.Returned.Logs)})
		if s.Kept.Logs == 0 || s.Returned.Logs == 0 {
			t.Errorf("%d kept and %d returned, want some of each", s.Kept.Logs, s.Returned.Logs)
		}
		r.want("held", s.Messages, 0)
		r.check()
	})
}

// unknownField makes payloads with the same content differ.
func unknownField(n int) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, 100, protowire.VarintType), uint64(n))
}

// At the end the undecided are given back at once, and what a running export did not confirm as well.
func TestReleaseGivesBackTheUndecided(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.backend.answer = func(*exporter.Batch) error { <-r.ctx.Done(); return r.ctx.Err() }
		leaving := r.deliver(otlp.Traces, traces(span{trace: 1, id: 1, root: true, bad: true}, span{trace: 2, id: 2, root: true}))
		r.sleep(4 * time.Second)
		undecided := r.deliver(otlp.Traces, traces(span{trace: 3, id: 1, root: true}, span{trace: 4, id: 2}))
		r.want("messages given back", r.stop(), 2)
		r.want("settled", []string{leaving.String(), undecided.String()}, []string{"nack", "nack"})
		s := r.p.State()
		r.want("totals", []Count{s.Dropped, s.Returned, s.InFlight}, []Count{{Spans: 1, Traces: 1}, {Spans: 3, Traces: 3}, {}})
		r.check()
	})
}

func TestQuiesceWaitsForWhatIsDecided(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		defer r.stop()
		back := make(chan struct{})
		r.backend.answer = func(*exporter.Batch) error { <-back; return nil }
		rec := r.deliver(otlp.Traces, traces(span{trace: 1, id: 1, root: true, bad: true}))
		if err := r.solo.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r.want("quiet while an export runs", r.p.Quiesce(short), false)
		close(back)
		r.want("quiet", r.p.Quiesce(t.Context()), true)
		r.want("settled", rec.String(), "ack")
	})
}

// Random payloads, repeated and shuffled, under a backend of changing speed: every span of a kept trace arrives, none
// of a dropped one, each message is settled once, and the totals add up throughout.
func TestNothingIsLostOrInvented(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { randomRun(t, rand.New(rand.NewPCG(seed, 1))) })
		})
	}
}

func randomRun(t *testing.T, rng *rand.Rand) {
	r := newRig(t, func(c *Config) { c.BatchBytes = 1 + rng.IntN(2000) })
	defer r.stop()
	var slow sync.Mutex // rng is not for several senders
	delays := rand.New(rand.NewPCG(rng.Uint64(), 2))
	r.backend.answer = func(b *exporter.Batch) error {
		slow.Lock()
		d := delays.IntN(300)
		slow.Unlock()
		time.Sleep(time.Duration(d) * time.Millisecond)
		return nil
	}
	const many = 20
	spans := map[byte][]span{}
	want := map[string]int{}
	for trace := byte(1); trace <= many; trace++ {
		bad := rng.IntN(3) == 0
		n := 1 + rng.IntN(8)
		for id := byte(1); int(id) <= n; id++ {
			spans[trace] = append(spans[trace], span{trace: trace, id: id, root: id == 1, bad: bad && id == byte(n)})
			if bad {
				want[fmt.Sprintf("%d/%d", trace, id)] = 1
			}
		}
	}
	var all []span
	for _, s := range spans {
		all = append(all, s...)
	}
	slices.SortFunc(all, func(a, b span) int { return int(a.trace)*16 + int(a.id) - int(b.trace)*16 - int(b.id) })
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	var recs []*receipt
	for len(all) > 0 { // all within 2 s, so that every fact is in time
		n := min(len(all), 1+rng.IntN(6))
		payload := traces(all[:n]...)
		all = all[n:]
		for range 1 + rng.IntN(2) {
			recs = append(recs, r.deliver(otlp.Traces, payload))
		}
		r.sleep(time.Duration(rng.IntN(20)) * time.Millisecond)
	}
	r.sleep(20 * time.Second)
	r.want("spans exported", r.backend.spans, want)
	for i, rec := range recs {
		r.want(fmt.Sprintf("message %d", i), rec.String(), "ack")
	}
	s := r.p.State()
	r.want("traces", s.Kept.Traces+s.Dropped.Traces, int64(many))
	r.want("in flight", s.InFlight, Count{})
	r.want("held bytes", s.Bytes, int64(0))
	r.check()
}
