package forward

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"

	"tailweir/exporter"
	"tailweir/otlp"
)

// take returns what waits in the lane, the earliest published first, until a request is full, and one message at least.
func (f *Forwarder) take(l *lane) []*message {
	f.mu.Lock()
	defer f.mu.Unlock()
	slices.SortStableFunc(l.waiting, func(a, b *message) int { return a.Publish.Compare(b.Publish) })
	size, n := 0, 0
	for n < len(l.waiting) && (n == 0 || size+len(l.waiting[n].payload) <= maxRequest) {
		size += len(l.waiting[n].payload)
		n++
	}
	batch := slices.Clone(l.waiting[:n])
	l.waiting = slices.Delete(l.waiting, 0, n)
	return batch
}

// ship exports messages and settles each by what became of it.
func (f *Forwarder) ship(ctx context.Context, batch []*message) {
	for _, b := range requests(batch) {
		err := f.cfg.Exporter.Export(ctx, b)
		if partial, ok := errors.AsType[*exporter.PartialError](err); ok {
			f.rejected(partial)
			err = permanentOf(err)
		}
		permanent, refused := errors.AsType[*exporter.PermanentError](err)
		switch {
		case err == nil:
		case !refused:
			f.undone(ctx, batch, err)
			return
		case permanent.Refused == nil && len(batch) > 1: // as one: some of it may pass alone
			f.ship(ctx, batch[:len(batch)/2])
			f.ship(ctx, batch[len(batch)/2:])
			return
		case permanent.Refused == nil:
			batch[0].refused = &exporter.Refusal{Reason: exporter.ReasonRejected, Err: permanent.Err}
		default:
			mark(batch, permanent.Refused)
		}
	}
	for _, m := range batch {
		if m.refused == nil {
			f.settle(m, &f.stats.Forwarded, Receipt.Ack)
		}
	}
	for _, m := range batch { // last: a dead letter may take long
		if m.refused != nil {
			f.bury(ctx, m)
		}
	}
}

// permanentOf is what of an error speaks of refused parts, nil if nothing does.
func permanentOf(err error) error {
	if permanent, ok := errors.AsType[*exporter.PermanentError](err); ok {
		return permanent
	}
	return nil
}

// mark tells messages of a request that they were refused. Of a message that takes several requests each has one part.
func mark(batch []*message, refused []exporter.Refusal) {
	for _, r := range refused {
		batch[r.Part].refused = &r
	}
}

// requests are the batches that the messages make: one with a part for each, or, of a message that is larger than a request, one for each
// piece of it. A metric that is larger by itself goes alone.
func requests(batch []*message) []*exporter.Batch {
	if len(batch) == 1 && len(batch[0].payload) > maxRequest {
		return pieces(batch[0])
	}
	size := 0
	for _, m := range batch {
		size += len(m.payload)
	}
	// Export requests one after the other are one, in protobuf.
	b := &exporter.Batch{Signal: otlp.Metrics, Payload: make([]byte, 0, size), Parts: make([]exporter.Part, 0, len(batch))}
	for _, m := range batch {
		b.Parts = append(b.Parts, exporter.Part{Items: m.points, Off: len(b.Payload), Len: len(m.payload)})
		b.Payload = append(b.Payload, m.payload...)
		b.Items += m.points
	}
	return []*exporter.Batch{b}
}

func pieces(m *message) (all []*exporter.Batch) {
	var p otlp.Payload
	if p.Scan(otlp.Metrics, m.payload) != nil {
		return nil // it was read before
	}
	parts, tooLarge := otlp.Split(&p, maxRequest)
	for _, i := range tooLarge {
		parts = append(parts, otlp.Select(&p, func(j int32) bool { return j == i }))
	}
	for _, part := range parts {
		if p.Scan(otlp.Metrics, part) == nil {
			n := p.Points()
			all = append(all, &exporter.Batch{Signal: otlp.Metrics, Payload: part, Items: n, Parts: []exporter.Part{{Items: n, Len: len(part)}}})
		}
	}
	return all
}

func (f *Forwarder) rejected(partial *exporter.PartialError) {
	f.cfg.Log.Warn("a backend rejected data points without naming them", "rejected", partial.Rejected, "said", partial.Msg)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stats.Rejected += int64(partial.Rejected)
}

// undone gives back what the exporter has not confirmed: at the end at once, else after a while, since an exporter that gives up by
// itself would be asked again and again.
func (f *Forwarder) undone(ctx context.Context, batch []*message, err error) {
	if ctx.Err() != nil {
		f.giveBack(batch)
		return
	}
	f.cfg.Log.Error("forwarding metrics, which return later", "messages", len(batch), "error", err)
	for _, m := range batch {
		f.settle(m, &f.stats.Returned, func(r Receipt) { r.HandBack(f.cfg.HandBack) })
	}
}

// letterPatience is how long a dead letter is tried before a lane turns to other work, and how long the topic is left alone then.
const letterPatience = 20 * time.Second

// bury publishes the message, whole and as it came, as a dead letter, and acks it then. Points of it that a backend has taken are the same
// when they come again. When it does not succeed for a while the message goes back.
func (f *Forwarder) bury(ctx context.Context, m *message) {
	f.cfg.Log.Warn("metrics dead-lettered", "message_id", m.ID, "points", m.points, "reason", m.refused.Reason, "error", m.refused.Err)
	switch {
	case f.deadLetter(ctx, m):
		f.settle(m, &f.stats.DeadLettered, Receipt.Ack)
	case ctx.Err() != nil:
		f.settle(m, &f.stats.Returned, Receipt.Nack)
	default:
		f.settle(m, &f.stats.Returned, func(r Receipt) { r.HandBack(f.cfg.HandBack) })
	}
}

// deadLetter reports whether the letter is durable.
func (f *Forwarder) deadLetter(ctx context.Context, m *message) bool {
	f.mu.Lock()
	away := time.Now().Before(f.lettersBack)
	f.mu.Unlock()
	if away {
		return false
	}
	attrs := maps.Clone(m.Attributes)
	if attrs == nil {
		attrs = map[string]string{}
	}
	text := m.refused.Err.Error()
	attrs[otlp.AttrReason] = m.refused.Reason
	attrs[otlp.AttrError] = strings.ToValidUTF8(text[:min(len(text), 1000)], "") // Pub/Sub: at most 1024 bytes
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		attempt, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		return struct{}{}, f.cfg.Dead.Publish(attempt, m.Data, attrs)
	}, backoff.WithMaxElapsedTime(letterPatience), backoff.WithNotify(func(err error, next time.Duration) {
		f.cfg.Log.Error("publishing a dead letter", "error", err, "next_try_in", next)
	}))
	if err != nil && ctx.Err() == nil { // else it was cut off, which says nothing about the topic
		f.mu.Lock()
		f.lettersBack = time.Now().Add(letterPatience)
		f.mu.Unlock()
	}
	return err == nil
}
