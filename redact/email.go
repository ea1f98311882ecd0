package redact

import "bytes"

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
