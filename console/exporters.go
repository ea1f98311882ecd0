package console

import "fmt"

// Exporter is how the sending to one backend goes. Totals count from the worker's start.
type Exporter struct {
	Name        string `json:"name"`
	Failing     string `json:"failing"` // what the latest request failed with, "" when it did not
	Attempts    int64  `json:"attempts"`
	Failed      int64  `json:"failed"` // of these
	Running     int64  `json:"running"`
	Limit       int64  `json:"limit"` // of the requests under way, now
	Most        int64  `json:"most"`  // and at most
	RoundTripMS int64  `json:"round_trip_ms"`
	Refused     int64  `json:"refused"`     // spans and log records that are dead letters
	Shortened   int64  `json:"shortened"`   // those cut to fit
	Pending     int64  `json:"pending"`     // bytes, of an exporter that is not required
	MaxPending  int64  `json:"max_pending"` // 0: it is required
	Lost        int64  `json:"lost"`        // spans and log records that such an exporter does not have
}

type exporterLine struct {
	Name, State, Level       string // Level: class of the state
	Failing                  string // in a row of its own: what a backend says may be long
	Attempts, Failed         string
	Running, RoundTrip       string
	Refused, Shortened, Lost string
	Pending                  string
	Refuses, Loses           bool
}

func exporterLines(all []Exporter) (lines []exporterLine) {
	for _, e := range all {
		l := exporterLine{
			Name: e.Name, State: "works", Level: "ok", Attempts: number(e.Attempts), Failed: number(e.Failed),
			Running: fmt.Sprintf("%d of %d", e.Running, e.Limit), RoundTrip: milliseconds(e.RoundTripMS),
			Refused: number(e.Refused), Shortened: number(e.Shortened), Lost: "–", Pending: "–", Failing: e.Failing, Refuses: e.Refused > 0, Loses: e.Lost > 0,
		}
		switch {
		case e.Failing != "":
			l.State, l.Level = "fails", "bad"
		case e.Attempts == 0:
			l.State, l.Level = "nothing sent yet", ""
		case e.Limit < e.Most:
			l.State = "works, slowed to the backend's pace"
		}
		if e.MaxPending > 0 {
			l.Lost, l.Pending = number(e.Lost), size(e.Pending)+" of "+size(e.MaxPending)
		}
		lines = append(lines, l)
	}
	return lines
}
