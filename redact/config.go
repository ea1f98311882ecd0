package redact

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"tailweir/otlp"
	"tailweir/strictyaml"
)

// Config is the settings of redaction; docs/redaction.md says what they mean. The zero Config redacts nothing.
type Config struct {
	Sets    []Set   `yaml:"sets"`
	Rules   []Rule  `yaml:"rules"`
	Allow   Allow   `yaml:"allow"`
	KeyFile string  `yaml:"hash_key_file"`  // of what hashes are keyed with
	Unknown Unknown `yaml:"unknown_fields"` // default keep
}

// Set names a ready set, and what becomes of what it finds. In YAML the name alone is a set as well.
type Set struct {
	Name   SetName `yaml:"name,required"`
	In     []Where `yaml:"in"`     // default everything but trace_state and texts
	Action Action  `yaml:"action"` // default mask
	Keep   int     `yaml:"keep_last"`
}

// UnmarshalStrict reads a name, or a mapping.
func (s *Set) UnmarshalStrict(d *strictyaml.Decoder, n *yaml.Node, path string) {
	if n.Kind == yaml.ScalarNode {
		d.Decode(n, path, &s.Name)
		return
	}
	type plain Set // without this method
	d.Decode(n, path, (*plain)(s))
}

// Rule finds by any of its conditions that are given, and all of them must hold.
type Rule struct {
	Name     string            `yaml:"name,required"` // in metrics and reports
	In       []Where           `yaml:"in"`            // default everything
	Keys     []string          `yaml:"keys"`          // any of these, or
	Key      string            `yaml:"key_pattern"`   // RE2 on a whole key
	Value    string            `yaml:"value_pattern"` // RE2 anywhere in a text; with a group: what the group matches
	Resource map[string]string `yaml:"resource"`      // attribute of the resource: RE2 on its whole value
	Span     string            `yaml:"span_name"`     // RE2 on a whole name
	Action   Action            `yaml:"action"`        // default mask
	Keep     int               `yaml:"keep_last"`     // mask: so many characters stay, but never more than half
}

// Allow is the list of keys that stay. Without any nothing is removed by it.
type Allow struct {
	Keys     []string `yaml:"keys"`
	Patterns []string `yaml:"patterns"` // RE2 on a whole key
	In       []Where  `yaml:"in"`       // default attributes
	Action   Action   `yaml:"action"`   // of what is not allowed; default delete
	Required []string `yaml:"required"` // allowed whatever the lists say
}

// Default redacts nothing. Its required attributes are those without which spans have no service, and the worker's routes and
// log entries no place.
func Default() Config {
	return Config{Sets: []Set{}, Rules: []Rule{}, Unknown: "keep", Allow: Allow{
		Keys: []string{}, Patterns: []string{}, In: []Where{}, Action: Delete,
		Required: []string{"service.name", "service.namespace", "service.instance.id", "gcp.project_id", "gcp.log_name"}}}
}

// Action is what becomes of what a rule finds.
type Action string

// The actions.
const (
	Delete Action = "delete"
	Mask   Action = "mask"
	Hash   Action = "hash"
)

// Values lists them.
func (Action) Values() []string { return []string{string(Delete), string(Mask), string(Hash)} }

// Unknown is what becomes of fields that OTLP does not have.
type Unknown string

// Values lists them.
func (Unknown) Values() []string { return []string{"keep", "drop"} }

// Where is a place, or several.
type Where string

// places is what each Where stands for.
var places = map[Where][]otlp.Place{
	"resource": {otlp.InResource}, "scope": {otlp.InScope}, "span": {otlp.InSpan}, "event": {otlp.InEvent}, "link": {otlp.InLink},
	"log": {otlp.InRecord}, "metric": {otlp.InMetric},
	"attributes": {otlp.InResource, otlp.InScope, otlp.InSpan, otlp.InEvent, otlp.InLink, otlp.InRecord, otlp.InMetric},
	"span_name":  {otlp.SpanName}, "event_name": {otlp.EventName}, "status_message": {otlp.StatusMessage}, "body": {otlp.Body},
	"trace_state": {otlp.TraceState}, "texts": {otlp.OtherText},
	"everything": {otlp.InResource, otlp.InScope, otlp.InSpan, otlp.InEvent, otlp.InLink, otlp.InRecord, otlp.InMetric,
		otlp.SpanName, otlp.EventName, otlp.StatusMessage, otlp.Body, otlp.TraceState, otlp.OtherText},
}

