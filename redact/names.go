package redact

import (
	"bytes"
	"strings"
	"sync"
)

// names is what keys of attributes and names in front of values are called, in lower case with _ between words. A name that ends in one
// of them after _ is one of them as well: db_password.
type names struct {
	words []string
	not   []string // but none of these
	parts []string // anywhere in the name: for languages that do not separate words

	once sync.Once
	set  map[string]bool // words: true, not: false
}

// has reports whether name is one; name is written in any style: x-api-key, apiKey, API_KEY, http.request.header.x-api-key.
func (n *names) has(name []byte) bool {
	for _, p := range n.parts {
		if bytes.Contains(name, []byte(p)) {
			return true
		}
	}
	n.once.Do(func() {
		n.set = make(map[string]bool, len(n.words))
		for _, w := range n.words {
			n.set[w] = true
		}
		for _, w := range n.not {
			n.set[w] = false
		}
	})
	var buf [64]byte
	for word := snake(buf[:0], name); ; {
		if is, known := n.set[string(word)]; known { // the longest that it ends in
			return is
		}
		i := bytes.IndexByte(word, '_')
		if i < 0 {
			return false
		}
		word = word[i+1:]
	}
}

// snake appends the last part of a dotted name in lower case, with _ for - and between aB.
func snake(dst, name []byte) []byte {
	name = name[bytes.LastIndexAny(name, ".:/[")+1:]
	if len(name) > 0 && name[len(name)-1] == ']' {
		name = name[:len(name)-1]
	}
	if len(name) > 60 {
		name = name[len(name)-60:]
	}
	for i, b := range name {
		switch {
		case b == '-' || b == ' ':
			b = '_'
		case b >= 'A' && b <= 'Z':
			if i > 0 && name[i-1] >= 'a' && name[i-1] <= 'z' && len(dst) < 62 {
				dst = append(dst, '_')
			}
			b |= 0x20
		}
		dst = append(dst, b)
	}
	return dst
}

// assignments finds the values of such names: name=value in URLs and connection strings, name: value in headers and YAML, "name":"value" in
// JSON, also where that is quoted in JSON or escaped for a URL. lines are names whose value goes on to the end of the line; without any, all
// values without quotes are numbers, and end where a number does.
func assignments(n, lines *names) func([]match, []byte) []match {
	return func(found []match, text []byte) []match {
		for i := 0; i < len(text); i++ {
			width := 1
			switch text[i] {
			case '=':
			case ':':
				if i+2 < len(text) && text[i+1] == '/' && text[i+2] == '/' { // the scheme of a URL
					continue
				}
			case '%':
				if width = 3; !isEscape(text[i:], "3D") && !isEscape(text[i:], "3A") {
					continue
				}
			case 0xEF: // ： and ＝
				if width = 3; !bytes.HasPrefix(text[i:], []byte("\uff1a")) && !bytes.HasPrefix(text[i:], []byte("\uff1d")) {
					continue
				}
			default:
				continue
			}
			name := nameBefore(text[:i])
			if len(name) < shortestName || name[0] >= '0' && name[0] <= '9' { // a time, a port, a line of source
				continue
			}
			line := lines != nil && lines.has(name)
			if !line && !n.has(name) {
				continue
			}
			m := valueAfter(text, i+width, line)
			if lines == nil && m.end > m.start && !isQuote(text[m.start-1]) {
				m = numberAfter(text, m.start)
			}
			if m.end > m.start {
				found = append(found, m)
				i = m.end - 1
			}
		}
		return found
	}
}

// shortestName is the length of the shortest of all names, pan and the like.
const shortestName = 3

func isQuote(b byte) bool { return b == '"' || b == '\'' }

func isEscape(text []byte, hex string) bool {
	return len(text) > 2 && text[0] == '%' && strings.EqualFold(string(text[1:3]), hex)
}

