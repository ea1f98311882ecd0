package sampler

import (
	"cmp"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"tailweir/ottlcond"
	"tailweir/strictyaml"
)

// mostMilliseconds is the longest latency threshold, 292 years: more does not fit nanoseconds.
const mostMilliseconds = math.MaxInt64 / int64(time.Millisecond)

func (c *compiler) latency(n *yaml.Node, path string) condition {
	var s struct {
		Threshold *int64 `yaml:"threshold_ms"`
		Upper     *int64 `yaml:"upper_threshold_ms"`
	}
	before := c.d.Count()
	c.d.Decode(n, path, &s)
	if s.Threshold == nil && s.Upper == nil && c.d.Count() == before {
		c.d.Faultf(path, "needs threshold_ms or upper_threshold_ms")
	}
	over, upTo := c.atLeast(path+".threshold_ms", s.Threshold, mostMilliseconds), c.atLeast(path+".upper_threshold_ms", s.Upper, mostMilliseconds)
	if upTo != 0 && upTo <= over {
		c.d.Faultf(path+".upper_threshold_ms", "%d is not above threshold_ms %d: no trace can be in between", upTo, over)
	}
	if c.d.Count() > before {
		return nil
	}
	return latency{time.Duration(over) * time.Millisecond, time.Duration(upTo) * time.Millisecond, c.strict}
}

// atLeast is the value of an optional setting that must be within 0..most; 0 when absent.
func (c *compiler) atLeast(path string, v *int64, most int64) int64 {
	if v == nil {
		return 0
	}
	if *v < 0 || *v > most {
		c.d.Faultf(path, "%d is outside 0..%d", *v, most)
	}
	return *v
}

func (c *compiler) spanCount(n *yaml.Node, path string) condition {
	var s struct {
		Min *int64 `yaml:"min_spans"`
		Max *int64 `yaml:"max_spans"`
	}
	before := c.d.Count()
	c.d.Decode(n, path, &s)
	if s.Min == nil && s.Max == nil && c.d.Count() == before {
		c.d.Faultf(path, "needs min_spans or max_spans")
	}
	least, most := c.atLeast(path+".min_spans", s.Min, math.MaxInt32), c.atLeast(path+".max_spans", s.Max, math.MaxInt32)
	if most != 0 && most < least {
		c.d.Faultf(path+".max_spans", "%d is below min_spans %d: no trace can be in between", most, least)
	}
	if c.d.Count() > before {
		return nil
	}
	return spanCount{uint32(least), uint32(most)}
}

// defaultSalt is what the collector hashes before a trace id where no salt is given.
const defaultSalt = "default-hash-seed"

func (c *compiler) probabilistic(n *yaml.Node, path string) condition {
	var s struct {
		Percentage float64 `yaml:"sampling_percentage,required"`
		Salt       string  `yaml:"hash_salt"`
	}
	before := c.d.Count()
	c.d.Decode(n, path, &s)
	at := path + ".sampling_percentage"
	switch {
	case s.Percentage < 0 || s.Percentage > 100:
		c.d.Faultf(at, "%v is outside 0..100", s.Percentage)
	case s.Percentage > 0 && s.Percentage < leastPercent:
		c.d.Faultf(at, "%v is below the least probability, %.2g", s.Percentage, leastPercent)
	}
	if s.Salt != "" && !c.strict {
		c.d.Warnf(path+".hash_salt", "has no effect: the randomness is that of the trace id or of rv in its tracestate, the same on every worker")
	}
	if c.d.Count() > before {
		return nil
	}
	if c.strict {
		return hashed{cmp.Or(s.Salt, defaultSalt), mostHash(s.Percentage)}
	}
	return probability{thresholdOf(s.Percentage)}
}

type statusName string

var statusBits = map[statusName]int{"OK": statusOK, "ERROR": statusError, "UNSET": statusUnset}

func (statusName) Values() []string { return []string{"OK", "ERROR", "UNSET"} }

func (c *compiler) statusCode(n *yaml.Node, path string) condition {
	var s struct {
		Codes []statusName `yaml:"status_codes,required"`
	}
	before := c.d.Count()
	c.d.Decode(n, path, &s)
	c.checkNotEmpty(path+".status_codes", len(s.Codes), strings.Join(statusName("").Values(), ", "))
	if c.d.Count() > before {
		return nil
	}
	codes := 0
	for _, code := range s.Codes {
		codes |= statusBits[code]
	}
	return c.set.leaves.statusCode(codes)
}

func (c *compiler) stringAttribute(n *yaml.Node, path string) condition {
	var s struct {
		Key    string   `yaml:"key,required"`
		Values []string `yaml:"values,required"`
		Regex  bool     `yaml:"enabled_regex_matching"`
		Cache  *int64   `yaml:"cache_max_size"`
		Invert bool     `yaml:"invert_match"`
	}
	before := c.d.Count()
	c.d.Decode(n, path, &s)
	c.checkKey(path, s.Key)
	c.checkNotEmpty(path+".values", len(s.Values), "the texts to look for")
	cache := c.atLeast(path+".cache_max_size", s.Cache, mostRegexCache)
	c.checkValues(path, s.Values, s.Regex)
	if c.d.Count() > before {
		return nil
	}
	if !s.Regex {
		return inverted(s.Invert, c.set.leaves.oneOf(s.Key, s.Values))
	}
	if cache == 0 {
		cache = defaultRegexCache
	}
	pattern, err := c.set.leaves.matching(s.Key, s.Values, int(cache))
	if err != nil {
		c.d.Faultf(path+".values", "cannot be one regular expression: %s", err)
		return nil
	}
	return inverted(s.Invert, pattern)
}

