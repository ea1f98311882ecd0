package sampler

import (
	"go.opentelemetry.io/otel/trace"

	"tailweir/otlp"
	"tailweir/ottlcond"
	"tailweir/tracestate"
)

// The bounds of a pattern's memory of values: the collector's default, and a limit on what cache_max_size may ask for.
const (
	defaultRegexCache = 128
	mostRegexCache    = 1 << 20
	// longestCached bounds the bytes of one remembered value; longer ones are matched anew each time.
	longestCached = 256
)

// Observer folds the spans of payloads into Facts. It belongs to one goroutine; Reset it for each payload.
type Observer struct {
	// Failed is told of each evaluation of an OTTL condition that fails, for each policy with the condition; but not of those in
	// error_mode silent, outside drop. May be nil.
	Failed func(PolicyError)

	leaves    *leaves
	payload   *otlp.Payload
	resources []resourceBits    // by resource index
	remember  []map[string]bool // by attributeTest.regex: value → matched; bounded by its cache size
	ottl      ottlcond.Decoder
	asking    *ottlTest
	state     tracestateBits
}

// tracestateBits is the leaves that the latest tracestate satisfies: the spans of a trace have the same, mostly.
type tracestateBits struct {
	text string
	bits [2]uint64
}

// resourceBits is the leaves that a resource's own attributes satisfy, found when the first span of it is folded.
type resourceBits struct {
	bits  [2]uint64
	known bool
}

// NewObserver returns an Observer for the leaf conditions of p.
func (p *Policies) NewObserver() *Observer {
	o := &Observer{leaves: &p.leaves, remember: make([]map[string]bool, p.leaves.regexes)}
	for i := range o.remember {
		o.remember[i] = map[string]bool{}
	}
	o.ottl.NoSchemas = p.leaves.loose
	o.ottl.Ignored = func(err *ottlcond.EvalError) { o.failed(err) }
	return o
}

// PolicyError is a condition that failed on a span.
type PolicyError struct {
	Policy string
	Drop   bool // it is a drop policy
	Err    error
}

func (o *Observer) failed(err error) {
	for _, user := range o.asking.users {
		if o.Failed != nil {
			o.Failed(PolicyError{user.name, user.drop, err})
		}
	}
}

// Reset makes pl the payload of the following Folds, until pl is scanned anew.
func (o *Observer) Reset(pl *otlp.Payload) {
	o.payload = pl
	if len(o.leaves.ottl) > 0 {
		o.ottl.Reset(pl)
	}
	if len(o.leaves.keys) == 0 {
		return
	}
	n := pl.Resources()
	if cap(o.resources) < n {
		o.resources = make([]resourceBits, n)
		return
	}
	o.resources = o.resources[:n]
	clear(o.resources)
}

// Fold is the facts of the group g of the payload given to Reset. Of log records only their number counts.
func (o *Observer) Fold(g otlp.Group) Facts {
	if o.payload.Signal() != otlp.Traces {
		return Facts{Logs: uint32(g.Items)}
	}
	f := Facts{Spans: uint32(g.Items), Bytes: uint64(g.Bytes)}
	if sized := o.leaves.sized; sized != asSent {
		f.Bytes = uint64(o.payload.SizeCollected(g, sized == bare))
	}
	attributes := len(o.leaves.keys) > 0
	resource := int32(-1)
	for i := g.First; i >= 0; i = o.payload.Next(i) {
		s := o.payload.Span(i)
		o.span(&f, s)
		if len(o.leaves.ottl) > 0 {
			o.conditions(&f.Bits, i)
		}
		if !attributes {
			continue
		}
		if r := s.ResourceIndex(); r != resource {
			resource = r
			o.resource(&f, s, r)
		}
		o.attributes(&f.Bits, s)
	}
	return f
}

func (o *Observer) span(f *Facts, s otlp.Span) {
	start, end := s.Start(), s.End()
	if o.leaves.loose {
		start = max(start, 1) // to the collector, a span without a start began in 1970
	}
	if start != 0 && (f.Start == 0 || start < f.Start) {
		f.Start = start
	}
	if f.End = max(f.End, end); !o.leaves.loose {
		f.End = max(f.End, start)
	}
	if !f.Root && s.ParentSpanID().IsZero() {
		f.Root = true
	}
	if code := uint32(s.StatusCode()); code < uint32(len(o.leaves.status)) {
		join(&f.Bits, &o.leaves.status[code])
	}
	if o.leaves.flagged != ([2]uint64{}) && s.Flags()&sampledFlag != 0 {
		join(&f.Bits, &o.leaves.flagged)
	}
	if state := s.TraceState(); len(state) > 0 {
		o.tracestate(f, state)
	}
}

