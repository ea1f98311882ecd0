package probe

import (
	"fmt"
	"time"

	"tailweir/fleet/order"
)

// What the fleet's protocol allows, and at what the probe says no.
const (
	resend       = 1400 * time.Millisecond // a leader sends an entry again
	stepDown     = 4 * time.Second         // a leader gives up
	goInversion  = 500 * time.Millisecond  // half of delta's default
	endInversion = 1500 * time.Millisecond // beyond it no delta is to be trusted
	clockSpread  = 200 * time.Millisecond  // publish times are good to ±100 ms
	clockOffset  = time.Second             // what a log reader's start allows for
)

// Timing is the constants for fleet_timing in the configuration.
type Timing struct {
	Death, Gap, Open, Delta, Fence time.Duration
}

// timing computes the constants from what was measured: the furthest inversion, the publish to read-back of 99.99 %, the
// longest silence and the longest that messages of an ended lease stayed away. No constant is below its default, and each
// rule keeps what the log's rules require of it:
//
//	delta  2 × inversion, at least 1s
//	open   delta + 1s                      required: > delta + 500ms
//	gap    open + 4s                       required: > open + 2s; a leader's 4s beside
//	fence  2 × read-back + 1s, silence + 1s, at least 6s
//	death  gap + delta + 2s, open + fence + 1s, lease's end + 2s, at least 12s
func timing(inversion, readBack, silence, away time.Duration) Timing {
	t := Timing{Delta: up(max(time.Second, 2*inversion))}
	t.Open = t.Delta + time.Second
	t.Gap = t.Open + 4*time.Second
	t.Fence = up(max(6*time.Second, 2*readBack+time.Second, silence+time.Second))
	t.Death = max(12*time.Second, t.Gap+t.Delta+2*time.Second, t.Open+t.Fence+time.Second)
	if away > lease+time.Second {
		t.Death = max(t.Death, up(away)+2*time.Second)
	}
	return t
}

// up rounds to tenths of a second.
func up(d time.Duration) time.Duration {
	const tenth = 100 * time.Millisecond
	return (d + tenth - 1) / tenth * tenth
}

// faults are the rules that the constants break: none, unless the rules of timing and those of the log have parted.
func (t Timing) faults() []string {
	faults := order.Config{Death: t.Death, Gap: t.Gap, Open: t.Open, Delta: t.Delta}.Validate()
	if t.Fence >= t.Death-t.Open {
		faults = append(faults, fmt.Sprintf("fence (%s) must be less than death (%s) - open (%s)", t.Fence, t.Death, t.Open))
	}
	return faults
}

// String is the block for the configuration.
func (t Timing) String() string {
	return fmt.Sprintf("fleet_timing:\n  death: %s\n  gap: %s\n  open: %s\n  delta: %s\n  fence: %s\n", t.Death, t.Gap, t.Open, t.Delta, t.Fence)
}
