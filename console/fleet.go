package console

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Fleet is how this worker comes to its decisions.
type Fleet struct {
	// Mode is "off" for one worker that decides in its own process, or "pubsub".
	Mode string `json:"mode"`
	*FleetMember
}

// FleetMember is a worker of a fleet. Totals count from its start.
type FleetMember struct {
	Name    string `json:"name"`
	Phase   string `json:"phase"`
	Leader  string `json:"leader"` // "" when unknown
	Term    string `json:"term"`
	LedMS   int64  `json:"led_ms"` // how long the leader has led
	Seq     uint64 `json:"seq"`    // last entry of the log that was accepted
	Epoch   uint64 `json:"epoch"`  // of the policies
	Active  string `json:"policy_active"`
	Wanted  string `json:"policy_configured"`
	Leading bool   `json:"leading"`

	// Members are the workers listed. Only the leader knows more of them than their names.
	Members []Member `json:"members"`

	Anomalies map[string]int64 `json:"anomalies"` // by kind, without those that are 0

	LogRead       int64 `json:"log_read"`
	LogBytes      int64 `json:"log_bytes"`
	EntriesSent   int64 `json:"entries_sent"`
	FactsSent     int64 `json:"facts_sent"` // batches
	FactsBytes    int64 `json:"facts_bytes"`
	FragmentsSent int64 `json:"fragments_sent"`
	PublishFailed int64 `json:"publish_failed"`
	Decisions     int64 `json:"decisions"`
	Streams       int64 `json:"streams"`
	Fences        int64 `json:"fences"`
	FencedMS      int64 `json:"fenced_ms"`
	Claims        int64 `json:"claims"`
	Terms         int64 `json:"terms"`
	SteppedDown   int64 `json:"stepped_down"`

	// Since it leads; 0 while it does not.
	Gathered    int64 `json:"fragments_gathered"`
	Late        int64 `json:"late"`
	Reannounced int64 `json:"reannounced"`
	Pressed     int64 `json:"pressed"`
}

// Member is one worker as the leader sees it.
type Member struct {
	Name     string `json:"name"`
	BehindMS int64  `json:"behind_ms"` // its event time behind the fleet's newest; negative: not begun, or not known here
	SilentMS int64  `json:"silent_ms"`
	LagMS    int64  `json:"lag_ms"` // how far behind its event time it wants the watermark, for what comes out of order
}

// follows reports whether another worker decides.
func (f Fleet) follows() bool { return f.FleetMember != nil && !f.Leading }

// fleetView is the fleet as it is drawn.
type fleetView struct {
	Alone          bool
	Name, Phase    string
	Level          string // class of the phase: ok | bad | ""
	Leader, Led    string
	Me             bool // this worker leads
	Lag            string
	Policy, Wanted string
	Epoch          string
	Entries, Facts string // per second
	Members        []memberLine
	Anomalies      []field
	Totals         []field
}

type memberLine struct {
	Name, Behind, Lag, Silent string
	Leads, Me, Known          bool
}

func fleetOf(s Stats, rates ratePoint) fleetView {
	f := s.Fleet
	if f.FleetMember == nil {
		return fleetView{Alone: true}
	}
	v := fleetView{
		Name: f.Name, Phase: f.Phase, Leader: f.Leader, Me: f.Leading, Led: milliseconds(f.LedMS),
		Policy: f.Active, Wanted: f.Wanted, Epoch: fmt.Sprint(f.Epoch),
		Entries: rate(rates.received), Facts: rate(rates.kept),
	}
	switch f.Phase {
	case "holding", "leading":
		v.Level = "ok"
	case "fenced", "breaking":
		v.Level = "bad"
	}
	if f.Leading && s.Window.WatermarkLagMS >= 0 {
		v.Lag = milliseconds(s.Window.WatermarkLagMS)
	}
	for _, m := range f.Members {
		v.Members = append(v.Members, memberLine{
			Name: m.Name, Leads: m.Name == f.Leader, Me: m.Name == f.Name, Known: m.BehindMS >= 0,
			Behind: milliseconds(m.BehindMS), Lag: milliseconds(m.LagMS), Silent: milliseconds(m.SilentMS),
		})
	}
	for kind, n := range f.Anomalies {
		v.Anomalies = append(v.Anomalies, field{kind, number(n)})
	}
	slices.SortFunc(v.Anomalies, func(a, b field) int { return cmp.Compare(a.Key, b.Key) })
	v.Totals = fleetTotals(f.FleetMember)
	return v
}

// fleetTotals are the counters that an operator asks for when something was wrong.
func fleetTotals(f *FleetMember) []field {
	totals := []field{
		{"decisions read", number(f.Decisions)},
		{"fences", fmt.Sprintf("%s, %s in all", number(f.Fences), milliseconds(f.FencedMS))},
		{"publishes failed", number(f.PublishFailed)},
		{"terms led, given up", number(f.Terms) + ", " + number(f.SteppedDown)},
	}
	if f.Leading {
		totals = append(totals, field{"late facts", number(f.Late)}, field{"said again", number(f.Reannounced)}, field{"decided by pressure", number(f.Pressed)})
	}
	return totals
}

func milliseconds(ms int64) string { return duration(time.Duration(ms) * time.Millisecond) }
