package service

import (
	"context"
	"errors"
	"net"

	"tailweir/console"
	"tailweir/version"
)

// RunIngest is the command ingest: it takes OTLP over HTTP and gRPC on one port and answers once Pub/Sub has confirmed the payload.
func RunIngest(ctx context.Context, args []string, getenv func(string) string) error {
	p, err := Begin(ctx, Command{Name: "ingest", About: "OTLP in, Pub/Sub out.", Check: func(c Config) error { return c.Ingest.Auth.decided(c.Emulator) }}, args, getenv)
	if err != nil {
		return err
	}
	defer p.Client.Close()
	cfg := p.Config
	in, err := NewIngest(cfg, p.Client, p.Log)
	if err != nil {
		return &UsageError{err}
	}
	listeners, err := ListenAll(cfg.Ingest.Listen...)
	if err != nil {
		return &UsageError{err}
	}
	admin, err := listenAdmin("ingest.admin", cfg.Ingest.Admin)
	if err != nil {
		return &UsageError{err}
	}
	p.Log.Info("ingest is up", "version", version.String(), "listen", Addresses(listeners), "project", cfg.Project, "topic", cfg.Queue.Topic, "auth", cfg.Ingest.Auth.String())
	err = in.Run(ctx, admin, listeners...)
	s := in.Stats()
	p.Log.Info("ingest is done", "spans", s.Spans.Accepted, "logs", s.Records.Accepted, "messages", s.Messages)
	return err
}

var errAlone = errors.New("fleet: off is for tailweir local: a worker without the log forgets its decisions when it restarts, so that spans " +
	"that come later are decided anew, and a second worker would decide differently; set fleet: pubsub, or --force-fleet-off if this is the only worker and that may happen")

// RunWorker is the command worker: it holds payloads from Pub/Sub, decides with the other workers which traces are kept, and
// exports those.
func RunWorker(ctx context.Context, args []string, getenv func(string) string) error {
	var alone bool
	p, err := Begin(ctx, Command{Name: "worker", About: "Holds payloads from Pub/Sub, decides, exports.", Switches: []Switch{
		{Name: "force-fleet-off", About: "take fleet: off: this worker is the only one, and may forget its decisions when it restarts", On: &alone},
	}}, args, getenv)
	if err != nil {
		return err
	}
	defer p.Client.Close()
	cfg := p.Config
	if cfg.Fleet == FleetOff && !alone {
		return &UsageError{errAlone}
	}
	var listeners []net.Listener
	if cfg.Console.Listen != "" {
		if listeners, err = console.Listen(cfg.Console.Listen, cfg.Console.AllowRemote); err != nil {
			return &UsageError{err}
		}
	}
	admin, err := listenAdmin("worker.admin", cfg.Worker.Admin)
	if err != nil {
		return &UsageError{err}
	}
	w, err := NewWorker(cfg, WorkerOptions{Client: p.Client, Log: p.Log, Console: listeners, Admin: admin})
	if err != nil {
		return &UsageError{err}
	}
	p.Log.Info("worker is up", "version", version.String(), "project", cfg.Project, "subscription", cfg.Queue.Subscription, "fleet", cfg.Fleet, "name", w.Name(),
		"console", Addresses(listeners), "policies", cfg.Compiled.Names())
	s, err := w.Run(ctx)
	p.Log.Info("worker is done", "received_spans", s.Received.Spans, "kept_traces", s.Kept.Traces, "dropped_traces", s.Dropped.Traces,
		"handed_back_messages", s.Messages, "grace_was_enough", !s.Undone)
	return err
}
