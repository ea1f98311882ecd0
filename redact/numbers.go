package redact

import (
	"bytes"
	"slices"
)

// The detectors say of a window of groups whether it is a number of their kind.

// only reports whether the groups are separated by nothing but what is in s.
func (w window) only(s sep) bool {
	for _, g := range w.groups[1:] {
		if g.sep&^s != 0 {
			return false
		}
	}
	return true
}

func (w window) len(i int) int { return w.groups[i].after - w.groups[i].first }

func (w window) lens(want ...int) bool {
	if len(w.groups) != len(want) {
		return false
	}
	for i, n := range want {
		if w.len(i) != n {
			return false
		}
	}
	return true
}

// afterDot reports that the window is the fraction of a number, or a part of a version or an address.
func (w window) afterDot() bool { return w.groups[0].sep == dot }

// isCard is a number of the length that its issuer gives, in one group, in fours, or as issuers print it, with its check digit. Numbers of
// more than 16 digits in one group are UnionPay's alone: with others' ids of 64 bits, written in decimal, would be eaten.
func isCard(w window) bool {
	n := len(w.digits)
	if n < 13 || w.afterDot() || !w.only(hyphen|space) || !issued(w.digits) || !luhn(w.digits) {
		return false
	}
	switch len(w.groups) {
	case 1:
		return n <= 16 || bytes.HasPrefix(w.digits, []byte("62"))
	case 3:
		return w.lens(4, 6, 5) || w.lens(4, 6, 4)
	case 4:
		return w.lens(4, 4, 4, 4)
	case 5:
		return w.lens(4, 4, 4, 4, 1) || w.lens(4, 4, 4, 4, 2) || w.lens(4, 4, 4, 4, 3)
	}
	return false
}

// issuers is the ranges of the first four digits and the lengths of what they issue, after ISO/IEC 7812 and the issuers' own pages.
var issuers = []struct{ from, to, least, most int }{
	{4000, 4999, 13, 19},                       // Visa
	{5100, 5599, 16, 16}, {2221, 2720, 16, 16}, // Mastercard
	{3400, 3499, 15, 15}, {3700, 3799, 15, 15}, // American Express
	{3000, 3059, 14, 19}, {3095, 3095, 14, 19}, {3600, 3699, 14, 19}, {3800, 3999, 14, 19}, // Diners
	{3528, 3589, 16, 19},                                             // JCB
	{6011, 6011, 16, 19}, {6440, 6599, 16, 19}, {6200, 6299, 16, 19}, // Discover, UnionPay
	{5018, 5018, 13, 19}, {5020, 5020, 13, 19}, {5038, 5038, 13, 19}, {6304, 6304, 13, 19}, {6759, 6763, 13, 19}, // Maestro
}

func issued(digits []byte) bool {
	first := int(digits[0]-'0')*1000 + int(digits[1]-'0')*100 + int(digits[2]-'0')*10 + int(digits[3]-'0')
	for _, i := range issuers {
		if first >= i.from && first <= i.to {
			return len(digits) >= i.least && len(digits) <= i.most
		}
	}
	return false
}

// luhn is the check digit of ISO/IEC 7812, and that of Japanese insurers' numbers as well.
func luhn(digits []byte) bool {
	sum := 0
	for i := range digits {
		d := int(digits[len(digits)-1-i] - '0')
		if i%2 == 1 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return sum%10 == 0
}

// isMyNumber is a Japanese individual number: 11 digits and a check digit, modulo 11 with the weights of the ordinance of the
// Ministry of Internal Affairs (2014, no. 85, article 5).
func isMyNumber(w window) bool {
	if len(w.digits) != 12 || w.afterDot() || len(w.groups) > 1 && !(w.lens(4, 4, 4) && w.only(hyphen|space)) {
		return false
	}
	sum := 0
	for n := 1; n <= 11; n++ {
		weight := n + 1
		if n > 6 {
			weight = n - 5
		}
		sum += int(w.digits[11-n]-'0') * weight
	}
	check := 11 - sum%11
	if check > 9 {
		check = 0
	}
	return int(w.digits[11]-'0') == check
}

// laws is the first two digits of an insurer's number: the law that the insurance is of.
var laws = []string{"01", "02", "03", "04", "06", "07", "31", "32", "33", "34", "39", "63", "67", "72", "73", "74", "75"}

// isInsurer is the eight digits of a Japanese insurer (保険者番号): law, prefecture, insurer, and a check digit.
func isInsurer(w window) bool {
	if !w.lens(8) || w.afterDot() || !luhn(w.digits) || !slices.Contains(laws, string(w.digits[:2])) {
		return false
	}
	prefecture := int(w.digits[2]-'0')*10 + int(w.digits[3]-'0')
	return prefecture >= 1 && prefecture <= 47
}

// isSSN is written in its groups: nine digits alone are too many other things. The numbers that are never given out are none.
func isSSN(w window) bool {
	if !w.lens(3, 2, 4) || !w.only(hyphen|space) || w.groups[1].sep != w.groups[2].sep || w.afterDot() {
		return false
	}
	area := string(w.digits[:3])
	return area != "000" && area != "666" && area[0] != '9' && string(w.digits[3:5]) != "00" && string(w.digits[5:]) != "0000"
}

// isPhoneJP is a number of the Japanese plan: 10 digits, or 11 where it is mobile, IP or toll free, with a leading 0; or with +81.
func isPhoneJP(w window) bool {
	d, n := w.digits, len(w.digits)
	if w.afterDot() || !w.only(hyphen|space|paren) {
		return false
	}
	if bytes.HasPrefix(d, []byte("81")) && (w.groups[0].sep&plus != 0 || len(w.groups) > 2 && w.len(0) == 2) {
		rest := d[2:]
		if len(rest) > 0 && rest[0] == '0' {
			rest = rest[1:]
		}
		return len(rest) == 9 || len(rest) == 10
	}
	if n < 10 || d[0] != '0' || d[1] == '0' || w.groups[0].sep&plus != 0 {
		return false
	}
	mobile := d[2] == '0' && bytes.IndexByte([]byte("256789"), d[1]) >= 0 // and IP telephony, and 0800
	if mobile && n != 11 || !mobile && n != 10 {
		return false
	}
	return w.spelled()
}

// spelled reports whether a national number is in one group, or in two or three of the lengths in use.
func (w window) spelled() bool {
	switch len(w.groups) {
	case 1:
		return true
	case 2:
		return w.len(0) >= 2 && w.len(0) <= 5 && w.len(1) >= 5
	case 3:
		return w.len(0) >= 2 && w.len(0) <= 5 && w.len(1) >= 1 && w.len(1) <= 4 && (w.len(2) == 4 || w.len(2) == 3 && w.len(0) == 4)
	}
	return false
}

// isPhone is a number with + and its country, or one of North America in its groups.
func isPhone(w window) bool {
	n := len(w.digits)
	if w.groups[0].sep&plus != 0 {
		return w.digits[0] != '0' && n <= 15 && (n >= 9 || n == 8 && len(w.groups) > 1)
	}
	if w.afterDot() {
		return false
	}
	if w.len(0) == 1 && w.digits[0] == '1' && len(w.groups) == 4 {
		w = window{w.groups[1:], w.digits[1:]}
	}
	return w.lens(3, 3, 4) && w.digits[0] >= '2' && w.digits[3] >= '2'
}
