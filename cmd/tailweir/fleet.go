package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"tailweir/queue"
	"tailweir/service"
)

// runFleet shows what a fleet's log says.
func runFleet(ctx context.Context, args []string, getenv func(string) string) error {
	flags := newFlags("fleet")
	project := flags.String("project", "", "`PROJECT` of the log topic (default GOOGLE_CLOUD_PROJECT)")
	log := flags.String("log", "", "`TOPIC` of the log (default as for a worker: TAILWEIR_LOG_TOPIC, TAILWEIR_CONFIG, tailweir-log)")
	since := flags.Duration("since", 10*time.Minute, "`TIME` to read back")
	watch := flags.Bool("watch", false, "go on, every 2 s")
	asJSON := flags.Bool("json", false, "a line of JSON for each report")
	about := "Who leads, who is a member, which policies are active and what is decided, read from the log alone, by a subscription\n" +
		"that is deleted at the end. PUBSUB_EMULATOR_HOST names an emulator."
	if err := parse(flags, about, args); err != nil {
		return err
	}
	cfg, err := service.Load(func(name string) string {
		if name == "GOOGLE_CLOUD_PROJECT" && *project != "" {
			return *project
		}
		return getenv(name)
	})
	if err != nil {
		return &service.UsageError{Err: err}
	}
	if *log != "" {
		cfg.Queue.Log = *log
	}
	client, err := queue.Open(ctx, queue.Config{Project: cfg.Project, Endpoint: cfg.Emulator})
	if err != nil {
		return err
	}
	defer client.Close()
	return service.WatchLog(ctx, cfg, client, *since, func(r service.LogReport) bool {
		if *asJSON {
			_ = json.NewEncoder(os.Stdout).Encode(r)
		} else {
			printReport(os.Stdout, r)
		}
		return *watch
	})
}

// printReport is a report for people.
func printReport(w io.Writer, r service.LogReport) {
	fmt.Fprintf(w, "\nlog        %s, read from %s on", r.Log, clock(r.Begin))
	if r.Live {
		fmt.Fprint(w, ": it cannot be read back here, so this is only what was said since")
	}
	if r.Newest.IsZero() {
		fmt.Fprint(w, "\n           It is empty: no worker has written to it in that time.\n")
		return
	}
	fmt.Fprintf(w, "\n           last message %s ago\n", seconds(r.AgeMS))
	switch {
	case !r.Known:
		fmt.Fprint(w, "leader     not known from what was read\n")
	case r.Resigned:
		fmt.Fprintf(w, "leader     none: %s resigned; a successor claims within seconds\n", r.Leader)
	default:
		fmt.Fprintf(w, "leader     %s since %s, term %s, entry %d\n", r.Leader, clock(r.Since), r.Term, r.Seq)
	}
	if r.Known {
		fmt.Fprintf(w, "members    %d: %s\n", len(r.Members), strings.Join(r.Members, " "))
		printPolicy(w, r)
	}
	fmt.Fprintf(w, "rates      %.1f entries/s, decisions: %.1f/s kept, %.1f/s dropped, over %s\n", r.Entries, r.Kept, r.Dropped, seconds(r.PeriodMS))
	fmt.Fprintf(w, "seen       %d claims, %d leaders, %d probes", r.Claims, r.Terms, r.Probes)
	if r.Unreadable > 0 {
		fmt.Fprintf(w, ", %d messages that are not a fleet's, or a later version's", r.Unreadable)
	}
	fmt.Fprint(w, "\nanomalies  ")
	if len(r.Anomalies) == 0 {
		fmt.Fprintln(w, "none")
		return
	}
	for _, kind := range slices.Sorted(maps.Keys(r.Anomalies)) {
		fmt.Fprintf(w, "%s %d  ", kind, r.Anomalies[kind])
	}
	fmt.Fprintln(w)
}

func printPolicy(w io.Writer, r service.LogReport) {
	if r.Policy == "" {
		fmt.Fprint(w, "policies   not announced in what was read\n")
		return
	}
	fmt.Fprintf(w, "policies   %s, epoch %d\n", r.Policy, r.Epoch)
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05.000 UTC") }

func seconds(ms int64) string { return fmt.Sprintf("%.1f s", float64(ms)/1000) }
