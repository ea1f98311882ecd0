package otlp

import (
	"math/rand/v2"
	"testing"
)

// TestMutants holds Scan and the views to pdata on 4,000 damaged payloads.
func TestMutants(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	traces, logs := sampleTraces(1, 1), sampleLogs(1)
	seeds := [][]byte{traces, keyFirst(Traces, traces), oddTraces(), keyFirst(Traces, oddTraces())}
	logSeeds := [][]byte{logs, keyFirst(Logs, logs)}
	accepted := 0
	for range 2_000 {
		b := mutant(rnd, seeds)
		if checkTraces(t, b); new(Payload).Scan(Traces, b) == nil {
			accepted++
		}
		checkLogs(t, mutant(rnd, logSeeds))
	}
	if accepted < 200 {
		t.Errorf("%d of 2,000 mutants are valid: too few to compare values", accepted)
	}
}

func mutant(rnd *rand.Rand, seeds [][]byte) []byte {
	b := append([]byte(nil), seeds[rnd.IntN(len(seeds))]...)
	for range 1 + rnd.IntN(3) {
		i := rnd.IntN(len(b))
		switch rnd.IntN(8) {
		case 0:
			b = b[:i+1]
		case 1:
			other := seeds[rnd.IntN(len(seeds))]
			b = append(b[:i:i], other[rnd.IntN(len(other)):]...)
		case 2, 3:
			b[i] ^= 1 << rnd.IntN(8)
		case 4, 5:
			b[i] = byte(rnd.IntN(256))
		case 6:
			b[i] = byte(rnd.IntN(17)<<3 | rnd.IntN(6))
		case 7:
			b = append(b, other(rnd, seeds)...)
		}
		if len(b) == 0 {
			return b
		}
	}
	return b
}

func other(rnd *rand.Rand, seeds [][]byte) []byte { return seeds[rnd.IntN(len(seeds))] }
