package load

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"time"

	"tailweir/bench/ledger"
)

// Report is what became of everything that was sent.
type Report struct {
	ledger.Sent
	Planned       int            `json:"spans_planned"` // spans of all traces begun
	Failed        int            `json:"spans_failed"`  // refused or given up; the rest of Planned was not sent
	AckedRecords  int            `json:"records_acked"`
	FailedRecords int            `json:"records_failed"`
	WholeTraces   int            `json:"traces_acked"` // every item acknowledged
	Payloads      int            `json:"payloads"`
	Retries       int            `json:"retries"`
	Errors        map[string]int `json:"errors,omitempty"` // why payloads failed, the first 20 reasons
	Seconds       float64        `json:"seconds"`
	SpansPerSec   float64        `json:"spans_per_second"` // acknowledged while traces still began; then come the late ones alone
	P50           float64        `json:"send_p50_ms"`      // from the first try to the acknowledgement
	P99           float64        `json:"send_p99_ms"`
	CPUPerSpan    float64        `json:"cpu_ns_per_span"` // of this process: making and sending
}

// outcome of one payload.
type outcome struct {
	err   error
	tries int
	begun time.Time // of the first try
	took  time.Duration
}

// book keeps account of the items of every trace. It is safe for concurrent use.
type book struct {
	run     ledger.Run
	logs    bool
	binding time.Duration
	gap     time.Duration
	start   time.Time

	mu        sync.Mutex
	left      []uint16 // by trace: items not acknowledged yet
	delayed   []bool   // by trace: its deciding span was acknowledged too late
	sent      [][]span // by trace: when its spans were sent; kept only where gaps are asked for
	spans     int      // planned
	rep       Report   // the counters of it
	flood     float64  // spans per second until the last trace began
	latencies []uint32 // µs, one per acknowledged payload
}

// span is the time in which a payload was published: from its first try to its acknowledgement, in ms since the start.
type span struct{ from, to int32 }

func newBook(cfg Config, start time.Time) *book {
	return &book{run: cfg.Run, logs: cfg.Logs, binding: cfg.Binding, gap: cfg.Gap, start: start}
}

// begun notes that traces up to the given number exist.
func (b *book) begun(traces uint32) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for n := uint32(len(b.left)); n < traces; n++ {
		id := b.run.Plan(n).Identity
		items := id.Spans
		if b.logs {
			items += id.Records()
		}
		b.spans += id.Spans
		b.left = append(b.left, uint16(items))
		b.delayed = append(b.delayed, false)
		if b.gap > 0 {
			b.sent = append(b.sent, nil)
		}
	}
}

// lastBegun notes that no further trace begins.
func (b *book) lastBegun(took time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.flood == 0 {
		b.flood = float64(b.rep.Acked) / took.Seconds()
	}
}

func (b *book) planned() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.spans
}

func (b *book) settle(p *Payload, o outcome) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rep.Payloads++
	b.rep.Retries += o.tries - 1
	acked, failed := &b.rep.Acked, &b.rep.Failed
	if p.Logs {
		acked, failed = &b.rep.AckedRecords, &b.rep.FailedRecords
	}
	if o.err != nil {
		*failed += len(p.Items)
		b.reasonLocked(o.err)
	} else {
		*acked += len(p.Items)
		b.latencies = append(b.latencies, uint32(min(o.took, time.Hour).Microseconds()))
	}
	for _, item := range p.Items {
		if o.err == nil {
			b.left[item.Number]--
		}
		if item.Deciding && (o.err != nil || o.took > b.binding) {
			b.delayed[item.Number] = true
		}
		if b.gap > 0 && !p.Logs {
			from := o.begun.Sub(b.start)
			b.sent[item.Number] = append(b.sent[item.Number], span{int32(from.Milliseconds()), int32((from + o.took).Milliseconds())})
		}
	}
}

func (b *book) reasonLocked(err error) {
	if b.rep.Errors == nil {
		b.rep.Errors = map[string]int{}
	}
	if why := err.Error(); len(b.rep.Errors) < 20 || b.rep.Errors[why] > 0 {
		b.rep.Errors[why]++
	}
}

func (b *book) report(took time.Duration) Report {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.rep
	r.Run, r.Logs, r.Traces, r.Planned = b.run, b.logs, uint32(len(b.left)), b.spans
	for n := range uint32(len(b.left)) {
		if b.left[n] != 0 {
			r.Incomplete = append(r.Incomplete, n)
		}
		if b.delayed[n] || b.gap > 0 && b.apart(b.sent[n]) {
			r.Delayed = append(r.Delayed, n)
		}
		if b.gap > 0 {
			r.Ended = append(r.Ended, b.ended(b.sent[n]))
		}
	}
	r.WholeTraces = len(b.left) - len(r.Incomplete)
	r.Seconds = took.Seconds()
	r.SpansPerSec = b.flood
	r.P50, r.P99 = percentile(b.latencies, 0.50), percentile(b.latencies, 0.99)
	if r.Acked > 0 {
		r.CPUPerSpan = float64(cpu()) / float64(r.Acked)
	}
	return r
}

// apart reports whether a payload of the trace may have been published more than gap after all that came before.
func (b *book) apart(sent []span) bool {
	slices.SortFunc(sent, func(x, y span) int { return cmp.Or(cmp.Compare(x.from, y.from), cmp.Compare(x.to, y.to)) })
	sent = slices.Compact(sent) // spans of one payload
	for i, s := range sent {
		if before, ok := previous(sent, i); ok && time.Duration(s.to-before)*time.Millisecond > b.gap {
			return true
		}
	}
	return false
}

// ended is when the last span was sent for the first time, in unix ms; 0 if none was.
func (b *book) ended(sent []span) (at int64) {
	for _, s := range sent {
		at = max(at, b.start.UnixMilli()+int64(s.from))
	}
	return at
}

// previous is the earliest moment at which the last payload before sent[i] may have been published, if sent[i] was
// published as late as it may have been and was not the first.
func previous(sent []span, i int) (at int32, ok bool) {
	for j, s := range sent {
		switch {
		case j == i || s.from >= sent[i].to:
		case !ok:
			at, ok = s.from, true // the first of them, if nothing says that another came before sent[i], too
		case s.to <= sent[i].to:
			at = max(at, s.from)
		}
	}
	return at, ok
}

// percentile sorts the latencies and gives one in ms.
func percentile(us []uint32, q float64) float64 {
	if len(us) == 0 {
		return 0
	}
	slices.Sort(us)
	return float64(us[int(q*float64(len(us)-1))]) / 1000
}

// cpu is what this process has used so far, in user and kernel mode.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(fmt.Sprintf("getrusage: %v", err)) // it only fails on a bad argument
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
