package redact

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// stars is what takes the place of what is masked, whatever its length was.
const stars = "****"

// appendMask appends the mask of text, with its last keep characters, but never more than half of them.
func appendMask(dst, text []byte, keep int) []byte {
	dst = append(dst, stars...)
	if keep == 0 {
		return dst
	}
	at := len(text)
	for n := min(keep, utf8.RuneCount(text)/2); n > 0; n-- {
		_, size := utf8.DecodeLastRune(text[:at])
		at -= size
	}
	return append(dst, text[at:]...)
}

// isMask reports whether appendMask made text with keep.
func isMask(text []byte, keep int) bool {
	rest, ok := bytes.CutPrefix(text, []byte(stars))
	return ok && utf8.RuneCount(rest) <= keep
}

// A hash is hmac: and the first 128 bits of HMAC-SHA-256 in hex: with a billion values under one key the chance that two of them
// share a hash is 10^-21, and `openssl dgst -sha256 -hmac` makes the same.
const (
	hashPrefix = "hmac:"
	hashDigits = 32
	hashSize   = len(hashPrefix) + hashDigits
)

// hasher makes hashes. It is safe for concurrent use.
type hasher struct{ pool sync.Pool }

func newHasher(key []byte) *hasher {
	h := new(hasher)
	h.pool.New = func() any { return hmac.New(sha256.New, key) }
	return h
}

func (h *hasher) append(dst, text []byte) []byte {
	mac := h.pool.Get().(hash.Hash)
	mac.Reset()
	mac.Write(text)
	var sum [sha256.Size]byte
	dst = append(dst, hashPrefix...)
	dst = hex.AppendEncode(dst, mac.Sum(sum[:0])[:hashDigits/2])
	h.pool.Put(mac)
	return dst
}

func isHash(text []byte) bool {
	return len(text) == hashSize && bytes.HasPrefix(text, []byte(hashPrefix)) && spanOf(text[len(hashPrefix):], isHex) == hashDigits
}

func isHex(b byte) bool { return b >= '0' && b <= '9' || b >= 'a' && b <= 'f' }

// inHash reports whether m is a part of a hash in text.
func inHash(text []byte, m match) bool {
	for from := m.start; from >= 0 && from > m.end-hashSize-1 && from > m.start-hashSize; from-- {
		if text[from] == 'h' && from+hashSize <= len(text) && from+hashSize >= m.end && isHash(text[from:from+hashSize]) {
			return true
		}
	}
	return false
}

// class is what characters a text has.
type class uint8

const (
	assigns class = 1 << iota // = or :
	at                        // @, or % of %40
	digital                   // a digit
)

// classes is the class of each byte. Digits, colons and equals signs of full width begin with 0xEF.
var classes = func() (c [256]class) {
	c['='], c[':'], c['@'], c['%'], c[0xEF] = assigns, assigns, at, at|assigns, digital|assigns
	for d := '0'; d <= '9'; d++ {
		c[d] = digital
	}
	return c
}()

// joins is what may stand between the digits of one number: blanks, hyphens, brackets, + and what is not ASCII.
var joins = func() (c [256]bool) {
	for b := range c {
		c[b] = b >= 0x80 || strings.IndexByte(" -().+%", byte(b)) >= 0
	}
	return c
}()

// classify returns which classes of characters text has, and the most digits that could be of one number or of several that are not
// separated.
func classify(text []byte) (c class, digits int) {
	row := 0
	for i := 0; i < len(text); i++ {
		b := text[i]
		k := classes[b]
		c |= k
		if b == '%' { // %2D joins as well, and its D is no letter
			if _, size := escaped(text[i:]); size > 0 {
				i += size - 1
				continue
			}
		}
		switch {
		case k&digital != 0:
			if row++; row > digits {
				digits = row
			}
		case !joins[b]:
			row = 0
		}
	}
	return c, digits
}

// shortest is the length below which no text is looked at for a set: nothing that sets find is shorter.
const shortest = 4

// may is the quick check whether the finder can find anything in a text.
func (f *finder) may(text []byte, c class, digits int) bool {
	return f.class == 0 || len(text) >= shortest && c&f.class != 0 && digits >= f.digits
}

const (
	// maxRounds bounds how often rules are applied to one text.
	maxRounds = 8
	// maxGrowth bounds how much a text grows: a pattern that matches single characters would make 37 of each.
	maxGrowth = 4
)

// rewriter applies rules to texts, and keeps memory for the next one.
type rewriter struct {
	found []match
	a, b  []byte
}

