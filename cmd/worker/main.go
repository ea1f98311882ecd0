// Command worker holds payloads from Pub/Sub, decides with the other workers which traces are kept, and exports those.
//
// Environment: GOOGLE_CLOUD_PROJECT, TAILWEIR_SUBSCRIPTION, TAILWEIR_TOPIC (for ticks), TAILWEIR_DEAD_LETTER_TOPIC,
// TAILWEIR_FACTS_TOPIC, TAILWEIR_FACTS_SUBSCRIPTION, TAILWEIR_LOG_TOPIC, TAILWEIR_LOG_PREFIX, TAILWEIR_CONSOLE,
// TAILWEIR_CONFIG, and PUBSUB_EMULATOR_HOST for an emulator.
package main

import (
	"context"
	"errors"
	"net"
	"os"

	"tailweir/console"
	"tailweir/service"
)

var errOff = errors.New("fleet: off is for tailweir local: a worker without the log forgets its decisions when it restarts, so that spans " +
	"that come later are decided anew, and a second worker would decide differently; set fleet: pubsub, or --force-fleet-off if this is the only worker and that may happen")

func main() { os.Exit(service.Main("worker", run)) }

func run(ctx context.Context, args []string, getenv func(string) string) error {
	var alone bool
	p, err := service.Begin(ctx, service.Command{Name: "worker", About: "Holds payloads from Pub/Sub, decides, exports.", Switches: []service.Switch{
		{Name: "force-fleet-off", About: "take fleet: off: this worker is the only one, and may forget its decisions when it restarts", On: &alone},
	}}, args, getenv)
	if err != nil {
		return err
	}
	defer p.Client.Close()
	cfg := p.Config
	if cfg.Fleet == service.FleetOff && !alone {
		return &service.UsageError{Err: errOff}
	}
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
	p.Log.Info("worker is up", "project", cfg.Project, "subscription", cfg.Queue.Subscription, "fleet", cfg.Fleet, "name", w.Name(), "console", service.Addresses(listeners), "policies", cfg.Compiled.Names())
	s, err := w.Run(ctx)
	p.Log.Info("worker is done", "received_spans", s.Received.Spans, "kept_traces", s.Kept.Traces, "dropped_traces", s.Dropped.Traces,
		"handed_back_messages", s.Messages, "grace_was_enough", !s.Undone)
	return err
}
