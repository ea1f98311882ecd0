package pipeline

import (
	"fmt"
	"slices"

	"tailweir/otlp"
)

// LogsKeep says what becomes of log records.
type LogsKeep string

const (
	LogsAll       LogsKeep = "all"        // exported at their trace's decision, which they carry, whatever it is
	LogsWithTrace LogsKeep = "with_trace" // exported at their trace's decision if it is kept
	LogsAtOnce    LogsKeep = "at_once"    // exported without waiting, and never with the decision: a repeat has the same content
	LogsNever     LogsKeep = "never"      // dropped
)

// LogRule says what becomes of the log records that it matches: those that meet all its conditions.
type LogRule struct {
	// MinSeverity and MaxSeverity bound the severity number, inclusive; 0 is no bound. A record of which no severity is known
	// is in no bounds: it may be an error.
	MinSeverity, MaxSeverity int32
	// Attribute is a key that the record has, or else its resource; "" is no condition. With Values, its value as text is
	// one of them.
	Attribute string
	Values    []string
	Keep      LogsKeep
}

// MaxLogRules is how many rules a Config may have: a class is one byte.
const MaxLogRules = 200

func (r *LogRule) matches(x otlp.Record) bool {
	if r.MinSeverity > 0 || r.MaxSeverity > 0 {
		n := x.Severity()
		if n == 0 || n < r.MinSeverity || r.MaxSeverity > 0 && n > r.MaxSeverity {
			return false
		}
	}
	if r.Attribute == "" {
		return true
	}
	v, has := x.Attribute(r.Attribute)
	if !has {
		v, has = x.Resource().Attribute(r.Attribute)
	}
	if v.Kind() == otlp.String { // without a copy
		return has && (len(r.Values) == 0 || slices.ContainsFunc(r.Values, func(want string) bool { return want == string(v.Str()) }))
	}
	return has && (len(r.Values) == 0 || slices.Contains(r.Values, v.String()))
}

// classes is what the rules come to. A record's class depends on its bytes and its resource alone, so that every reading of a
// payload finds the same fragments: those of one trace and one class.
type classes struct {
	rules  []LogRule
	byRule []uint8
	all    []class
}

// class is what becomes of records. Those of rules that agree are one, but each rule that drops has its own, to be counted.
type class struct {
	keep   LogsKeep
	policy string // that dropped it
}

// newClasses numbers the classes; 0 is that of records which no rule names, and the only one that spans have.
func newClasses(rules []LogRule, otherwise LogsKeep) *classes {
	c := &classes{rules: rules, byRule: make([]uint8, len(rules)), all: []class{{keep: otherwise}}}
	for i, r := range rules {
		x := class{keep: r.Keep}
		if r.Keep == LogsNever {
			x.policy = fmt.Sprintf("(logs.rules[%d]: never)", i)
		}
		at := slices.Index(c.all, x)
		if at < 0 {
			at, c.all = len(c.all), append(c.all, x)
		}
		c.byRule[i] = uint8(at)
	}
	return c
}

// of is the class of a record. Without a trace id it waits for nothing, whatever is kept.
func (c *classes) of(x otlp.Record) uint8 {
	for i := range c.rules {
		if !c.rules[i].matches(x) {
			continue
		}
		if x.TraceID().IsZero() && c.rules[i].Keep != LogsNever {
			return 0
		}
		return c.byRule[i]
	}
	return 0
}

// partition makes a group of each class that a trace has in a payload. Without rules there is but one.
func (c *classes) partition(p *otlp.Payload) {
	if len(c.rules) > 0 && p.Signal() == otlp.Logs {
		p.Partition(c.of)
	}
}
