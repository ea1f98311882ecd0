// Package load makes realistic telemetry and sends it as SDKs do.
package load

import (
	"math"
	"time"

	"tailweir/bench/ledger"
)

// Shape of what is sent; that of the traces is the ledger's.
const (
	meanItems   = 40              // per payload, 20 to 60
	flushPeriod = 2 * time.Second // of the services' batchers: the spans of a trace come this far apart
	lateShare   = 0.05            // of the spans
	latest      = 10 * time.Second
	earliest    = time.Second // of the late ones

	tick  = 10 * time.Millisecond // grain of virtual time
	slots = 2048                  // of the wheel: 20 s, more than MaxDuration + flushPeriod + latest
)

// event is a span that waits for the moment its service sends it.
type event struct {
	high, low     uint64 // trace id
	start, end    int64  // unix ns
	index, parent uint16
	service       uint8
	operation     uint8
	child, failed bool
	deciding      bool
}

// Generator makes payloads in the order in which the services would send them.
// It runs on virtual time: a span enters its service's batch when it has ended
// and the batcher comes by, late ones 1 to 10 s afterwards. What it makes is a
// function of its Run, epoch and the calls. It is not safe for concurrent use.
type Generator struct {
	run      ledger.Run
	logs     bool
	epoch    int64 // unix ns of virtual time 0
	random   uint64
	services [services]*service

	now      time.Duration // virtual, start of the slot that was played last
	next     uint32        // number of the next trace
	nextAt   time.Duration // when it begins
	interval time.Duration // mean time between two traces
	stopped  bool

	wheel   [slots][]event
	waiting int // events in the wheel
	spans   [services]batch
	records [services]batch
	ready   []*Payload
	free    []*Payload
	places  []place // of the trace in the making
}

// NewGenerator starts at virtual time 0, which is the given moment. rate is in spans per second of virtual time.
func NewGenerator(run ledger.Run, rate float64, logs bool, epoch time.Time) *Generator {
	g := &Generator{run: run, logs: logs, epoch: epoch.UnixNano(), random: run.Seed}
	for i := range g.services {
		g.services[i] = newService(i)
		g.records[i].logs = true
	}
	g.SetRate(rate)
	return g
}

// SetRate changes the density of the traces that are still to begin.
func (g *Generator) SetRate(rate float64) {
	g.interval = time.Duration(float64(time.Second) * ledger.MeanSpans / rate)
}

// Stop lets no further trace begin; Next then gives what is under way.
func (g *Generator) Stop() { g.stopped = true }

// Traces is the number of traces begun.
func (g *Generator) Traces() uint32 { return g.next }

// Next is the next payload, or nil when the generator was stopped and everything has been given.
func (g *Generator) Next() *Payload {
	for len(g.ready) == 0 {
		if g.stopped && g.waiting == 0 {
			g.flush(math.MaxInt64)
			if len(g.ready) == 0 {
				return nil
			}
			break
		}
		g.play()
	}
	p := g.ready[0]
	g.ready = g.ready[1:]
	return p
}

// Free gives a payload back to be filled anew.
func (g *Generator) Free(p *Payload) { g.free = append(g.free, p) }

// play lets one tick of virtual time pass.
func (g *Generator) play() {
	for !g.stopped && g.nextAt < g.now+tick {
		g.begin(g.run.Plan(g.next), g.nextAt)
		g.next++
		g.nextAt += time.Duration(g.exponential() * float64(g.interval))
	}
	slot := &g.wheel[int(g.now/tick)%slots]
	for i := range *slot {
		g.emit(&(*slot)[i])
	}
	g.waiting -= len(*slot)
	*slot = (*slot)[:0]
	g.now += tick
	if g.now%(100*tick) == 0 {
		g.flush(g.now - flushPeriod/2)
	}
}

// emit puts a span, and its log record, into the service's batch.
func (g *Generator) emit(e *event) {
	s, failed := g.services[e.service], index(e.failed)
	b := g.batch(&g.spans[e.service])
	b.addSpan(&s.spans[e.operation][index(e.child)][failed], e)
	g.sealFull(b, s)
	if !g.logs || !ledger.HasRecord(e.high, int(e.index)) {
		return
	}
	b = g.batch(&g.records[e.service])
	b.addRecord(&s.records[failed], e)
	g.sealFull(b, s)
}

func (g *Generator) batch(b *batch) *batch {
	if b.room == nil {
		b.open(g.take(), meanItems/2+int(g.draw()%(meanItems+1)), g.now)
	}
	return b
}

func (g *Generator) sealFull(b *batch, s *service) {
	if len(b.items) >= b.target {
		g.seal(b, s)
	}
}

func (g *Generator) seal(b *batch, s *service) {
	p := new(Payload)
	b.seal(p, s, g.now)
	g.ready = append(g.ready, p)
}

// flush sends the batches that were opened before the given time.
func (g *Generator) flush(before time.Duration) {
	for i, s := range g.services {
		for _, b := range []*batch{&g.spans[i], &g.records[i]} {
			if b.room != nil && b.opened < before {
				g.seal(b, s)
			}
		}
	}
}

func (g *Generator) take() *Payload {
	if n := len(g.free); n > 0 {
		p := g.free[n-1]
		g.free = g.free[:n-1]
		return p
	}
	return new(Payload)
}

// draw is the next word of a splitmix64 sequence, which costs 1 ns.
func (g *Generator) draw() uint64 {
	g.random += 0x9e3779b97f4a7c15
	z := g.random
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// share is uniform in [0,1).
func (g *Generator) share() float64 { return float64(g.draw()>>11) / (1 << 53) }

func (g *Generator) exponential() float64 { return -math.Log(1 - g.share()) }

// within is uniform in [0,d).
func (g *Generator) within(d time.Duration) time.Duration {
	return time.Duration(g.share() * float64(d))
}

func index(b bool) int {
	if b {
		return 1
	}
	return 0
}
