package member_test

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"tailweir/otlp"
)

// load is what the apps send: traces whose spans end in several SDKs, which send what has ended every few seconds.
type load struct {
	w        *world
	traces   []*traceRun
	payloads []*payload
	last     map[string]time.Time // stamps
	ends     time.Time            // of sending
	ticks    int
}

// traceRun is a trace of the run.
type traceRun struct {
	number uint32
	id     otlp.TraceID
	spans  []*span
	parts  []*payload // that have spans of it
}

type span struct {
	trace                  *traceRun
	number                 uint32
	parent                 uint32 // its number; none of the root
	server                 bool
	start, end             time.Time
	bad, veto, left, right bool
	in                     *payload
}

// Parents that are no spans of the trace.
const (
	none   = 1 << 31
	unseen = 1<<31 + 1 // of a proxy that sends no spans
)

// payload is what an SDK sends at once. It may be sent twice.
type payload struct {
	sdk      string
	data     []byte
	spans    []*span
	messages []*message
}

// first is the earliest publish time, which counts.
func (p *payload) first() int64 {
	least := int64(math.MaxInt64)
	for _, m := range p.messages {
		least = min(least, m.publish.UnixMilli())
	}
	return least
}

const sdks = 12

func newLoad(w *world) *load {
	l := &load{w: w, last: map[string]time.Time{}}
	r := w.die("load")
	var all []*span
	for at := time.Duration(0); at < w.setup.lasts; at += time.Duration(r.ExpFloat64() / w.setup.rate * float64(time.Second)) {
		t := l.newTrace(r.Float64, r.Uint64, w.begin.Add(at))
		all = append(all, t.spans...)
	}
	l.pack(all)
	return l
}

func (l *load) newTrace(f func() float64, u func() uint64, start time.Time) *traceRun {
	t := &traceRun{number: uint32(len(l.traces))}
	l.traces = append(l.traces, t)
	for near := true; near; {
		binary.BigEndian.PutUint64(t.id[:], u())
		binary.BigEndian.PutUint64(t.id[8:], u())
		x := t.random()
		near = math.Abs(x-(1-oldPercent/100.)) < 1e-3 || math.Abs(x-(1-newPercent/100.)) < 1e-3 // thresholds are rounded
	}
	normal := math.Sqrt(-2*math.Log(1-f())) * math.Cos(2*math.Pi*f())
	lasts := time.Duration(math.Min(20, math.Max(0.01, 0.2*math.Exp(1.5*normal))) * float64(time.Second))
	bad, veto, pair := f() < 0.04, f() < 0.04, f() < 0.06
	n := 3 + int(f()*6)
	for i := range n {
		s := &span{trace: t, number: uint32(i), start: start, end: start.Add(lasts)}
		if i == 0 {
			s.parent = none
		} else {
			a, b := f(), f()
			s.start, s.end = start.Add(time.Duration(min(a, b)*float64(lasts))), start.Add(time.Duration(max(a, b)*float64(lasts)))
			if f() < 0.03 {
				s.end = start.Add(lasts + time.Duration(f()*8*float64(time.Second)))
			}
		}
		t.spans = append(t.spans, s)
	}
	t.spans[int(f()*float64(n))].bad = bad
	t.spans[int(f()*float64(n))].veto = veto
	t.spans[int(f()*float64(n))].left = pair
	t.spans[int(f()*float64(n))].right = pair
	l.behindProxy(t)
	return t
}

// behindProxy makes of some traces such as come from behind a proxy, their root a local one, as others are in them. In some two
// begin at one time, in some the second's clock is behind.
func (l *load) behindProxy(t *traceRun) {
	r := l.w.die("proxy", int(t.number))
	if r.Float64() >= l.w.setup.rootless {
		return
	}
	t.spans[0].parent, t.spans[0].server = unseen, true
	for _, s := range t.spans[1:] {
		s.server = r.Float64() < 0.3
	}
	switch s := t.spans[1]; r.IntN(10) {
	case 0:
		s.start, s.server, s.parent = t.spans[0].start, true, unseen
	case 1:
		s.start, s.server = t.spans[0].start.Add(-5*time.Millisecond), true
	}
}

// random is the trace's randomness in 0..1.
func (t *traceRun) random() float64 {
	return float64(binary.BigEndian.Uint64(t.id[8:])&(1<<56-1)) / (1 << 56)
}

