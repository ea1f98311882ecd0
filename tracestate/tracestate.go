// Package tracestate reads and writes the sampling of OpenTelemetry in a W3C tracestate, without decoding the rest: the
// randomness rv and the threshold th of OTEP-235, sub-keys of the list member `ot`.
//
//	congo=t61rcWkgMzE,ot=th:c;rv:d29d6a7215ced0
//
// A span with the threshold t stands for 2^56 / (2^56 - t) spans. Pure, and safe for concurrent use.
package tracestate

import "bytes"

// Unknown is the threshold of a span that was kept with a probability that nobody knows. It is written as no threshold.
const Unknown = 1 << 56

// MaxGrowth is by how many bytes Append's output can be longer than the state: "ot=th:", 14 digits and a comma.
const MaxGrowth = 21

const (
	digits    = 14  // hexadecimal digits of a threshold or randomness
	maxOT     = 256 // characters of the value of ot
	maxState  = 512 // characters that W3C asks everybody to propagate
	maxCount  = 32  // list members
	longEntry = 128 // characters above which W3C has an entry removed before others
)

// Randomness is rv, where the state has it: 14 lowercase hexadecimal digits. Anything else there is as if it were absent,
// as OTEP-235 asks.
func Randomness(state []byte) (rv uint64, ok bool) { return randomness(find(state)) }

func randomness(value []byte) (rv uint64, ok bool) {
	text, _ := entry(value, "rv:")
	if len(text) != digits {
		return 0, false
	}
	return hex(text)
}

// Threshold is th, where the state has it: 1 to 14 lowercase hexadecimal digits, the most significant first. Anything else
// there is as if it were absent.
func Threshold(state []byte) (t uint64, ok bool) {
	value := find(state)
	text, _ := entry(value, "th:")
	if t, ok = hex(text); !ok {
		return 0, false
	}
	return t << (4 * (digits - len(text))), true
}

// Append appends the state that a span carries once it was kept with the threshold t. The span's randomness is rv or, in a
// state without, random: the low 56 bits of its trace id.
//
// With t = 0, for certain, the state stays as it is, as OTEP-235 asks: what a sampler before us did, which may not write
// thresholds, is not ours to tell. Otherwise thresholds only rise: a greater one that is there stays. With Unknown, or
// anything above, the threshold is erased, and an ot of which nothing remains. So it is, whatever t is, where it excludes
// its own span, with a randomness below it: the probability so far is unknown then. All other sub-keys of ot stay as they are and so do other members; ot moves to the front, as
// W3C asks for a member that changes. What is changed keeps the limits: of members that make it more than 512 characters
// the last of those longer than 128 go first, then the last, as they do beyond 32; ot never does. Where ot itself has no
// room for a threshold, in 256 characters, it has none afterwards: a smaller one would be false.
//
// A state that is malformed by W3C, with a member that is no key and value or with two ot, comes back as it is. Readers of
// it see no threshold where it is discarded, as W3C asks, and to discard it here would take away what is there to
// find the one who wrote it. An empty state is none and has a threshold written.
func Append(dst, state []byte, t, random uint64) []byte {
	value := find(state)
	text, has := entry(value, "th:")
	old, valid := hex(text)
	old <<= 4 * (digits - min(len(text), digits))
	if rv, ok := randomness(value); ok {
		random = rv
	}
	excludes := valid && random < old
	stays := t == 0 || t >= Unknown && !has || t < Unknown && valid && old >= t
	if stays && !excludes || !wellFormed(state) {
		return append(dst, state...)
	}
	if excludes {
		t = Unknown
	}
	start := len(dst)
	dst = appendOT(dst, value, t)
	return appendOthers(dst, start, state)
}

// appendOT appends the member ot, with t before the other sub-keys of value; nothing where nothing remains.
func appendOT(dst, value []byte, t uint64) []byte {
	start := len(dst)
	dst = append(dst, "ot="...)
	from := len(dst)
	if t < Unknown {
		dst = appendThreshold(append(dst, "th:"...), t)
	}
	own := len(dst)
	for len(value) > 0 {
		var e []byte
		if e, value, _ = bytes.Cut(value, []byte{';'}); bytes.HasPrefix(e, []byte("th:")) || len(trim(e)) == 0 {
			continue
		}
		if len(dst) > from {
			dst = append(dst, ';')
		}
		dst = append(dst, e...)
	}
	switch {
	case len(dst) == from:
		return dst[:start]
	case len(dst)-from > maxOT && own > from: // the state was well-formed: it has room without a threshold
		return append(dst[:from], dst[own+1:]...)
	}
	return dst
}

