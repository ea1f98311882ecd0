package sampler

import "tailweir/otlp"

// The bounds of a pattern's memory of values: the collector's default, and a limit on what cache_max_size may ask for.
const (
	defaultRegexCache = 128
	mostRegexCache    = 1 << 20
	// longestCached bounds the bytes of one remembered value; longer ones are matched anew each time.
	longestCached = 256
)

// Observer folds the spans of payloads into Facts. It belongs to one goroutine; Reset it for each payload.
type Observer struct {
	leaves    *leaves
	payload   *otlp.Payload
	resources []resourceBits    // by resource index
	remember  []map[string]bool // by attributeTest.regex: value → matched; bounded by its cache size
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
	return o
}

// Reset makes pl the payload of the following Folds, until pl is scanned anew.
func (o *Observer) Reset(pl *otlp.Payload) {
	o.payload = pl
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
	attributes := len(o.leaves.keys) > 0
	resource := int32(-1)
	for i := g.First; i >= 0; i = o.payload.Next(i) {
		s := o.payload.Span(i)
		o.span(&f, s)
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
	if start != 0 && (f.Start == 0 || start < f.Start) {
		f.Start = start
	}
	f.End = max(f.End, start, end)
	if !f.Root && s.ParentSpanID().IsZero() {
		f.Root = true
	}
	if code := uint32(s.StatusCode()); code < uint32(len(o.leaves.status)) {
		bits := &o.leaves.status[code]
		f.Bits[0] |= bits[0]
		f.Bits[1] |= bits[1]
	}
	if state := s.TraceState(); len(state) > 0 {
		if rv, ok := explicitRandomness(state); ok {
			f.Random, f.HasRandom = max(f.Random, rv), true
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
			o.test(bits, k, v)
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
				o.test(&r.bits, k, v)
			}
		}
	}
	f.Bits[0] |= r.bits[0]
	f.Bits[1] |= r.bits[1]
}

func (o *Observer) test(bits *[2]uint64, k *keyTests, v otlp.Value) {
	for i := range k.tests {
		t := &k.tests[i]
		if !has(bits, t.bit) && t.kind == v.Kind() && o.matches(t, v) {
			set(bits, t.bit)
		}
	}
}

// matches expects a value of the test's kind.
func (o *Observer) matches(t *attributeTest, v otlp.Value) bool {
	switch {
	case t.kind == otlp.Bool:
		return v.Bool() == t.truth
	case t.kind == otlp.Int:
		n := v.Int()
		return t.least <= n && n <= t.most
	case t.pattern != nil:
		return o.matchesPattern(t, v.Str())
	}
	return t.exact[string(v.Str())]
}

// matchesPattern does not match empty text, as the collector does not.
func (o *Observer) matchesPattern(t *attributeTest, s []byte) bool {
	if len(s) == 0 {
		return false
	}
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
