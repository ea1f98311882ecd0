package pipeline

import (
	"log/slog"
	"sync"
	"time"

	"tailweir/sampler"
)

// failing counts the evaluations of conditions that failed, by policy, and says so in the log: each policy's first, then at
// most one a minute, for it may be each span.
type failing struct {
	log *slog.Logger

	mu   sync.Mutex
	seen map[string]*failure
}

type failure struct {
	count, said int64
	at          time.Time // when it was last said
}

const sayFailureEvery = time.Minute

func (f *failing) add(e sampler.PolicyError) {
	f.mu.Lock()
	defer f.mu.Unlock()
	one := f.seen[e.Policy]
	if one == nil {
		one = &failure{}
		f.seen[e.Policy] = one
	}
	one.count++
	now := time.Now()
	if !one.at.IsZero() && now.Sub(one.at) < sayFailureEvery {
		return
	}
	effect := "the policy does not keep what it cannot read"
	if e.Drop {
		effect = "the policy does not drop what it cannot read"
	}
	f.log.Warn("a policy's condition fails: "+effect, "policy", e.Policy, "error", e.Err, "failures", one.count-one.said)
	one.at, one.said = now, one.count
}

func (f *failing) counts() map[string]int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make(map[string]int64, len(f.seen))
	for name, one := range f.seen {
		out[name] = one.count
	}
	return out
}