func appendThreshold(dst []byte, t uint64) []byte {
	for shift := 4 * (digits - 1); ; shift -= 4 {
		dst = append(dst, "0123456789abcdef"[t>>shift&15])
		if shift == 0 || t&(1<<shift-1) == 0 {
			return dst
		}
	}
}

// appendOthers appends the members of state but for ot to those that stand in dst from start on, within the limits.
func appendOthers(dst []byte, start int, state []byte) []byte {
	count, room := 0, maxState+1 // with a comma after the last
	if len(dst) > start {
		count, room = 1, room-(len(dst)-start+1)
	}
	long := longUntil(state, room)
	for at := 0; at < len(state); {
		m, next := member(state, at)
		if drop := len(m) == 0 || isOT(m) || len(m) > longEntry && at >= long; !drop {
			if count == maxCount || len(dst)-start+min(count, 1)+len(m) > maxState {
				return dst
			}
			if count > 0 {
				dst = append(dst, ',')
			}
			dst = append(dst, m...)
			count++
		}
		at = next
	}
	return dst
}

// longUntil is where in state the long entries begin that have to go, so that the members but for ot fit in room, each with
// a comma.
func longUntil(state []byte, room int) int {
	for at := 0; at < len(state); {
		m, next := member(state, at)
		if len(m) > 0 && !isOT(m) {
			room -= len(m) + 1
		}
		at = next
	}
	end := len(state)
	for room < 0 && end > 0 {
		at := bytes.LastIndexByte(state[:end], ',') + 1
		if m := trim(state[at:end]); len(m) > longEntry && !isOT(m) {
			room += len(m) + 1
		}
		end = at - 1
	}
	return end + 1
}

// find is the value of the first member ot.
func find(state []byte) (value []byte) {
	for at := 0; at < len(state); {
		var m []byte
		if m, at = member(state, at); isOT(m) {
			return m[len("ot="):]
		}
	}
	return nil
}

// member is the list member at at, without the white space around it, and where the next one begins.
func member(state []byte, at int) (m []byte, next int) {
	m = state[at:]
	next = len(state)
	if n := bytes.IndexByte(m, ','); n >= 0 {
		m, next = m[:n], at+n+1
	}
	return trim(m), next
}

func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

func isOT(m []byte) bool { return bytes.HasPrefix(m, []byte("ot=")) }

// entry is what follows the first sub-key in the value of ot; the key comes with its colon.
func entry(value []byte, key string) (text []byte, found bool) {
	for len(value) > 0 {
		var e []byte
		e, value, _ = bytes.Cut(value, []byte{';'})
		if len(e) >= len(key) && string(e[:len(key)]) == key {
			return e[len(key):], true
		}
	}
	return nil, false
}

func hex(text []byte) (v uint64, ok bool) {
	for _, c := range text {
		switch {
		case c >= '0' && c <= '9':
			v = v<<4 | uint64(c-'0')
		case c >= 'a' && c <= 'f':
			v = v<<4 | uint64(c-'a'+10)
		default:
			return 0, false
		}
	}
	return v, len(text) > 0 && len(text) <= digits
}

// wellFormed takes what either level of W3C Trace Context does, but for the rules on the parts of a key; a member may be
// empty. That two members have one key matters here only for ot.
func wellFormed(state []byte) bool {
	ot := 0
	for at := 0; at < len(state); {
		var m []byte
		if m, at = member(state, at); len(m) == 0 {
			continue
		}
		key, value, found := bytes.Cut(m, []byte{'='})
		if !found || len(key) == 0 || len(key) > 256 || len(value) == 0 || len(value) > 256 || !all(key, inKey) || !all(value, inValue) {
			return false
		}
		if isOT(m) {
			ot++
		}
	}
	return ot < 2
}

func all(b []byte, is func(byte) bool) bool {
	for _, c := range b {
		if !is(c) {
			return false
		}
	}
	return true
}

func inKey(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c == '*' || c == '/' || c == '@'
}

func inValue(c byte) bool { return c >= ' ' && c <= '~' && c != '=' } // commas part members