// checkNotEmpty wants a list that was given to have something in it.
func (c *compiler) checkNotEmpty(path string, items int, choice string) {
	if items == 0 && c.d.Has(path) && !c.d.Faulted(path) {
		c.d.Faultf(path, "is empty, want at least one of %s", choice)
	}
}

func (c *compiler) checkValues(path string, values []string, regex bool) {
	for i, v := range values {
		at := fmt.Sprintf("%s.values[%d]", path, i)
		if c.d.Faulted(at) {
			continue
		}
		if v == "" && !c.strict {
			c.d.Faultf(at, "is empty: an empty text never matches")
			continue
		}
		if !regex {
			continue
		}
		if _, err := regexp.Compile(v); err != nil {
			c.d.Faultf(at, "%q is not a regular expression: %s", v, strings.TrimPrefix(err.Error(), "error parsing regexp: "))
		}
	}
}

func (c *compiler) checkKey(path, key string) {
	if at := path + ".key"; key == "" && c.d.Has(at) && !c.d.Faulted(at) {
		c.d.Faultf(at, "is empty, want the name of an attribute")
	}
}

func (c *compiler) numericAttribute(n *yaml.Node, path string) condition {
	var s struct {
		Key    string `yaml:"key,required"`
		Min    *int64 `yaml:"min_value"`
		Max    *int64 `yaml:"max_value"`
		Invert bool   `yaml:"invert_match"`
	}
	before := c.d.Count()
	c.d.Decode(n, path, &s)
	if c.strict {
		s.Min, s.Max = unlessZero(s.Min), unlessZero(s.Max)
	}
	switch {
	case s.Min == nil && s.Max == nil && c.d.Count() == before && c.strict:
		c.d.Faultf(path, "needs min_value or max_value other than 0, which is none to the collector")
	case s.Min == nil && s.Max == nil && c.d.Count() == before:
		c.d.Faultf(path, "needs min_value or max_value")
	case s.Min != nil && s.Max != nil && *s.Min > *s.Max:
		c.d.Faultf(path+".max_value", "%d is below min_value %d: no value can be in between", *s.Max, *s.Min)
	}
	c.checkKey(path, s.Key)
	if c.d.Count() > before {
		return nil
	}
	return inverted(s.Invert, c.set.leaves.between(s.Key, s.Min, s.Max))
}

func unlessZero(v *int64) *int64 {
	if v == nil || *v == 0 {
		return nil
	}
	return v
}

func (c *compiler) booleanAttribute(n *yaml.Node, path string) condition {
	var s struct {
		Key    string `yaml:"key,required"`
		Value  bool   `yaml:"value,required"`
		Invert bool   `yaml:"invert_match"`
	}
	before := c.d.Count()
	c.d.Decode(n, path, &s)
	c.checkKey(path, s.Key)
	if c.d.Count() > before {
		return nil
	}
	return inverted(s.Invert, c.set.leaves.boolean(s.Key, s.Value))
}

// longestState is the W3C's limit on the characters of a tracestate's member, beside the "=".
const longestState = 255

func (c *compiler) traceState(n *yaml.Node, path string) condition {
	var s struct {
		Key    string   `yaml:"key,required"`
		Values []string `yaml:"values,required"`
	}
	before := c.d.Count()
	c.d.Decode(n, path, &s)
	c.checkKey(path, s.Key)
	c.checkNotEmpty(path+".values", len(s.Values), "the texts to look for")
	possible := slices.DeleteFunc(slices.Clone(s.Values), func(v string) bool { return v == "" || len(s.Key)+len(v) > longestState })
	if n := len(s.Values) - len(possible); n > 0 && c.d.Count() == before {
		c.d.Warnf(path+".values", "%d of them can never match: they are empty, or longer than a tracestate may hold", n)
	}
	if c.d.Count() > before {
		return nil
	}
	return c.set.leaves.tracestate(s.Key, possible)
}

func (c *compiler) ottlCondition(n *yaml.Node, path string) condition {
	var s struct {
		Mode   string   `yaml:"error_mode"` // in letters of either case, as the collector reads it
		Spans  []string `yaml:"span"`
		Events []string `yaml:"spanevent"`
	}
	before := c.d.Count()
	c.d.Decode(n, path, &s)
	if c.d.Count() > before {
		return nil
	}
	mode, err := ottlcond.ParseMode(cmp.Or(s.Mode, ottlcond.Ignore.String()))
	if err != nil {
		modes := []string{"ignore", "propagate", "silent"}
		c.d.Faultf(path+".error_mode", "unknown value %q, did you mean %q?", s.Mode, cmp.Or(strictyaml.Nearest(s.Mode, modes), modes[0]))
		return nil
	}
	if mode == ottlcond.Silent && c.user.drop {
		mode = ottlcond.Ignore // the same answers: but what should be dropped and is not must not go unheard
	}
	condition, faults := ottlcond.Compile(s.Spans, s.Events, mode)
	for _, f := range faults {
		at := path
		if f.List != "" {
			at = fmt.Sprintf("%s.%s[%d]", path, f.List, f.Index)
		}
		if f.Line > 0 {
			f.Message = fmt.Sprintf("%s (character %d of line %d of the condition)", f.Message, f.Column, f.Line)
		}
		c.d.Faultf(at, "%s", f.Message)
	}
	if len(faults) > 0 {
		return nil
	}
	return c.set.leaves.ottlCondition(condition, mode == ottlcond.Propagate, c.user)
}

// inverted is invert_match: no span and no resource of the trace matches.
func inverted(invert bool, l leaf) condition {
	if invert {
		return not{l}
	}
	return l
}
