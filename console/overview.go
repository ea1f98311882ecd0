package console

import (
	"cmp"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"time"
)

const (
	shownPending = 8
	shownLatest  = 40
)

// overviewPage is the front page as it is drawn.
type overviewPage struct {
	Head, Script template.HTML
	Ready        bool
	Metrics      bool
	First        bool // nothing was received yet
	Endpoints    string
	Uptime       string
	Flow         flowView
	Gauges       []gauge
	Lag          string
	Exporting    string
	KeptShare    string
	Outcomes     []outcome
	OutcomeLabel string
	Received     counts
	Open         string // how far the sum is off; "" when it adds up
	Unnamed      string // spans and log records without service.name; "" for none
	Policies     []policyLine
	Fleet        fleetView
	Exporters    []exporterLine
	Follows      bool // another worker decides
	Pending      []pendingLine
	MorePending  string
	Latest       []latestLine
}

type counts struct{ Spans, Traces, Logs string }

func countsOf(c Counts) counts { return counts{number(c.Spans), number(c.Traces), number(c.Logs)} }

type flowView struct {
	Rate, Kept, Peak     string
	Line, Area, KeptLine string
}

// gauge is a fill beside its budget. W is "" when there is no budget, Level "" | warn | full.
type gauge struct{ Name, Value, Max, W, Level string }

// segment is a part of a stacked bar.
type segment struct{ X, W, Class string }

type outcome struct {
	Name  string
	Hint  string
	Bar   segment
	Share string
	counts
}

type policyLine struct {
	Name          string
	Aside         bool // in parentheses: not a policy
	Kept, Dropped counts
	KeptBar       string
	DroppedBar    segment
	Share         string
}

type pendingLine struct {
	ID, Spans, Logs, Size, Age string
	Root, Due                  bool
	Left, W                    string
}

type latestLine struct {
	ID, Short, Root, Service string
	Color                    int
	Spans, Logs              string
	Ago, Start               string
	Duration, W              string
	Error                    bool
	Policy, Reason           string
}

func (c *Console) overview(w http.ResponseWriter, _ *http.Request) {
	now, s := time.Now(), c.source.Stats()
	c.take(now, s)
	pending := c.source.Pending(shownPending)
	page := overviewPage{
		Head:      styleTag,
		Script:    scriptTag,
		Ready:     s.Ready,
		Metrics:   c.config.Metrics != nil,
		First:     s.Received == Counts{},
		Endpoints: strings.Join(c.config.Endpoints, "\n"),
		Uptime:    duration(time.Duration(s.UptimeMS) * time.Millisecond),
		Flow:      flow(now, c.rates.now(), c.rates.history()),
		Gauges:    gauges(s),
		Lag:       duration(time.Duration(s.Window.WatermarkLagMS) * time.Millisecond),
		Exporting: number(s.Exporting),
		KeptShare: sharePercent(s.Kept.Spans, s.Kept.Spans+s.Dropped.Spans),
		Outcomes:  outcomes(s),
		Received:  countsOf(s.Received),
		Open:      openBalance(s),
		Unnamed:   someNumber(s.Unnamed),
		Policies:  policyLines(s.ByPolicy),
		Fleet:     fleetOf(s, c.fleetRates.now()),
		Follows:   s.Fleet.follows(),
		Exporters: exporterLines(s.Exporters),
		Pending:   pendingLines(pending),
		Latest:    latestLines(now, c.source.Latest(shownLatest)),
	}
	page.OutcomeLabel = outcomeLabel(page.Outcomes)
	if more := s.Window.Traces - int64(len(pending)); more > 0 && len(pending) > 0 {
		page.MorePending = number(more)
	}
	render(w, http.StatusOK, "overview", page)
}

// someNumber is empty for none.
func someNumber(n int64) string {
	if n == 0 {
		return ""
	}
	return number(n)
}

// flow draws the minute that ends now into a view box of 600 by 60.
func flow(now time.Time, rates ratePoint, history []ratePoint) flowView {
	v := flowView{Rate: rate(rates.received), Kept: rate(rates.kept)}
	if len(history) == 0 {
		return v
	}
	peak := 0.0
	for _, p := range history {
		peak = max(peak, p.received, p.kept)
	}
	v.Peak = rate(peak)
	var line, kept strings.Builder
	x := func(at time.Time) float64 { return 600 * (1 - now.Sub(at).Seconds()/rateWindow.Seconds()) }
	y := func(perSecond float64) float64 { return 58 - 54*perSecond/max(peak, 1e-9) }
	for i, p := range history {
		command := "L"
		if i == 0 {
			command = "M"
		}
		fmt.Fprintf(&line, "%s%.1f %.1f", command, x(p.at), y(p.received))
		fmt.Fprintf(&kept, "%s%.1f %.1f", command, x(p.at), y(p.kept))
	}
	v.Line, v.KeptLine = line.String(), kept.String()
	v.Area = fmt.Sprintf("%sL%.1f 60L%.1f 60Z", v.Line, x(history[len(history)-1].at), x(history[0].at))
	return v
}

