package probe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Verdict is what a measurement says.
type Verdict string

// Verdicts. Only Go, Raise, Info and Skipped let the fleet run.
const (
	Go          Verdict = "go"
	Raise       Verdict = "raise" // go, with a constant above its default
	NoGo        Verdict = "no-go"
	NotMeasured Verdict = "not measured"
	Info        Verdict = "-"       // has no limit
	Skipped     Verdict = "skipped" // as was asked for
)

// Row is one measurement.
type Row struct {
	What     string  `json:"what"`
	Measured string  `json:"measured"`
	Limit    string  `json:"limit"`
	Verdict  Verdict `json:"verdict"`
}

// Report is what came of a run.
type Report struct {
	Project string
	Begin   time.Time
	Took    time.Duration
	Rows    []Row
	Go      bool // everything was measured, but for what was skipped as asked for, and nothing speaks against the fleet
	// Timing is the constants that follow from the measurements. It is nil without those of the log, and where entries
	// are so far out of order that no constants help.
	Timing *Timing
	Left   []Left // what could not be deleted
}

var errSkipped = errors.New("--skip-suite")

// add appends a measurement, or why there is none.
func (r *Report) add(what string, err error, limit string, v Verdict, format string, args ...any) {
	row := Row{What: what, Measured: fmt.Sprintf(format, args...), Limit: limit, Verdict: v}
	switch {
	case errors.Is(err, errSkipped):
		row.Measured, row.Verdict = err.Error(), Skipped
	case err != nil:
		row.Measured, row.Verdict = reason(err), NotMeasured
	}
	r.Rows = append(r.Rows, row)
}

// reason is an error as a table has room for it.
func reason(err error) string {
	switch {
	case unimplemented(err):
		return "the service says Unimplemented"
	case errors.Is(err, context.Canceled), status.Code(err) == codes.Canceled:
		return "interrupted"
	}
	return strings.ReplaceAll(err.Error(), "\n", "; ")
}

func unimplemented(err error) bool { return status.Code(err) == codes.Unimplemented }

// pass is Go if ok.
func pass(ok bool) Verdict {
	if ok {
		return Go
	}
	return NoGo
}

// within is Go up to the one limit and Raise up to the other.
func within(v, limit, end time.Duration) Verdict {
	switch {
	case v <= limit:
		return Go
	case v <= end:
		return Raise
	}
	return NoGo
}

// report judges the results.
func (m *results) report() Report {
	var r Report
	if m.run.tracker == nil || m.run.tracker.published() == 0 {
		r.add("the log", cmp.Or(m.loadErr, errNothing), "", NoGo, "")
		return r
	}
	m.logRows(&r)
	m.readRows(&r)
	m.lateRows(&r)
	m.settleRows(&r)
	m.suiteRow(&r)
	r.Go = true
	for _, row := range r.Rows {
		r.Go = r.Go && row.Verdict != NoGo && row.Verdict != NotMeasured
	}
	if m.loadErr == nil && m.run.tracker.worst() <= endInversion {
		t := m.timing()
		r.Timing = &t
	}
	return r
}

var errNothing = errors.New("nothing was published")

// timing computes the constants from what was measured.
func (m *results) timing() Timing {
	t := m.run.tracker
	readBack, silence := t.readBack()
	away := max(m.settled["lease"].most, m.settled["dropped"].most)
	return timing(t.worst(), readBack.quantile(0.9999), silence, away)
}

// kinds are the subscriptions that are judged apart, as the rows name them.
var kinds = map[kind]string{steady: "", reconnecting: ", reader reconnects", late: ", read back"}

// orderRows is what the subscriptions of a kind saw of order and completeness.
func (m *results) orderRows(r *Report, k kind, err error) {
	t := m.run.tracker
	var inversions, breaks, repeated, inversion int64
	lost := 0
	for i, s := range t.subs {
		if s.kind == k {
			inversions, breaks, repeated = inversions+s.inversions, breaks+s.breaks, repeated+s.repeated
			inversion = max(inversion, s.inversion)
			lost += t.missing(i)
		}
	}
	r.add("publish time goes back, at most"+kinds[k], err, orderLimit, within(micros(inversion), goInversion, endInversion), "%s, %d times", short(micros(inversion)), inversions)
	r.add("order of one publisher broken"+kinds[k], err, "0", pass(breaks == 0), "%d", breaks)
	r.add("entries lost"+kinds[k], err, "0", pass(lost == 0), "%d of %d", lost, t.published())
	r.add("entries delivered again"+kinds[k], err, "", Info, "%d", repeated)
}

var orderLimit = fmt.Sprintf("<= %v, stop at %v", goInversion, endInversion)

