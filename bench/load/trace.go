package load

import (
	"time"

	"tailweir/bench/ledger"
)

// place is where a span lies in its trace.
type place struct {
	start, end time.Duration // since the trace's begin
	service    uint8
}

// begin draws the spans of a trace and hangs each into the wheel at the time its
// service sends it. The root lasts as long as the trace and every other span
// lies within its parent. What decides the trace, the root and a span in error, is never late.
func (g *Generator) begin(plan ledger.Plan, at time.Duration) {
	high := plan.High()
	low := ledger.Low(high)
	g.places = append(g.places[:0], place{end: plan.Duration, service: uint8(g.draw() % 3)})
	var phase [services]time.Duration
	for i := range phase {
		phase[i] = g.within(flushPeriod)
	}
	failed, rootFails := -1, false
	if plan.Error {
		failed, rootFails = int(g.draw()%uint64(plan.Spans)), g.draw()&1 == 0
	}
	for i := range plan.Spans {
		parent := 0
		if i > 0 {
			parent = int(g.draw() % uint64(i))
			g.places = append(g.places, g.child(g.places[parent]))
		}
		p := g.places[i]
		e := event{
			high: high, low: low, index: uint16(i), parent: uint16(parent),
			start:   g.epoch + int64(at+p.start),
			end:     g.epoch + int64(at+p.end),
			service: p.service, operation: uint8(g.draw() % operations),
			child: i > 0, failed: i == failed || i == 0 && rootFails,
		}
		decides := i == 0 || i == failed
		e.deciding = decides && (plan.Error || plan.Slow)
		g.schedule(e, at+g.sent(p, phase[p.service], decides))
	}
}

// child lies within its parent; two in three are spans of the same service.
func (g *Generator) child(parent place) place {
	length := parent.end - parent.start
	start := parent.start + g.within(length/2)
	c := place{start: start, end: start + g.within(parent.end-start), service: parent.service}
	if r := g.draw(); r%3 == 0 {
		c.service = uint8((uint64(parent.service)*3 + 1 + r>>8%3) % services)
	}
	return c
}

// sent is when the service sends a span: at the first flush after its end, or,
// for the late ones, 1 to 10 s after that.
func (g *Generator) sent(p place, phase time.Duration, decides bool) time.Duration {
	wait := (phase - p.end) % flushPeriod
	if wait < 0 {
		wait += flushPeriod
	}
	at := p.end + wait
	if !decides && g.share() < lateShare*ledger.MeanSpans/(ledger.MeanSpans-1) {
		at += earliest + g.within(latest-earliest)
	}
	return at
}

func (g *Generator) schedule(e event, at time.Duration) {
	slot := &g.wheel[int(max(at, g.now)/tick)%slots]
	*slot = append(*slot, e)
	g.waiting++
}
