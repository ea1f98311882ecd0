package redact

import (
	"bytes"
	"strings"
	"sync"
)

// match is the bytes [start, end) of a text.
type match struct{ start, end int }

// credentials finds what is a credential by its own form: bearer and basic credentials, JSON web tokens, keys of well-known
// issuers, private keys.
func credentials(found []match, text []byte) []match {
	dead := 0 // no token begins before
	if len(text) < 10 {
		return found
	}
	for i := 0; i < len(text); {
		if !starts[text[i]] || i > 0 && text[i] != '-' && isWord(text[i-1]) {
			i++
			continue
		}
		n, skip := 0, 0
		switch b := text[i]; {
		case b == '-':
			n = privateKey(text[i:])
		case b == 'e' && i >= dead:
			var run int
			if n, run = jwt(text[i:]); n == 0 {
				dead = i + run
			}
		case b|0x20 == 'b':
			skip, n = afterScheme(text[i:])
		}
		if n == 0 {
			n = issuedKey(text[i:])
		}
		if n > 0 {
			found = append(found, match{i + skip, i + skip + n})
		}
		i += max(skip+n, 1)
	}
	return found
}

func isWord(b byte) bool { return isLetter(b) || b >= '0' && b <= '9' || b == '_' }

func isBase64(b byte) bool {
	return isLetter(b) || b >= '0' && b <= '9' || b == '-' || b == '_' || b == '+' || b == '/' || b == '.' || b == '~'
}

func spanOf(text []byte, is func(byte) bool) (n int) {
	for n < len(text) && is(text[n]) {
		n++
	}
	return n
}

// jwt is the length of a token in compact form: three parts of base64url, of which the first is a JSON object, or the five of an encrypted
// one. Without one, none begins in the run of characters of that length either, since that has no more dots further on.
func jwt(text []byte) (n, run int) {
	if !bytes.HasPrefix(text, []byte("eyJ")) {
		return 0, 0
	}
	run = spanOf(text, func(b byte) bool { return isWord(b) || b == '-' || b == '.' })
	if run < 20 || bytes.Count(text[:run], []byte{'.'}) < 2 {
		return 0, run
	}
	return run, run
}

// afterScheme finds the credentials behind "Bearer" or "Basic". Words of prose after them are none: they have neither digits, nor
// capitals inside, nor what is between letters in base64 alone.
func afterScheme(text []byte) (skip, n int) {
	for _, scheme := range []string{"bearer", "basic"} {
		if len(text) <= len(scheme) || !strings.EqualFold(string(text[:len(scheme)]), scheme) {
			continue
		}
		skip = len(scheme)
		for skip < len(text) && (text[skip] == ' ' || text[skip] == '+' || text[skip] == '\t') {
			skip++
		}
		if bytes.HasPrefix(text[skip:], []byte("%20")) {
			skip += 3
		}
		n = spanOf(text[skip:], isBase64)
		n += spanOf(text[skip+n:], func(b byte) bool { return b == '=' })
		token := text[skip : skip+n]
		if skip == len(scheme) || n < 6 || !bytes.ContainsFunc(token[1:], func(r rune) bool {
			return r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r == '_' || r == '+' || r == '/' || r == '=' || r == '~'
		}) {
			return 0, 0
		}
		return skip, n
	}
	return 0, 0
}

type issuedPrefix struct {
	prefix string
	least  int
}

// issuedKeys is how keys of issuers begin, and how many characters follow at least.
var issuedKeys = []issuedPrefix{
	{"AKIA", 16}, {"ASIA", 16}, {"AIza", 30}, {"ya29.", 20}, {"ghp_", 30}, {"gho_", 30}, {"ghu_", 30}, {"ghs_", 30}, {"ghr_", 30},
	{"github_pat_", 30}, {"glpat-", 16}, {"xoxb-", 10}, {"xoxp-", 10}, {"xoxa-", 10}, {"xoxs-", 10}, {"sk_live_", 16}, {"sk_test_", 16},
	{"rk_live_", 16}, {"whsec_", 16}, {"sk-ant-", 16}, {"sk-proj-", 16}, {"GOCSPX-", 16}, {"SG.", 30}, {"npm_", 30}, {"dop_v1_", 30},
}

