package ledger

import (
	"math"
	"math/rand/v2"
	"time"
)

// The shape of the traffic.
const (
	MeanSpans  = 19   // per trace, log-normal
	ErrorShare = 0.02 // of the traces

	// SlowDuration is where "slow" begins. No trace lasts between 950 and 1050 ms,
	// so that rounding cannot turn a verdict.
	SlowDuration = time.Second
	// MaxDuration bounds a trace, so that its root is never later than the window.
	MaxDuration = 5 * time.Second

	spansSigma     = 0.8
	mostSpans      = 400 // 1 trace in 70,000 would have more
	medianDuration = 80 * time.Millisecond
	durationSigma  = 1.1 // 1.1 % of the traces are slow
	durationGap    = 50 * time.Millisecond
)

// Run names a run: its traces are a function of both fields and of their number.
type Run struct {
	ID   uint16 `json:"run"`
	Seed uint64 `json:"seed"`
}

// Plan is a trace before it happens.
type Plan struct {
	Identity
	Duration time.Duration
}

// Plan is the n-th trace of the run. It is a pure function: whoever checks the
// run learns from it what ought to be there without having been told.
func (r Run) Plan(n uint32) Plan {
	rng := rand.New(rand.NewPCG(r.Seed, mix(uint64(r.ID)<<32|uint64(n)^spanKey)))
	median := MeanSpans / math.Exp(spansSigma*spansSigma/2)
	spans := int(math.Round(median * math.Exp(spansSigma*rng.NormFloat64())))
	d := time.Duration(float64(medianDuration) * math.Exp(durationSigma*rng.NormFloat64()))
	d = clearOfSlow(min(max(d, time.Millisecond), MaxDuration))
	return Plan{
		Identity: Identity{
			Run:    r.ID,
			Number: n,
			Spans:  min(max(spans, 1), mostSpans),
			Error:  rng.Float64() < ErrorShare,
			Slow:   d > SlowDuration,
		},
		Duration: d,
	}
}

func clearOfSlow(d time.Duration) time.Duration {
	switch {
	case d <= SlowDuration-durationGap || d >= SlowDuration+durationGap:
		return d
	case d < SlowDuration:
		return SlowDuration - durationGap
	}
	return SlowDuration + durationGap
}
