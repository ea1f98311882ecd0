package redact

import (
	"bytes"
	"strings"
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
