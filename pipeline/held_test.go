package pipeline

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"tailweir/buffer"
	"tailweir/exporter"
	"tailweir/fleet"
	"tailweir/otlp"
	"tailweir/sampler"
)

// What is held is told as it was told first, the oldest message first, and nothing of what is decided or has no trace.
func TestHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		listener := &listening{}
		r := newRig(t, func(c *Config) { c.Sequencer = listener; c.Workers = 1 })
		defer r.stop()
		now := time.Now()
		deliver := func(signal otlp.Signal, data []byte, after time.Duration) {
			r.deliverAs(Delivery{ID: fmt.Sprint(after), Data: data, Attributes: attrs(signal), Publish: now.Add(after), Attempt: 3})
		}
		mixed := traces(span{trace: 1, id: 1, root: true, bad: true}, span{trace: 2, id: 2}, span{id: 3}, span{trace: 1, id: 4})
		deliver(otlp.Traces, mixed, 5*time.Second)
		deliver(otlp.Logs, logs(3, 0, 3), 2*time.Second)
		deliver(otlp.Traces, traces(span{trace: 4, id: 1}), time.Second) // decided below
		deliver(otlp.Traces, traces(span{trace: 5, id: 1}, span{trace: 4, id: 2}), 3*time.Second)
		deliver(otlp.Traces, mixed, 0) // a repeat with an earlier publish time
		r.p.Apply([]fleet.Decision{{Trace: otlp.TraceID{15: 4}, Reason: buffer.Idle}})
		want := []fleet.Facts{listener.facts[4], listener.facts[1], listener.facts[3]}
		want[2].Fragments = want[2].Fragments[:1]
		for i := range want {
			want[i].First, want[i].Again = false, false
		}
		r.want("held", slices.Collect(r.p.Held()), want)
		r.want("fragments with spans, with records", []uint32{want[0].Fragments[0].Facts.Spans, want[1].Fragments[0].Facts.Logs}, []uint32{2, 2})
	})
}

// While somebody reads what is held the pipeline goes on: what is settled meanwhile is left out.
func TestHeldWhileTheWalkGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.Sequencer = &listening{} })
		defer r.stop()
		for i := byte(1); i <= 4; i++ {
			r.deliver(otlp.Traces, traces(span{trace: i, id: 1}))
			time.Sleep(time.Millisecond)
		}
		var told []byte
		for f := range r.p.Held() {
			told = append(told, f.Fragments[0].Trace[15])
			r.p.Apply([]fleet.Decision{{Trace: otlp.TraceID{15: 2}, Reason: buffer.Idle}})
			if len(told) == 2 {
				break
			}
		}
		r.want("told", told, []byte{1, 3})
		r.check()
	})
}

// After a change of policies facts are folded with the new set, by readers that were used with the former one too, and say
// which set it was.
func TestUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		listener := &listening{}
		r := newRig(t, func(c *Config) { c.Sequencer = listener; c.Workers = 1 })
		defer r.stop()
		other, err := sampler.Parse("policies", []byte("policies:\n"+
			"- {name: fine, type: status_code, status_code: {status_codes: [OK]}}\n"+
			"- {name: errors, type: status_code, status_code: {status_codes: [ERROR]}}\n"))
		if err != nil {
			t.Fatal(err)
		}
		bits := func(set *sampler.Policies) fleet.Facts {
			var scanned otlp.Payload
			if err := scanned.Scan(otlp.Traces, traces(span{trace: 1, id: 1, bad: true})); err != nil {
				t.Fatal(err)
			}
			o := set.NewObserver()
			o.Reset(&scanned)
			return fleet.Facts{Policy: set.Hash(), Fragments: []fleet.Fragment{{Facts: o.Fold(scanned.Groups()[0])}}}
		}
		before, after := bits(r.p.policies.Load()), bits(other)
		if before.Policy == after.Policy || before.Fragments[0].Facts.Bits == after.Fragments[0].Facts.Bits {
			t.Fatal("these policies show nothing")
		}
		say := func(what string, f, want fleet.Facts) {
			t.Helper()
			r.want(what, []any{f.Policy, f.Fragments[0].Facts.Bits}, []any{want.Policy, want.Fragments[0].Facts.Bits})
		}
		bad := func(i byte) []byte { return traces(span{trace: i, id: 1, bad: true}) }
		now := time.Now()
		r.deliver(otlp.Traces, bad(1))
		r.deliver(otlp.Traces, nil) // a tick
		r.p.Use(other)
		r.deliver(otlp.Traces, bad(2))
		r.deliverAs(Delivery{ID: "again", Data: bad(1), Attributes: attrs(otlp.Traces), Publish: now.Add(-time.Second)})
		say("before", listener.facts[0], before)
		r.want("tick", listener.facts[1].Policy, before.Policy)
		say("after", listener.facts[2], after)
		say("a repeat", listener.facts[3], after)
		for f := range r.p.Held() {
			say("held", f, after)
		}
	})
}

