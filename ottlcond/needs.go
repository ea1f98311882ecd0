package ottlcond

import (
	"regexp"
	"slices"
	"strconv"

	"tailweir/otlp"
)

// Attributes are nearly all of the cost of decoding a span, 45 allocations for one with ten, and a condition reads one or two
// of them: decoding those alone takes 12 and a third of the time. OTTL does not tell which it reads; its syntax does: an
// attribute can be reached only by the path attributes, nearly always with a literal key. Whatever is not plainly another
// context's or of one key makes the decoder take all.

// token matches OTTL's string literals, names, and single characters of all else.
var token = regexp.MustCompile(`"(?:\\.|[^\\"])*"|[A-Za-z_][A-Za-z0-9_]*|\S`)

// addNeeds adds to part what a condition of the list can read of a span.
func addNeeds(part *otlp.Part, list, text string) {
	if list == Events {
		part.Events = true
	}
	tokens := token.FindAllString(text, -1)
	for i, t := range tokens {
		switch t {
		case "events":
			part.Events = true
		case "links":
			part.Links = true
		case "attributes":
			if ofSpan(list, tokens[:i]) {
				addAttribute(part, tokens[i+1:])
			}
		}
	}
}

// ofSpan reports whether attributes after these tokens may be the span's.
func ofSpan(list string, before []string) bool {
	n := len(before)
	if n < 2 || before[n-1] != "." {
		return list == Spans
	}
	return !slices.Contains([]string{"resource", "scope", "instrumentation_scope", "spanevent"}, before[n-2])
}

func addAttribute(part *otlp.Part, after []string) {
	if len(after) < 3 || after[0] != "[" || after[2] != "]" {
		part.AllAttributes = true
		return
	}
	key, err := strconv.Unquote(after[1])
	if err != nil {
		part.AllAttributes = true
		return
	}
	addKey(part, key)
}

func addKey(part *otlp.Part, key string) {
	if !slices.Contains(part.Attributes, key) {
		part.Attributes = append(part.Attributes, key)
	}
}

// addPart adds to part what other takes.
func addPart(part *otlp.Part, other otlp.Part) {
	part.AllAttributes = part.AllAttributes || other.AllAttributes
	part.Events = part.Events || other.Events
	part.Links = part.Links || other.Links
	for _, key := range other.Attributes {
		addKey(part, key)
	}
}
