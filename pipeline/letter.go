package pipeline

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/klauspost/compress/gzip"

	"tailweir/otlp"
)

// maxLetter leaves room for attributes within the 10 MB of a Pub/Sub request.
const maxLetter = 9_500_000

// letter is a payload as it is dead-lettered.
type letter struct {
	data   []byte
	packed bool // gzip
}

// cut makes letters of a payload: messages that Pub/Sub takes. An item that is too large by itself came compressed, and goes so.
func cut(signal otlp.Signal, payload []byte) ([]letter, error) {
	if len(payload) <= maxLetter {
		return []letter{{data: payload}}, nil
	}
	var scanned otlp.Payload
	if err := scanned.Scan(signal, payload); err != nil {
		return nil, err
	}
	parts, tooLarge := otlp.Split(&scanned, maxLetter)
	all := make([]letter, 0, len(parts)+len(tooLarge))
	for _, part := range parts {
		all = append(all, letter{data: part})
	}
	for _, i := range tooLarge {
		packed := pack(otlp.Select(&scanned, func(j int32) bool { return j == i }))
		if len(packed) > maxLetter {
			return nil, fmt.Errorf("an item takes %d bytes compressed, Pub/Sub takes %d", len(packed), maxLetter)
		}
		all = append(all, letter{data: packed, packed: true})
	}
	return all, nil
}

func pack(data []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write(data) // a bytes.Buffer takes everything
	_ = z.Close()
	return out.Bytes()
}

// letterPatience is how long a dead letter is tried before a reader or sender turns to other work, and how long the topic
// is then left alone: readers and senders must not all wait for it.
const letterPatience = 20 * time.Second

// deadLetter publishes a dead letter, again if need be, and reports whether it is durable.
func (p *Pipeline) deadLetter(ctx context.Context, data []byte, attrs map[string]string, reason string, cause error) bool {
	if p.lettersAway() {
		return false
	}
	all := maps.Clone(attrs)
	if all == nil {
		all = map[string]string{}
	}
	text := cause.Error()
	all[AttrReason], all[AttrError] = reason, strings.ToValidUTF8(text[:min(len(text), 1000)], "") // Pub/Sub: at most 1024 bytes
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		attempt, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		return struct{}{}, p.cfg.Dead.Publish(attempt, data, all)
	}, backoff.WithMaxElapsedTime(letterPatience), backoff.WithNotify(func(err error, next time.Duration) {
		p.cfg.Log.Error("publishing a dead letter", "error", err, "next_try_in", next)
	}))
	if err != nil && ctx.Err() == nil { // else it was cut off, which says nothing about the topic
		p.mu.Lock()
		p.lettersBack = time.Now().Add(letterPatience)
		p.mu.Unlock()
	}
	return err == nil
}

func (p *Pipeline) lettersAway() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Now().Before(p.lettersBack)
}
