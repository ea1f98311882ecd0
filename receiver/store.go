package receiver

import (
	"context"
	"fmt"
	"strconv"

	"tailweir/otlp"
)

// maxPooledItems is the largest payload whose scan tables are kept for the next request.
const maxPooledItems = 1 << 14

// store scans the payload and publishes what of it can be stored.
func (c *call) store(parent context.Context, payload []byte) (answer, error) {
	p := c.r.payloads.Get().(*otlp.Payload)
	if err := p.Scan(c.signal, payload); err != nil {
		return answer{}, faultf(Malformed, "%v", err)
	}
	if p.Len() == 0 {
		return answer{outcome: Accepted}, nil
	}
	if err := c.checkItems(p.Len()); err != nil {
		return answer{}, err
	}
	if n := p.Unnamed(); n > 0 {
		c.r.counters.unnamed[c.signal].Add(uint64(n))
	}
	ctx, cancel := c.publishContext(parent)
	defer cancel()
	a, err := c.send(ctx, p, payload)
	if err != nil {
		return answer{}, c.publishFault(parent, err)
	}
	if p.Len() <= maxPooledItems {
		_ = p.Scan(c.signal, nil) // lets go of the payload's bytes; nothing is valid OTLP
		c.r.payloads.Put(p)
	}
	return a, nil
}

// publishFault says whether it was the sender or the publisher that ended it.
func (c *call) publishFault(parent context.Context, err error) error {
	if f, ok := err.(*fault); ok {
		return f
	}
	if parent.Err() != nil {
		return faultf(Gone, "publish %s: %v", c.signal, err)
	}
	c.r.failures.add("publish", err)
	return faultf(Unpublished, "publish %s: %v", c.signal, err)
}

// send publishes the scanned payload: as it came if it can be, else what is valid of it in as many messages as
// it takes.
func (c *call) send(ctx context.Context, p *otlp.Payload, payload []byte) (answer, error) {
	data, packed := payload, c.gzip && c.encoding != JSON
	flaws, err := c.inspect(p)
	if err != nil {
		return answer{}, err
	}
	if packed && !c.edited {
		data = c.wire.b
	} else if packed && flaws.none() {
		if data, err = c.deflate(payload); err != nil {
			return answer{}, err
		}
	}
	if flaws.none() && len(data) <= c.r.cfg.MaxMessage {
		return answer{outcome: Accepted, accepted: count(p)}, c.publish(ctx, data, packed)
	}
	return c.sendParts(ctx, p, &flaws)
}

// sendParts drops what cannot be stored and publishes the rest, split, uncompressed. The parts go one after the other:
// there are at most seven at the default limits, and memory is what is scarce for requests of this size. If one
// fails the sender repeats them all; parts are the same every time, so the repeated ones are known as duplicates.
func (c *call) sendParts(ctx context.Context, p *otlp.Payload, flaws *flaws) (answer, error) {
	total := count(p)
	if !flaws.none() {
		if err := c.reserve(int64(len(p.Bytes()))); err != nil {
			return answer{}, err
		}
		valid := otlp.Select(p, func(i int32) bool { return flaws.keeps(p, i) })
		if err := p.Scan(c.signal, valid); err != nil {
			return answer{}, fmt.Errorf("scan what can be stored: %w", err)
		}
	}
	tooLarge, err := c.sendSplit(ctx, p)
	if err != nil {
		return answer{}, err
	}
	rejected := flaws.all + tooLarge
	if rejected == 0 {
		return answer{outcome: Accepted, accepted: total}, nil
	}
	text := flaws.rejection(c.signal, tooLarge, c.r.cfg.MaxMessage)
	return answer{outcome: Partial, accepted: total - rejected, rejected: rejected, text: text}, nil
}

// sendSplit publishes p in parts and returns the number of items that no message holds.
func (c *call) sendSplit(ctx context.Context, p *otlp.Payload) (tooLarge int, err error) {
	if p.Len() == 0 {
		return 0, nil
	}
	size := int64(len(p.Bytes()))
	if err := c.reserve(size); err != nil {
		return 0, err
	}
	parts, large := otlp.Split(p, c.r.cfg.MaxMessage)
	for _, part := range parts {
		size -= int64(len(part))
	}
	if size < 0 { // large resource headers are repeated in every part
		if err := c.reserve(-size); err != nil {
			return 0, err
		}
	}
	for _, part := range parts {
		if err := c.publish(ctx, part, false); err != nil {
			return 0, err
		}
	}
	if c.signal != otlp.Metrics {
		return len(large), nil
	}
	points := 0
	for _, i := range large {
		points += p.PointsOf(i)
	}
	return points, nil
}

// count is what the payload has of what answers and counters speak of: spans, log records or data points.
func count(p *otlp.Payload) int {
	if p.Signal() == otlp.Metrics {
		return p.Points()
	}
	return p.Len()
}

// publish sends one message. While it has not returned nil the buffers count as lent.
func (c *call) publish(ctx context.Context, data []byte, packed bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	attrs := make(map[string]string, 4)
	attrs[otlp.AttrType] = c.signal.EventType()
	attrs[otlp.AttrContentType] = otlp.ContentTypeProtobuf
	attrs[otlp.AttrReceived] = strconv.FormatInt(c.received.UnixNano(), 10)
	if packed {
		attrs[otlp.AttrContentEncoding] = otlp.EncodingGzip
	}
	pub := c.r.pub
	if c.signal == otlp.Metrics {
		pub = c.r.cfg.Metrics
	}
	c.lent = true
	if err := pub.Publish(ctx, data, attrs); err != nil {
		return err
	}
	c.lent = false
	c.r.counters.messages.Add(1)
	c.r.counters.messageBytes.Add(uint64(len(data)))
	return nil
}

func itemName(s otlp.Signal) string {
	switch s {
	case otlp.Logs:
		return "log records"
	case otlp.Metrics:
		return "data points, in metrics"
	}
	return "spans"
}
