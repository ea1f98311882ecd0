package pipeline

import (
	"encoding/binary"
	"math/bits"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cespare/xxhash/v2"
	"google.golang.org/protobuf/encoding/protowire"

	"tailweir/otlp"
)

// xxhash is not keyed: anybody can make two payloads with one hash. They must be two messages all the same.
func TestCollidingPayloads(t *testing.T) {
	two, one := collide()
	if xxhash.Sum64(two) != xxhash.Sum64(one) || len(two) != len(one) {
		t.Fatal("the payloads do not collide: this proves nothing")
	}
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		defer r.stop()
		a := r.deliverAs(Delivery{ID: "a", Data: two, Attributes: attrs(otlp.Traces), Publish: time.Now()})
		b := r.deliverAs(Delivery{ID: "b", Data: one, Attributes: attrs(otlp.Traces), Publish: time.Now().Add(-time.Millisecond)})
		r.want("held", []string{a.String(), b.String()}, []string{"", ""})
		r.want("duplicates", r.p.State().Duplicate, Count{})
		r.sleep(5 * time.Second)
		r.want("settled", []string{a.String(), b.String()}, []string{"ack", "ack"})
		r.check()
	})
}

// Constants of xxhash64 (github.com/Cyan4973/xxHash, specification).
const (
	prime1 uint64 = 11400714785074694791
	prime2 uint64 = 14029467366897019727
)

// collide returns two payloads of the same length and xxhash, one with spans of two traces, one of a single trace. A lane
// of 8 bytes is changed, and 32 bytes later, where the same accumulator is fed again, its effect is taken back.
func collide() (two, one []byte) {
	for pad := 40; ; pad++ {
		two, at := twoTraces(pad)
		if at%8 != 0 || len(two)/32*32 < at+48 {
			continue
		}
		one := append([]byte(nil), two...)
		one[at+15] = 1 // the second trace id becomes the first
		lane := at + 8
		diff := accumulator(two, lane) - accumulator(one, lane)
		next := binary.LittleEndian.Uint64(two[lane+32:]) + diff*inverse(prime2)
		binary.LittleEndian.PutUint64(one[lane+32:], next)
		return two, one
	}
}

// twoTraces makes a payload and says where in it the second trace id stands; bytes that may be anything follow.
func twoTraces(pad int) (payload []byte, at int) {
	message := func(field protowire.Number, body []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, field, protowire.BytesType), body)
	}
	span := func(trace byte) []byte {
		filler := message(9, append(message(1, []byte("k")), message(2, message(7, make([]byte, 64)))...))
		s := message(1, append(make([]byte, 15), trace))
		return append(append(s, filler...), message(2, []byte{0, 0, 0, 0, 0, 0, 0, 9})...)
	}
	scope := message(3, make([]byte, pad))
	scope = append(append(scope, message(2, span(1))...), message(2, span(2))...)
	payload = message(1, message(2, scope))
	return payload, len(payload) - len(span(2)) + 2
}

// accumulator is that of the lane at offset, after it was fed.
func accumulator(b []byte, lane int) uint64 {
	first, second := prime1, prime2
	v := [4]uint64{first + second, second, 0, -first}[lane/8%4]
	for at := lane % 32; at <= lane; at += 32 {
		v = bits.RotateLeft64(v+binary.LittleEndian.Uint64(b[at:])*prime2, 31) * prime1
	}
	return v
}

// inverse is that of an odd number modulo 2^64, by Newton's method.
func inverse(a uint64) uint64 {
	x := a
	for range 6 {
		x *= 2 - a*x
	}
	return x
}
