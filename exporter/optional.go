package exporter

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"log/slog"
	"slices"
	"sync"
)

// Optional gives batches to an exporter for which nobody waits: they are settled by what the others say, and this one may
// lag behind, by MaxPending bytes at most. What does not fit, what it refuses and what waits when the process ends is lost to
// it, and counted. Use NewOptional, then Run. Safe for concurrent use.
type Optional struct {
	Exporter
	max int
	log *slog.Logger

	mu      sync.Mutex // guards all below
	changed *sync.Cond
	waiting []*Batch
	bytes   int // of what waits and what is under way
	busy    int
	ended   bool
	lost    int64
	missed  int64 // of these, what the end came too early for
	full    bool  // the log was told
}

// optionalSenders is how many batches are under way at once; the exporter's own pace bounds its requests.
const optionalSenders = 4

// NewOptional wraps an exporter. maxPending is in bytes of payload, 64 MiB by default; a nil log is slog.Default().
func NewOptional(e Exporter, maxPending int, log *slog.Logger) *Optional {
	o := &Optional{Exporter: e, max: cmp.Or(maxPending, 64<<20), log: cmp.Or(log, slog.Default())}
	o.changed = sync.NewCond(&o.mu)
	return o
}

// Export copies the batch into the queue, or counts it as lost where that is full, and returns nil at once.
func (o *Optional) Export(_ context.Context, b *Batch) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended || o.bytes > 0 && o.bytes+len(b.Payload) > o.max {
		o.lost += int64(b.Items)
		if !o.full {
			o.full = true
			o.log.Warn("an exporter that is not required lags behind: what comes now is lost to it", "pending_bytes", o.bytes)
		}
		return nil
	}
	c := *b
	c.Payload, c.Parts = bytes.Clone(b.Payload), slices.Clone(b.Parts)
	o.waiting = append(o.waiting, &c)
	o.bytes += len(c.Payload)
	o.changed.Broadcast()
	return nil
}

// Run delivers until ctx is done.
func (o *Optional) Run(ctx context.Context) error {
	defer context.AfterFunc(ctx, o.end)()
	var senders sync.WaitGroup
	for range optionalSenders {
		senders.Go(func() {
			for b := o.next(); b != nil; b = o.next() {
				o.deliver(ctx, b)
			}
		})
	}
	senders.Wait()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.missed > 0 {
		o.log.Warn("an exporter that is not required had not caught up at the end", "items_lost", o.missed)
	}
	return nil
}

func (o *Optional) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = true
	for _, b := range o.waiting {
		o.lost += int64(b.Items)
		o.missed += int64(b.Items)
	}
	o.waiting = nil
	o.changed.Broadcast()
}

// next waits for a batch; nil at the end.
func (o *Optional) next() *Batch {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.waiting) == 0 && !o.ended {
		o.changed.Wait()
	}
	if len(o.waiting) == 0 {
		return nil
	}
	b := o.waiting[0]
	o.waiting[0] = nil
	o.waiting = o.waiting[1:]
	o.busy++
	return b
}

func (o *Optional) deliver(ctx context.Context, b *Batch) {
	err := o.Exporter.Export(ctx, b)
	lost := lostOf(b, err)
	if lost > 0 && ctx.Err() == nil {
		o.log.Warn("an exporter that is not required refused items", "signal", b.Signal.String(), "items", lost, "error", err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lost += int64(lost)
	if ctx.Err() != nil {
		o.missed += int64(lost)
	}
	o.bytes -= len(b.Payload)
	o.busy--
	o.full = o.full && o.bytes > o.max/2
	o.changed.Broadcast()
}

// Flush waits until nothing is pending, or ctx is done.
func (o *Optional) Flush(ctx context.Context) {
	defer context.AfterFunc(ctx, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.changed.Broadcast()
	})()
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.waiting)+o.busy > 0 && !o.ended && ctx.Err() == nil {
		o.changed.Wait()
	}
}

// Stats is that of the exporter, and what is pending or was lost.
func (o *Optional) Stats() Stats {
	s, _ := StatsOf(o.Exporter)
	o.mu.Lock()
	defer o.mu.Unlock()
	s.Pending, s.MaxPending, s.Lost = o.bytes, o.max, o.lost
	return s
}

// Close closes the exporter.
func (o *Optional) Close() error {
	if c, ok := o.Exporter.(io.Closer); ok {
		return c.Close()
	}
	return nil
}
