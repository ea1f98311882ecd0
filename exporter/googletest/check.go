package googletest

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// check holds the first limit that something exceeds.
type check struct{ err error }

func (c *check) atMost(what string, n, limit int) {
	if c.err == nil && n > limit {
		c.err = fmt.Errorf("%s: %d, the limit is %d", what, n, limit)
	}
}

// that records a fault unless ok. What it is about stands before the colon.
func (c *check) that(ok bool, fault string) {
	if c.err == nil && !ok {
		c.err = fmt.Errorf("%s", fault)
	}
}

func (c *check) text(what, s string, limit int) {
	c.atMost(what, len(s), limit)
	if c.err == nil && !utf8.ValidString(s) {
		c.err = fmt.Errorf("%s: not UTF-8", what)
	}
}

// age checks that t lies within [now-past, now+future].
func (c *check) age(what string, t, now time.Time, past, future time.Duration) {
	if c.err != nil {
		return
	}
	if d := now.Sub(t); d > past || d < -future {
		c.err = fmt.Errorf("%s: %v is more than %v in the past or %v in the future", what, t.UTC().Format(time.RFC3339Nano), past, future)
	}
}

// isID says whether s is an id of n lower-case hex digits, not all of them zero.
func isID(s string, n int) bool {
	return len(s) == n && strings.Trim(s, "0123456789abcdef") == "" && strings.Trim(s, "0") != ""
}

// isProject says whether s may be the id or the number of a project, such as "example.com:my-project-1".
func isProject(s string) bool { return s != "" && consistsOf(s, "-.:") && strings.ToLower(s) == s }

// consistsOf says whether s has letters, digits and the given characters only.
func consistsOf(s, others string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && strings.IndexByte(others, c) < 0 {
			return false
		}
	}
	return true
}