// Values lists them.
func (Where) Values() []string {
	return []string{"resource", "scope", "span", "event", "link", "log", "metric", "attributes", "span_name", "event_name",
		"status_message", "body", "trace_state", "texts", "everything"}
}

// NameOf is the place as In names it.
func NameOf(p otlp.Place) string {
	for name, of := range places {
		if len(of) == 1 && of[0] == p {
			return string(name)
		}
	}
	return ""
}

// maxKeep bounds keep_last: the last four digits tell cards apart, and twice as much is no mask.
const maxKeep = 8

// Given reports whether the configuration redacts anything.
func (c Config) Given() bool {
	return len(c.Sets)+len(c.Rules)+len(c.Allow.Keys)+len(c.Allow.Patterns) > 0 || c.Unknown == "drop"
}

// NeedsKey reports whether anything is hashed.
func (c Config) NeedsKey() bool {
	return c.Allow.Action == Hash || slices.ContainsFunc(c.Sets, func(s Set) bool { return s.Action == Hash }) ||
		slices.ContainsFunc(c.Rules, func(r Rule) bool { return r.Action == Hash })
}

// Check reports to d all that is wrong with the configuration, which stands at path in the file.
func (c Config) Check(d *strictyaml.Decoder, path string) {
	c.compile(func(at, format string, args ...any) { d.Faultf(path+"."+at, format, args...) })
}

// report is told what is wrong, and where in the configuration.
type report func(at, format string, args ...any)

// compile makes the rules, in the order in which they are asked: the allow list, own rules, sets.
func (c Config) compile(fault report) (rules []*rule) {
	if a := c.Allow; len(a.Keys)+len(a.Patterns) > 0 {
		rules = append(rules, a.compile(fault))
	} else if len(a.In) > 0 {
		fault("allow", "has neither keys nor patterns: nothing would be left")
	}
	seen := map[string]bool{"allow": true}
	for i, r := range c.Rules {
		at := fmt.Sprintf("rules[%d]", i)
		if seen[r.Name] || slices.Contains(SetName("").Values(), r.Name) {
			fault(at+".name", "%q names another rule or a ready set: a report could not tell them apart", r.Name)
		}
		seen[r.Name] = true
		rules = append(rules, r.compile(func(key, format string, args ...any) { fault(at+"."+key, format, args...) }))
	}
	clear(seen)
	ready := map[SetName][]*rule{}
	for i, s := range c.Sets {
		at := fmt.Sprintf("sets[%d]", i)
		if seen[string(s.Name)] {
			fault(at, "%s is given twice", s.Name)
		}
		seen[string(s.Name)] = true
		keep(s.Action, s.Keep, func(key, format string, args ...any) { fault(at+"."+key, format, args...) })
		ready[s.Name] = s.compile()
	}
	for _, name := range SetName("").Values() {
		rules = append(rules, ready[SetName(name)]...)
	}
	bit := 0
	for _, r := range rules {
		if len(r.find) > 0 {
			r.bit = 1 << min(bit, 63)
			bit++
		}
	}
	if bit > 64 {
		fault("rules", "%d rules and parts of sets look into texts, want at most 64", bit)
	}
	return rules
}

func keep(a Action, n int, fault report) {
	switch {
	case n < 0 || n > maxKeep:
		fault("keep_last", "%d is out of bounds, want 0 to %d", n, maxKeep)
	case n > 0 && a != "" && a != Mask:
		fault("keep_last", "is for the action mask, and this is %s", a)
	}
}

