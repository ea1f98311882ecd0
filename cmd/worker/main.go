// Command worker holds payloads from Pub/Sub, decides which traces are kept, and exports those.
//
// Environment: GOOGLE_CLOUD_PROJECT, TAILWEIR_SUBSCRIPTION, TAILWEIR_TOPIC (for ticks), TAILWEIR_DEAD_LETTER_TOPIC,
// TAILWEIR_CONSOLE, TAILWEIR_CONFIG, and PUBSUB_EMULATOR_HOST for an emulator.
package main

import (
	"context"
	"errors"
	"flag"
	"net"
	"os"

	"tailweir/console"
	"tailweir/queue"
	"tailweir/service"
)

func main() { os.Exit(service.Main("worker", run)) }

func run(ctx context.Context, args []string, getenv func(string) string) error {
	create, err := service.Flags("worker", "Holds payloads from Pub/Sub, decides, exports. Settings come from the environment and the file that TAILWEIR_CONFIG names: docs/settings.md.", args, os.Stdout)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	cfg, err := service.Load(getenv)
	if err != nil {
		return &service.UsageError{Err: err}
	}
	log := service.CloudLog(os.Stderr)
	for _, w := range cfg.Compiled.Warnings() {
		log.Warn(w)
	}
	client, err := queue.Open(ctx, queue.Config{Project: cfg.Project, Endpoint: cfg.Emulator})
	if err != nil {
		return err
	}
	defer client.Close()
	if create {
		if err := service.Create(ctx, cfg, client); err != nil {
			return err
		}
	}
	var listeners []net.Listener
	if cfg.Console.Listen != "" {
		if listeners, err = console.Listen(cfg.Console.Listen, cfg.Console.AllowRemote); err != nil {
			return &service.UsageError{Err: err}
		}
	}
	w, err := service.NewWorker(cfg, service.WorkerOptions{Client: client, Log: log, Console: listeners})
	if err != nil {
		return &service.UsageError{Err: err}
	}
	log.Info("worker is up", "project", cfg.Project, "subscription", cfg.Queue.Subscription, "console", cfg.Console.Listen, "policies", cfg.Compiled.Names())
	s, err := w.Run(ctx)
	log.Info("worker is done", "received_spans", s.Received.Spans, "kept_traces", s.Kept.Traces, "dropped_traces", s.Dropped.Traces,
		"handed_back_messages", s.Messages, "grace_was_enough", !s.Undone)
	return err
}
