package compare

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// Why an answer of the collector is not compared.
const (
	byArrival = "latency: another order of the spans gets another answer"
	byPart    = "latency: the first spans are within the bounds in every order, the whole is above"
	byError   = "ottl_condition: one span matches, one fails; the first to arrive decides"
)

// judge finds the traces whose answers are not functions of the trace, with the reason. It must run in a bubble. It looks at
// each policy by itself, so it also finds traces that another policy decides.
func judge(c configuration, payloads []ptrace.Traces) (map[pcommon.TraceID]string, error) {
	why := map[pcommon.TraceID]string{}
	for p := range c.all {
		if p.kind == "latency" {
			for id, spans := range byTrace(payloads) {
				if reason := latencyOf(p).judge(spans); reason != "" {
					why[id] = reason
				}
			}
		}
		if mode, _ := p.settings["error_mode"].(string); p.kind == "ottl_condition" && strings.EqualFold(mode, "propagate") {
			mixed, err := matchAndFail(p, payloads)
			if err != nil {
				return nil, err
			}
			for _, id := range mixed {
				why[id] = byError
			}
		}
	}
	return why, nil
}

// judged is the pair without the traces that the judge excludes, which it reports. Nobody sees them, so that limiters have
// the same left for the others.
func judged(p pair) (pair, map[pcommon.TraceID]string, error) {
	why, err := judge(p.config, p.payloads)
	if err != nil || len(why) == 0 {
		return p, nil, err
	}
	return pair{p.config, without(p.payloads, func(s ptrace.Span) bool { return why[s.TraceID()] != "" })}, why, nil
}

// latencyBounds are in ms; upper 0 is none.
type latencyBounds struct{ threshold, upper int64 }

func latencyOf(p policy) latencyBounds {
	var b latencyBounds
	b.threshold, _ = p.settings["threshold_ms"].(int64)
	b.upper, _ = p.settings["upper_threshold_ms"].(int64)
	return b
}

// judge tries the orders of the spans, all of them up to 6 spans.
func (b latencyBounds) judge(spans []placed) string {
	if b.upper == 0 && !slices.ContainsFunc(spans, func(s placed) bool { return s.span.StartTimestamp() == 0 }) {
		return "" // the time grows with each span
	}
	times := make([][2]pcommon.Timestamp, 0, len(spans))
	for _, s := range spans {
		times = append(times, [2]pcommon.Timestamp{s.span.StartTimestamp(), s.span.EndTimestamp()})
	}
	yes := b.prefix(times)
	same := true
	orders(times, func() bool {
		same = b.prefix(times) == yes
		return same
	})
	switch {
	case !same:
		return byArrival
	case yes != b.whole(times):
		return byPart
	}
	return ""
}

// prefix is the collector's answer: that of the first spans that are within the bounds; a minimum of 0 is begun anew.
func (b latencyBounds) prefix(times [][2]pcommon.Timestamp) bool {
	var from, to pcommon.Timestamp
	for _, t := range times {
		if from == 0 || t[0] < from {
			from = t[0]
		}
		to = max(to, t[1])
		if b.within(from, to) {
			return true
		}
	}
	return false
}

func (b latencyBounds) whole(times [][2]pcommon.Timestamp) bool {
	from, to := times[0][0], times[0][1]
	for _, t := range times {
		from, to = min(from, t[0]), max(to, t[1])
	}
	return b.within(from, to)
}

func (b latencyBounds) within(from, to pcommon.Timestamp) bool {
	d := to.AsTime().Sub(from.AsTime()) / time.Millisecond
	return int64(d) > b.threshold && (b.upper == 0 || int64(d) <= b.upper)
}

// orders puts list into one order after the other until visit says no: all orders of up to 6, else 500 random ones.
func orders[T any](list []T, visit func() bool) {
	if len(list) <= 6 {
		permute(list, len(list), visit)
		return
	}
	g := rand.New(rand.NewPCG(uint64(len(list)), 0))
	for range 500 {
		g.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		if !visit() {
			return
		}
	}
}

// permute is Heap's algorithm on the first k.
func permute[T any](list []T, k int, visit func() bool) bool {
	if k <= 1 {
		return visit()
	}
	for i := range k {
		if !permute(list, k-1, visit) {
			return false
		}
		j := 0
		if k%2 == 0 {
			j = i
		}
		list[j], list[k-1] = list[k-1], list[j]
	}
	return true
}

// matchAndFail finds the traces with a span that p matches and one that it fails on, by asking the collector about each
// span alone: it keeps it by "match", by "none" (the condition inverted), or not at all when it fails.
func matchAndFail(p policy, payloads []ptrace.Traces) ([]pcommon.TraceID, error) {
	alone, of := eachAlone(payloads)
	p.name = "match"
	inverted := policy{name: "none", kind: "not", parts: []policy{{name: "p", kind: p.kind, settings: p.settings}}}
	got, err := askCollector(configuration{policies: []policy{p, inverted}}.yaml(), alone, firstSeen(alone))
	if err != nil {
		return nil, fmt.Errorf("ask about single spans: %w", err)
	}
	const matched, failed = 1, 2
	saw := map[pcommon.TraceID]int{}
	for id, a := range got {
		switch {
		case !a.Keep:
			saw[of[id]] |= failed
		case a.Policy == "match":
			saw[of[id]] |= matched
		}
	}
	var mixed []pcommon.TraceID
	for id, bits := range saw {
		if bits == matched|failed {
			mixed = append(mixed, id)
		}
	}
	return mixed, nil
}

// eachAlone gives each span a trace id of its own, and says whose it was.
func eachAlone(payloads []ptrace.Traces) ([]ptrace.Traces, map[pcommon.TraceID]pcommon.TraceID) {
	of := map[pcommon.TraceID]pcommon.TraceID{}
	out := make([]ptrace.Traces, 0, len(payloads))
	for _, pl := range payloads {
		alone := ptrace.NewTraces()
		pl.CopyTo(alone)
		for s := range spansOf(alone) {
			n := len(of) + 1
			id := pcommon.TraceID{0: 0xff, 14: byte(n >> 8), 15: byte(n)}
			of[id] = s.span.TraceID()
			s.span.SetTraceID(id)
		}
		out = append(out, alone)
	}
	return out, of
}