var issuedBy = func() (by [256][]issuedPrefix) {
	for _, k := range issuedKeys {
		by[k.prefix[0]] = append(by[k.prefix[0]], k)
	}
	return by
}()

// starts is the first characters of all that credentials finds.
var starts = func() (is [256]bool) {
	is['-'], is['e'], is['b'], is['B'] = true, true, true, true
	for _, k := range issuedKeys {
		is[k.prefix[0]] = true
	}
	return is
}()

func issuedKey(text []byte) int {
	for _, k := range issuedBy[text[0]] {
		if bytes.HasPrefix(text, []byte(k.prefix)) {
			if n := spanOf(text, func(b byte) bool { return isWord(b) || b == '-' || b == '.' }); n >= len(k.prefix)+k.least {
				return n
			}
		}
	}
	return 0
}

// privateKey is the length of a key in PEM, to its end or, where it is cut off, to that of the text.
func privateKey(text []byte) int {
	if !bytes.HasPrefix(text, []byte("-----BEGIN ")) {
		return 0
	}
	head := text[:min(len(text), 64)]
	if !bytes.Contains(head, []byte("PRIVATE KEY-----")) {
		return 0
	}
	if end := bytes.Index(text[11:], []byte("-----END ")); end >= 0 {
		rest := text[11+end+9:]
		if close := bytes.Index(rest, []byte("-----")); close >= 0 {
			return len(text) - len(rest) + close + 5
		}
	}
	return len(text)
}

// passwordInURL finds what stands between the user's name and the host: scheme://user:password@host, as connection strings have it. A
// user without a password may be a token.
func passwordInURL(found []match, text []byte) []match {
	for at := 0; ; {
		i := bytes.Index(text[at:], []byte("://"))
		if i < 0 {
			return found
		}
		at += i + 3
		authority := text[at : at+spanOf(text[at:], func(b byte) bool { return b > ' ' && !bytes.ContainsRune([]byte(`/?#"'<>\`), rune(b)) })]
		last := bytes.LastIndexByte(authority, '@')
		if last <= 0 {
			continue
		}
		from := bytes.IndexByte(authority[:last], ':') + 1
		if from < last && (from > 0 || last >= 16) {
			found = append(found, match{at + from, at + last})
		}
	}
}

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

// emails finds addresses of ASCII letters, also with %40 for @ as in URLs. The name of the domain must have a letter: react@18.2.0.tgz is
// a package.
func emails(found []match, text []byte) []match {
	least := 0
	for i := 0; i < len(text); i++ {
		width := 1
		switch {
		case text[i] == '@':
		case text[i] == '%' && isEscape(text[i:], "40"):
			width = 3
		default:
			continue
		}
		start := i
		for start > least && isLocal(text[start-1]) {
			start--
		}
		if start > 1 && text[start-1] == '%' && i-start > 2 { // %3Duser@
			start += 2
		}
		for start < i && (text[start] == '.' || text[start] == '\'') {
			start++
		}
		end := domain(text, i+width)
		if start < i && end > 0 {
			found = append(found, match{start, end})
			least, i = end, end-1
		}
	}
	return found
}

func isLocal(b byte) bool {
	return isWord(b) || bytes.IndexByte([]byte(".+-'!#$^`{|}~"), b) >= 0
}

// domain is where the domain at at ends, 0 if there is none.
func domain(text []byte, at int) int {
	n := spanOf(text[at:], func(b byte) bool { return isWord(b) && b != '_' || b == '.' || b == '-' })
	name := bytes.TrimRight(text[at:at+n], ".-")
	for {
		last := bytes.LastIndexByte(name, '.')
		if last <= 0 {
			return 0
		}
		if top := name[last+1:]; len(top) > 1 && (!bytes.ContainsFunc(top, func(r rune) bool { return !isLetter(byte(r)) }) || bytes.HasPrefix(top, []byte("xn--"))) {
			if !bytes.ContainsFunc(name[:last], func(r rune) bool { return isLetter(byte(r)) }) {
				return 0
			}
			return at + len(name)
		}
		name = name[:last]
	}
}
