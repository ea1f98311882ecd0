package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"tailweir/probe"
	"tailweir/queue"
	"tailweir/service"
)

// runProbe measures whether a fleet can run in a project. Whether it can is the exit status.
func runProbe(ctx context.Context, args []string, getenv func(string) string) error {
	flags := newFlags("probe")
	project := flags.String("project", getenv("GOOGLE_CLOUD_PROJECT"), "`PROJECT` to measure in")
	yes := flags.Bool("yes", false, "do it; without, only say what would be done")
	duration := flags.Duration("duration", 10*time.Minute, "`TIME` of load on the log, 20s to 6h")
	publishers := flags.Int("publishers", 5, "`NUMBER` of publishers on one ordering key, 2 to 20")
	subscriptions := flags.Int("subscriptions", 5, "`NUMBER` of subscriptions on it, 2 to 20")
	skipSuite := flags.Bool("skip-suite", false, "leave out the conformance suite")
	asJSON := flags.Bool("json", false, "the report as a line of JSON")
	about := "Measures in a project what a fleet assumes of Pub/Sub, on topics and subscriptions that it makes and deletes, and says go or\n" +
		"no-go with the constants for fleet_timing. Exit status 0 is go. PUBSUB_EMULATOR_HOST names an emulator."
	if err := parse(flags, about, args); err != nil {
		return err
	}
	cfg := probe.Config{
		Queue:    queue.Config{Project: *project, Endpoint: getenv("PUBSUB_EMULATOR_HOST")},
		Duration: *duration, Publishers: *publishers, Subscriptions: *subscriptions, SkipSuite: *skipSuite,
		Progress: func(what string) { fmt.Fprintln(os.Stderr, what) },
	}
	if cfg.Queue.Project == "" {
		return &service.UsageError{Err: errors.New("probe: no project: set --project or GOOGLE_CLOUD_PROJECT")}
	}
	if err := cfg.Validate(); err != nil {
		return &service.UsageError{Err: fmt.Errorf("probe: %w", err)}
	}
	if !*yes {
		fmt.Printf("%s\nNothing was done. To go on, add --yes.\n", probe.Plan(cfg))
		return nil
	}
	report, err := probe.Run(ctx, cfg)
	if err != nil {
		return err
	}
	if *asJSON {
		err = report.JSON(os.Stdout)
	} else {
		report.Print(os.Stdout)
	}
	if err == nil && !report.Go {
		err = errors.New("probe: the fleet cannot be said to run on this project")
	}
	return err
}
