package order

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
)

// Parse reads one message. A newer version or an unknown kind is an Unknown and no error; anything else that Append does
// not write is an error that names the field and its offset. Byte strings of the result are parts of b.
func Parse(b []byte) (Message, error) {
	p := &parser{b: b}
	v, kind := p.byte("version"), p.byte("kind")
	if p.err == nil && (v > newest || v > 0 && kind > kindProbe) {
		return Unknown{v, kind}, nil
	}
	m := p.body(v, kind)
	if p.err == nil && p.at < len(b) {
		p.fail(p.at, "end", "%d bytes too many", len(b)-p.at)
	}
	if p.err != nil {
		return nil, p.err
	}
	return m, nil
}

// parser reads b from at on. After the first error it reads only zeros, so that the fields can be read in a row.
type parser struct {
	b   []byte
	at  int
	err error
}

func (p *parser) fail(at int, field, format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf("parse log message: %s at byte %d: %s", field, at, fmt.Sprintf(format, args...))
	}
}

func (p *parser) body(v, kind byte) Message {
	switch {
	case v == 0:
		p.fail(0, "version", "0 was never used")
	case v > version && kind != kindEntry:
		p.fail(0, "version", "%d is of entries alone", v)
	case kind == kindClaim:
		return Claim{ID: p.id(), Worker: Worker(p.fixed("worker"))}
	case kind == kindProbe:
		return Probe{Worker: Worker(p.fixed("worker")), Nonce: p.fixed("nonce")}
	case kind == kindEntry:
		return p.entry(v)
	default:
		p.fail(1, "kind", "0 was never used")
	}
	return nil
}

func (p *parser) entry(v byte) Entry {
	e := Entry{ID: p.id(), Worker: Worker(p.fixed("worker")), ClaimPublish: p.time("claim publish")}
	at := p.at
	e.Seq = p.number("seq")
	if e.Seq == 0 {
		p.fail(at, "seq", "entries are numbered from 1")
	}
	e.Cert = Cert{Seq: p.number("cert seq"), Publish: p.time("cert publish")}
	e.ChainHash = Hash(p.fixed("chain hash"))
	e.E = p.time("e")
	e.Body = p.parts(v, e.Seq)
	return e
}

func (p *parser) parts(v byte, seq uint64) (b Body) {
	at := p.at
	has := p.byte("parts")
	switch {
	case has&partFirsts != 0 != (v > version):
		p.fail(at, "parts", "%#x in version %d: the firsts make version 2", has, v)
	case has&partOpen != 0 != (seq == 1):
		p.fail(at, "parts", "open %t in entry %d: the open is entry 1", has&partOpen != 0, seq)
	}
	b.Open, b.Resign = has&partOpen != 0, has&partResign != 0
	if has&partMembers != 0 {
		b.Members = make([]Member, p.count("members", 0, 9))
		for i := range b.Members {
			b.Members[i] = Member{Worker(p.fixed("member worker")), p.number("member stream")}
		}
	}
	if has&partDecide != 0 {
		b.Decide = make([]Decision, p.count("decisions", 1, 17))
		for i := range b.Decide {
			b.Decide[i] = p.decision()
		}
	}
	if has&partPolicy != 0 {
		b.Policy = &PolicyChange{Epoch: p.number("epoch"), Hash: Hash(p.fixed("policy hash")), Config: p.bytes("policy config", 0)}
	}
	if has&partLimiters != 0 {
		b.Limiters = p.bytes("limiters", 1)
	}
	if has&partAway != 0 {
		at := p.at
		if b.Away = p.number("away"); b.Away == 0 {
			p.fail(at, "away", "0 is not written")
		}
	}
	if has&partFirsts != 0 {
		p.firsts(b.Decide)
	}
	return b
}

func (p *parser) firsts(of []Decision) {
	for range p.count("firsts", 1, 5) {
		at := p.at
		between := p.number("first")
		if between >= uint64(len(of)) {
			p.fail(at, "first", "of a decision that is not there")
			return
		}
		d := &of[between]
		if d.First = p.fixed32("first"); d.First == 0 {
			p.fail(at, "first", "0 is not written")
		}
		of = of[between+1:]
	}
}

func (p *parser) decision() (d Decision) {
	at := p.at
	head := p.number("decision")
	if head>>decidePolicy > math.MaxUint16 {
		p.fail(at, "decision", "policy %d is beyond %d", head>>decidePolicy, math.MaxUint16)
	}
	d.Keep, d.Policy, d.Reason = head&decideKeep != 0, uint16(head>>decidePolicy), byte(head>>decideReason&maxReason)
	copy(d.Trace[:], p.take("trace", 16))
	if head&decideThreshold == 0 {
		return d
	}
	var b [8]byte
	copy(b[1:], p.take("threshold", 7))
	d.Threshold = cmp.Or(binary.BigEndian.Uint64(b[:]), maxThreshold)
	return d
}

// take returns the next n bytes, or nil after an error.
func (p *parser) take(field string, n int) []byte {
	if left := len(p.b) - p.at; n > left {
		p.fail(p.at, field, "%d bytes wanted, %d left", n, left)
	}
	if p.err != nil {
		return nil
	}
	p.at += n
	return p.b[p.at-n : p.at : p.at]
}

func (p *parser) byte(field string) byte {
	if b := p.take(field, 1); b != nil {
		return b[0]
	}
	return 0
}

func (p *parser) fixed(field string) uint64 {
	if b := p.take(field, 8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (p *parser) fixed32(field string) uint32 {
	if b := p.take(field, 4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (p *parser) id() (id ID) {
	copy(id[:], p.take("id", len(id)))
	return id
}

func (p *parser) number(field string) uint64 {
	v, n := binary.Uvarint(p.b[p.at:])
	switch {
	case n <= 0:
		p.fail(p.at, field, "no varint")
	case n > 1 && p.b[p.at+n-1] == 0:
		p.fail(p.at, field, "varint longer than need be")
	}
	if p.err != nil {
		return 0
	}
	p.at += n
	return v
}

func (p *parser) time(field string) int64 {
	u := p.number(field)
	return int64(u>>1) ^ -int64(u&1)
}

// count reads the number of elements that follow. It is refused when so many cannot be in the rest of the message, so that
// nothing is allocated for what is not there.
func (p *parser) count(field string, least uint64, size int) int {
	at := p.at
	n := p.number(field)
	if most := uint64(len(p.b)-p.at) / uint64(size); n < least || n > most {
		p.fail(at, field, "%d of them, want %d to %d", n, least, most)
	}
	if p.err != nil {
		return 0
	}
	return int(n)
}

func (p *parser) bytes(field string, least uint64) []byte {
	n := p.count(field, least, 1)
	if n == 0 {
		return nil
	}
	return p.take(field, n)
}
