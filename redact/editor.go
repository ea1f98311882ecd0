package redact

import (
	"bytes"
	"hash/maphash"
	"unicode/utf8"

	"tailweir/otlp"
)

// editor is one use of the rules: an otlp.Editor for one payload at a time.
type editor struct {
	r      *Rules
	walker otlp.Walker
	texts  rewriter
	clean  clean

	live    [otlp.Places]uint64 // rules with finders and without a key, by place, whose conditions hold
	on      []bool              // rules whose conditions hold
	byGroup []bool              // of those, the resource's
	keys    map[string]*keyInfo
	whole   *rule // that the value is of which is being replaced
	matches []uint64
	items   []uint64
	item    int   // number of the item, from 1; 0 outside of items
	latest  []int // item, in which the rule had a match, by counter

	seen func(Sighting)
	at   otlp.Place
	key  []byte
	hit  func(*rule, int)
}

// keyInfo is which rules a key is of.
type keyInfo struct {
	denied bool    // by the allow list
	whole  []*rule // in their order
	valued []*rule // with finders
}

// maxKeys bounds the keys that an editor remembers, and maxKeyLen how long they are: keys that apps make up would take all memory.
const (
	maxKeys   = 2048
	maxKeyLen = 256
)

func newEditor(r *Rules) *editor {
	e := &editor{
		r: r, on: make([]bool, len(r.rules)), byGroup: make([]bool, len(r.rules)), keys: map[string]*keyInfo{},
		matches: make([]uint64, len(r.names)), items: make([]uint64, len(r.names)), latest: make([]int, len(r.names)),
	}
	e.walker.DropUnknown = r.dropUnknown
	e.hit = e.count
	e.clean.seed = maphash.MakeSeed()
	return e
}

func (e *editor) begin(seen func(Sighting)) {
	clear(e.matches)
	clear(e.items)
	clear(e.latest)
	e.seen, e.item = seen, 0
	for i, r := range e.r.rules {
		e.byGroup[i] = len(r.resource) == 0
		e.on[i] = e.byGroup[i] && r.span == nil
	}
	e.enliven()
}

// end lets go of the payload, and of memory that one large text took.
func (e *editor) end() {
	e.seen, e.key = nil, nil
	if cap(e.texts.a)+cap(e.texts.b) > 1<<20 {
		e.texts = rewriter{}
	}
}

// commit adds what was done to the rules' counters.
func (e *editor) commit() {
	for i := range e.matches {
		if e.matches[i] > 0 {
			e.r.counts[i].matches.Add(e.matches[i])
			e.r.counts[i].items.Add(e.items[i])
		}
	}
}

// enliven makes live from on.
func (e *editor) enliven() {
	e.live = [otlp.Places]uint64{}
	for i, r := range e.r.rules {
		if !e.on[i] || r.bit == 0 || r.key != nil {
			continue
		}
		for p := range e.live {
			if r.places&(1<<p) != 0 {
				e.live[p] |= r.bit
			}
		}
	}
}

// Group implements otlp.Editor.
func (e *editor) Group(res otlp.Resource) {
	if !e.r.conditional {
		return
	}
	for i, r := range e.r.rules {
		e.byGroup[i] = r.isOf(res)
		e.on[i] = e.byGroup[i] && r.span == nil
	}
	e.enliven()
}

// isOf reports whether the resource satisfies all conditions: any of several attributes of one key does.
func (r *rule) isOf(res otlp.Resource) bool {
	for _, c := range r.resource {
		holds := false
		for key, v := range res.Attributes() {
			if string(key) == c.key && c.is.MatchString(v.String()) {
				holds = true
				break
			}
		}
		if !holds {
			return false
		}
	}
	return true
}

// Item implements otlp.Editor.
func (e *editor) Item(name []byte) {
	e.item++
	e.about(func(r *rule) bool { return name != nil && r.span.Match(name) })
}

// EndItem implements otlp.Editor.
func (e *editor) EndItem() {
	e.about(func(*rule) bool { return false })
}

