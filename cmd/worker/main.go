// Command worker holds payloads from Pub/Sub, decides which traces are kept, and exports those.
//
// Environment: GOOGLE_CLOUD_PROJECT, TAILWEIR_SUBSCRIPTION, TAILWEIR_TOPIC (for ticks), TAILWEIR_DEAD_LETTER_TOPIC,
// TAILWEIR_CONSOLE, TAILWEIR_CONFIG, and PUBSUB_EMULATOR_HOST for an emulator.
package main

import (
	"context"
	"net"
	"os"

	"tailweir/console"
	"tailweir/service"
)

func main() { os.Exit(service.Main("worker", run)) }

func run(ctx context.Context, args []string, getenv func(string) string) error {
	p, err := service.Begin(ctx, "worker", "Holds payloads from Pub/Sub, decides, exports.", args, getenv)
	if err != nil {
		return err
	}
	defer p.Client.Close()
	cfg := p.Config
	var listeners []net.Listener
	if cfg.Console.Listen != "" {
		if listeners, err = console.Listen(cfg.Console.Listen, cfg.Console.AllowRemote); err != nil {
			return &service.UsageError{Err: err}
		}
	}
	w, err := service.NewWorker(cfg, service.WorkerOptions{Client: p.Client, Log: p.Log, Console: listeners})
	if err != nil {
		return &service.UsageError{Err: err}
	}
	p.Log.Info("worker is up", "project", cfg.Project, "subscription", cfg.Queue.Subscription, "console", service.Addresses(listeners), "policies", cfg.Compiled.Names())
	s, err := w.Run(ctx)
	p.Log.Info("worker is done", "received_spans", s.Received.Spans, "kept_traces", s.Kept.Traces, "dropped_traces", s.Dropped.Traces,
		"handed_back_messages", s.Messages, "grace_was_enough", !s.Undone)
	return err
}