func (a Allow) compile(fault report) *rule {
	sub := func(key, format string, args ...any) { fault("allow."+key, format, args...) }
	r := &rule{name: "allow", action: a.Action, places: bits(a.In, "attributes")}
	if r.action == "" {
		r.action = Delete
	}
	if r.places&^bits(nil, "attributes") != 0 {
		sub("in", "is about attributes, and some of these have no key")
	}
	keys := setOf(append(slices.Clone(a.Keys), a.Required...))
	var patterns []*regexp.Regexp
	for i, p := range a.Patterns {
		if re := whole(fmt.Sprintf("patterns[%d]", i), p, sub); re != nil {
			patterns = append(patterns, re)
		}
	}
	r.allowed = func(key []byte) bool {
		return keys[string(key)] || slices.ContainsFunc(patterns, func(re *regexp.Regexp) bool { return re.Match(key) })
	}
	return r
}

func (c Rule) compile(fault report) *rule {
	r := &rule{name: c.Name, action: c.Action, keep: c.Keep, places: bits(c.In, "everything")}
	if r.action == "" {
		r.action = Mask
	}
	keep(r.action, r.keep, fault)
	c.compileKeys(r, fault)
	if c.Value != "" {
		if re := compiled("value_pattern", c.Value, c.Value, fault); re != nil {
			r.find = []finder{pattern(re)}
			r.literal = literalOf(c.Value)
		}
	}
	if len(c.Keys) == 0 && c.Key == "" && c.Value == "" {
		fault("name", "rule %q says neither keys nor key_pattern nor value_pattern: it would redact everything", c.Name)
	}
	if r.key != nil && r.places&bits(nil, "attributes") == 0 && r.places&(1<<otlp.Body) == 0 {
		fault("in", "has no attributes, and the rule is about their keys")
	}
	if c.Span != "" {
		r.span = whole("span_name", c.Span, fault)
	}
	for _, key := range sorted(c.Resource) {
		if re := whole("resource."+key, c.Resource[key], fault); re != nil {
			r.resource = append(r.resource, condition{key, re})
		}
	}
	return r
}

func (c Rule) compileKeys(r *rule, fault report) {
	keys := setOf(c.Keys)
	var re *regexp.Regexp
	if c.Key != "" {
		if re = whole("key_pattern", c.Key, fault); re == nil {
			return
		}
	}
	switch {
	case re != nil:
		r.key = func(key []byte) bool { return keys[string(key)] || re.Match(key) }
	case len(keys) > 0:
		r.key = func(key []byte) bool { return keys[string(key)] }
	}
}

func setOf(keys []string) map[string]bool {
	set := map[string]bool{}
	for _, k := range keys {
		set[k] = true
	}
	return set
}

func bits(where []Where, otherwise Where) (b uint32) {
	if len(where) == 0 {
		where = []Where{otherwise}
	}
	for _, w := range where {
		for _, p := range places[w] {
			b |= 1 << p
		}
	}
	return b
}

// whole compiles a pattern that must match all of a text.
func whole(at, p string, fault report) *regexp.Regexp {
	return compiled(at, p, `\A(?:`+p+`)\z`, fault)
}

func compiled(at, p, full string, fault report) *regexp.Regexp {
	if _, err := regexp.Compile(p); err != nil { // as it was written, so that the error is about that
		var bad *syntax.Error
		if errors.As(err, &bad) {
			fault(at, "is no RE2 pattern: %s: %q", bad.Code, bad.Expr)
			return nil
		}
		fault(at, "is no RE2 pattern: %v", err)
		return nil
	}
	re, err := regexp.Compile(full)
	if err != nil {
		fault(at, "is no RE2 pattern: %v", err)
		return nil
	}
	if re.MatchString("") && !strings.HasPrefix(full, `\A(?:`) {
		fault(at, "matches the empty text, and so everywhere")
		return nil
	}
	return re
}

// literalOf is a text that everything has that the pattern matches, the longest that is easily seen; "" for none.
func literalOf(p string) (literal string) {
	parsed, err := syntax.Parse(p, syntax.Perl)
	if err != nil {
		return ""
	}
	var walk func(re *syntax.Regexp)
	walk = func(re *syntax.Regexp) {
		switch re.Op {
		case syntax.OpLiteral:
			if s := string(re.Rune); re.Flags&syntax.FoldCase == 0 && len(s) > len(literal) {
				literal = s
			}
		case syntax.OpConcat, syntax.OpCapture, syntax.OpPlus:
			for _, sub := range re.Sub {
				walk(sub)
			}
		}
	}
	walk(parsed)
	return literal
}
