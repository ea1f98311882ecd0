package sampler

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"tailweir/otlp"
)

// Trace ids that begin at Google's front ends may be UUIDs of version 4: four bits of byte 6 and two of byte 8 are the same in
// all. The randomness of OTEP-235 is in bytes 9 to 15, so they are sampled like others.
func TestUUIDsAreSampledLikeOthers(t *testing.T) {
	const n = 20_000
	rng := rand.New(rand.NewPCG(4, 122))
	ids := make([]otlp.TraceID, n)
	for i := range ids {
		for j := range ids[i] {
			ids[i][j] = byte(rng.Uint32())
		}
		ids[i][6] = ids[i][6]&0x0f | 0x40
		ids[i][8] = ids[i][8]&0x3f | 0x80
	}
	for _, percent := range []float64{0.5, 1, 10, 25, 33, 50, 75, 90, 99} {
		d := mustParse(t, fmt.Sprintf("policies: [{name: p, type: probabilistic, probabilistic: {sampling_percentage: %v}}]", percent)).NewDecider()
		kept := 0.0
		for _, id := range ids {
			if d.Decide(nil, []Candidate{{id, &Facts{Spans: 1}}}, 0)[0].Keep {
				kept++
			}
		}
		p := percent / 100
		if off := (kept - n*p) / math.Sqrt(n*p*(1-p)); math.Abs(off) > 3 {
			t.Errorf("%v %%: %v of %d kept, which is %.1f standard deviations off", percent, kept, n, off)
		}
	}

	var buckets [256]float64
	for _, id := range ids {
		buckets[(&Facts{}).randomness(id)>>48]++
	}
	chi := 0.0
	for _, b := range buckets {
		chi += (b - n/256.) * (b - n/256.) / (n / 256.)
	}
	if chi > 255+4*math.Sqrt(2*255) {
		t.Errorf("chi squared of the randomness over 256 ranges is %.0f, want about 255", chi)
	}
}
