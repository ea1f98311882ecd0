package strictyaml

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Fault is one thing that is wrong in a YAML document, at the place where a person has to change it.
type Fault struct {
	File         string
	Line, Column int    // 1-based; 0 when the place is not in the file (a required document that is empty)
	Path         string // such as policies[2].latency.threshold_ms; "" for the document itself
	Msg          string // what is wrong, with the offending value and what would be right
}

// String is the fault as one line: policies.yaml:12:7: policies[2].type: message.
func (f Fault) String() string {
	var b strings.Builder
	b.WriteString(f.File)
	if f.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", f.Line, f.Column)
	}
	b.WriteString(": ")
	if f.Path != "" {
		b.WriteString(onOneLine(f.Path) + ": ")
	}
	b.WriteString(f.Msg)
	return b.String()
}

// onOneLine escapes what a file may bring into a fault if it has line breaks or other control characters.
func onOneLine(s string) string {
	if !strings.ContainsFunc(s, unicode.IsControl) {
		return s
	}
	quoted := strconv.Quote(s)
	return quoted[1 : len(quoted)-1]
}

// Faults is every fault of a document in the order of the file. As an error it has one line per fault.
type Faults []Fault

// Error joins the faults, one per line, without a final newline.
func (fs Faults) Error() string {
	lines := make([]string, len(fs))
	for i, f := range fs {
		lines[i] = f.String()
	}
	return strings.Join(lines, "\n")
}

// sorted is a copy in the order of the file, without repetitions (an alias is decoded once per use).
func (fs Faults) sorted() Faults {
	out := slices.Clone(fs)
	slices.SortStableFunc(out, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return slices.Compact(out)
}

// Nearest is the candidate that s was probably meant to be, or "" when none is close: at most a third of the letters,
// and never more than three, may have to be changed.
func Nearest(s string, candidates []string) string {
	best, least := "", min(3, max(1, len(s)/3))+1
	for _, c := range candidates {
		if d := distance(strings.ToLower(s), strings.ToLower(c)); d < least {
			best, least = c, d
		}
	}
	return best
}

// distance is the number of insertions, deletions, replacements and swaps of neighbours that turn a into b.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64 // nobody misspells that much; bounds the work on hostile input
	}
	var before, last, row [65]int
	for j := range len(b) + 1 {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}

// suggest is `, did you mean "x"?` or the list of what is allowed when nothing is near.
func suggest(s string, candidates []string) string {
	if n := Nearest(s, candidates); n != "" {
		return fmt.Sprintf(", did you mean %q?", n)
	}
	if len(candidates) == 0 {
		return ""
	}
	return ", known: " + strings.Join(candidates, ", ")
}
