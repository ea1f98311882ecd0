// Package ottlcond evaluates conditions of the OpenTelemetry Transformation Language on the spans of a payload, as the
// collector's tail sampling policy ottl_condition does. Language, paths and functions are those of contrib's pkg/ottl
// v0.161.0; this package chooses what of a payload gets decoded for them, and when.
//
// Some functions do not depend on the span alone (Now, UUID, UUIDv7): conditions with them have another answer each time
// they are asked.
package ottlcond

import (
	"fmt"
	"strconv"
	"strings"
	_ "time/tzdata" // functions take names of time zones, and neither an image from scratch nor every laptop has the table (450 kB)

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/ottl"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/ottl/contexts/ottlspan"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/ottl/contexts/ottlspanevent"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/ottl/ottlfuncs"
	"go.opentelemetry.io/collector/component"
	"go.uber.org/zap"

	"tailweir/otlp"
)

// The names of the two lists of conditions, as in the configuration.
const (
	Spans  = "span"
	Events = "spanevent"
)

// Mode says what becomes of a condition that fails on a span.
type Mode uint8

// The modes. The collector has no default of its own: where none is given it passes over failed conditions and does not log
// them, which is Silent.
const (
	Silent    Mode = iota // the condition is not true
	Ignore                // the condition is not true, and Decoder.Ignored is told
	Propagate             // evaluation of the span ends with the error
)

var modes = []string{Silent: "silent", Ignore: "ignore", Propagate: "propagate"}

// ParseMode reads a mode in letters of either case, as the collector does.
func ParseMode(s string) (Mode, error) {
	for m, name := range modes {
		if strings.EqualFold(s, name) {
			return Mode(m), nil
		}
	}
	return 0, fmt.Errorf("parse error mode %q: want ignore, propagate or silent", s)
}

// String returns the mode as ParseMode reads it.
func (m Mode) String() string { return modes[m] }

// Condition is a compiled policy: true on a span if one of its conditions is true on the span or on one of its events. It is
// immutable and safe for concurrent use.
type Condition struct {
	mode   Mode
	spans  []condition[*ottlspan.TransformContext]
	events []condition[*ottlspanevent.TransformContext]
	needs  otlp.Part // what of a span they can read
}

type condition[K any] struct {
	text string // as configured; OTTL's own has the context's name put before each path
	*ottl.Condition[K]
}

// Fault is a condition that does not compile.
type Fault struct {
	List    string // Spans or Events; "" when there is no condition at all
	Index   int    // in the list, from 0
	Line    int    // in the condition, from 1; 0 where the parser does not tell
	Column  int    // in runes, from 1; 0 with Line
	Message string // what is wrong, without place and text of the condition
}

// Error returns the fault with its place.
func (f Fault) Error() string {
	switch {
	case f.List == "":
		return f.Message
	case f.Line == 0:
		return fmt.Sprintf("%s[%d]: %s", f.List, f.Index, f.Message)
	}
	return fmt.Sprintf("%s[%d]:%d:%d: %s", f.List, f.Index, f.Line, f.Column, f.Message)
}

// Compile compiles the conditions on spans and on their events. Paths name their context or mean the list's own. All
// conditions that do not compile are returned, in order, and no Condition then.
func Compile(spans, events []string, mode Mode) (*Condition, []Fault) {
	if len(spans)+len(events) == 0 {
		return nil, []Fault{{Message: "no condition: want at least one in span or spanevent"}}
	}
	var of, oe []Fault
	c := &Condition{mode: mode}
	c.spans, of = compile(Spans, spans, spanParser)
	c.events, oe = compile(Events, events, eventParser)
	if faults := append(of, oe...); len(faults) > 0 {
		return nil, faults
	}
	for _, text := range spans {
		addNeeds(&c.needs, Spans, text)
	}
	for _, text := range events {
		addNeeds(&c.needs, Events, text)
	}
	return c, nil
}

// settings are all that OTTL needs of a collector: a logger, which must not log.
func settings() component.TelemetrySettings { return component.TelemetrySettings{Logger: zap.NewNop()} }

func spanParser() (ottl.Parser[*ottlspan.TransformContext], error) {
	functions := ottlfuncs.StandardConverters[*ottlspan.TransformContext]()
	root := ottlfuncs.NewIsRootSpanFactory()
	functions[root.Name()] = root
	return ottlspan.NewParser(functions, settings(), ottlspan.EnablePathContextNames())
}

func eventParser() (ottl.Parser[*ottlspanevent.TransformContext], error) {
	functions := ottlfuncs.StandardConverters[*ottlspanevent.TransformContext]()
	return ottlspanevent.NewParser(functions, settings(), ottlspanevent.EnablePathContextNames())
}

func compile[K any](list string, texts []string, newParser func() (ottl.Parser[K], error)) (out []condition[K], faults []Fault) {
	if len(texts) == 0 {
		return nil, nil
	}
	parse, err := conditionParser(list, newParser)
	if err != nil {
		return nil, []Fault{{List: list, Message: err.Error()}}
	}
	for i, text := range texts {
		c, err := parse(text)
		if err != nil {
			faults = append(faults, faultOf(list, i, err))
			continue
		}
		out = append(out, condition[K]{text, c})
	}
	return out, faults
}

// conditionParser returns a function that parses one condition. Only a collection of parsers puts the context's name before
// the paths that lack it.
func conditionParser[K any](context string, newParser func() (ottl.Parser[K], error)) (func(string) (*ottl.Condition[K], error), error) {
	parser, err := newParser()
	if err != nil {
		return nil, err
	}
	first := func(_ *ottl.ParserCollection[*ottl.Condition[K]], _ ottl.ConditionsGetter, parsed []*ottl.Condition[K]) (*ottl.Condition[K], error) {
		return parsed[0], nil
	}
	collection, err := ottl.NewParserCollection(settings(),
		ottl.WithParserCollectionContext(context, &parser, ottl.WithConditionConverter(first)))
	if err != nil {
		return nil, err
	}
	return func(text string) (c *ottl.Condition[K], err error) {
		if err := bounded(text); err != nil {
			return nil, err
		}
		defer recovered(&err)
		return collection.ParseConditionsWithContext(context, ottl.NewConditionsGetter([]string{text}), true)
	}, nil
}

// String returns the lists and the mode in a form that is equal for equal conditions only.
func (c *Condition) String() string {
	b := append([]byte("ottl "), c.mode.String()...)
	b = appendTexts(b, Spans, c.spans)
	return string(appendTexts(b, Events, c.events))
}

func appendTexts[K any](b []byte, list string, conditions []condition[K]) []byte {
	b = append(append(b, ' '), list...)
	for i, c := range conditions {
		b = strconv.AppendQuote(append(b, " ,"[min(i, 1)]), c.text)
	}
	return b
}
