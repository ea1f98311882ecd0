package pipeline

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"tailweir/buffer"
	"tailweir/exporter"
	"tailweir/fleet"
	"tailweir/otlp"
	"tailweir/sampler"
)

// record is a log record of a test payload; kind is an attribute, when it is not empty.
type record struct {
	trace byte
	level plog.SeverityNumber
	kind  string
	body  string
}

// records is a payload in which each resource has the attribute team.
func records(team string, all ...record) []byte {
	ld := plog.NewLogs()
	rl := ld.ResourceLogs().AppendEmpty()
	rl.Resource().Attributes().PutStr("team", team)
	sl := rl.ScopeLogs().AppendEmpty()
	for _, x := range all {
		r := sl.LogRecords().AppendEmpty()
		r.SetTraceID(pcommon.TraceID{15: x.trace})
		r.SetSeverityNumber(x.level)
		if x.kind != "" {
			r.Attributes().PutStr("kind", x.kind)
		}
		r.Body().SetStr(x.body)
	}
	b, err := (&plog.ProtoMarshaler{}).MarshalLogs(ld)
	if err != nil {
		panic(err)
	}
	return b
}

const (
	fine, info, warn, fault = plog.SeverityNumberDebug, plog.SeverityNumberInfo, plog.SeverityNumberWarn, plog.SeverityNumberError
	no                      = plog.SeverityNumberUnspecified
)

func TestRulesMatch(t *testing.T) {
	for _, tt := range []struct {
		name string
		rule LogRule
		want []record // of those below
	}{
		{"from a severity on", LogRule{MinSeverity: 13}, []record{{level: warn}, {level: fault, kind: "audit"}}},
		{"up to a severity, which is known", LogRule{MaxSeverity: 9}, []record{{level: fine}, {level: info}}},
		{"between two", LogRule{MinSeverity: 6, MaxSeverity: 13}, []record{{level: info}, {level: warn}}},
		{"an attribute, whatever its value", LogRule{Attribute: "kind"}, []record{{level: fault, kind: "audit"}, {kind: "7"}}},
		{"one of some values", LogRule{Attribute: "kind", Values: []string{"x", "audit"}}, []record{{level: fault, kind: "audit"}}},
		{"all conditions", LogRule{MinSeverity: 1, MaxSeverity: 9, Attribute: "kind"}, nil},
		{"the resource's", LogRule{MaxSeverity: 5, Attribute: "team", Values: []string{"shop"}}, []record{{level: fine}}},
		{"another resource's", LogRule{Attribute: "team", Values: []string{"bank"}}, nil},
	} {
		var got []record
		for _, x := range []record{{}, {level: fine}, {level: info}, {level: warn}, {level: fault, kind: "audit"}, {kind: "7"}} {
			var p otlp.Payload
			if err := p.Scan(otlp.Logs, records("shop", x)); err != nil {
				t.Fatal(err)
			}
			if tt.rule.matches(p.Record(0)) {
				got = append(got, x)
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: matches %v, want %v", tt.name, got, tt.want)
		}
	}
	number := LogRule{Attribute: "n", Values: []string{"7"}}
	ld := plog.NewLogs()
	ld.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty().Attributes().PutInt("n", 7)
	b, _ := (&plog.ProtoMarshaler{}).MarshalLogs(ld)
	var p otlp.Payload
	if err := p.Scan(otlp.Logs, b); err != nil || !number.matches(p.Record(0)) {
		t.Errorf("a number is not compared as text (%v)", err)
	}
}

// One payload has records of every class; each leaves at its time, and is booked under what decided.
func TestClassesOfLogs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := &kept{lines: map[string]int{}}
		r := newRig(t, func(c *Config) {
			c.LogsKeep, c.DropOrphans, c.Exporter = LogsWithTrace, true, seen
			c.LogRules = []LogRule{
				{Attribute: "kind", Values: []string{"noise"}, Keep: LogsNever},
				{Attribute: "kind", Values: []string{"audit"}, Keep: LogsAll},
				{MaxSeverity: 5, Keep: LogsNever},
				{MinSeverity: 13, Keep: LogsAtOnce},
			}
		})
		defer r.stop()
		m := r.deliver(otlp.Logs, records("shop",
			record{1, info, "", "a"}, record{1, warn, "", "b"}, record{1, fine, "", "c"}, record{1, fault, "noise", "d"}, record{1, no, "audit", "e"},
			record{2, info, "", "f"}, record{2, warn, "", "g"}, record{2, info, "audit", "h"}, record{3, info, "", "i"}, record{3, info, "audit", "j"},
			record{0, info, "", "k"}, record{0, fine, "", "l"}, record{0, fault, "", "m"}, record{2, info, "", "n"}))
		r.sleep(time.Second)
		r.want("at once", seen.empty(), map[string]int{"1 b -": 1, "2 g -": 1, "0 k -": 1, "0 m -": 1})
		r.want("of traces said to be kept", seen.traces, 0)
		r.deliver(otlp.Traces, traces(span{trace: 1, id: 1, root: true, bad: true}, span{trace: 2, id: 2, root: true}))
		r.sleep(5 * time.Second)
		r.want("with their traces", seen.empty(), map[string]int{"1 a true": 1, "1 e true": 1, "2 h false": 1})
		r.want("the message still has orphans", m.String(), "")
		r.sleep(10 * time.Second)
		r.want("the message", m.String(), "ack")
		r.deliver(otlp.Logs, records("shop", record{1, info, "", "late"}, record{1, warn, "", "late too"}, record{2, info, "", "late"}))
		r.sleep(time.Second)
		r.want("after the decisions", seen.empty(), map[string]int{"1 late true": 1, "1 late too -": 1})
		r.want("by policy", r.p.State().ByPolicy, map[string]Tally{
			"errors":                 {Kept: Count{Spans: 1, Traces: 1, Logs: 3}},
			PolicyNone:               {Dropped: Count{Spans: 1, Traces: 1, Logs: 3}},
			PolicyLogs:               {Kept: Count{Logs: 1}},
			PolicyAtOnce:             {Kept: Count{Logs: 3}},
			PolicyNoTrace:            {Kept: Count{Logs: 2}},
			PolicyOrphans:            {Dropped: Count{Logs: 2}},
			"(logs.rules[0]: never)": {Dropped: Count{Logs: 1}},
			"(logs.rules[2]: never)": {Dropped: Count{Logs: 2}},
		})
		r.check()
	})
}