// Held keeps no payload from being freed, compressed ones neither, and reads them uncompressed.
func TestHeldOfACompressedPayload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.Sequencer = &listening{} })
		defer r.stop()
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		_, _ = z.Write(traces(span{trace: 7, id: 1}, span{trace: 7, id: 2}))
		_ = z.Close()
		a := attrs(otlp.Traces)
		a[otlp.AttrContentEncoding] = otlp.EncodingGzip
		r.deliverAs(Delivery{Data: packed.Bytes(), Attributes: a, Publish: time.Now()})
		var m *message
		for _, m = range r.p.messages {
		}
		for f := range r.p.Held() {
			r.want("held", []any{f.Fragments[0].Trace[15], f.Fragments[0].Facts.Spans}, []any{byte(7), uint32(2)})
		}
		r.p.Apply([]fleet.Decision{{Trace: otlp.TraceID{15: 7}, Reason: buffer.Idle}})
		r.want("payload of what is settled", m.data == nil && m.gone, true)
	})
}

// The first decision stands for what waits, also where the worker knows it only from a message that came back.
func TestAppliedDecisionFollowsTheHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.Sequencer = &listening{}; c.History = 2; c.Workers = 1 })
		defer r.stop()
		keep := func(trace byte, keep bool) {
			r.p.Apply([]fleet.Decision{{Trace: otlp.TraceID{15: trace}, Reason: buffer.Idle, Decision: sampler.Decision{Keep: keep, Policy: fmt.Sprint(keep)}}})
			synctest.Wait()
		}
		block := make(chan struct{})
		r.backend.answer = func(*exporter.Batch) error { <-block; return nil }
		first := traces(span{trace: 1, id: 1})
		r.deliver(otlp.Traces, first)
		keep(1, true)
		r.sleep(time.Second)
		r.p.Surrender(r.ctx)
		close(block)
		for other := byte(2); other < 6; other++ {
			keep(other, false) // the history forgets trace 1
		}
		second := r.deliver(otlp.Traces, traces(span{trace: 1, id: 2}))
		r.want("the second waits", []any{second.String(), len(r.p.traces)}, []any{"", 1})
		r.deliver(otlp.Traces, first) // remembered to be kept
		keep(1, false)
		r.sleep(time.Second)
		r.want("exported", r.backend.spans["1/2"], 1)
		r.want("by policy", r.p.State().ByPolicy["true"].Kept, Count{Spans: 2, Traces: 1})
		r.want("reason", r.backend.parts[len(r.backend.parts)-1].Reason, "late")
		r.check()
	})
}

// elsewhere is decisions on traces of which this worker holds nothing.
func elsewhere(n int) []fleet.Decision {
	all := make([]fleet.Decision, n)
	for i := range all {
		all[i] = fleet.Decision{Trace: otlp.TraceID{1, byte(i >> 16), byte(i >> 8), byte(i)}, Reason: buffer.Idle, Decision: sampler.Decision{Keep: i%10 == 0, Policy: "rest"}}
	}
	return all
}

// Decisions on traces that are held elsewhere cost no memory but the history's.
func TestApplyElsewhere(t *testing.T) {
	p := New(Config{Policies: sampler.Default()})
	all := elsewhere(20_000)
	p.Apply(all)
	if n := testing.AllocsPerRun(10, func() { p.Apply(all) }); n > 0 {
		t.Errorf("%.0f allocations for %d decisions, want none", n, len(all))
	}
	if d, known := p.Decided(all[10].Trace); !known || d != all[10].Decision || p.State().Decided != len(all) {
		t.Errorf("%+v, %v, and %d decisions are remembered, want %+v and %d", d, known, p.State().Decided, all[10].Decision, len(all))
	}
}

// Many decisions at once do not keep others waiting until the last one: somebody sees a part of them executed.
func TestApplyLetsOthersIn(t *testing.T) {
	all := elsewhere(400_000) // 40 ms and more: more than the scheduler leaves a goroutine alone
	for range 50 {
		p := New(Config{Policies: sampler.Default(), History: 1_000_000})
		done := make(chan struct{})
		go func() { p.Apply(all); close(done) }()
		for n := 0; n < len(all); {
			if n = p.State().Decided; 0 < n && n < len(all) {
				<-done
				return
			}
		}
		<-done
	}
	t.Error("nobody ever got between the decisions")
}
