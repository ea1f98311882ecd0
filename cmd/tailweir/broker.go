package main

import (
	"context"
	"fmt"
	"net"

	"tailweir/queue/broker"
	"tailweir/service"
)

// runBroker serves the embedded Pub/Sub alone.
func runBroker(ctx context.Context, args []string) error {
	flags := newFlags("broker")
	listen := flags.String("listen", "localhost:8085", "`ADDR` of the gRPC API")
	about := "The embedded Pub/Sub, in memory: for PUBSUB_EMULATOR_HOST. It keeps nothing beyond its process."
	if err := parse(flags, about, args); err != nil {
		return err
	}
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		return &service.UsageError{Err: err}
	}
	fmt.Printf("export PUBSUB_EMULATOR_HOST=%s\n", l.Addr())
	return broker.New(broker.Config{}).Serve(ctx, l)
}