// sampledFlag is the bit of a span's flags that W3C Trace Context gives to sampled.
const sampledFlag = 1

func (o *Observer) tracestate(f *Facts, state []byte) {
	if rv, ok := tracestate.Randomness(state); ok {
		f.Random, f.HasRandom = max(f.Random, rv), true
	}
	if len(o.leaves.states) == 0 {
		return
	}
	if last := &o.state; last.text != string(state) {
		*last = tracestateBits{text: string(state)}
		o.leaves.testState(&last.bits, last.text)
	}
	join(&f.Bits, &o.state.bits)
}

// testState finds nothing in a tracestate that breaks the rules of W3C anywhere: so does the collector.
func (l *leaves) testState(bits *[2]uint64, text string) {
	parsed, err := trace.ParseTraceState(text)
	if err != nil {
		return
	}
	for i := range l.states {
		if t := &l.states[i]; t.values[parsed.Get(t.key)] {
			set(bits, t.bit)
		}
	}
}

// conditions asks the conditions in OTTL that matched no earlier span.
func (o *Observer) conditions(bits *[2]uint64, span int32) {
	for i := range o.leaves.ottl {
		t := &o.leaves.ottl[i]
		if has(bits, t.bit) {
			continue
		}
		o.asking = t
		switch matched, err := t.condition.Eval(&o.ottl, span); {
		case matched:
			set(bits, t.bit)
		case err == nil:
		default:
			o.failed(err)
			if t.fail != 0 {
				set(bits, t.fail)
			}
		}
	}
}

func (o *Observer) attributes(bits *[2]uint64, s otlp.Span) {
	for i := range o.leaves.keys {
		k := &o.leaves.keys[i]
		if k.bits[0]&^bits[0]|k.bits[1]&^bits[1] == 0 {
			continue // every condition on this key matched an earlier span
		}
		if v, ok := s.Attribute(k.key); ok {
			o.test(bits, k, v, false)
		}
	}
}

func (o *Observer) resource(f *Facts, s otlp.Span, index int32) {
	r := &o.resources[index]
	if !r.known {
		r.known = true
		res := s.Resource()
		for i := range o.leaves.keys {
			k := &o.leaves.keys[i]
			if v, ok := res.Attribute(k.key); ok {
				o.test(&r.bits, k, v, o.leaves.loose)
			}
		}
	}
	join(&f.Bits, &r.bits)
}

// test asks what is tested of one key. empty says that patterns are asked of text that is empty: the collector does so on
// resources, where they match it more often than their writer thinks, and not on spans.
func (o *Observer) test(bits *[2]uint64, k *keyTests, v otlp.Value, empty bool) {
	for i := range k.tests {
		t := &k.tests[i]
		if !has(bits, t.bit) && (t.kind == v.Kind() || o.leaves.loose) && o.matches(t, v, empty) {
			set(bits, t.bit)
		}
	}
}

// matches reads a value of another kind than the test's as nothing.
func (o *Observer) matches(t *attributeTest, v otlp.Value, empty bool) bool {
	switch {
	case t.kind == otlp.Bool:
		return v.Bool() == t.truth
	case t.kind == otlp.Int:
		n := v.Int()
		return t.least <= n && n <= t.most
	case t.pattern == nil:
		return v.Kind() == otlp.String && t.exact[string(v.Str())]
	}
	var s []byte
	if v.Kind() == otlp.String {
		s = v.Str()
	}
	return (len(s) > 0 || empty) && o.matchesPattern(t, s)
}

func (o *Observer) matchesPattern(t *attributeTest, s []byte) bool {
	seen := o.remember[t.regex]
	if yes, known := seen[string(s)]; known {
		return yes
	}
	yes := t.pattern.Match(s)
	if len(s) <= longestCached {
		if len(seen) >= t.cache {
			clear(seen) // cheaper than an order of use, and a value in use is back at once
		}
		seen[string(s)] = yes
	}
	return yes
}
