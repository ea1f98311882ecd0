package probe

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestTiming(t *testing.T) {
	t.Parallel()
	const s = time.Second
	defaults := Timing{Death: 12 * s, Gap: 6 * s, Open: 2 * s, Delta: s, Fence: 6 * s}
	for name, tt := range map[string]struct {
		inversion, readBack, silence, away time.Duration
		want                               Timing
	}{
		"nothing measured":        {0, 0, 0, 0, defaults},
		"as on Google's emulator": {75 * time.Millisecond, 500 * time.Millisecond, s, lease + 10*time.Millisecond, defaults},
		"inverted": {1210 * time.Millisecond, s, s, lease,
			Timing{Death: 12 * s, Gap: 7500 * time.Millisecond, Open: 3500 * time.Millisecond, Delta: 2500 * time.Millisecond, Fence: 6 * s}},
		"slow to read":  {0, 4 * s, s, lease, Timing{Death: 12 * s, Gap: 6 * s, Open: 2 * s, Delta: s, Fence: 9 * s}},
		"silent":        {0, s, 10 * s, lease, Timing{Death: 14 * s, Gap: 6 * s, Open: 2 * s, Delta: s, Fence: 11 * s}},
		"late leases":   {0, s, s, 15 * s, Timing{Death: 17 * s, Gap: 6 * s, Open: 2 * s, Delta: s, Fence: 6 * s}},
		"leases lasted": {0, s, s, 11010 * time.Millisecond, Timing{Death: 13100 * time.Millisecond, Gap: 6 * s, Open: 2 * s, Delta: s, Fence: 6 * s}},
	} {
		if diff := cmp.Diff(tt.want, timing(tt.inversion, tt.readBack, tt.silence, tt.away)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// Whatever was measured, the constants obey the log's rules and the measurements.
func TestTimingIsValid(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(5, 6))
	up := func(most time.Duration) time.Duration { return time.Duration(rng.Int64N(int64(most))) }
	for range 10_000 {
		inversion, readBack, silence, away := up(endInversion), up(10*time.Second), up(20*time.Second), up(time.Minute)
		c := timing(inversion, readBack, silence, away)
		faults := c.faults()
		if c.Delta < 2*inversion || c.Fence <= 2*readBack || c.Fence <= silence || c.Death < lease+2*time.Second || c.Death <= away {
			faults = append(faults, "a measurement is not heeded")
		}
		if len(faults) > 0 {
			t.Fatalf("inversion %v, read-back %v, silence %v, away %v: %+v: %s", inversion, readBack, silence, away, c, strings.Join(faults, "; "))
		}
	}
}
