// Command ingest takes OTLP over HTTP and gRPC on one port and answers once Pub/Sub has confirmed the payload.
//
// Environment: GOOGLE_CLOUD_PROJECT, PORT, TAILWEIR_TOPIC, TAILWEIR_CONFIG, and PUBSUB_EMULATOR_HOST for an emulator.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"

	"tailweir/queue"
	"tailweir/service"
)

func main() { os.Exit(service.Main("ingest", run)) }

func run(ctx context.Context, args []string, getenv func(string) string) error {
	create, err := service.Flags("ingest", "OTLP in, Pub/Sub out. Settings come from the environment and the file that TAILWEIR_CONFIG names: docs/settings.md.", args, os.Stdout)
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
	in, err := service.NewIngest(cfg, client, log)
	if err != nil {
		return &service.UsageError{Err: err}
	}
	listeners, err := service.ListenAll(cfg.Ingest.Listen...)
	if err != nil {
		return &service.UsageError{Err: err}
	}
	var admin net.Listener
	if cfg.Ingest.Admin != "" {
		if admin, err = net.Listen("tcp", cfg.Ingest.Admin); err != nil {
			return &service.UsageError{Err: fmt.Errorf("ingest.admin: %w", err)}
		}
	}
	log.Info("ingest is up", "listen", cfg.Ingest.Listen, "project", cfg.Project, "topic", cfg.Queue.Topic)
	err = in.Run(ctx, admin, listeners...)
	s := in.Stats()
	log.Info("ingest is done", "spans", s.Spans.Accepted, "logs", s.Records.Accepted, "messages", s.Messages)
	return err
}