// kept counts exported records: "trace body kept", with - for a record that says nothing of a decision.
type kept struct {
	mu     sync.Mutex
	lines  map[string]int
	traces int // parts of traces said to be kept
}

// empty returns what was counted since it was last asked.
func (k *kept) empty() map[string]int {
	k.mu.Lock()
	defer k.mu.Unlock()
	lines := k.lines
	k.lines = map[string]int{}
	return lines
}

func (*kept) Name() string { return "kept" }

func (k *kept) Export(_ context.Context, b *exporter.Batch) error {
	if b.Signal != otlp.Logs {
		return nil
	}
	ld, err := (&plog.ProtoUnmarshaler{}).UnmarshalLogs(b.Payload)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, p := range b.Parts {
		if p.Kept && !p.Trace.IsZero() {
			k.traces++
		}
	}
	for _, rl := range ld.ResourceLogs().All() {
		for _, r := range rl.ScopeLogs().At(0).LogRecords().All() {
			said := "-"
			if v, has := r.Attributes().Get(otlp.AttrKept); has {
				said = v.AsString()
			}
			k.lines[fmt.Sprintf("%d %s %s", r.TraceID()[15], r.Body().Str(), said)]++
		}
	}
	return nil
}

// Whatever the order in which records and spans come, however they are packed, repeated, and spread over two workers, the same
// records are exported, and each says the same of its trace.
func TestLogsFollowTheirTraceInAnyOrder(t *testing.T) {
	verdict := map[byte]string{1: "true", 2: "false"} // 3 shows no span
	for _, tt := range []struct {
		name string
		cfg  Config
		want func(x record) string // what it says; "" is not exported
	}{
		{"all", Config{}, func(x record) string { return verdict[x.trace] }},
		{"with_trace", Config{LogsKeep: LogsWithTrace, LogRules: []LogRule{{MinSeverity: 13, Keep: LogsAtOnce}}}, func(x record) string {
			if x.level >= warn {
				return ""
			}
			return verdict[x.trace]
		}},
		{"at once", Config{LogsKeep: LogsAtOnce}, func(record) string { return "" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for seed := range uint64(60) {
				rng := rand.New(rand.NewPCG(seed, 3))
				var all []record
				want := map[string]bool{}
				for i := range 12 {
					x := record{trace: byte(rng.IntN(4)), level: []plog.SeverityNumber{no, info, warn, fault}[rng.IntN(4)], body: fmt.Sprint(i)}
					all = append(all, x)
					said := tt.want(x)
					if said == "" {
						said = "-"
					}
					if !(tt.cfg.LogsKeep == LogsWithTrace && said == "false") {
						want[fmt.Sprintf("%d %s %s", x.trace, x.body, said)] = true
					}
				}
				got := scattered(t, tt.cfg, rng, all)
				if !maps.Equal(got, want) {
					t.Fatalf("seed %d: exported %v, want %v", seed, slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
				}
			}
		})
	}
}

// scattered delivers the records, and the spans of traces 1 and 2, to two workers with one sequencer, and returns what they exported.
func scattered(t *testing.T, cfg Config, rng *rand.Rand, all []record) map[string]bool {
	out := &kept{lines: map[string]int{}}
	synctest.Test(t, func(t *testing.T) {
		r := newPair(t, cfg, out)
		defer r.end()
		var sent sync.WaitGroup
		send := func(signal otlp.Signal, data []byte, at time.Duration) {
			for range 1 + rng.IntN(2) {
				worker, at := rng.IntN(2), at+time.Duration(rng.IntN(2000))*time.Millisecond
				sent.Go(func() {
					time.Sleep(at)
					r.workers[worker].Handle(r.ctx, Delivery{Data: data, Attributes: attrs(signal), Publish: time.Now(), Receipt: unsettled{}})
				})
			}
		}
		for _, s := range []span{{trace: 1, id: 1, root: true, bad: true}, {trace: 1, id: 2, bad: true}, {trace: 2, id: 1, root: true}} {
			send(otlp.Traces, traces(s), 2*time.Second)
		}
		rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		for at := 0; at < len(all); {
			end := min(len(all), at+1+rng.IntN(4))
			some := all[at:end]
			if at > 0 && rng.IntN(3) == 0 { // packed anew with others
				some = append([]record{all[rng.IntN(at)]}, some...)
			}
			send(otlp.Logs, records("shop", some...), time.Duration(rng.IntN(10_000))*time.Millisecond)
			at = end
		}
		sent.Wait()
		time.Sleep(30 * time.Second)
	})
	got := map[string]bool{}
	for line := range out.lines {
		got[line] = true
	}
	return got
}

// pair is two workers that follow the decisions of one sequencer.
type pair struct {
	ctx     context.Context
	end     func()
	workers [2]*Pipeline
}

func newPair(t *testing.T, cfg Config, out exporter.Exporter) *pair {
	r := &pair{}
	var cancel context.CancelFunc
	r.ctx, cancel = context.WithCancel(t.Context())
	policies, err := sampler.Parse("policies", []byte("policies:\n- {name: errors, type: status_code, status_code: {status_codes: [ERROR]}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	solo := fleet.NewSolo(fleet.SoloConfig{
		Policies: policies, Slack: 500 * time.Millisecond, History: 1000,
		Window: buffer.Config{Settle: 2 * time.Second, Idle: 3 * time.Second, MaxAge: 10 * time.Second},
		Tick: func(ctx context.Context) error {
			r.workers[0].Handle(ctx, Delivery{Attributes: attrs(otlp.Traces), Publish: time.Now(), Receipt: unsettled{}})
			return nil
		},
	})
	cfg.Policies, cfg.Exporter, cfg.Sequencer, cfg.Log = policies, out, solo, slog.New(slog.NewTextHandler(io.Discard, nil))
	var running sync.WaitGroup
	for i := range r.workers {
		w := New(cfg)
		r.workers[i] = w
		running.Go(func() { _ = w.Run(r.ctx) })
	}
	running.Go(func() {
		_ = solo.Run(r.ctx, func(all []fleet.Decision) {
			for _, w := range r.workers {
				w.Apply(all)
			}
		})
	})
	r.end = func() { cancel(); running.Wait() }
	return r
}
