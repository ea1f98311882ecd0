package redact

import (
	"errors"
	"fmt"
	"regexp"
	"sync"
	"sync/atomic"

	"tailweir/otlp"
)

// rule is one rule, ready. It has a key, and then it is about whole values; or finders, for matches in texts; or both, for
// matches in the texts under its keys; or allowed.
type rule struct {
	name     string
	action   Action
	keep     int
	places   uint32 // a bit for each otlp.Place
	key      func(key []byte) bool
	allowed  func(key []byte) bool
	resource []condition
	span     *regexp.Regexp

	find    []finder
	bit     uint64 // among the rules with finders
	literal string // what a text must have for them

	number  int // in Rules.rules
	counter int // in Rules.counts
}

type condition struct {
	key string
	is  *regexp.Regexp
}

// finder finds matches in a text.
type finder struct {
	find   func(found []match, text []byte) []match // appended, in any order
	class  class                                    // a text without any of these characters has none, 0: may have
	digits int                                      // nor one with fewer digits, as classify counts them
}

// pattern finds what re matches, or what its first group that took part does.
func pattern(re *regexp.Regexp) finder {
	return finder{find: func(found []match, text []byte) []match {
		for _, m := range re.FindAllSubmatchIndex(text, -1) {
			at := match{m[0], m[1]}
			for i := 2; i+1 < len(m); i += 2 {
				if m[i] >= 0 {
					at = match{m[i], m[i+1]}
					break
				}
			}
			if at.end > at.start {
				found = append(found, at)
			}
		}
		return found
	}}
}

// Rules are compiled rules. They are safe for concurrent use, and satisfy receiver.Rewriter.
type Rules struct {
	rules       []*rule
	hasher      *hasher
	dropUnknown bool
	conditional bool // some depend on the resource or the span

	editors  sync.Pool // *editor
	names    []Count   // by counter, without counts
	counts   []counts
	failures atomic.Uint64
	panics   atomic.Uint64
}

type counts struct{ matches, items atomic.Uint64 }

// Count is what a rule did.
type Count struct {
	Rule   string
	Action Action
	// Matches is the values and the parts of texts that were redacted, Items the spans, log records and metrics in which
	// there were any; resources and scopes are none.
	Matches, Items uint64
}

// Stats is what the rules did since they were made.
type Stats struct {
	Rules    []Count // in their order, also those that did nothing
	Failures uint64  // payloads that were refused since they could not be redacted; malformed ones are none
	Panics   uint64  // of these, those that made a rule panic
}

// minKey is the length that a key for hashes has at least, in bytes: with less, who knows what was hashed could try all keys.
const minKey = 16

// New compiles the rules. key is what hashes are keyed with, and may be nil when there are none. The error names all faults.
func New(c Config, key []byte) (*Rules, error) {
	var faults []error
	r := &Rules{rules: c.compile(func(at, format string, args ...any) {
		faults = append(faults, fmt.Errorf("redact: "+at+": "+format, args...))
	}), dropUnknown: c.Unknown == "drop"}
	if c.NeedsKey() {
		if len(key) < minKey {
			faults = append(faults, fmt.Errorf("redact: action hash needs a key of at least %d bytes, and has %d: set hash_key_file or TAILWEIR_REDACT_KEY", minKey, len(key)))
		}
		r.hasher = newHasher(key)
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	for i, rule := range r.rules {
		rule.number = i
		r.conditional = r.conditional || rule.span != nil || len(rule.resource) > 0
		if n := len(r.names); n == 0 || r.names[n-1].Rule != rule.name {
			r.names = append(r.names, Count{Rule: rule.name, Action: rule.action})
		}
		rule.counter = len(r.names) - 1
	}
	r.counts = make([]counts, len(r.names))
	r.editors.New = func() any { return newEditor(r) }
	return r, nil
}

// Stats reads the counters, one by one.
func (r *Rules) Stats() Stats {
	s := Stats{Failures: r.failures.Load(), Panics: r.panics.Load()}
	for i, c := range r.names {
		c.Matches, c.Items = r.counts[i].matches.Load(), r.counts[i].items.Load()
		s.Rules = append(s.Rules, c)
	}
	return s
}

// Rewrite returns the payload redacted: the same slice when there is nothing to redact. What cannot be redacted is an error, and the
// payload must not be passed on then: it is malformed (*otlp.ScanError), or a rule failed, which is counted.
func (r *Rules) Rewrite(signal otlp.Signal, payload []byte) ([]byte, error) {
	return r.rewrite(signal, payload, nil)
}

// ErrRedact is what is said when a rule fails. The cause stays here: it may hold what was to be redacted.
var ErrRedact = errors.New("redact: the payload could not be redacted and is refused; nothing of it was stored")

// Sighting is one thing that a rule has redacted. It never holds a value.
type Sighting struct {
	Rule string
	At   otlp.Place
	Key  string // of the attribute, or the entry of a map, that it was in; "" for other texts
}

// Watch is Rewrite that tells seen of all that it redacts, for reports.
func (r *Rules) Watch(signal otlp.Signal, payload []byte, seen func(Sighting)) ([]byte, error) {
	return r.rewrite(signal, payload, seen)
}

func (r *Rules) rewrite(signal otlp.Signal, payload []byte, seen func(Sighting)) (out []byte, err error) {
	e := r.editors.Get().(*editor)
	defer func() {
		if v := recover(); v != nil { // the editor is left to the garbage collector
			r.panics.Add(1)
			r.failures.Add(1)
			out, err = nil, ErrRedact
		}
	}()
	e.begin(seen)
	out, err = e.walker.Rewrite(signal, payload, e)
	if err != nil {
		if !errors.Is(err, otlp.ErrMalformed) {
			r.failures.Add(1)
			err = fmt.Errorf("%w: %w", ErrRedact, err)
		}
		out = nil
	} else {
		e.commit()
	}
	e.end()
	r.editors.Put(e)
	return out, err
}
