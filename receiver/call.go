package receiver

import (
	"bytes"
	"context"
	"net/http"
	"runtime/debug"
	"time"

	"tailweir/otlp"
)

// call is one export request on its way from headers to answer, owned by one goroutine.
type call struct {
	r        *Receiver
	signal   otlp.Signal
	encoding Encoding
	gzip     bool      // wire is gzip; of zstd what is published
	zstd     bool      // wire is zstd
	received time.Time // when the call began
	deadline time.Time // the caller's, from grpc-timeout; zero when it gave none
	caller   Caller

	wire     *buffer // the body as it came
	plain    *buffer // wire unpacked; nil unless gzip or zstd
	stamped  *buffer // the payload with the caller's stamp, or nil
	packed   *buffer // the changed payload compressed again, or nil
	edited   bool    // the payload is no longer what wire holds
	reserved int64   // taken of Receiver.bytes
	lent     bool    // a publisher may still read the buffers
	head     [5]byte // a gRPC frame header; here because a local one would be allocated anew
}

// answer is what a request is told.
type answer struct {
	outcome  Outcome
	accepted int
	rejected int
	text     string
	retry    time.Duration // when to try again; 0: Config.RetryDelay
}

// answer carries the call out, counts it and frees what it held. It does not write the response.
func (c *call) answer(req *http.Request) (a answer) {
	r := c.r
	if !r.requests.take(1) {
		a = answer{outcome: Overloaded, text: "too many requests in flight"}
		r.count(c, a)
		return a
	}
	defer func() {
		if v := recover(); v != nil {
			a = r.panicked(c, v)
		}
		r.count(c, a)
		c.release()
		r.requests.give(1)
	}()
	a, err := c.export(req)
	if f, ok := err.(*fault); ok {
		return answer{outcome: f.outcome, text: f.text, retry: f.retry}
	}
	return a
}

func (r *Receiver) panicked(c *call, v any) answer {
	r.counters.panics.Add(1)
	r.cfg.Logger.Error("panic in a request", "panic", v, "signal", c.signal.String(), "encoding", c.encoding.String(), "stack", string(debug.Stack()))
	return answer{outcome: Panicked, text: "internal fault"}
}

func (r *Receiver) count(c *call, a answer) {
	n := &r.counters
	n.requests[c.signal][c.encoding][a.outcome].Add(1)
	n.accepted[c.signal].Add(uint64(a.accepted))
	n.rejected[c.signal].Add(uint64(a.rejected))
	if c.wire != nil {
		n.bytes.Add(uint64(len(c.wire.b)))
	}
}

// release gives back the reserved bytes and, if no publisher can still read them, the buffers. The Pub/Sub client
// keeps a message whose Publish timed out in its bundle or its RPC and sends it later; a buffer reused by then
// would put another request's bytes into that message. So the buffers of a publish that did not return nil are
// left to the garbage collector: no copy on the way that always happens, garbage on the one that rarely does.
func (c *call) release() {
	c.r.bytes.give(c.reserved)
	if c.lent {
		return
	}
	for _, b := range [...]*buffer{c.wire, c.plain, c.stamped, c.packed} {
		if b != nil {
			b.recycle()
		}
	}
}

var errBytes = faultf(Overloaded, "too many bytes in flight")

// reserve takes n bytes of the memory in flight, to be given back by release.
func (c *call) reserve(n int64) error {
	switch most := c.r.bytes.max; {
	case c.reserved+n > most:
		return faultf(TooLarge, "request needs %d bytes of memory, the limit is %d; send smaller batches", c.reserved+n, most)
	case !c.r.bytes.take(n):
		return errBytes
	}
	c.reserved += n
	return nil
}

// buffer reserves and returns an empty buffer for n bytes.
func (c *call) buffer(n int) (*buffer, error) {
	if err := c.reserve(int64(capacityFor(n))); err != nil {
		return nil, err
	}
	return newBuffer(n), nil
}

// discard undoes buffer. A nil buffer is none.
func (c *call) discard(b *buffer) {
	if b == nil {
		return
	}
	c.r.bytes.give(int64(cap(b.b)))
	c.reserved -= int64(cap(b.b))
	b.recycle()
}

// export admits, reads, checks and publishes. Its error is always a *fault.
func (c *call) export(req *http.Request) (answer, error) {
	c.received = time.Now()
	err := c.admit(req)
	if err != nil {
		return answer{}, err
	}
	if c.encoding == GRPC {
		err = c.readFrame(req.Body)
	} else {
		err = c.readBody(req)
	}
	if err != nil {
		return answer{}, err
	}
	if c.caller.Sent != nil {
		c.caller.Sent(len(c.wire.b))
	}
	payload, err := c.payload()
	if err != nil {
		return answer{}, err
	}
	if c.refuses() {
		return refuseMetrics(payload, c.encoding)
	}
	if payload, err = c.rewrite(payload); err != nil {
		return answer{}, err
	}
	return c.store(req.Context(), payload)
}

// refuses says that what comes is metrics, and that there is no topic for them.
func (c *call) refuses() bool { return c.signal == otlp.Metrics && c.r.cfg.Metrics == nil }

// payload returns the request uncompressed, and as protobuf unless it holds metrics that are refused.
func (c *call) payload() ([]byte, error) {
	b := c.wire.b
	if c.gzip || c.zstd {
		unpack := c.inflate
		if c.zstd {
			unpack = c.unzstd
		}
		if err := unpack(); err != nil {
			return nil, err
		}
		b = c.plain.b
	}
	if c.encoding != JSON {
		return b, c.reserveTables(b)
	}
	if err := c.reserve(int64(bytes.Count(b, []byte{'{'})) * objectCost); err != nil {
		return nil, err
	}
	if c.refuses() {
		return b, nil
	}
	converted, err := otlp.FromJSON(c.signal, b)
	if err != nil {
		return nil, faultf(Malformed, "%v", err)
	}
	return converted, c.reserve(int64(len(converted)))
}

// reserveTables reserves what scanning b will take. Payloads up to 1 MiB are not counted: their tables have at
// most 32 MiB, and only if they hold nothing but empty spans.
func (c *call) reserveTables(b []byte) error {
	if len(b) <= 1<<20 || c.refuses() {
		return nil
	}
	items, err := countAt(b, itemPath)
	if err != nil {
		return faultf(Malformed, "%v", err)
	}
	if err := c.checkItems(items); err != nil {
		return err
	}
	return c.reserve(int64(items) * itemCost)
}

// checkItems refuses more items than a request may have.
func (c *call) checkItems(n int) error {
	if limit := c.r.cfg.Limits.Items; n > limit {
		return faultf(TooLarge, "request has %d %s, the limit is %d (ingest.limits.items); send smaller batches", n, itemName(c.signal), limit)
	}
	return nil
}

// publishContext ends at the publish timeout, at the caller's deadline and when the caller goes away.
func (c *call) publishContext(parent context.Context) (context.Context, context.CancelFunc) {
	deadline := time.Now().Add(c.r.cfg.PublishTimeout)
	if !c.deadline.IsZero() && c.deadline.Before(deadline) {
		deadline = c.deadline
	}
	return context.WithDeadline(parent, deadline)
}
