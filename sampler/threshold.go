package sampler

import (
	"hash/fnv"
	"io"
	"math"
	"math/big"

	"tailweir/otlp"
)

// Unknown is the Threshold of a trace that was kept with a probability that no threshold can express.
const Unknown = never

const (
	never           = 1 << 56 // one above the greatest randomness: as a threshold it keeps nothing
	thresholdDigits = 14      // hexadecimal digits of a threshold or randomness
	// precision is how many digits of a threshold differ from a leading run of f or 0. 4 is what the OpenTelemetry
	// specification recommends: 10 % is e666, five bytes less in every kept span than 14 digits, and 0.0006 % off.
	precision = 4
)

// leastPercent is the smallest probability above 0 that a threshold can express, 2^-56.
const leastPercent = 100.0 / never

// thresholdOf is T of OTEP-235 for a percentage within 0..100: a trace is kept iff its randomness R >= T.
func thresholdOf(percent float64) uint64 {
	p := percent / 100
	if p <= 0 {
		return never
	}
	t := never - uint64(math.Round(p*never))
	drop := thresholdDigits - precision - leadingDigits(p)
	if drop <= 0 {
		return t
	}
	unit := uint64(1) << (4 * drop)
	return (t + unit/2) / unit * unit
}

// leadingDigits is how many hexadecimal digits of 1-p are all f (p small) or all 0 (p near 1).
func leadingDigits(p float64) int {
	_, small := math.Frexp(p)
	_, large := math.Frexp(1 - p)
	return max(0, -small/4, -large/4)
}

// fnv1a is the collector's hash of a trace id.
func fnv1a(salt string, id otlp.TraceID) uint64 {
	h := fnv.New64a()
	io.WriteString(h, salt)
	h.Write(id[:])
	return h.Sum64()
}

// mostHash is the greatest hash that is kept at a percentage within 0..100, as the collector computes it.
func mostHash(percent float64) uint64 {
	all := new(big.Float).SetUint64(math.MaxUint64)
	most, _ := all.Mul(all, big.NewFloat(percent/100)).Uint64()
	return most
}
