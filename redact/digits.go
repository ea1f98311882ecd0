package redact

import (
	"bytes"
	"unicode/utf8"
)

// Numbers that people write are found as runs: groups of digits, ASCII or full width as Japanese input methods write them, with
// one or two separators between two groups. A detector is shown every window of groups, so that a number next to another one is
// found, and a part of a longer group never: ids and times are longer groups. What has a check digit is checked.

// group is the digits that stand together.
type group struct {
	start, end   int // in the text
	first, after int // in run.digits
	sep          sep // before it
}

type sep uint8

const (
	none sep = 0 // the first group
	plus sep = 1 << iota
	hyphen
	space
	paren
	dot
)

// run is reused for the next text.
type run struct {
	groups []group
	digits []byte // as ASCII
}

// window is some neighbouring groups of a run.
type window struct {
	groups []group
	digits []byte
}

// maxDigits and maxGroups are of the longest number that is looked for, minDigits of the shortest.
const (
	maxDigits = 19
	minDigits = 8
	maxGroups = 5
)

// find appends the windows of text for which is is true, the longest at each place, and none inside of a UUID.
func (r *run) find(found []match, text []byte, is func(window) bool) []match {
	for at := 0; at < len(text); {
		at = r.next(text, at)
		for g := 0; g < len(r.groups); {
			n := r.longest(g, is)
			if n == 0 {
				g++
				continue
			}
			m := match{r.groups[g].start, r.groups[g+n-1].end}
			if !inUUID(text, m) {
				found = append(found, m)
			}
			g += n
		}
	}
	return found
}

// longest is the number of groups from g on of the longest window that matches, 0 for none.
func (r *run) longest(g int, is func(window) bool) (n int) {
	for end := g + 1; end <= min(len(r.groups), g+maxGroups); end++ {
		if r.groups[end-1].after-r.groups[g].first < minDigits {
			continue
		}
		w := window{r.groups[g:end], r.digits[r.groups[g].first:r.groups[end-1].after]}
		if len(w.digits) > maxDigits {
			break
		}
		if is(w) {
			n = end - g
		}
	}
	return n
}

// next reads the next run of text from at on and returns where to go on. A run without groups says nothing of what follows.
func (r *run) next(text []byte, at int) int {
	r.groups, r.digits = r.groups[:0], r.digits[:0]
	between := none
	for seps := 0; at < len(text) && seps < 3; {
		if _, size := digit(text[at:]); size > 0 {
			end, ok := r.group(text, at, between)
			if !ok {
				return end
			}
			at, between, seps = end, none, 0
			continue
		}
		s, size := separator(text[at:])
		if size == 0 {
			if len(r.groups) == 0 {
				return at + wordEnd(text[at:])
			}
			return at
		}
		if len(r.groups) > 0 {
			seps++
			between |= s
		} else {
			between |= s & plus
		}
		at += size
	}
	return at
}

// group reads the digits at at. It is none if it is part of a word, or too long.
func (r *run) group(text []byte, at int, before sep) (end int, ok bool) {
	g := group{start: at, first: len(r.digits), sep: before}
	for end = at; end < len(text); {
		d, size := digit(text[end:])
		if size == 0 {
			break
		}
		if len(r.digits)-g.first <= maxDigits {
			r.digits = append(r.digits, d)
		}
		end += size
	}
	g.end, g.after = end, len(r.digits)
	if end < len(text) && isLetter(text[end]) || g.after-g.first > maxDigits {
		r.digits = r.digits[:g.first]
		return end + wordEnd(text[end:]), false
	}
	r.groups = append(r.groups, g)
	return end, true
}

// wordEnd is how long the word at the start of text is, one character at least; a digit after a letter belongs to it.
func wordEnd(text []byte) int {
	if len(text) == 0 {
		return 0
	}
	if !isLetter(text[0]) {
		_, size := utf8.DecodeRune(text)
		return size
	}
	n := 1
	for n < len(text) && (isLetter(text[n]) || text[n] >= '0' && text[n] <= '9') {
		n++
	}
	return n
}

func isLetter(b byte) bool { return b|0x20 >= 'a' && b|0x20 <= 'z' }

// digit is the digit at the start of text as ASCII, and its size; 0 for none.
func digit(text []byte) (d byte, size int) {
	switch b := text[0]; {
	case b >= '0' && b <= '9':
		return b, 1
	case b == 0xEF && len(text) > 2 && text[1] == 0xBC && text[2] >= 0x90 && text[2] <= 0x99: // U+FF10 to U+FF19
		return '0' + text[2] - 0x90, 3
	}
	return 0, 0
}

// separator is the separator at the start of text and its size; 0 for none.
func separator(text []byte) (s sep, size int) {
	switch text[0] {
	case '-':
		return hyphen, 1
	case ' ':
		return space, 1
	case '(', ')':
		return paren, 1
	case '.':
		return dot, 1
	case '+':
		return plus, 1
	case '%':
		return escaped(text)
	}
	if text[0] < utf8.RuneSelf {
		return 0, 0
	}
	r, size := utf8.DecodeRune(text)
	switch r {
	case '‐', '‑', '‒', '–', '—', '―', '−', 'ー', '－', '─':
		return hyphen, size
	case '　', '\u00a0':
		return space, size
	case '（', '）':
		return paren, size
	case '＋':
		return plus, size
	case '．':
		return dot, size
	}
	return 0, 0
}

// escaped is a separator as URLs have it.
func escaped(text []byte) (sep, int) {
	if len(text) < 3 {
		return 0, 0
	}
	switch string(bytes.ToUpper(text[1:3])) {
	case "2B":
		return plus, 3
	case "20":
		return space, 3
	case "2D":
		return hyphen, 3
	}
	return 0, 0
}

// inUUID reports whether m is a part of what is written as 8-4-4-4-12 hex digits.
func inUUID(text []byte, m match) bool {
	isPart := func(b byte) bool { return b == '-' || b >= '0' && b <= '9' || b|0x20 >= 'a' && b|0x20 <= 'f' }
	start, end := m.start, m.end
	for start > 0 && m.end-start < 37 && isPart(text[start-1]) {
		start--
	}
	for end < len(text) && end-m.start < 37 && isPart(text[end]) {
		end++
	}
	id := text[start:end]
	return len(id) == 36 && id[8] == '-' && id[13] == '-' && id[18] == '-' && id[23] == '-'
}
