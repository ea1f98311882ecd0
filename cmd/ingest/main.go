// Command ingest takes OTLP over HTTP and gRPC on one port and answers once Pub/Sub has confirmed the payload.
//
// Environment: GOOGLE_CLOUD_PROJECT, PORT, TAILWEIR_TOPIC, TAILWEIR_CONFIG, and PUBSUB_EMULATOR_HOST for an emulator.
package main

import (
	"context"
	"fmt"
	"net"
	"os"

	"tailweir/service"
)

func main() { os.Exit(service.Main("ingest", run)) }

func run(ctx context.Context, args []string, getenv func(string) string) error {
	p, err := service.Begin(ctx, service.Command{Name: "ingest", About: "OTLP in, Pub/Sub out."}, args, getenv)
	if err != nil {
		return err
	}
	defer p.Client.Close()
	cfg := p.Config
	in, err := service.NewIngest(cfg, p.Client, p.Log)
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
	p.Log.Info("ingest is up", "listen", service.Addresses(listeners), "project", cfg.Project, "topic", cfg.Queue.Topic)
	err = in.Run(ctx, admin, listeners...)
	s := in.Stats()
	p.Log.Info("ingest is done", "spans", s.Spans.Accepted, "logs", s.Records.Accepted, "messages", s.Messages)
	return err
}
