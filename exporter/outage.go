package exporter

import (
	"log/slog"
	"sync"
	"time"
)

// remindEvery is how often a fault that somebody has to mend is logged while it lasts: it must stand on the last page
// of the log whenever somebody looks, and a minute of silence must not look like its end.
const remindEvery = time.Minute

// outage keeps the failures of one signal's attempts from flooding the log, however many batches are retried. A
// backend that is busy is told of once, as a warning; what somebody has to mend is an error each remindEvery.
type outage struct {
	mu       sync.Mutex
	told     bool      // since the last success
	reminded time.Time // kept over successes: a key that works on every other replica must not flood either
}

func (o *outage) failed(log *slog.Logger, f *Fault, wait time.Duration) {
	advice := f.Verdict.advice()
	if !o.tell(advice != "") {
		return
	}
	if advice == "" {
		log.Warn("export is retried", "wait", wait, "error", f)
		return
	}
	log.Error("backend takes nothing from this exporter", "do", advice, "wait", wait, "error", f)
}

func (o *outage) tell(remind bool) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !remind {
		first := !o.told
		o.told = true
		return first
	}
	if !o.reminded.IsZero() && time.Since(o.reminded) < remindEvery {
		return false
	}
	o.told, o.reminded = true, time.Now()
	return true
}

func (o *outage) worked(log *slog.Logger) {
	o.mu.Lock()
	told := o.told
	o.told = false
	o.mu.Unlock()
	if told {
		log.Info("export works again")
	}
}