// logRows is what was seen of order, completeness, clocks and publishing.
func (m *results) logRows(r *Report) {
	t := m.run.tracker
	m.orderRows(r, steady, m.loadErr)
	m.orderRows(r, reconnecting, m.loadErr)
	r.add("other order in another subscription, furthest apart", m.loadErr, orderLimit, within(t.window.worst, goInversion, endInversion), "%s", short(t.window.worst))
	r.add("deliveries with another publish time", m.loadErr, "0", pass(t.unequal == 0), "%d", t.unequal)

	c := t.window.clock
	c.close()
	r.add("publish times' clocks apart", m.loadErr, "<= "+clockSpread.String(), pass(micros(c.spread) <= clockSpread), "%s", short(max(0, micros(c.spread))))
	r.add("publish time ahead of the local clock", m.loadErr, "<= ±"+clockOffset.String(), pass(micros(max(abs(c.first), abs(c.last))) <= clockOffset),
		"%s, at the end %s", short(micros(c.first)), short(micros(c.last)))

	var took histogram
	var failed int64
	for _, p := range t.publishers[:t.loaders] {
		took.merge(&p.took)
		failed += p.failed
	}
	r.add("Publish on one key", m.loadErr, "p99.99 <= "+stepDown.String(), pass(took.quantile(0.9999) <= stepDown && failed*10_000 <= took.n), "%s", quantiles(&took))
	r.add("Publish over 1.4s (sent again); over 4s (failover); failed", m.loadErr, "", Info, "%s; %s; %d", share(took.over1400, took.n), share(took.over4000, took.n), failed)
}

// readRows is what was seen of latency and throughput.
func (m *results) readRows(r *Report) {
	t := m.run.tracker
	for i, s := range t.subs {
		if s.kind == steady {
			r.add(fmt.Sprintf("publish to read, subscription %d", i), m.loadErr, "p99.99 <= "+stepDown.String(), pass(s.latency.n > 0 && s.latency.quantile(0.9999) <= stepDown), "%s", quantiles(&s.latency))
			r.add(fmt.Sprintf("longest silence, subscription %d", i), m.loadErr, "<= "+stepDown.String(), within(micros(s.silence), stepDown, 3*stepDown), "%s", short(micros(s.silence)))
		}
	}
	for _, b := range m.bursts {
		limit, v := "", Info // of large ones: Pub/Sub takes 1 MB/s of one key
		if b.size == smallEntry {
			limit, v = ">= 2/s", pass(b.perSecond() >= 2) // a leader says something each 500 ms
		}
		r.add(fmt.Sprintf("entries of %d B, one after the other", b.size), m.loadErr, limit, v,
			"%.0f/s, %.2f MB/s", b.perSecond(), b.perSecond()*float64(b.size)/1e6)
	}
}

func (m *results) lateRows(r *Report) {
	c := m.caughtUp
	if c.err == nil && m.loadErr != nil {
		c.err = m.loadErr
	}
	m.orderRows(r, late, c.err)
	r.add("reading back: first entry after its start", c.err, "", Info, "%s", short(c.gap))
	r.add("reading back: time until caught up", c.err, "<= "+drainPatience.String(), pass(c.took <= drainPatience), "%s for %d entries", short(c.took), c.entries)
}

func (m *results) settleRows(r *Report) {
	row := func(name, what, limit string, judge func(settled) Verdict) {
		s, done := m.settled[name]
		switch {
		case !done:
			s.err = m.loadErr
		case errors.Is(s.err, errAway):
			r.add(what, nil, limit, judge(settled{least: -1, most: 2 * comeBack}), "%v", s.err)
			return
		}
		switch name {
		case "credit":
			r.add(what, s.err, limit, judge(s), "%d", s.count)
		case "ordered":
			r.add(what, s.err, limit, judge(s), "%s", short(s.most))
		default:
			r.add(what, s.err, limit, judge(s), "%s to %s", short(s.least), short(s.most))
		}
	}
	back := func(s settled) Verdict {
		if s.least < lease-time.Second {
			return NoGo
		}
		return within(s.most, lease+2*time.Second, comeBack)
	}
	row("lease", "message back after a lease of 10s", "9s to 12s", back)
	row("dropped", "message back after its stream broke", "9s to 12s", back)
	row("ordered", "next entry of a key after its stream broke", "", func(settled) Verdict { return Info })
	row("handback", "message back after a hand-back for 15s", ">= 14.5s", func(s settled) Verdict { return pass(s.least >= handBack-500*time.Millisecond) })
	row("nack", "message back after a nack", "<= 5s", func(s settled) Verdict { return pass(s.most <= 5*time.Second) })
	row("credit", "unsettled messages with a credit of 5", "<= 5", func(s settled) Verdict { return pass(s.count <= creditOf) })
}

func (m *results) suiteRow(r *Report) {
	passed, skipped := 0, 0
	for _, o := range m.suite {
		switch {
		case o.Skipped != "":
			skipped++
		case len(o.Faults) == 0:
			passed++
		}
	}
	failed := len(m.suite) - passed - skipped
	r.add("conformance suite", m.suiteErr, "none failed", pass(failed == 0), "%d passed, %d skipped, %d failed", passed, skipped, failed)
	for _, o := range m.suite {
		if len(o.Faults) > 0 {
			r.add("  "+o.Case, m.suiteErr, "", NoGo, "%.200s", o.Faults[0])
		} else if o.Skipped != "" {
			r.add("  "+o.Case, m.suiteErr, "", Skipped, "%s", o.Skipped)
		}
	}
}
