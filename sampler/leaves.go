package sampler

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"

	"tailweir/otlp"
	"tailweir/ottlcond"
)

// maxLeaves is the number of bits in Facts.Bits.
const maxLeaves = 128

// The status codes of a span as a set, bit = code.
const (
	statusUnset = 1 << iota
	statusOK
	statusError
)

// leaves is the conditions on single spans of a policy set, each once, numbered in the order of the file.
type leaves struct {
	numbers map[string]int // canonical form → bit
	status  [3][2]uint64   // the leaves that a span of this status code satisfies
	keys    []keyTests     // attribute conditions, by key
	regexes int
	flagged [2]uint64 // the leaf that a span with the sampled flag satisfies, if there is one
	states  []stateTest
	ottl    []ottlTest

	loose bool // values are read as the collector reads them; see attributeTest
	sized sizing
}

// sizing is what Facts.Bytes counts.
type sizing uint8

const (
	asSent    sizing = iota // the spans as they came
	collected               // what the collector pays for a trace in bytes_limiting
	bare                    // what it bounds by maximum_trace_size_bytes: 2 to 6 B less for each resource of a payload
)

// keyTests is the conditions on one attribute key: it is looked up once per span for all of them.
type keyTests struct {
	key   string
	bits  [2]uint64 // of all tests
	tests []attributeTest
}

// attributeTest asks one thing of a value: text equals one of exact or matches pattern, a whole number is within
// least..most, or a bool equals truth. Values of another type never match; the collector reads them as "", 0 and false.
type attributeTest struct {
	bit         int
	kind        otlp.Kind
	exact       map[string]bool
	pattern     *regexp.Regexp
	regex       int // the index of its cache in an Observer
	cache       int // how many values the cache remembers
	least, most int64
	truth       bool
}

// stateTest asks for one of values at a key of the span's W3C tracestate.
type stateTest struct {
	bit    int
	key    string
	values map[string]bool
}

// ottlTest is a condition in OTTL. An evaluation that fails sets fail, where it is not 0.
type ottlTest struct {
	bit, fail int
	condition *ottlcond.Condition
	users     []user
}

// user is a policy of the list with a condition in it.
type user struct {
	name string
	drop bool
}

// number is the bit of the leaf with this canonical form; fresh says that it is new.
func (l *leaves) number(name string) (lf leaf, fresh bool) {
	if bit, known := l.numbers[name]; known {
		return leaf{bit: bit, name: name}, false
	}
	if l.numbers == nil {
		l.numbers = map[string]int{}
	}
	bit := len(l.numbers)
	l.numbers[name] = bit
	return leaf{bit: bit, name: name}, bit < maxLeaves
}

// inOrder is the canonical forms by number.
func (l *leaves) inOrder() []string {
	names := make([]string, len(l.numbers))
	for name, bit := range l.numbers {
		names[bit] = name
	}
	return names
}

// overflow says that the set has more distinct conditions than Facts.Bits can hold; its leaves cannot be used then.
func (l *leaves) overflow() bool { return len(l.numbers) > maxLeaves }

func (l *leaves) statusCode(codes int) leaf {
	lf, fresh := l.number(fmt.Sprintf("status(%d)", codes))
	if !fresh {
		return lf
	}
	for code := range l.status {
		if codes&(1<<code) != 0 {
			set(&l.status[code], lf.bit)
		}
	}
	return lf
}

func (l *leaves) sampledFlag() leaf {
	lf, fresh := l.number("sampled")
	if fresh {
		set(&l.flagged, lf.bit)
	}
	return lf
}

func (l *leaves) tracestate(key string, values []string) leaf {
	values = slices.Compact(slices.Sorted(slices.Values(values)))
	lf, fresh := l.number("tracestate(" + quote(key) + " in" + quoteAll(values) + ")")
	if fresh {
		l.states = append(l.states, stateTest{lf.bit, key, setOf(values)})
	}
	return lf
}

// ottlCondition needs a second bit for what fails when that is an answer of its own.
func (l *leaves) ottlCondition(c *ottlcond.Condition, fails bool, by user) leaf {
	name := "ottl(" + c.String() + ")"
	lf, fresh := l.number(name)
	if fails {
		second, _ := l.number("failed " + name)
		lf.fail = second.bit
	}
	if fresh && lf.fail < maxLeaves {
		l.ottl = append(l.ottl, ottlTest{bit: lf.bit, fail: lf.fail, condition: c})
	}
	for i := range l.ottl {
		if t := &l.ottl[i]; t.bit == lf.bit && !slices.Contains(t.users, by) {
			t.users = append(t.users, by)
		}
	}
	return lf
}

func (l *leaves) oneOf(key string, values []string) leaf {
	values = slices.Compact(slices.Sorted(slices.Values(values)))
	values = slices.DeleteFunc(values, func(v string) bool { return v == "" }) // an empty text never matches
	return l.attribute(key, "in"+quoteAll(values), attributeTest{kind: otlp.String, exact: setOf(values)})
}

// matching is the leaf for text that any of the patterns, each of which compiles, matches somewhere. The error says that they
// do not together: they nest too deep, or are too large.
func (l *leaves) matching(key string, patterns []string, cache int) (leaf, error) {
	patterns = slices.Compact(slices.Sorted(slices.Values(patterns)))
	joined, err := regexp.Compile(joinPatterns(patterns))
	if fault, ok := err.(*syntax.Error); ok {
		return leaf{}, errors.New(fault.Code.String()) // the whole is in its own words, and long
	}
	return l.attribute(key, "matches"+quoteAll(patterns), attributeTest{kind: otlp.String, pattern: joined, cache: cache}), nil
}

// joinPatterns is a pattern for what any of them matches. A quotation that a pattern leaves open ends with it.
func joinPatterns(patterns []string) string {
	groups := make([]string, len(patterns))
	for i, p := range patterns {
		groups[i] = "(?:" + p + ")"
		if _, err := syntax.Parse(groups[i], syntax.Perl); err != nil {
			groups[i] = "(?:" + p + `\E)`
		}
	}
	return strings.Join(groups, "|")
}

func (l *leaves) between(key string, least, most *int64) leaf {
	t := attributeTest{kind: otlp.Int, least: math.MinInt64, most: math.MaxInt64}
	if least != nil {
		t.least = *least
	}
	if most != nil {
		t.most = *most
	}
	return l.attribute(key, fmt.Sprintf("between(%d,%d)", t.least, t.most), t)
}

func (l *leaves) boolean(key string, truth bool) leaf {
	return l.attribute(key, fmt.Sprintf("is(%t)", truth), attributeTest{kind: otlp.Bool, truth: truth})
}

func (l *leaves) attribute(key, test string, t attributeTest) leaf {
	lf, fresh := l.number("attribute(" + quote(key) + " " + test + ")")
	if !fresh {
		return lf
	}
	t.bit = lf.bit
	if t.pattern != nil {
		t.regex = l.regexes
		l.regexes++
	}
	i := slices.IndexFunc(l.keys, func(k keyTests) bool { return k.key == key })
	if i < 0 {
		i = len(l.keys)
		l.keys = append(l.keys, keyTests{key: key})
	}
	set(&l.keys[i].bits, lf.bit)
	l.keys[i].tests = append(l.keys[i].tests, t)
	return lf
}

func setOf(values []string) map[string]bool {
	set := make(map[string]bool, len(values))
	for _, v := range values {
		set[v] = true
	}
	return set
}

func quote(s string) string { return strconv.Quote(s) }

func quoteAll(values []string) string { return fmt.Sprintf("%q", values) }
