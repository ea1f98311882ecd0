package broker

import (
	"fmt"
	"strconv"
	"strings"
)

const maxFilterBytes = 256

// filter reports whether a message with these attributes is for the subscription.
type filter func(attributes map[string]string) bool

// parseFilter compiles a filter of
// https://cloud.google.com/pubsub/docs/subscription-message-filter:
//
//	expression = term { "AND" term } | term { "OR" term }
//	term       = [ "NOT" | "-" ] term | "(" expression ")" | comparison
//	comparison = "attributes" ":" key
//	           | "attributes" "." key ( "=" | "!=" ) string
//	           | "hasPrefix" "(" "attributes" "." key "," string ")"
//	key        = string | letters, digits, "_" and "-"
//
// AND and OR are not mixed without parentheses, as parsers of the language differ in which
// binds tighter. A message without the key passes "!=".
func parseFilter(text string) (filter, error) {
	p := &filterParser{text: text}
	match := p.expression()
	if p.peek(); p.at < len(text) {
		p.fail("AND, OR or the end")
	}
	return match, p.err
}

// filterParser holds the first error; after it everything parses as nothing, up to the end.
type filterParser struct {
	text string
	at   int
	err  error
}

// fail notes what was expected at the present place, and goes to the end.
func (p *filterParser) fail(want string) {
	if p.err == nil {
		found := "the end"
		if p.peek(); p.at < len(p.text) {
			found = strconv.Quote(p.text[p.at:])
		}
		p.err = fmt.Errorf("position %d: want %s, found %s", p.at+1, want, found)
	}
	p.at = len(p.text)
}

// peek skips spaces and returns the next byte, 0 at the end.
func (p *filterParser) peek() byte {
	for p.at < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.at]) >= 0 {
		p.at++
	}
	if p.at == len(p.text) {
		return 0
	}
	return p.text[p.at]
}

// take consumes the symbol if it is next.
func (p *filterParser) take(symbol string) bool {
	p.peek()
	if !strings.HasPrefix(p.text[p.at:], symbol) {
		return false
	}
	p.at += len(symbol)
	return true
}

func (p *filterParser) expect(symbol string) {
	if !p.take(symbol) {
		p.fail(strconv.Quote(symbol))
	}
}

// word returns the letters, digits, "_" and, but for the first, "-" that come next.
func (p *filterParser) word() string {
	p.peek()
	end := p.at
	for end < len(p.text) && (isWordByte(p.text[end]) || end > p.at && p.text[end] == '-') {
		end++
	}
	return p.text[p.at:end]
}

func isWordByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
}

func (p *filterParser) takeWord(want string) bool {
	if p.word() != want {
		return false
	}
	p.at += len(want)
	return true
}

func (p *filterParser) expression() filter {
	left := p.term()
	operator := p.word()
	for {
		switch word := p.word(); {
		case word != "AND" && word != "OR":
			return left
		case word != operator:
			p.fail("parentheses, since AND and OR are mixed")
			return left
		}
		p.takeWord(operator)
		first, second := left, p.term()
		if operator == "AND" {
			left = func(a map[string]string) bool { return first(a) && second(a) }
		} else {
			left = func(a map[string]string) bool { return first(a) || second(a) }
		}
	}
}

func (p *filterParser) term() filter {
	switch {
	case p.takeWord("NOT"), p.take("-"):
		inner := p.term()
		return func(a map[string]string) bool { return !inner(a) }
	case p.take("("):
		inner := p.expression()
		p.expect(")")
		return inner
	case p.takeWord("hasPrefix"):
		return p.prefix()
	case p.takeWord("attributes"):
		return p.comparison()
	}
	p.fail("attributes, hasPrefix, NOT or a parenthesis")
	return nil
}

func (p *filterParser) prefix() filter {
	p.expect("(")
	if !p.takeWord("attributes") {
		p.fail("attributes")
	}
	p.expect(".")
	key := p.key()
	p.expect(",")
	prefix := p.literal()
	p.expect(")")
	return func(a map[string]string) bool { v, ok := a[key]; return ok && strings.HasPrefix(v, prefix) }
}

func (p *filterParser) comparison() filter {
	if p.take(":") {
		key := p.key()
		return func(a map[string]string) bool { _, ok := a[key]; return ok }
	}
	if !p.take(".") {
		p.fail(`":" or "."`)
	}
	key := p.key()
	unequal := p.take("!=")
	if !unequal && !p.take("=") {
		p.fail(`"=" or "!="`)
	}
	value := p.literal()
	return func(a map[string]string) bool {
		v, ok := a[key]
		return (ok && v == value) != unequal
	}
}

func (p *filterParser) key() string {
	if p.peek() == '"' {
		return p.literal()
	}
	key := p.word()
	if key == "" {
		p.fail("the key of an attribute")
	}
	p.at += len(key)
	return key
}

// literal reads a string in double quotes; its escapes are those of Go, which has all of the language's.
func (p *filterParser) literal() string {
	p.peek()
	quoted, err := strconv.QuotedPrefix(p.text[p.at:])
	if err != nil || quoted[0] != '"' {
		p.fail("a string in double quotes")
		return ""
	}
	p.at += len(quoted)
	value, _ := strconv.Unquote(quoted)
	return value
}
