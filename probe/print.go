package probe

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
)

// quantiles is a histogram for people.
func quantiles(h *histogram) string {
	return fmt.Sprintf("p50 %s, p99 %s, p99.99 %s, max %s", short(h.quantile(0.5)), short(h.quantile(0.99)), short(h.quantile(0.9999)), short(h.max))
}

func share(n, of int64) string { return fmt.Sprintf("%.4g%%", 100*float64(n)/float64(max(of, 1))) }

// short rounds to what matters.
func short(d time.Duration) string {
	switch {
	case max(d, -d) >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case max(d, -d) >= 10*time.Millisecond:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(10 * time.Microsecond).String()
}

// Print writes the report for people.
func (r Report) Print(w io.Writer) {
	width, measured := 0, 0
	for _, row := range r.Rows {
		width, measured = max(width, len(row.What)), max(measured, min(len(row.Measured), 60))
	}
	fmt.Fprintf(w, "\nPub/Sub of project %s, measured for %v\n\n", r.Project, r.Took.Round(time.Second))
	for _, row := range r.Rows {
		fmt.Fprintf(w, "%-12s %-*s  %-*s  %s\n", row.Verdict, width, row.What, measured, row.Measured, row.Limit)
	}
	fmt.Fprintf(w, "\n%s\n", r.verdict())
	if r.Timing != nil {
		about := "For the workers' configuration, the same for all"
		if !r.Go {
			about = "What the measurements ask for, were it not for the above"
		}
		fmt.Fprintf(w, "\n%s:\n\n%s", about, r.Timing)
	}
	r.printLeft(w)
}

func (r Report) printLeft(w io.Writer) {
	for i, l := range r.Left {
		if i == 0 {
			fmt.Fprintf(w, "\nCould not be deleted; subscriptions expire after a day without use, topics cost nothing without messages:\n\n")
		}
		fmt.Fprintf(w, "  %s   # %s\n", l.Command, l.Why)
	}
}

// verdict is the report in one line.
func (r Report) verdict() string {
	var bad, missing []string
	for _, row := range r.Rows {
		switch row.Verdict {
		case NoGo:
			bad = append(bad, strings.TrimSpace(row.What))
		case NotMeasured:
			missing = append(missing, strings.TrimSpace(row.What))
		}
	}
	switch {
	case len(bad) > 0:
		return "NO-GO: " + strings.Join(bad, "; ")
	case len(missing) > 0:
		return "NO VERDICT, not measured: " + strings.Join(missing, "; ")
	}
	return "GO"
}

// JSON writes the report for programs, on one line; times are in seconds.
func (r Report) JSON(w io.Writer) error {
	type timing struct {
		Death float64 `json:"death"`
		Gap   float64 `json:"gap"`
		Open  float64 `json:"open"`
		Delta float64 `json:"delta"`
		Fence float64 `json:"fence"`
	}
	out := struct {
		Project string    `json:"project"`
		Begin   time.Time `json:"begin"`
		Took    float64   `json:"took"`
		Go      bool      `json:"go"`
		Verdict string    `json:"verdict"`
		Rows    []Row     `json:"rows"`
		Timing  *timing   `json:"fleet_timing"`
		Left    []Left    `json:"left"`
	}{r.Project, r.Begin, r.Took.Seconds(), r.Go, r.verdict(), r.Rows, nil, r.Left}
	if t := r.Timing; t != nil {
		out.Timing = &timing{t.Death.Seconds(), t.Gap.Seconds(), t.Open.Seconds(), t.Delta.Seconds(), t.Fence.Seconds()}
	}
	return json.NewEncoder(w).Encode(out)
}
