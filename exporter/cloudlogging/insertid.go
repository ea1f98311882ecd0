package cloudlogging

import (
	"bytes"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"

	"tailweir/otlp"
)

var (
	insertIDs = base32.HexEncoding.WithPadding(base32.NoPadding)
	kept      = [2][]byte{otlp.BoolAttributeField(otlp.Logs, otlp.AttrKept, false), otlp.BoolAttributeField(otlp.Logs, otlp.AttrKept, true)}
)

// insertID identifies the record by 128 bits of a hash over what it is, which message it came in and where it stood there: two equal
// records are two entries, and a record delivered or sent again is one. Before them come 20 bits of the position: Logging
// orders entries of the same time by their insertId, and clocks of a millisecond give many records one time.
func (m *mapper) insertID(at place, rec otlp.Record) string {
	trace := rec.TraceID()
	b := rec.Bytes()
	for _, k := range kept {
		b = bytes.TrimSuffix(b, k)
	}
	var head [28]byte
	binary.BigEndian.PutUint64(head[:], at.source.Message)
	copy(head[8:], trace[:])
	binary.BigEndian.PutUint32(head[24:], uint32(at.ordinal))
	m.hash.Reset()
	m.hash.Write(head[:])
	m.hash.Write(b)
	var id [5 + sha256.Size]byte
	binary.BigEndian.PutUint32(id[:], uint32(min(at.ordinal, 1<<20-1))<<12)
	m.hash.Sum(id[:5])
	var out [4 + 26]byte
	var position [8]byte
	insertIDs.Encode(position[:], id[:5])
	copy(out[:], position[:4])
	insertIDs.Encode(out[4:], id[5:][:16])
	return string(out[:])
}
