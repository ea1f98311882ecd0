package sampler

import (
	"bytes"
	"math"
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

// explicitRandomness reads rv from the `ot` member of a W3C tracestate: 14 lowercase hexadecimal digits. Anything else
// there is as if it were absent, as OTEP-235 asks.
func explicitRandomness(state []byte) (rv uint64, ok bool) {
	for len(state) > 0 {
		var member []byte
		member, state, _ = bytes.Cut(state, []byte{','})
		if value, isOT := bytes.CutPrefix(bytes.TrimSpace(member), []byte("ot=")); isOT {
			return rvOf(value)
		}
	}
	return 0, false
}

func rvOf(value []byte) (uint64, bool) {
	for len(value) > 0 {
		var entry []byte
		entry, value, _ = bytes.Cut(value, []byte{';'})
		if digits, isRV := bytes.CutPrefix(entry, []byte("rv:")); isRV {
			return hex56(digits)
		}
	}
	return 0, false
}

func hex56(digits []byte) (v uint64, ok bool) {
	if len(digits) != thresholdDigits {
		return 0, false
	}
	for _, c := range digits {
		switch {
		case c >= '0' && c <= '9':
			v = v<<4 | uint64(c-'0')
		case c >= 'a' && c <= 'f':
			v = v<<4 | uint64(c-'a'+10)
		default:
			return 0, false
		}
	}
	return v, true
}