// apply returns text with all that rules find in it redacted, in the rewriter's own memory; changed is false when that is nothing. Rules are
// applied again until they find nothing: what is left after one has removed its match may be another match, and so the result
// is one that redacting again leaves alone. A text that does not come to rest, or grows too much, is masked whole.
//
// remove reports that a rule which deletes has found something and the text is one that can be removed.
func (w *rewriter) apply(text []byte, rules []*rule, of uint64, held bool, h *hasher, hit func(*rule, int)) (out []byte, changed, remove bool) {
	most := maxGrowth*len(text) + 1024
	for round := 0; ; round++ {
		again := false
		c, digits := classify(text)
		for _, r := range rules {
			if r.bit&of == 0 {
				continue
			}
			found := w.matches(r, text, c, digits)
			if len(found) == 0 {
				continue
			}
			hit(r, len(found))
			if held && r.action == Delete {
				return nil, false, true
			}
			text = w.build(r, text, found, h)
			again = true
			c, digits = classify(text)
		}
		if !again {
			return text, changed, false
		}
		changed = true
		if round == maxRounds || len(text) > most {
			return append(w.a[:0], stars...), true, false
		}
	}
}

// matches is what the rule finds in text and is not redacted yet, in order and without overlaps.
func (w *rewriter) matches(r *rule, text []byte, c class, digits int) []match {
	if r.literal != "" && !bytes.Contains(text, []byte(r.literal)) {
		return nil
	}
	found := w.found[:0]
	for i := range r.find {
		if f := &r.find[i]; f.may(text, c, digits) {
			found = f.find(found, text)
		}
	}
	w.found = found
	if len(found) == 0 {
		return nil
	}
	slices.SortFunc(found, func(a, b match) int { return a.start - b.start })
	merged := found[:1]
	for _, m := range found[1:] {
		if last := &merged[len(merged)-1]; m.start < last.end {
			last.end = max(last.end, m.end)
		} else {
			merged = append(merged, m)
		}
	}
	return slices.DeleteFunc(merged, func(m match) bool { return r.done(text, m) })
}

// done reports that m is what a rule has left.
func (r *rule) done(text []byte, m match) bool {
	t := text[m.start:m.end]
	switch {
	case isMask(t, r.keep), inHash(text, m):
		return true
	case r.keep > 0 && bytes.HasSuffix(text[:m.start], []byte(stars)):
		return utf8.RuneCount(t) <= r.keep
	}
	return false
}

// build replaces the matches in text, which is not the rewriter's or its latest result.
func (w *rewriter) build(r *rule, text []byte, found []match, h *hasher) []byte {
	w.a, w.b = w.b, w.a // the latest result is in b
	out, from := w.a[:0], 0
	for _, m := range found {
		out = append(out, text[from:m.start]...)
		switch r.action {
		case Mask:
			out = appendMask(out, text[m.start:m.end], r.keep)
		case Hash:
			out = h.append(out, text[m.start:m.end])
		}
		from = m.end
	}
	w.a = append(out, text[from:]...)
	return w.a
}

// clean remembers texts in which nothing was found, for most texts come again and again. It compares whole texts: a hash alone
// would let a secret pass once in a long while. Each text has two slots that it may be in.
type clean struct {
	seed  maphash.Seed
	slots [cleanSlots]cleanSlot
}

type cleanSlot struct {
	of   uint64 // the rules that found nothing
	size uint8
	text [cleanSize]byte
}

// The memory of a clean is 140 kB, of which there is one for each request that is being redacted.
const (
	cleanSlots = 1 << 9
	cleanSize  = 255
)

func (s *cleanSlot) is(text []byte, of uint64) bool {
	return s.of == of && int(s.size) == len(text) && string(s.text[:s.size]) == string(text)
}

// has reports whether text is known, and which slot is for it; -1 for a text that is too long.
func (c *clean) has(text []byte, of uint64) (slot int, known bool) {
	if len(text) > cleanSize {
		return -1, false
	}
	slot = int(maphash.Bytes(c.seed, text) % cleanSlots)
	return slot, c.slots[slot].is(text, of) || c.slots[slot^1].is(text, of)
}

// put forgets the older of two.
func (c *clean) put(slot int, text []byte, of uint64) {
	if slot < 0 {
		return
	}
	c.slots[slot^1] = c.slots[slot]
	s := &c.slots[slot]
	s.of, s.size = of, uint8(copy(s.text[:], text))
}
