package member_test

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"tailweir/exporter"
)

// exporterOf is k's way to the backend, which is one for all.
type exporterOf worker

func (*exporterOf) Name() string { return "backend" }

func (x *exporterOf) Export(ctx context.Context, b *exporter.Batch) error {
	k, w := (*worker)(x), x.w
	spans := readSpans(b.Payload)
	w.mu.Lock()
	k.exports++
	r := w.die("export", k.name, k.exports)
	w.mu.Unlock()
	there, back := between(r, 2*time.Millisecond, 25*time.Millisecond), between(r, 2*time.Millisecond, 25*time.Millisecond)
	if r.Float64() < 0.02 {
		back += between(r, 0, 5*time.Second)
	}
	if err := sleep(ctx, there); err != nil {
		return err
	}
	if err := w.reachBackend(ctx); err != nil {
		return err
	}
	w.mu.Lock()
	dead := k.dead
	if !dead {
		w.judge.exported(k, spans)
	}
	w.mu.Unlock()
	if err := sleep(ctx, back); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if dead || k.dead {
		return errDead
	}
	w.judge.confirmed(spans)
	return nil
}

// reachBackend waits while the backend is away: exporters try again for as long as it takes.
func (w *world) reachBackend(ctx context.Context) error {
	for {
		w.mu.Lock()
		away := time.Until(w.backend)
		w.mu.Unlock()
		if away <= 0 {
			return ctx.Err()
		}
		if err := sleep(ctx, away); err != nil {
			return err
		}
	}
}

// spanKey is a span's place in the run: the trace's number and the span's in it.
type spanKey struct{ trace, span uint32 }

// sent is a span as it was exported.
type sent struct {
	spanKey
	parent bool // it has one
}

func readSpans(payload []byte) (all []sent) {
	each := func(b []byte, num protowire.Number, yield func([]byte)) {
		for len(b) > 0 {
			n, typ, m := protowire.ConsumeTag(b)
			v := protowire.ConsumeFieldValue(n, typ, b[m:])
			if m < 0 || v < 0 {
				panic("an exported payload cannot be read")
			}
			if n == num {
				body, _ := protowire.ConsumeBytes(b[m:])
				yield(body)
			}
			b = b[m+v:]
		}
	}
	each(payload, 1, func(rs []byte) {
		each(rs, 2, func(ss []byte) {
			each(ss, 2, func(span []byte) {
				var s sent
				each(span, 2, func(id []byte) { s.spanKey = keyOf(id) })
				each(span, 4, func([]byte) { s.parent = true })
				all = append(all, s)
			})
		})
	})
	return all
}

// tick is member.Config.Tick.
func (w *world) tick(ctx context.Context, k *worker) error {
	if err := k.control(ctx); err != nil {
		return err
	}
	w.mu.Lock()
	w.load.ticks++
	n := w.load.ticks
	w.mu.Unlock()
	d := delay(w.die("tick", n), false)
	w.after(d/2, func() { w.load.stamp(k.name, &payload{}, fmt.Sprintf("tick %d", n)) })
	return sleep(ctx, d)
}

// exported says that spans have reached the backend.
func (j *judge) exported(k *worker, spans []sent) {
	for _, s := range spans {
		t := j.w.load.traces[s.trace]
		if v := j.verdicts[t.id]; v == nil || !v.keep {
			j.fault("%s exports trace %d, whose verdict is %+v", k.name, s.trace, v)
			continue
		}
		j.span(s.spanKey).copies++
		x := t.spans[s.span]
		if want := x.parent != none && !x.isEntry(j.verdicts[t.id].first); s.parent != want {
			j.fault("%s exports span %d of trace %d with a parent: %t", k.name, s.span, s.trace, s.parent)
		} else if x.parent != none && !want {
			j.cleared++
		}
	}
}

// isEntry reports whether the parent is to be taken from s: the same for whoever exports it, each time.
func (s *span) isEntry(first uint32) bool {
	for _, o := range s.in.spans {
		if o.trace == s.trace && o.number == s.parent {
			return false
		}
	}
	return first != 0 && s.server && uint32(s.start.UnixNano()) == first
}

func (j *judge) span(s spanKey) *spanRun {
	if j.spans[s] == nil {
		j.spans[s] = &spanRun{}
	}
	return j.spans[s]
}

func (j *judge) confirmed(spans []sent) {
	for _, s := range spans {
		j.span(s.spanKey).confirmed = true
	}
}

// ack judges an ack: every span of the payload has its outcome, or the same payload is safe in another message.
func (j *judge) ack(d *delivery) {
	for _, m := range d.m.messages {
		if m != d.m && !m.acked {
			return
		}
	}
	for _, s := range d.m.spans {
		v := j.verdicts[s.trace.id]
		switch {
		case v == nil:
			j.fault("%s acks message %s, trace %d is not decided", d.to.k.name, d.m.id, s.trace.number)
		case v.keep && !j.span(s.key()).confirmed:
			j.fault("%s acks message %s, span %d of trace %d was kept and is not exported", d.to.k.name, d.m.id, s.number, s.trace.number)
		}
	}
}

func (s *span) key() spanKey { return spanKey{s.trace.number, s.number} }
