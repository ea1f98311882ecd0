package pipeline

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"tailweir/exporter"
	"tailweir/otlp"
	"tailweir/tracestate"
)

// send exports departures of one signal in batches until ctx is done. What was not confirmed by then is put back, for
// Release.
func (p *Pipeline) send(ctx context.Context, box *outbox) error {
	for {
		select {
		case <-box.wake:
		case <-ctx.Done():
			return nil
		}
		p.linger(ctx, box)
		for ctx.Err() == nil {
			batch, session := p.depart(box)
			if len(batch) == 0 {
				break
			}
			p.ship(ctx, session, box, batch)
		}
	}
}

// linger lets a batch fill while little is waiting: a request per trace would cost the backend and us many times more.
func (p *Pipeline) linger(ctx context.Context, box *outbox) {
	p.mu.Lock()
	waiting := len(box.waiting)
	p.mu.Unlock()
	if waiting == 0 || waiting > 256 {
		return
	}
	t := time.NewTimer(p.cfg.Linger)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// depart takes the departures of one batch, until BatchBytes are reached, and one at least, and returns the session in which
// they may be exported.
func (p *Pipeline) depart(box *outbox) ([]departure, context.Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	batch := p.takeLocked(box, p.cfg.BatchBytes)
	p.sending += len(batch)
	return batch, p.session
}

// ship exports one batch and settles it, or puts back what was not confirmed before ctx was done or could not be
// dead-lettered, for later, unless the session ended and it was given back.
func (p *Pipeline) ship(ctx, session context.Context, box *outbox, batch []departure) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(session, cancel)()
	left := p.export(ctx, box.signal, batch)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sending -= len(batch)
	for _, d := range left {
		if !p.liveLocked(&d) {
			continue
		}
		for _, f := range d.fragments {
			f.state = waiting
		}
		box.later = append(box.later, d)
	}
	if len(box.later) > 0 && !box.timed { // one timer for all: one for each batch would beget as many again each time
		box.timed = true
		time.AfterFunc(letterPatience, func() { p.resume(box) })
	}
	p.idle.Broadcast()
}

func (p *Pipeline) resume(box *outbox) {
	p.mu.Lock()
	defer p.mu.Unlock()
	box.timed = false
	box.resume()
	box.wakeSender()
}

// export sends departures and settles them by the exporter's answer; it returns those that have none because ctx ended.
// A batch that is refused for good is sent again in halves, so that only what is at fault becomes a dead letter.
func (p *Pipeline) export(ctx context.Context, signal otlp.Signal, batch []departure) []departure {
	if at := slices.IndexFunc(batch, func(d departure) bool { return d.refused != nil }); at >= 0 {
		left := p.discard(ctx, signal, batch[at])
		return append(left, p.export(ctx, signal, append(batch[:at:at], batch[at+1:]...))...)
	}
	if len(batch) == 0 {
		return nil
	}
	err := p.cfg.Exporter.Export(ctx, encode(signal, batch, true))
	var permanent *exporter.PermanentError
	var partial *exporter.PartialError
	if errors.As(err, &partial) {
		p.cfg.Log.Warn("a backend refused items without naming them", "signal", signal.String(), "rejected", partial.Rejected, "error", err)
		p.mu.Lock()
		p.refused += int64(partial.Rejected)
		p.mu.Unlock()
	}
	switch {
	case errors.As(err, &permanent):
		return p.refuse(ctx, signal, batch, permanent)
	case err == nil || partial != nil:
		p.finish(batch, Kept, 0)
		return nil
	default:
		return batch
	}
}

// refuse settles a batch of which the exporter will never take some. Where the error names what, the rest is
// confirmed; where it does not, the batch is sent again in halves, until what is at fault stands alone.
func (p *Pipeline) refuse(ctx context.Context, signal otlp.Signal, batch []departure, cause *exporter.PermanentError) (left []departure) {
	switch {
	case cause.Refused != nil:
		for i := range batch {
			if !slices.ContainsFunc(cause.Refused, func(r exporter.Refusal) bool { return r.Part == i }) {
				p.finish(batch[i:i+1], Kept, 0) // first: a dead letter may take long
			}
		}
		for _, r := range cause.Refused {
			left = append(left, p.reject(ctx, signal, batch[r.Part], r)...)
		}
		return left
	case len(batch) > 1:
		half := len(batch) / 2
		left = p.export(ctx, signal, batch[:half:half])
		return append(left, p.export(ctx, signal, batch[half:])...)
	default:
		return p.reject(ctx, signal, batch[0], exporter.Refusal{Reason: ReasonRejected, Err: cause.Err})
	}
}

// reject settles a departure that was refused by itself, or items of it: what came in several messages and was rejected as one
// is tried in halves, since the trace may be too large for the backend where its parts are not, or one part alone at fault.
func (p *Pipeline) reject(ctx context.Context, signal otlp.Signal, d departure, why exporter.Refusal) []departure {
	if len(d.fragments) == 1 || why.Items != nil || why.Alone || why.Reason != ReasonRejected {
		d.refused = &why
		return p.discard(ctx, signal, d)
	}
	first, second := d, d
	half := len(d.fragments) / 2
	first.fragments, second.fragments, second.traces = d.fragments[:half:half], d.fragments[half:], 0
	left := p.export(ctx, signal, []departure{first})
	return append(left, p.export(ctx, signal, []departure{second})...)
}

