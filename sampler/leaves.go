package sampler

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"tailweir/otlp"
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
}

// keyTests is the conditions on one attribute key: it is looked up once per span for all of them.
type keyTests struct {
	key   string
	bits  [2]uint64 // of all tests
	tests []attributeTest
}

// attributeTest asks one thing of a value: text equals one of exact or matches pattern, a whole number is within
// least..most, or a bool equals truth. Values of another type never match.
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

// number is the bit of the leaf with this canonical form; fresh says that it is new.
func (l *leaves) number(name string) (lf leaf, fresh bool) {
	if bit, known := l.numbers[name]; known {
		return leaf{bit, name}, false
	}
	if l.numbers == nil {
		l.numbers = map[string]int{}
	}
	bit := len(l.numbers)
	l.numbers[name] = bit
	return leaf{bit, name}, bit < maxLeaves
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

func (l *leaves) oneOf(key string, values []string) leaf {
	values = slices.Compact(slices.Sorted(slices.Values(values)))
	exact := make(map[string]bool, len(values))
	for _, v := range values {
		exact[v] = true
	}
	return l.attribute(key, "in"+quoteAll(values), attributeTest{kind: otlp.String, exact: exact})
}

// matching is the leaf for text that any of the patterns matches somewhere. They must compile.
func (l *leaves) matching(key string, patterns []string, cache int) leaf {
	patterns = slices.Compact(slices.Sorted(slices.Values(patterns)))
	joined := regexp.MustCompile("(?:" + strings.Join(patterns, ")|(?:") + ")")
	return l.attribute(key, "matches"+quoteAll(patterns), attributeTest{kind: otlp.String, pattern: joined, cache: cache})
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

func quote(s string) string { return strconv.Quote(s) }

func quoteAll(values []string) string { return fmt.Sprintf("%q", values) }