func gauges(s Stats) []gauge {
	held := newGauge("Payloads held, "+number(s.Held.Messages)+" messages", s.Held.Bytes, s.Held.MaxBytes, size)
	if s.Fleet.follows() {
		return []gauge{held} // the window is the leader's
	}
	return []gauge{
		newGauge("Traces undecided", s.Window.Traces, s.Window.MaxTraces, number),
		newGauge("Window", s.Window.Bytes, s.Window.MaxBytes, size),
		held,
	}
}

func newGauge(name string, n, budget int64, format func(int64) string) gauge {
	g := gauge{Name: name, Value: format(n)}
	if budget <= 0 {
		return g
	}
	g.Max, g.W = format(budget), percent(share(n, budget))
	switch fill := share(n, budget); {
	case fill >= 0.95:
		g.Level = "full"
	case fill >= 0.8:
		g.Level = "warn"
	}
	return g
}

func outcomes(s Stats) []outcome {
	list := []struct {
		name, class, hint string
		c                 Counts
	}{
		{"kept", "kept", "exported, confirmed by the backend", s.Kept},
		{"dropped", "dropped", "by a policy's decision", s.Dropped},
		{"in flight", "flight", "undecided, or not confirmed yet", s.InFlight},
		{"returned", "returned", "handed back to the queue", s.Returned},
		{"duplicate", "duplicate", "delivered again, seen before", s.Duplicate},
		{"dead-lettered", "dead", "the backend or the scanner refused them", s.DeadLettered},
	}
	var out []outcome
	x := 0.0
	for _, l := range list {
		w := share(l.c.Spans, s.Received.Spans)
		out = append(out, outcome{l.name, l.hint, segment{percent(x), percent(w), l.class}, sharePercent(l.c.Spans, s.Received.Spans), countsOf(l.c)})
		x += w
	}
	return out
}

func outcomeLabel(list []outcome) string {
	var parts []string
	for _, o := range list {
		parts = append(parts, o.Name+" "+o.Share)
	}
	return "Received spans: " + strings.Join(parts, ", ")
}

// openBalance says what is missing when the counters do not add up, which would be a fault of ours.
func openBalance(s Stats) string {
	var sum Counts
	for _, c := range []Counts{s.Kept, s.Dropped, s.DeadLettered, s.Returned, s.Duplicate, s.InFlight} {
		sum = Counts{sum.Spans + c.Spans, sum.Traces + c.Traces, sum.Logs + c.Logs}
	}
	if sum == s.Received {
		return ""
	}
	return fmt.Sprintf("%s spans, %s traces, %s log records unaccounted for",
		number(s.Received.Spans-sum.Spans), number(s.Received.Traces-sum.Traces), number(s.Received.Logs-sum.Logs))
}

// policyLines are by name, so that lines do not jump; the nameless one is last. Bars are to the
// scale of the busiest policy.
func policyLines(by map[string]PolicyCounts) []policyLine {
	names, busiest := make([]string, 0, len(by)), int64(0)
	for name, p := range by {
		names = append(names, name)
		busiest = max(busiest, p.Kept.Traces+p.Dropped.Traces)
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(asideLast(a), asideLast(b)), strings.Compare(a, b))
	})
	var lines []policyLine
	for _, name := range names {
		p := by[name]
		kept, dropped := share(p.Kept.Traces, busiest), share(p.Dropped.Traces, busiest)
		lines = append(lines, policyLine{
			Name: text(name, 120), Aside: asideLast(name) > 0,
			Kept: countsOf(p.Kept), Dropped: countsOf(p.Dropped),
			KeptBar:    percent(kept),
			DroppedBar: segment{X: percent(kept), W: percent(dropped)},
			Share:      sharePercent(p.Kept.Traces, p.Kept.Traces+p.Dropped.Traces),
		})
	}
	return lines
}

// asideLast is 1 for a name in parentheses, which stands for what no policy decided, and 0 for a policy.
func asideLast(name string) int {
	if strings.HasPrefix(name, "(") {
		return 1
	}
	return 0
}

func pendingLines(pending []Pending) []pendingLine {
	var lines []pendingLine
	for _, p := range pending {
		line := pendingLine{
			ID: p.TraceID.String(), Spans: number(p.Spans), Logs: number(p.Logs), Size: size(p.Bytes),
			Age: duration(p.Age), Root: p.Root, Due: p.Left <= 0, Left: "due", W: "0%",
		}
		if p.Left > 0 {
			line.Left = fmt.Sprintf("%.1f s", p.Left.Seconds())
			line.W = percent(float64(p.Left) / float64(p.Left+max(p.Age, 0)))
		}
		lines = append(lines, line)
	}
	return lines
}

func latestLines(now time.Time, latest []Summary) []latestLine {
	longest := time.Duration(1)
	for _, t := range latest {
		longest = max(longest, t.Duration)
	}
	var lines []latestLine
	for _, t := range latest {
		id := t.TraceID.String()
		lines = append(lines, latestLine{
			ID: id, Short: id[:8], Root: text(t.Root, 200), Service: text(t.Service, 80), Color: color(t.Service),
			Spans: number(t.Spans), Logs: number(t.Logs),
			Ago: ago(now, t.Start), Start: t.Start.UTC().Format("2006-01-02 15:04:05.000 UTC"),
			Duration: duration(t.Duration), W: percent(float64(t.Duration) / float64(longest)),
			Error: t.Error, Policy: text(t.Policy, 80), Reason: text(t.Reason, 80),
		})
	}
	return lines
}
