package ottlcond

import (
	"fmt"
	"slices"

	"go.opentelemetry.io/collector/pdata/ptrace"

	"tailweir/otlp"
)

// Decoder decodes spans of one payload for conditions when they are first asked for: each resource and each scope once, and
// of the spans the last one, with what any of the conditions met so far can read of it. So nothing is decoded more
// than once if all conditions are evaluated on a span before the next, whatever the order of the spans, and a payload on
// whose spans no condition is evaluated costs nothing.
//
// A decoder remembers its conditions, so it serves one set of them. The zero value is ready for Reset. It is not safe for concurrent use.
type Decoder struct {
	// Ignored is told of each condition that fails in mode Ignore; nil for nobody. It runs inside Eval.
	Ignored func(*EvalError)
	// NoSchemas makes the schema URLs of resources and scopes empty, as the collector's tail sampling processor leaves them.
	NoSchemas bool

	met  []*Condition
	part otlp.Part // what of a span those can read

	p         *otlp.Payload
	resources []ptrace.ResourceSpans // by number; zero for those not decoded
	scopes    []ptrace.ScopeSpans
	last      decoded
	lastIndex int32  // of last, -1 for none
	buf       []byte // an export request to decode
	decodes   int
}

// decoded is a span with what stands over it, each from a request of its own.
type decoded struct {
	resource ptrace.ResourceSpans
	scope    ptrace.ScopeSpans
	span     ptrace.Span
}

// keptBytes and keptHeaders are up to which sizes the decoder's memory is kept from payload to payload.
const (
	keptBytes   = 64 << 10
	keptHeaders = 4 << 10
)

// Reset makes the decoder read p, a scanned payload of traces, until the next Reset; nil frees what it holds. It decodes
// nothing.
func (d *Decoder) Reset(p *otlp.Payload) {
	d.resources, d.scopes = emptied(d.resources), emptied(d.scopes)
	d.p, d.last, d.lastIndex = p, decoded{}, -1
	if cap(d.buf) > keptBytes {
		d.buf = nil
	}
}

func (d *Decoder) span(c *Condition, i int32) (decoded, error) {
	if !slices.Contains(d.met, c) {
		d.met = append(d.met, c)
		addPart(&d.part, c.needs)
		d.lastIndex = -1
	}
	if i == d.lastIndex {
		return d.last, nil
	}
	v := d.p.Span(i)
	resource, err := d.resource(v.ResourceIndex())
	if err != nil {
		return decoded{}, err
	}
	scope, err := d.scope(v.ScopeIndex())
	if err != nil {
		return decoded{}, err
	}
	rs, err := d.decode(v.AppendPart(d.buf[:0], &d.part))
	if err != nil {
		return decoded{}, err
	}
	d.last, d.lastIndex = decoded{resource, scope, rs.ScopeSpans().At(0).Spans().At(0)}, i
	return d.last, nil
}

func (d *Decoder) resource(r int32) (rs ptrace.ResourceSpans, err error) {
	if len(d.resources) == 0 {
		d.resources = grown(d.resources, d.p.Resources())
	}
	if d.resources[r] == (ptrace.ResourceSpans{}) {
		d.resources[r], err = d.decode(d.p.AppendResource(d.buf[:0], r))
	}
	return d.resources[r], err
}

func (d *Decoder) scope(s int32) (ptrace.ScopeSpans, error) {
	if len(d.scopes) == 0 {
		d.scopes = grown(d.scopes, d.p.Scopes())
	}
	if d.scopes[s] == (ptrace.ScopeSpans{}) {
		rs, err := d.decode(d.p.AppendScope(d.buf[:0], s))
		if err != nil {
			return ptrace.ScopeSpans{}, err
		}
		d.scopes[s] = rs.ScopeSpans().At(0)
	}
	return d.scopes[s], nil
}

func withoutSchemas(td ptrace.Traces) {
	for _, rs := range td.ResourceSpans().All() {
		rs.SetSchemaUrl("")
		for _, ss := range rs.ScopeSpans().All() {
			ss.SetSchemaUrl("")
		}
	}
}

// decode decodes an export request of one resource, which pdata copies from: its buffer can serve again.
func (d *Decoder) decode(request []byte) (ptrace.ResourceSpans, error) {
	d.buf = request
	d.decodes++
	var u ptrace.ProtoUnmarshaler
	td, err := u.UnmarshalTraces(request)
	if err != nil {
		return ptrace.ResourceSpans{}, fmt.Errorf("decode span: %w", err) // not seen: Scan accepts what pdata does
	}
	if d.NoSchemas {
		withoutSchemas(td)
	}
	return td.ResourceSpans().At(0), nil
}

// grown returns n zero values, in the memory of s if that is enough; s was emptied.
func grown[T any](s []T, n int) []T {
	if n > cap(s) {
		return make([]T, n)
	}
	return s[:n]
}

func emptied[T any](s []T) []T {
	if cap(s) > keptHeaders {
		return nil
	}
	clear(s)
	return s[:0]
}
