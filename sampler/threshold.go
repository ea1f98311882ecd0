package sampler

import (
	"math"

	"tailweir/tracestate"
)

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

// explicitRandomness is the randomness that a span's tracestate gives its trace.
func explicitRandomness(state []byte) (rv uint64, ok bool) { return tracestate.Randomness(state) }