func (e *editor) about(span func(*rule) bool) {
	if !e.r.conditional {
		return
	}
	for i, r := range e.r.rules {
		e.on[i] = e.byGroup[i] && (r.span == nil || span(r))
	}
	e.enliven()
}

// Rules implements otlp.Editor.
func (e *editor) Rules(at otlp.Place) uint64 {
	e.at, e.key = at, nil
	return e.live[at]
}

// Attribute implements otlp.Editor.
func (e *editor) Attribute(at otlp.Place, key []byte, nested bool, outer uint64) (otlp.Fate, uint64) {
	e.at, e.key = at, key
	info := e.info(key)
	if info.denied && !nested && e.r.rules[0].places&(1<<at) != 0 {
		return e.fateOf(e.r.rules[0]), 0
	}
	for _, r := range info.whole {
		if r.places&(1<<at) != 0 && e.isOn(r) {
			return e.fateOf(r), 0
		}
	}
	rules := outer | e.live[at]
	for _, r := range info.valued {
		if r.places&(1<<at) != 0 && e.isOn(r) {
			rules |= r.bit
		}
	}
	return otlp.LookInto, rules
}

func (e *editor) fateOf(r *rule) otlp.Fate {
	if r.action == Delete {
		e.count(r, 1)
		return otlp.Remove
	}
	e.whole = r
	return otlp.Replace
}

func (e *editor) isOn(r *rule) bool { return !e.r.conditional || e.on[r.number] }

func (e *editor) info(key []byte) *keyInfo {
	if info, known := e.keys[string(key)]; known {
		return info
	}
	info := new(keyInfo)
	for _, r := range e.r.rules {
		switch {
		case r.allowed != nil:
			info.denied = !r.allowed(key)
		case r.key == nil || !r.key(key):
		case len(r.find) > 0:
			info.valued = append(info.valued, r)
		default:
			info.whole = append(info.whole, r)
		}
	}
	if len(key) <= maxKeyLen {
		if len(e.keys) == maxKeys {
			clear(e.keys)
		}
		e.keys[string(key)] = info
	}
	return info
}

// Text implements otlp.Editor.
func (e *editor) Text(dst []byte, _ otlp.Place, text []byte, rules uint64, held bool) ([]byte, otlp.Fate) {
	slot, known := e.clean.has(text, rules)
	if known {
		return dst, otlp.Leave
	}
	out, changed, remove := e.texts.apply(text, e.r.rules, rules, held, e.r.hasher, e.hit)
	switch {
	case remove:
		return dst, otlp.Remove
	case !changed || bytes.Equal(out, text):
		e.clean.put(slot, text, rules)
		return dst, otlp.Leave
	}
	return append(dst, out...), otlp.Replace
}

// Value implements otlp.Editor. Nothing is in the place of nothing, and what is masked or hashed already stays.
func (e *editor) Value(dst []byte, v otlp.Value) ([]byte, bool) {
	r := e.whole
	text := v.Str()
	if v.Kind() != otlp.String {
		if v.Kind() == otlp.Empty {
			return dst, false
		}
		text = []byte(v.String())
		if v.Kind() == otlp.Bytes && utf8.Valid(v.Str()) {
			text = v.Str() // so that its hash is that of the same text as a string
		}
	} else if len(text) == 0 || isMask(text, r.keep) || isHash(text) {
		return dst, false
	}
	e.count(r, 1)
	switch {
	case r.action == Hash:
		return e.r.hasher.append(dst, text), true
	case v.Kind() == otlp.Map: // the end of what is written for it is not its end
		return appendMask(dst, text, 0), true
	}
	return appendMask(dst, text, r.keep), true
}

// count counts n matches of a rule, here and now.
func (e *editor) count(r *rule, n int) {
	e.matches[r.counter] += uint64(n)
	if e.item > 0 && e.latest[r.counter] != e.item {
		e.latest[r.counter] = e.item
		e.items[r.counter]++
	}
	if e.seen != nil {
		e.seen(Sighting{Rule: r.name, At: e.at, Key: string(e.key)})
	}
}