// nameBefore is the name at the end of text, without quotes and blanks.
func nameBefore(text []byte) []byte {
	text = bytes.TrimRight(text[max(0, len(text)-80):], " \t")
	for len(text) > 0 && bytes.IndexByte([]byte(`"'\`), text[len(text)-1]) >= 0 {
		text = text[:len(text)-1]
	}
	if n := len(text); n > 2 && isEscape(text[n-3:], "22") {
		text = text[:n-3]
	}
	end := len(text)
	if end > 0 && text[end-1] == ']' { // user[password]
		end--
	}
	start := end
	for start > 0 && (isWord(text[start-1]) || text[start-1] == '-' || text[start-1] >= 0x80) {
		start--
	}
	if start > 0 && text[start-1] == '%' && end-start > 2 {
		start += 2
	}
	return text[start:end]
}

// valueAfter is the value at at: in its quotes, or to what ends a value.
func valueAfter(text []byte, at int, line bool) match {
	for at < len(text) && (text[at] == ' ' || text[at] == '\t' || text[at] == '[') {
		at++
	}
	slashes := spanOf(text[at:], func(b byte) bool { return b == '\\' })
	quote := at + slashes
	var end int
	switch {
	case quote < len(text) && isQuote(text[quote]):
		at = quote + 1
		end = at + quoted(text[at:], text[quote], slashes)
	case isEscape(text[at:], "22"):
		at += 3
		end = at + escapedEnd(text[at:])
	case line:
		end = at + spanOf(text[at:], func(b byte) bool { return b != '\n' && b != '\r' && b != '"' && b != '\'' && b != '\\' })
	default:
		n := spanOf(text[at:], func(b byte) bool { return b > ' ' && bytes.IndexByte([]byte(`&;,"'<>)}]\`), b) < 0 })
		end = at + escapedEnd(text[at:at+n])
	}
	switch value := text[at:end]; string(value) {
	case "null", "true", "false", "undefined", "None", "nil", "{", "{}":
		return match{}
	}
	return match{at, end}
}

// quoted is the length of what the quote ends, which has as many backslashes before it as the one that began it.
func quoted(text []byte, quote byte, slashes int) int {
	for i, before := 0, 0; i < len(text); i++ {
		switch {
		case text[i] == '\\':
			before++
			continue
		case text[i] == quote && before <= slashes:
			return i - before
		}
		before = 0
	}
	return len(text)
}

// escapedEnd is where %22 or %26 is: a quote or &.
func escapedEnd(text []byte) int {
	for i := range text {
		if text[i] == '%' && (isEscape(text[i:], "22") || isEscape(text[i:], "26")) {
			return i
		}
	}
	return len(text)
}

// labelled finds a number behind a label in a language that does without : and spaces: 被保険者番号は12345678.
func labelled(labels ...string) func([]match, []byte) []match {
	return func(found []match, text []byte) []match {
		for _, label := range labels {
			for at := 0; ; {
				i := bytes.Index(text[at:], []byte(label))
				if i < 0 {
					break
				}
				at += i + len(label)
				if m := numberAfter(text, at); m.end > m.start {
					found = append(found, m)
					at = m.end
				}
			}
		}
		return found
	}
}

// numberAfter is the digits, letters and hyphens that begin within the next few characters that are none.
func numberAfter(text []byte, at int) match {
	for n := 0; at < len(text) && n < 6; n++ {
		if _, size := digit(text[at:]); size > 0 {
			break
		}
		if isLetter(text[at]) {
			break
		}
		at += wordEnd(text[at:])
	}
	end, digits := at, 0
	for end < len(text) {
		if _, size := digit(text[end:]); size > 0 {
			digits++
			end += size
			continue
		}
		if isLetter(text[end]) {
			end++
			continue
		}
		s, size := separator(text[end:])
		if s != hyphen || size == 0 {
			break
		}
		end += size
	}
	if digits < 2 {
		return match{}
	}
	return match{at, end}
}