// invalid is the refusal of spans without a trace id, which needs no backend.
var invalid = &exporter.Refusal{Reason: ReasonInvalidID, Err: errors.New("spans without a trace id: no policy can decide them and no backend takes them")}

// discard dead-letters one departure that was refused, or those items of it, re-encoded with nothing else.
func (p *Pipeline) discard(ctx context.Context, signal otlp.Signal, d departure) []departure {
	why := d.refused
	b := encode(signal, []departure{d}, false)
	payload, n := b.Payload, b.Items
	letters, err := []letter(nil), error(nil)
	if why.Items != nil {
		n = len(why.Items)
		payload, err = some(signal, payload, why.Items)
	}
	if err == nil {
		letters, err = cut(signal, payload)
	}
	if err != nil {
		p.cfg.Log.Error("cutting a dead letter, which is tried again", "trace", d.trace.String(), "error", err)
		return []departure{d}
	}
	p.cfg.Log.Warn("items dead-lettered", "trace", d.trace.String(), "signal", signal.String(), "items", n, "reason", why.Reason, "error", why.Err)
	attrs := map[string]string{otlp.AttrType: signal.EventType(), otlp.AttrContentType: otlp.ContentTypeProtobuf}
	for _, letter := range letters {
		if letter.packed {
			attrs[otlp.AttrContentEncoding] = otlp.EncodingGzip
		} else {
			delete(attrs, otlp.AttrContentEncoding)
		}
		if !p.deadLetter(ctx, letter.data, attrs, why.Reason, why.Err) {
			return []departure{d}
		}
	}
	if why.Items == nil {
		p.finish([]departure{d}, DeadLettered, 0)
	} else {
		p.finish([]departure{d}, Kept, n)
	}
	return nil
}

// some is a payload with nothing but the items, ascending, of the given one.
func some(signal otlp.Signal, payload []byte, items []int) ([]byte, error) {
	var scanned otlp.Payload
	if err := scanned.Scan(signal, payload); err != nil {
		return nil, err
	}
	return otlp.Select(&scanned, func(i int32) bool {
		_, found := slices.BinarySearch(items, int(i))
		return found
	}), nil
}

// finish gives every fragment of the departures its outcome, but for those that were given back during the export; dead is
// how many items of them, kept otherwise, are dead letters.
func (p *Pipeline) finish(batch []departure, o Outcome, dead int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range batch {
		d := &batch[i]
		if !p.liveLocked(d) {
			continue
		}
		var all Count
		for _, f := range d.fragments {
			all.add(f.count)
			p.settle(f, o, d.policy())
		}
		p.ledger.book(o, d.policy(), Count{Traces: d.traces})
		p.ledger.bury(d.policy(), Count{Spans: min(all.Spans, int64(dead)), Logs: min(all.Logs, int64(dead))})
	}
}

// mostAdded is by how many bytes encode can make an item larger: a trace_state of its own with a threshold; otlp.AttrKept takes less.
const mostAdded = tracestate.MaxGrowth + 2

// encode builds the request for departures: bytes as they came, a part for each departure. With counted set, spans say in
// their tracestate for how many each stands, and the entry span of a trace without a root becomes one; not in a dead letter,
// since nobody kept it.
func encode(signal otlp.Signal, batch []departure, counted bool) *exporter.Batch {
	b := &exporter.Batch{Signal: signal, Parts: make([]exporter.Part, 0, len(batch))}
	size := 0
	for i := range batch {
		for _, f := range batch[i].fragments {
			size += f.index.SizeEncoded(f.first, mostAdded)
		}
	}
	b.Payload = make([]byte, 0, size)
	var unique otlp.Unique
	var edit otlp.Edit
	for i := range batch {
		d := &batch[i]
		part := exporter.Part{Trace: d.trace, Kept: d.decision.Keep && !d.undecided, Decided: d.decided(), Policy: d.policy(), Reason: d.reason, Off: len(b.Payload)}
		edit.Suffix, edit.State, edit.First = nil, nil, 0
		switch {
		case signal == otlp.Logs && d.decided():
			edit.Suffix = otlp.BoolAttributeField(otlp.Logs, otlp.AttrKept, d.decision.Keep)
		case signal == otlp.Traces && counted:
			edit.First = d.decision.First
			random := binary.BigEndian.Uint64(d.trace[8:]) & (1<<56 - 1)
			edit.State = func(dst, old []byte) []byte { return tracestate.Append(dst, old, d.decision.Threshold, random) }
		}
		unique.Reset()
		for _, f := range d.fragments {
			items := int(f.count.Logs)
			if signal == otlp.Traces {
				b.Payload, items = unique.AppendGroup(b.Payload, f.index, f.first, &edit)
			} else { // two records with the same bytes may be two events: they have no id of their own
				b.Payload = f.index.AppendGroup(b.Payload, f.first, &edit)
				part.Sources = append(part.Sources, exporter.Source{Message: f.source(), Items: items})
			}
			part.Items += items
		}
		part.Len = len(b.Payload) - part.Off
		b.Items += part.Items
		b.Parts = append(b.Parts, part)
	}
	return b
}