// pack puts spans into the payloads that SDKs send: most each 5 s, some each second.
func (l *load) pack(all []*span) {
	type flush struct {
		sdk int
		n   int64
	}
	open := map[flush]*payload{}
	for _, s := range all {
		r := l.w.die("span", int(s.trace.number), int(s.number))
		sdk := int(r.Float64() * sdks)
		every, phase := 5*time.Second, l.w.die("sdk", sdk).Float64()
		if sdk%10 >= 7 {
			every = time.Second
		}
		end := s.end.Sub(l.w.begin)
		if r.Float64() < 0.003 {
			end += between(r, 5*time.Second, 60*time.Second)
		}
		n := int64(float64(end)/float64(every)-phase) + 1
		at := flush{sdk, n}
		if open[at] == nil {
			open[at] = &payload{sdk: fmt.Sprintf("sdk %d", sdk)}
			l.payloads = append(l.payloads, open[at])
			sent := l.w.begin.Add(time.Duration((float64(n) + phase) * float64(every)))
			l.send(open[at], sent, fmt.Sprintf("%d/%d", sdk, n))
		}
		open[at].spans = append(open[at].spans, s)
		s.in = open[at]
		if !slices.Contains(s.trace.parts, open[at]) {
			s.trace.parts = append(s.trace.parts, open[at])
		}
	}
	for _, p := range l.payloads {
		p.encode()
	}
}

// send publishes p at a time, and some again, as an SDK does that got no answer.
func (l *load) send(p *payload, at time.Time, id string) {
	r := l.w.die("send", id)
	there := time.Until(at) + delay(r, false)
	l.w.after(there, func() { l.stamp(p.sdk, p, id) })
	if r.Float64() < l.w.setup.twice {
		there += between(r, time.Second, 6*time.Second)
		l.w.after(there, func() { l.stamp(p.sdk, p, id+" again") })
	}
	l.ends = later(l.ends, time.Now().Add(there+time.Second))
}

// stamp takes a payload in; the world's mutex is held.
func (l *load) stamp(publisher string, p *payload, id string) {
	m := &message{id: id, data: p.data, publish: l.w.stamp(l.last, publisher), payload: p}
	p.messages = append(p.messages, m)
	l.w.payloads.add(m)
}

func (p *payload) encode() {
	slices.SortFunc(p.spans, func(a, b *span) int {
		return cmp.Or(cmp.Compare(a.trace.number, b.trace.number), cmp.Compare(a.number, b.number))
	})
	var spans []byte
	for _, s := range p.spans {
		spans = append(spans, field(2, s.encode())...)
	}
	resource := field(1, field(1, append(field(1, []byte("service.name")), field(2, field(1, []byte(p.sdk)))...)))
	p.data = field(1, append(resource, field(2, spans)...))
}

func field(num protowire.Number, body []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), body)
}

func (s *span) encode() []byte {
	id := func(n uint32) []byte {
		return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, s.trace.number+1), n+1)
	}
	b := append(field(1, s.trace.id[:]), field(2, id(s.number))...)
	if s.parent != none {
		b = append(b, field(4, id(s.parent))...)
	}
	if s.server {
		b = append(b, 6<<3, 2)
	}
	b = append(b, field(5, []byte("work"))...)
	b = protowire.AppendFixed64(protowire.AppendTag(b, 7, protowire.Fixed64Type), uint64(s.start.UnixNano()))
	b = protowire.AppendFixed64(protowire.AppendTag(b, 8, protowire.Fixed64Type), uint64(s.end.UnixNano()))
	for i, set := range []bool{s.veto, s.left, s.right} {
		if set {
			key := []byte([]string{"veto", "left", "right"}[i])
			b = append(b, field(9, append(field(1, key), field(2, []byte{2 << 3, 1})...))...)
		}
	}
	if s.bad {
		b = append(b, field(15, []byte{3 << 3, 2})...)
	}
	return b
}

func keyOf(id []byte) spanKey {
	return spanKey{binary.BigEndian.Uint32(id) - 1, binary.BigEndian.Uint32(id[4:]) - 1}
}

// ideal is what one worker without any delay decides: the canonical fold over publish times, and the policies over what was
// in time. It returns the deadline, too, and the spans in time.
func (t *traceRun) ideal(percent float64, slow time.Duration) (keep bool, deadline int64, inTime []*payload) {
	parts := slices.Clone(t.parts)
	slices.SortFunc(parts, func(a, b *payload) int {
		return cmp.Or(cmp.Compare(a.first(), b.first()), cmp.Compare(sum(a.data), sum(b.data)))
	})
	root := false
	for i, p := range parts {
		at := p.first()
		if i > 0 && at > deadline {
			break
		}
		inTime = append(inTime, p)
		quiet := window.Idle
		for _, s := range p.spans {
			root = root || s.trace == t && s.parent == none
		}
		if root {
			quiet = window.Settle
		}
		deadline = min(parts[0].first()+window.MaxAge.Milliseconds(), at+quiet.Milliseconds())
	}
	return t.kept(inTime, percent, slow), deadline, inTime
}

func (t *traceRun) kept(parts []*payload, percent float64, slow time.Duration) bool {
	var first, last time.Time
	var bad, veto, left, right bool
	for _, s := range t.spans {
		if !slices.Contains(parts, s.in) {
			continue
		}
		if first.IsZero() || s.start.Before(first) {
			first = s.start
		}
		last = later(last, s.end)
		bad, veto, left, right = bad || s.bad, veto || s.veto, left || s.left, right || s.right
	}
	return !veto && (bad || last.Sub(first) > slow || left && right || t.random() >= 1-percent/100)
}
